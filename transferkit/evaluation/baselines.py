"""What must be beaten: the majority answer, a linear probe and nearest neighbours on features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit.evaluation.goals import check_task
from transferkit.evaluation.metrics import score

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Baseline(NamedTuple):
    """A baseline's test `scores` (see `metrics.score`), test `predictions`, and what was `chosen`."""

    scores: dict[str, Any]
    predictions: Floats
    chosen: dict[str, Any]


def majority(
    train_targets: npt.ArrayLike, test_targets: npt.ArrayLike, task: str, classes: Sequence[str]
) -> Baseline:
    """The best answer without looking at the picture: class shares, label shares or the median of training.

    Targets as for `metrics.score`. The predictions are the training shares for every picture (classify:
    [N, C], their argmax is the majority class) or the training median of each target (regress: [N, T]).
    """
    check_task(task)
    train, test = np.asarray(train_targets), np.asarray(test_targets)
    if task == "classify":
        answer = np.bincount(train, minlength=len(classes)) / len(train)
    elif task == "multilabel":
        answer = train.mean(axis=0)
    else:
        answer = np.median(train.reshape(len(train), -1), axis=0)
    predictions = np.repeat(np.asarray(answer, np.float64)[None], len(test), axis=0)
    return Baseline(
        score(task, test, predictions, classes), predictions, {"answer": [float(a) for a in answer]}
    )
