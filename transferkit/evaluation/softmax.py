"""Logistic regression over blocks of rows: its gradient is a sum over them, so that no table of all answers is needed.

By SciPy's L-BFGS with scikit-learn's scaling and stopping rule; scikit-learn's own takes all rows at once.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from transferkit.errors import TrainingError
from transferkit.features.row_blocks import BLOCK_ROWS, Table, blocks

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

GRADIENT = 1e-3  # or what no weight's derivative is above


def fit(
    z: Table, codes: Codes, outputs: int, strength: float, start: Floats, steps: int, evaluations: int,
    most: int = BLOCK_ROWS,
) -> Floats:  # fmt: skip
    """Weights and, last, the bias [d + 1, outputs], flat, of clean rows.

    Args:
        z: rows [n, V, d].
        codes: the class of each, int [n].
        outputs: 1 for a sigmoid of two classes, or as many as there are classes.
        strength: C, one over what the penalty is multiplied by.
        start: what is begun from.
        steps: of L-BFGS at the most,
        evaluations: and of the loss.
        most: rows in a block.

    Raises:
        TrainingError: the loss is no number.
    """
    from scipy.optimize import minimize

    result = minimize(
        _loss, start, (z, codes, outputs, strength, most), "L-BFGS-B", jac=True,
        options={
            "maxiter": steps, "maxfun": evaluations, "gtol": GRADIENT, "ftol": 64 * float(np.finfo(float).eps),
            "maxls": 50,
        },
    )  # fmt: skip
    if not math.isfinite(result.fun):
        raise TrainingError("the loss of a logistic regression is no number; are all features finite?")
    found: Floats = result.x
    return found


def _loss(found: Floats, z: Table, codes: Codes, outputs: int, strength: float, most: int) -> tuple[float, Floats]:
    """Mean cross-entropy of clean rows with the penalty on weights, and its gradient; arguments as of `fit`."""
    table = found.reshape(-1, outputs)
    total, gradient = 0.0, np.zeros_like(table)
    for places, rows in blocks(z, most=most):
        x, truth = rows[:, 0], codes[places]
        logits = (x @ table[:-1].astype(np.float32)).astype(np.float64) + table[-1]
        if outputs == 1:
            total += float((np.logaddexp(0, logits[:, 0]) - truth * logits[:, 0]).sum())
            apart = 1 / (1 + np.exp(-np.clip(logits, -500, 500))) - truth[:, None]
        else:
            own = np.arange(len(truth)), truth
            logits -= logits.max(1, keepdims=True)
            chosen, apart = logits[own], np.exp(logits, out=logits)
            sums = apart.sum(1)
            total += float((np.log(sums) - chosen).sum())
            apart /= sums[:, None]
            apart[own] -= 1
        gradient[:-1] += x.T @ apart.astype(np.float32)
        gradient[-1] += apart.sum(0)
    penalty = 1 / (strength * len(z))
    gradient /= len(z)
    gradient[:-1] += penalty * table[:-1]
    return total / len(z) + 0.5 * penalty * float((table[:-1] ** 2).sum()), gradient.ravel()
