"""What would more pictures bring? A power law through a learning curve, with its uncertainty. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import CurveFit, CurvePoint

Floats = npt.NDArray[np.float64]

EXPONENTS = np.linspace(0.1, 1.5, 57)  # learning curves of classifiers lie well inside (Hestness et al. 2017)


def learning_curve_fit(
    sizes: Sequence[float],
    scores: Sequence[float],
    *,
    n_val: int | None = None,
    repeats: int = 300,
    seed: int = 0,
) -> CurveFit:
    """Fit `score = a - b·n^-c` (b ≥ 0, a ≤ 1) and extrapolate to four times the largest size.

    The exponent is searched on a grid and a, b are solved for each, so that the fit cannot fail to converge; the range
    comes from refitting scores redrawn around the fit. Figueroa et al. 2012, Hestness et al. 2017.

    Args:
        sizes: numbers of training pictures, in any order, at least three different ones.
        scores: one a size, 1 at the most; higher is better.
        n_val: pictures that each score was measured on: their sampling error enters the uncertainty.
        repeats: how often scores are redrawn.
        seed: of the draws.

    Returns:
        `a`, `b`, `c`, `curve` (rows of `n`, `score`, and the 90 % range `low`, `high`), `doubled` (the row at twice the
        largest size) and `gain` with `gain_low`, `gain_high` (over the fitted score at the largest size).

    Raises:
        DataError: too few sizes, or numbers that are none of a learning curve.
    """
    n, y = np.asarray(sizes, np.float64), np.asarray(scores, np.float64)
    if n.shape != y.shape or n.ndim != 1 or len(np.unique(n)) < 3:
        raise DataError(f"{len(np.unique(n))} different sizes; a learning curve needs 3, each with its score")
    if n.min() <= 0 or not np.isfinite(y).all() or y.max() > 1:
        raise DataError("sizes must be above 0 and scores numbers up to 1")
    a, b, c = (float(v[0]) for v in _fit(n, y[None]))
    fitted = a - b * n**-c
    deviation = _deviation(n, y, fitted, n_val)
    drawn = fitted + np.random.default_rng(seed).normal(0, 1, (repeats, len(n))) * deviation
    others = _fit(n, np.minimum(drawn, 1.0))
    grid = np.geomspace(n.min(), 4 * n.max(), 40)
    rows = [_row(x, a - b * x**-c, others) for x in grid]
    last, doubled = a - b * n.max() ** -c, _row(2 * n.max(), a - b * (2 * n.max()) ** -c, others)
    gains = others[1] * (n.max() ** -others[2] - (2 * n.max()) ** -others[2])
    low, high = np.quantile(gains, [0.05, 0.95])
    return CurveFit(
        a=a, b=b, c=c, curve=rows, doubled=doubled,
        gain=float(doubled.score - last), gain_low=float(low), gain_high=float(high),
    )  # fmt: skip


def _fit(n: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """The best a, b, c for every row of `y` [R, N]."""
    x = -(n[None, :] ** -EXPONENTS[:, None])  # [E, N]; y = a + b·x
    centred = x - x.mean(axis=1, keepdims=True)
    b = np.maximum((y[:, None] * centred).sum(axis=2) / (centred**2).sum(axis=1), 0.0)  # [R, E]
    a = y.mean(axis=1, keepdims=True) - b * x.mean(axis=1)
    # Where the free solution lies above 1, hold a there and solve for b alone.
    at_ceiling = np.maximum(((y[:, None] - 1.0) * x).sum(axis=2) / (x**2).sum(axis=1), 0.0)
    b, a = np.where(a > 1.0, at_ceiling, b), np.minimum(a, 1.0)
    error = ((a[..., None] + b[..., None] * x - y[:, None]) ** 2).sum(axis=2)
    best = error.argmin(axis=1)
    rows = np.arange(len(y))
    return a[rows, best], b[rows, best], EXPONENTS[best]


def _deviation(n: Floats, y: Floats, fitted: Floats, n_val: int | None) -> Floats:
    """Standard deviation of each score: what the residuals show, and no less than sampling would cause."""
    residual = np.sqrt(((y - fitted) ** 2).sum() / max(len(n) - 3, 1))
    share = np.clip(y, 0.02, 0.98)
    sampling = np.sqrt(share * (1 - share) / n_val) if n_val else np.zeros(len(n))
    return np.asarray(np.maximum(np.maximum(residual, sampling), 1e-4), np.float64)


def _row(n: float, score: float, others: tuple[Floats, Floats, Floats]) -> CurvePoint:
    a, b, c = others
    low, high = np.quantile(a - b * n**-c, [0.05, 0.95])
    return CurvePoint(n=float(n), score=float(score), low=float(low), high=float(high))
