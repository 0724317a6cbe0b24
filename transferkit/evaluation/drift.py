"""Are these pictures like those of training? Distances in feature space against those of validation. NumPy and SciPy.

Training features are summed up by a Gaussian with few free directions and one variance for all others (probabilistic
PCA, Tipping & Bishop 1999); the distance is Mahalanobis' (as in Lee et al. 2018 for telling strange pictures apart).
Validation pictures, which the Gaussian has not seen, say what distances are usual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import few_threads
from transferkit.errors import DataError

Floats = npt.NDArray[np.float64]

AXES = 64  # free directions at most
FITTED = 4000  # training pictures at most: more change nothing
USUAL = 0.95  # of validation pictures lie nearer than the limit
FAR_SHARE = 0.15  # of new pictures beyond the limit make a note, if chance does not explain them
FAR_P = 1e-3


@dataclass(frozen=True)
class Typical:
    """What training features look like: `mean` [D], `axes` [K, D] with `variances` [K], the mean variance `rest` of the
    other directions, and `limit`, the distance within which 95 % of validation lie (`count` pictures)."""

    mean: Floats
    axes: Floats
    variances: Floats
    rest: float
    limit: float
    count: int

    def distance(self, features: npt.ArrayLike) -> Floats:
        """Mahalanobis distance [N] of features [N, D], in units in which a typical direction has deviation 1."""
        x = np.asarray(features, np.float64) - self.mean
        inside = x @ self.axes.T
        outside = np.maximum((x**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0)
        total = (inside**2 / self.variances).sum(axis=1) + outside / self.rest
        return np.asarray(np.sqrt(total / len(self.mean)), np.float64)


def typical(train: npt.ArrayLike, val: npt.ArrayLike, seed: int = 0) -> Typical | None:
    """Sum up the features of training, with the limit set on those of validation.

    Args:
        train: [N, D].
        val: [M, D].
        seed: of the choice, where there are more than `FITTED` of training.

    Returns:
        None where there are fewer than 20 of either: no limit could be trusted.
    """
    from sklearn.utils.extmath import randomized_svd

    x, held_out = np.asarray(train), np.asarray(val, np.float64)
    if len(x) < 20 or len(held_out) < 20:
        return None
    if len(x) > FITTED:
        x = x[fitted_on(len(x), seed)]
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    count = max(1, min(AXES, len(x) // 5, x.shape[1] - 1))
    with few_threads(x.size):
        _, singular, axes = randomized_svd(x - mean, count, random_state=seed)
    variances, total = singular**2 / (len(x) - 1), float(x.var(axis=0, ddof=1).sum())
    # The directions left over share what variance is left over; a floor for features that are all but constant.
    rest = (total - float(variances.sum())) / max(x.shape[1] - count, 1)
    floor = 1e-6 * total / x.shape[1] + 1e-12
    found = Typical(mean, axes, np.maximum(variances, floor), max(rest, floor), 0.0, len(held_out))
    return replace(found, limit=float(np.quantile(found.distance(held_out), USUAL)))


def fitted_on(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Which of `count` training pictures `typical` goes by, int [`FITTED`] or all.

    Args:
        count: how many there are.
        seed: of the choice.
    """
    if count <= FITTED:
        return np.arange(count)
    return np.random.default_rng(seed).choice(count, FITTED, replace=False)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Of `n` new pictures the `share` beyond the limit, the `expected` one, and the one-sided `p`; `far` where that is
    more than chance, and a `note` in words then."""

    n: int
    share: float
    expected: float
    p: float
    far: bool
    note: str | None


def drift(reference: Typical, features: npt.ArrayLike) -> Drift:
    """How many new pictures lie beyond the limit, and whether that is more than chance.

    The limit is itself drawn with validation: it lies between two of its ordered distances, so the share of pictures
    beyond the lower of them follows a beta law and their number a beta-binomial one, whatever law the distances follow.
    Simulated at 20, 100 and 1,000 validation pictures: pictures of the same kind are called far in at most 0.1 % of
    cases.

    Args:
        reference: of training.
        features: [N, D] of the new pictures, N above 0.

    Raises:
        DataError: features of another length.
    """
    from scipy.stats import betabinom

    x = np.asarray(features, np.float64)
    if x.ndim != 2 or x.shape[1] != len(reference.mean) or not len(x):
        raise DataError(f"features {x.shape} do not fit those of training, [N, {len(reference.mean)}] with N above 0")
    beyond = int((reference.distance(x) > reference.limit).sum())
    # `np.quantile` interpolates: the k-th smallest validation distance is the last that lies surely within the limit.
    k = int(np.floor(USUAL * (reference.count - 1))) + 1
    p = float(betabinom.sf(beyond - 1, len(x), reference.count + 1 - k, k))
    share = beyond / len(x)
    far = share > FAR_SHARE and p < FAR_P
    note = (
        f"{share:.0%} of these pictures lie further from the training pictures than {USUAL:.0%} of validation did: "
        "they are of another kind, and the run's own scores do not speak for them"
    )
    return Drift(n=len(x), share=share, expected=1 - USUAL, p=p, far=far, note=note if far else None)
