"""A run whose model is several networks, each with the classifier that was chosen on it: their answers are averaged.

One file of Keras' own layers: from the same uint8 picture every branch has its own preprocessing, and gives logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from transferkit import tasks
from transferkit.data.splitting.split import Splits
from transferkit.errors import TrainingError
from transferkit.evaluation.metrics_record import EnsembleMember, EnsembleRecord
from transferkit.runs import agreement, selecting
from transferkit.runs.finetune import Job
from transferkit.runs.selecting import HeadSelection
from transferkit.selection.ensemble import together
from transferkit.tasks.task import TINY
from transferkit.training.problem import Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras


@dataclass(kw_only=True)
class EnsembleJob(Job):
    """A run of the network of `settings` and others. `weights`: by network the share of its answers; they sum to 1."""

    weights: Mapping[str, float] = field(default_factory=dict)

    def _trained(self, work: Recipe, splits: Splits) -> tuple[Trained, HeadSelection | None]:
        own = self.settings.backbone
        selections = {own: self._selected(work, splits)}
        hashes = {own: work.backbone.weights_sha256}
        for name in self.weights:
            if name != own:
                settings = self.settings.model_copy(update={"backbone": name})
                backbone = replace(self, settings=settings)._backbone()
                part = Recipe(backbone, settings, work.problem, work.views, self.reporter, cache=self.cache)
                selections[name], hashes[name] = self._selected(part, splits), backbone.weights_sha256
        members = [
            EnsembleMember(network=name, weight=weight, weights_sha256=hashes[name])
            for name, weight in self.weights.items()
        ]
        main = replace(selections[own], ensemble=EnsembleRecord(members=members))
        return self._joined([selections[name] for name in self.weights], main, work), main

    def _selected(self, work: Recipe, splits: Splits) -> HeadSelection:
        """The choice by cross-validation alone: it is what the shares of the networks were found for."""
        found = selecting.select(work, splits, network=False)
        assert found is not None  # folds were possible when networks were compared
        return found

    def _joined(self, parts: Sequence[HeadSelection], main: HeadSelection, work: Recipe) -> Trained:
        shares, problem = list(self.weights.values()), work.problem
        held = [part.trained.calibration for part in parts]
        assert all(one is not None for one in held)
        rows = held[0][0]  # type: ignore[index]
        logits = together([one[1].astype(np.float64) for one in held], shares, self.samples.task)  # type: ignore[index]
        val = logits[np.searchsorted(rows, problem.val)].astype(np.float32)
        model = joined([part.trained.model for part in parts], shares, self.samples.task)
        self._require_agreement(model, parts, shares, work)
        note = f"the answers of {len(parts)} networks are averaged, each by the classifier that was chosen on it"
        return replace(
            main.trained, model=model, val_outputs=val, calibration=(rows, logits.astype(np.float32)),
            joined=" + ".join(self.weights), notes=[*main.trained.notes, note],
        )  # fmt: skip

    def _require_agreement(
        self, model: keras.Model, parts: Sequence[HeadSelection], shares: Sequence[float], work: Recipe
    ) -> None:
        """Raise TrainingError where the joined graph does not answer as its branches, averaged by NumPy."""
        places = work.problem.val[agreement.sampled(work.problem)]
        pixels = np.concatenate([work.views.pixels(work.problem.samples, int(i), [0]) for i in places])
        apart = [np.asarray(part.trained.model(pixels, training=False), np.float64) for part in parts]
        found = agreement.gap(model, together(apart, shares, self.samples.task), work.problem, work.views)
        if found > agreement.TOLERANCE:
            raise TrainingError(f"{agreement.said(found, work.problem)}; train on one network, with finetune")


def joined(models: Sequence[keras.Model], shares: Sequence[float], task: str) -> keras.Model:
    """uint8 pictures → logits of the weighted mean of the models' probabilities; of numbers, their weighted mean."""
    import keras

    link = tasks.of(task).link
    inputs = keras.Input(models[0].input_shape[1:], dtype="uint8", name="picture")
    answers = []
    for number, (model, share) in enumerate(zip(models, shares, strict=True), 1):
        x = keras.Model(model.inputs[0], model.outputs[0], name=f"network_{number}")(inputs)
        if link != "identity":
            x = keras.layers.Activation(link, dtype="float32", name=f"shares_{number}")(x)
        answers.append(keras.layers.Rescaling(share, dtype="float32", name=f"weighted_{number}")(x))
    x = keras.layers.Add(dtype="float32", name="together")(answers)
    if link == "softmax":
        x = keras.ops.log(x + TINY)
    elif link == "sigmoid":
        x = keras.ops.log(x + TINY) - keras.ops.log(1 - x + TINY)
    return keras.Model(inputs, x, name="transferkit")
