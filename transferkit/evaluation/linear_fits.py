"""Linear models of standardised features, as baselines and learning curves have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.compute.blas import few_threads
from transferkit.evaluation import softmax
from transferkit.features import working_arrays
from transferkit.tasks.task import AT_ONCE

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

STEPS = 200  # of the logistic regression: stopped there it is as good a baseline,
EVALUATIONS = 15_000  # of its loss, as SciPy has it
MANY_ANSWERS = 1 << 24  # pictures times classes above which it is fitted in blocks,
PART = 1 << 21  # of so many answers


def fitted(x: Array, y: Array, task: str, count: int, strength: float) -> Callable[[Array], Floats]:
    """The model of `baselines.probe` with a regularisation that is known.

    Args:
        x: standardised features [N, D].
        y: targets, as for `metrics.score`.
        task: says what the targets mean.
        count: classes, labels or targets.
        strength: C of the logistic regression, or alpha of the ridge regression.

    Returns:
        Standardised features [n, D] → predictions [n, C].
    """
    return ridge(x, y, strength) if tasks.of(task).numbers else logistic(x, y, task, count)(strength)


def logistic(x: Array, y: Array, task: str, count: int) -> Callable[[float], Callable[[Array], Floats]]:
    """Logistic regressions of one regularisation after the other, each started from the one before.

    Args:
        x: standardised features [N, D].
        y: int [N], or 0/1 [N, C] of labels, which get a regression each.
        task: says which of them.
        count: classes or labels.

    Returns:
        C, which only grows → a fitted model: features [n, D] → probabilities [n, C].
    """
    exclusive = tasks.of(task).exclusive
    if exclusive and len(x) * count > MANY_ANSWERS and len(np.unique(y)) > 2:
        return _in_blocks(x, y, count)
    from sklearn.linear_model import LogisticRegression

    columns = [y] if exclusive else list(y.T)
    models = [LogisticRegression(max_iter=STEPS, tol=softmax.GRADIENT, warm_start=True) for _ in columns]

    def fit(strength: float) -> Callable[[Array], Floats]:
        tables = [_fit_one(m.set_params(C=strength), x, column) for m, column in zip(models, columns, strict=True)]

        def predict(new: Array) -> Floats:
            if not exclusive:
                return np.stack([_probabilities(new, *table, 2)[:, 1] for table in tables], axis=1)
            return _probabilities(new, *tables[0], count)

        return predict

    return fit


def _in_blocks(x: Array, y: Array, count: int) -> Callable[[float], Callable[[Array], Floats]]:
    """The same where scikit-learn, which holds several tables of all answers, would take gigabytes."""
    present, codes = np.unique(y, return_inverse=True)
    outputs, rows = len(present), x[:, None]
    found = np.zeros((x.shape[1] + 1) * outputs)

    def fit(strength: float) -> Callable[[Array], Floats]:
        nonlocal found
        with few_threads(x.size):
            found = softmax.fit(rows, codes, outputs, strength, found, STEPS, EVALUATIONS, max(1, PART // outputs))
        table = found.reshape(-1, outputs).astype(np.float32)
        return lambda new: _probabilities(new, table[:-1].T, table[-1], present, count)

    return fit


def _fit_one(model: Any, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Weights, bias and classes after fitting; copies, because the model goes on to the next C."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    present = np.unique(y)
    if len(present) < 2:  # nothing to separate: certain of the only class there is
        return np.zeros((1, x.shape[1])), np.zeros(1), present
    with warnings.catch_warnings(), few_threads(x.size):
        # A baseline stopped after 200 steps is as good a baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    return model.coef_.copy(), model.intercept_.copy(), model.classes_


def _probabilities(x: Array, weights: Array, bias: Array, present: Array, count: int) -> Floats:
    """Of many pictures and classes in parts of about one size: of one row, a product is summed in another order."""
    several = -(-len(x) * count // AT_ONCE)
    if several <= 1:
        return _probabilities_of(x, weights, bias, present, count)
    rows = np.array_split(np.arange(len(x)), several)
    found: Floats = working_arrays.filled(
        len(x), (_probabilities_of(x[some[0] : some[-1] + 1], weights, bias, present, count) for some in rows)
    )
    return found


def _probabilities_of(x: Array, weights: Array, bias: Array, present: Array, count: int) -> Floats:
    logits: Floats = x.astype(np.float64) @ weights.T.astype(np.float64)
    logits += bias
    if len(present) == 2:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logits -= logits.max(axis=1, keepdims=True)  # in place: of many classes this is large
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    if len(present) == count:
        return logits
    result = np.zeros((len(x), count))
    result[:, present.astype(np.int64)] = logits
    return result


def ridge(x: Array, y: Array, penalty: float) -> Callable[[Array], Floats]:
    """A ridge regression.

    Args:
        x: standardised features [N, D].
        y: numbers [N] or [N, T].
        penalty: alpha.

    Returns:
        Features [n, D] → numbers [n, T].
    """
    from sklearn.linear_model import Ridge

    width = y.reshape(len(y), -1).shape[1]
    model = Ridge(alpha=penalty).fit(x.astype(np.float64), y.reshape(-1, width))
    return lambda new: np.asarray(model.predict(new.astype(np.float64)), np.float64).reshape(-1, width)
