"""What was chosen by cross-validation as a model: the winner is fitted once more on training and validation pictures
together, and is shipped as Keras' own layers on the same network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from transferkit import terms
from transferkit.features.row_blocks import at, narrow
from transferkit.runs import agreement
from transferkit.runs.pool_choice import PoolChoice
from transferkit.runs.tapped_rows import TappedRows
from transferkit.selection import choice as choosing
from transferkit.selection import shipping
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.candidates import LINEAR
from transferkit.selection.choice import HeadChoice
from transferkit.selection.fitted import Affine
from transferkit.training.problem import PhaseReport, Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras


def classifier(
    work: Recipe, rows: TappedRows, found: HeadChoice, taught: PoolChoice | None, judge: Judge
) -> tuple[Trained, np.ndarray]:
    """The winner, fitted on training and validation pictures (on training alone where that was asked for), and the
    outputs that its network is to give for the pictures of `agreement.sampled`.

    Args:
        work: the recipe.
        rows: what it learns from.
        found: what was chosen.
        taught: the pool that it learns from too, where that helps.
        judge: the goal on the validation pictures.
    """
    problem, trial, started = work.problem, found.trial, time.monotonic()
    alone = "refit" in work.settings.model_fields_set and work.settings.refit == "train"
    learnt = rows.places(problem.train if alone else rows.pictures)
    if taught is None:
        x = at(rows.x, learnt) if alone else rows.x  # no copy of all
        projection, fitted = choosing.fit(x, rows.y[learnt], trial)
    else:
        projection, fitted = taught.fit(learnt)
    body = shipping.body(projection, fitted, trial.scale, trial.shift)
    columns = trial.candidate.start, trial.candidate.stop
    where = rows.places(problem.val)
    asked = rows.x[where[agreement.sampled(problem)]][:, 0]
    expected = (fitted(projection(asked)) - trial.shift) * trial.scale
    val = found.logits[where]
    report = PhaseReport(
        name="head", trained=terms.candidate(trial.candidate.learner.name, trial.candidate.features),
        parameters=int(body.count_params()), epochs=0, best_epoch=0, score=judge.score(val), loss=judge.loss(val),
        seconds=found.seconds + time.monotonic() - started,
        source="cached" if rows.kind.features is not None else "computed each epoch", precision="float32",
    )  # fmt: skip
    which = "training pictures" if alone else "training and validation pictures together"
    which += "" if taught is None else ", and on unlabelled ones"
    note = (
        f"the classifier was chosen by cross-validation and fitted on {which}; what is said of validation are "
        "answers to pictures that were left out"
    )
    trained = _trained(work, rows, body, columns, [*work.trainer.phases, report], val)
    calibration = (rows.pictures, found.logits.astype(np.float32))
    return replace(trained, notes=[*work.notes, note], calibration=calibration, refitted=not alone), expected


def network(work: Recipe, rows: TappedRows, body: keras.Model, val: np.ndarray) -> tuple[Trained, np.ndarray]:
    """The neural network where it was better, and its outputs as `classifier` has them.

    Args:
        work: the recipe, by which it was trained.
        rows: what it reads.
        body: it, on all columns of these.
        val: its outputs for validation pictures [n, t].
    """
    trained = _trained(work, rows, body, rows.columns, work.trainer.phases, val)
    return trained, val[agreement.sampled(work.problem)]


def _trained(
    work: Recipe, rows: TappedRows, body: keras.Model, columns: tuple[int, int], phases: list[PhaseReport],
    val: np.ndarray,
) -> Trained:  # fmt: skip
    # Of what was fitted in one step the score on its own pictures says nothing: none are judged.
    return Trained(
        model=rows.network(body, columns), phases=phases, chosen=phases[-1].name, history=work.trainer.history,
        val_outputs=val.astype(np.float32), train_outputs=np.zeros((0, val.shape[1]), np.float32),
        train_judged=np.zeros(0, np.int64), features=rows.kind, pretrained=None, notes=[*work.notes],
        places={"last": rows.taps.sets()["last"], "head": columns},
    )  # fmt: skip


def start(rows: TappedRows, found: HeadChoice) -> Callable[[np.ndarray], keras.Model]:
    """Makes the head that a tail begins with: the best linear classifier on the last layer, fitted on the pictures at
    given places of the samples.

    Args:
        rows: what it learns from.
        found: what was chosen, and of what.
    """
    first, stop = rows.taps.sets()["last"]
    trial = next(t for t in found.leaders if t.candidate.features == "last" and isinstance(t.candidate.learner, LINEAR))
    trial = replace(trial, candidate=replace(trial.candidate, start=0, stop=stop - first))
    known, y = rows.pictures, rows.y
    vectors = narrow(rows.x, first, stop)  # not all of `x`, which is large

    def made(pictures: np.ndarray) -> keras.Model:  # must not hold `rows`, which have it
        places = np.searchsorted(known, pictures)
        projection, fitted = choosing.fit(at(vectors, places), y[places], trial)
        assert isinstance(fitted, Affine)
        return shipping.trainable(projection, fitted, trial.scale, trial.shift)

    return made
