"""The last step that some ask for: the model trained once more, on training and validation pictures together."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from transferkit import compute
from transferkit.data.samples import Samples
from transferkit.training.fit import Goal
from transferkit.training.problem import Trained, Units, problem
from transferkit.training.recipe import Recipe


def on_all(work: Recipe, trained: Trained, checkpoints: Path) -> Trained:
    """`trained` with a model that has learnt from validation pictures too, for as many epochs as were best without.

    There is nothing left to watch then: no epoch is chosen, and everything else in `trained` (curves, scores,
    calibration) stays that of the model that validation had judged.
    """
    part = work.problem
    best = next(phase for phase in trained.phases if phase.name == trained.chosen)
    # `patience` cannot end what is counted out.
    settings = work.settings.model_copy(
        update={
            "epochs": best.best_epoch,
            "patience": best.best_epoch + 1,
            "unfreeze": "none" if trained.chosen == "head" else work.settings.unfreeze,
            "learning_rate": work.rate,
        }
    )
    together = problem(part.samples, np.union1d(part.train, part.val), part.val, _last)
    if trained.pretrained:
        compute.assign(work.backbone.model.weights, trained.pretrained)
    again = Recipe(
        work.backbone, settings, together, work.views, work.reporter, checkpoints / "refit", None, work.cache
    )
    work.reporter.heading(f"training again on train + validation, {best.best_epoch} epochs")
    model = again.run().model
    note = (
        f"the shipped model was trained again on training and validation pictures together, for {best.best_epoch} "
        "epochs; validation scores are those of the model before"
    )
    return replace(trained, model=model, notes=[*trained.notes, note])


def _last(samples: Samples, units: Units | None) -> Goal:
    """The newest epoch is the best one."""
    line = count()
    return Goal("epoch", True, lambda outputs: float(next(line)))
