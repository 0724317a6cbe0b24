"""The last step that some ask for: the model trained once more, on training and validation pictures together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import compute, terms
from transferkit.features.precision import Precision
from transferkit.record import number_of
from transferkit.training.fit import StoppingMetric
from transferkit.training.problem import PhaseReport, Trained
from transferkit.training.recipe import Again, Recipe

if TYPE_CHECKING:
    import keras


def on_all(work: Recipe, trained: Trained, checkpoints: Path, start: keras.Model | None = None) -> Trained:
    """What training came to, with a model that has learnt from validation pictures too, on the way that was best
    without them.

    Each phase goes on from the one before, so those that led to the chosen one are trained again, each for as many
    epochs as were best in it, at the rates these epochs had; what came after the chosen phase is not. There is nothing
    left to watch then: no epoch is chosen, and everything else in `trained` (curves, scores, calibration) stays that of
    the model that validation had judged.

    Args:
        work: the recipe.
        trained: what it came to.
        checkpoints: folder for those of the new phases.
        start: where a tail began with a head that had been there already, that head, fitted on both parts.
    """
    part, trainer = work.problem, work.trainer
    names = [phase.name for phase in trained.phases]
    led = trained.phases[: names.index(trained.chosen) + 1]
    led = led if start is None else [phase for phase in led if phase.name.startswith("tail")]
    # In the units of before, in which the shipped model answers.
    together = replace(part, train=np.union1d(part.train, part.val), goal=_newest())
    # What `auto` made of fewer pictures, and what memory allowed, hold for more.
    settings = work.settings.model_copy(update={"batch_size": trainer.batch_size, "learning_rate": work.rate})
    if trained.pretrained:
        compute.assign(work.backbone.model.weights, trained.pretrained)
    again = Recipe(
        work.backbone, settings, together, work.views, work.reporter, checkpoints / "refit", None, work.cache,
        shared=work.frozen, pool=work.pool, again={phase.name: _again(work, phase) for phase in led},
    )  # fmt: skip
    again.trainer.accumulate = trainer.accumulate
    spent = ", ".join(f"{phase.best_epoch} epochs of the {terms.phase(phase.name)}" for phase in led)
    work.reporter.heading(f"training again on train + validation: {spent}")
    learnt = again.run() if start is None else again.tuned(start, trained.features)
    assert learnt is not None  # without a time budget
    model = learnt.model
    note = (
        f"the shipped model was trained again on training and validation pictures together, for {spent}; validation "
        "scores are those of the model before"
    )
    return replace(trained, model=model, notes=[*trained.notes, note])


def _again(work: Recipe, phase: PhaseReport) -> Again:
    rows = [row for row in work.trainer.history if row["phase"] == phase.name][: phase.best_epoch]
    rates = tuple(number_of(row, "learning_rate") for row in rows) if work.settings.schedule == "plateau" else None
    how = "plain" if phase.precision == "float32" else "policy"
    return Again(phase.best_epoch, Precision(phase.precision, how), rates)


@dataclass(frozen=True)
class _Newest(StoppingMetric):
    """The newest epoch is the best one, also after an interruption."""

    @property
    def words(self) -> str:
        return ""

    def better(self, new: tuple[float, float], old: tuple[float, float] | None) -> bool:
        return True


def _newest() -> StoppingMetric:
    line = count(1)
    return _Newest("epoch", True, lambda outputs: float(next(line)))
