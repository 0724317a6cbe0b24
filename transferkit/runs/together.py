"""A run whose model is several members, whose answers are averaged: networks, each with the classifier that was chosen
on it, also on mirror images, or with the features of two under one classifier.

One file of Keras' own layers: from the same uint8 picture every branch has its own preprocessing, and gives logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute, tasks, terms
from transferkit.compute import keras_private
from transferkit.config import Settings
from transferkit.data.splitting.split import Splits
from transferkit.errors import TrainingError
from transferkit.evaluation.portfolio_record import EnsembleMember, EnsembleRecord
from transferkit.runs import agreement, selecting, tails, voices
from transferkit.runs.finetune import Job
from transferkit.runs.selecting import HeadSelection
from transferkit.runs.tapped_rows import tapped_rows
from transferkit.selection.candidate_scores import CandidateScore, Floats, OutOfFold
from transferkit.selection.ensemble import together
from transferkit.selection.member import Voter, networks
from transferkit.selection.mirrored import EVEN
from transferkit.tasks.task import TINY
from transferkit.training.problem import PhaseReport, Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

OF_TAILS = ("unfreeze", "budget")  # settings that bear on the first network alone


@dataclass(frozen=True)
class Branch:
    """A member's graph (uint8 pictures → logits), its share, and its logits [n, t] to pictures that were left out;
    `report`, of a classifier that is none of a network's own, says how it was fitted."""

    model: keras.Model
    share: float
    mirrored: bool
    logits: Floats
    report: PhaseReport | None = None

    def answers(self, pixels: np.ndarray, task: str) -> Floats:
        """Logits [n, t] of uint8 pictures, the averaging done by NumPy."""
        looks = [pixels, pixels[:, :, ::-1]] if self.mirrored else [pixels]
        logits = [np.asarray(self.model(look, training=False), np.float64) for look in looks]
        return together(logits, EVEN, task) if self.mirrored else logits[0]


@dataclass(kw_only=True)
class EnsembleJob(Job):
    """A run of the network of `settings` and others. `members`: each with its share of the answer; they sum to 1. A
    tail, where `settings` unfreeze layers, is of the network of `settings`, and competes with all members together."""

    members: Mapping[Voter, float] = field(default_factory=dict)

    def _trained(self, work: Recipe, splits: Splits) -> tuple[Trained, HeadSelection | None]:
        self._works = {self.settings.backbone: work}
        self._works |= {name: self._beside(name, work) for name in networks(self.members) if name not in self._works}
        self._found = {name: self._selected(one, splits) for name, one in self._works.items()}
        branches = self._branches(splits)
        main = self._found[self.settings.backbone]
        record = EnsembleRecord(members=[self._member(member, share) for member, share in self.members.items()])
        trained = self._joined(branches, main, work)
        if all(member.networks != (self.settings.backbone,) for member in self.members):
            # What was chosen on the first network by itself has no part in it.
            table = [row.model_copy(update={"chosen": False}) for row in main.candidates]
            reports = [branch.report for branch in branches if branch.report is not None]
            main, trained = replace(main, candidates=table), replace(trained, phases=reports)
        answers = OutOfFold.of(trained.val_outputs.astype(np.float64), main.judge)
        main = replace(main, ensemble=record, trained=trained, answers=answers)
        if self.settings.unfreeze != "none":
            main = tails.compete(work, main)
        return main.trained, main

    def _beside(self, name: str, work: Recipe) -> Recipe:
        """The recipe of another network on the same problem."""
        given = {key: getattr(self.settings, key) for key in self.settings.model_fields_set if key not in OF_TAILS}
        settings = Settings(**{**given, "backbone": name})
        backbone = replace(self, settings=settings)._backbone()
        return Recipe(backbone, settings, work.problem, work.views, self.reporter, cache=self.cache)

    def _selected(self, work: Recipe, splits: Splits) -> HeadSelection:
        """The choice by cross-validation alone: it is what the shares of the members were found for."""
        found = selecting.select(work, splits, network=False, bounded=False)
        assert found is not None  # folds were possible when networks were compared
        return found

    def _member(self, member: Voter, share: float) -> EnsembleMember:
        hashes = [self._works[name].backbone.weights_sha256 for name in member.networks]
        return EnsembleMember(
            network=str(member), weight=share, weights_sha256=hashes[0], networks=list(member.networks),
            mirrored=member.mirrored, hashes=hashes,
        )  # fmt: skip

    # -- branches

    def _branches(self, splits: Splits) -> list[Branch]:
        # Rows are read once a network, and held no longer than members are made of them.
        rows = {name: self._voice(name) for name in networks(member for member in self.members if not member.plain)}
        return [self._branch(member, share, rows, splits) for member, share in self.members.items()]

    def _branch(self, member: Voter, share: float, rows: Mapping[str, voices.Voice], splits: Splits) -> Branch:
        if len(member.networks) > 1:
            return self._pair(member, share, rows, splits)
        selection = self._found[member.networks[0]]
        assert selection.trained.calibration is not None
        logits = selection.trained.calibration[1].astype(np.float64)
        if member.mirrored:
            logits = rows[member.networks[0]].both_ways(splits).mean_logits
        return Branch(selection.trained.model, share, member.mirrored, logits)

    def _voice(self, network: str) -> voices.Voice:
        work = self._works[network]
        return voices.Voice(work, tapped_rows(work, work.frozen.precision), self._found[network].trial)

    def _pair(self, member: Voter, share: float, rows: Mapping[str, voices.Voice], splits: Splits) -> Branch:
        """Two networks under one classifier, chosen again as it was. Raises TrainingError where what is shipped does
        not answer as what was fitted."""
        left, right = (rows[name] for name in member.networks)
        both, work = voices.pair(left, right), left.work
        trial = both.choose(work, splits).trial
        places = left.rows.places(work.problem.val[agreement.sampled(work.problem)])
        model, expected = both.shipped(trial, places)
        found = agreement.gap(model, expected, work.problem, work.views, trial.mean_logits[places])
        self._require_small(found, work)
        return Branch(model, share, member.mirrored, trial.mean_logits, self._report(member, trial, model, left))

    def _report(self, member: Voter, trial: CandidateScore, model: keras.Model, voice: voices.Voice) -> PhaseReport:
        """How the classifier on two networks was fitted, in the place of that on the first of them."""
        first, problem = self._found[member.networks[0]], voice.work.problem
        logits = trial.mean_logits[voice.rows.places(problem.val)]
        what = terms.candidate(trial.candidate.learner.name, trial.candidate.features)
        return replace(
            first.trained.phases[-1], trained=f"{what} of {' and '.join(member.networks)}",
            parameters=int(model.get_layer("head").count_params()), score=first.judge.score(logits),
            loss=first.judge.loss(logits),
        )  # fmt: skip

    def _joined(self, branches: Sequence[Branch], main: HeadSelection, work: Recipe) -> Trained:
        problem, task = work.problem, self.samples.task
        assert main.trained.calibration is not None
        rows = main.trained.calibration[0]
        logits = together([one.logits for one in branches], [one.share for one in branches], task)
        val = logits[np.searchsorted(rows, problem.val)].astype(np.float32)
        model = joined(branches, task)
        places = problem.val[agreement.sampled(problem)]
        pixels = work.views.pixels(problem.samples, places)
        apart = together([one.answers(pixels, task) for one in branches], [one.share for one in branches], task)
        self._require_small(agreement.gap(model, apart, problem, work.views), work)
        return replace(
            main.trained, model=model, val_outputs=val, calibration=(rows, logits.astype(np.float32)),
            joined=" + ".join(map(str, self.members)), notes=[*main.trained.notes, *self._notes()],
        )  # fmt: skip

    def _notes(self) -> list[str]:
        found = []
        count = len(self.members)
        if count > 1:
            found.append(f"the answers of {count} networks are averaged, each by the classifier that was chosen on it")
        if any(member.mirrored for member in self.members):
            found.append("answers to a picture and to its mirror image are averaged")
        found += [
            f"one classifier stands on the features of {' and '.join(member.networks)}, side by side"
            for member in self.members if len(member.networks) > 1
        ]  # fmt: skip
        return found

    def _require_small(self, found: float, work: Recipe) -> None:
        """Raise TrainingError where the joined graph does not answer as its parts do, averaged by NumPy."""
        if found > agreement.TOLERANCE:
            raise TrainingError(f"{agreement.said(found, work.problem)}; train on one network, with finetune")


def _apart(models: Sequence[keras.Model]) -> Iterator[keras.Model]:
    """The models, none of which shares a layer with another. Keras saves a layer that two models inside one share only
    once, and gives the other of them random weights when it loads the file."""
    import keras

    seen: set[int] = set()
    for model in models:
        layers = {id(layer) for layer in keras_private.all_layers(model) if layer.weights}
        if layers & seen:
            weights = compute.values(model.weights)
            model = keras.models.clone_model(model)
            compute.assign(model.weights, weights)
        seen |= layers
        yield model


def joined(branches: Sequence[Branch], task: str) -> keras.Model:
    """One network of several members.

    Args:
        branches: the members' models, uint8 pictures → logits, and their shares, which sum to 1; a mirrored one answers
            to pictures and to their mirror images.
        task: the name of the task.

    Returns:
        uint8 pictures → logits of the weighted mean of the members' probabilities; of numbers, their weighted mean. A
        single member is given as it is.
    """
    import keras

    link = tasks.of(task).link
    inputs = keras.Input(branches[0].model.input_shape[1:], dtype="uint8", name="picture")
    answers: list[Any] = []
    for number, model in enumerate(_apart([branch.model for branch in branches]), 1):
        branch = branches[number - 1]
        network = keras.Model(model.inputs[0], model.outputs[0], name=f"network_{number}")
        looks = {"": inputs, "_mirrored": keras.ops.flip(inputs, axis=2)} if branch.mirrored else {"": inputs}
        for name, look in looks.items():
            x = network(look)
            if link != "identity":
                x = keras.layers.Activation(link, dtype="float32", name=f"shares_{number}{name}")(x)
            share = branch.share / len(looks)
            answers.append(keras.layers.Rescaling(share, dtype="float32", name=f"weighted_{number}{name}")(x))
    if len(answers) == 1:
        return branches[0].model
    x = keras.layers.Add(dtype="float32", name="together")(answers)
    if link == "softmax":
        x = keras.ops.log(x + TINY)
    elif link == "sigmoid":
        x = keras.ops.log(x + TINY) - keras.ops.log(1 - x + TINY)
    return keras.Model(inputs, x, name="transferkit")
