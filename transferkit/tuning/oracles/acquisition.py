"""Where a Gaussian process hopes for most: the lower confidence bound over untried settings. Imports scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import one_thread
from transferkit.tuning.search_space.dimensions import Values

Array = npt.NDArray[np.float64]

CANDIDATES = 2000
ROUNDS = 3  # of finer candidates around the best ones
ELITE = 5


def propose(oracle: Any, seed: int) -> Values | None:
    """The untried values of least lower confidence bound (Srinivas et al. 2010) by an oracle's Gaussian process.

    Keras Tuner instead descends from 50 points, one prediction at a time, and may land on what was tried.

    Args:
        oracle: a Bayesian oracle of Keras Tuner with `left` and `tried`.
        seed: of the candidates that are drawn.

    Returns:
        Values by setting; None where no candidate is untried.
    """
    # Matrices of tens of rows: threads only cost time, and their sums differ in the last digit.
    with one_thread(None):
        _fit(oracle)
        rng = np.random.default_rng(seed)
        space = oracle.hyperparameters.space
        listed = oracle.left()
        if listed:
            vectors = np.array([vector(space, values) for values in listed])
            return dict(listed[int(np.argmin(_bound(oracle, vectors)))])
        return _search(oracle, rng)


def _search(oracle: Any, rng: np.random.Generator) -> Values | None:
    space = oracle.hyperparameters.space
    raw = rng.uniform(size=(CANDIDATES, len(space)))
    found, points, bounds = list[Values](), np.empty((0, len(space))), np.empty(0)
    for turn in range(ROUNDS + 1):
        values = [decode(space, row) for row in raw]
        untried = [i for i, item in enumerate(values) if not oracle.tried(item)]
        if untried:
            vectors = np.array([vector(space, values[i]) for i in untried])
            found += [values[i] for i in untried]
            points, bounds = np.concatenate([points, vectors]), np.concatenate([bounds, _bound(oracle, vectors)])
        if not found:
            return None
        best = points[np.argsort(bounds, kind="stable")[:ELITE]]
        # Around the best, ever closer: a range is searched to about 1/500 of its width.
        width = 0.1 / 4**turn
        raw = np.clip(np.repeat(best, 40, axis=0) + rng.normal(0, width, (len(best) * 40, len(space))), 0, 1)
    return found[int(np.argmin(bounds))]


def decode(space: list[Any], row: Array) -> Values:
    """Active values at a point of the unit cube.

    Args:
        space: hyperparameters of Keras Tuner, parents before what depends on them.
        row: a share 0…1 of each, float [settings].
    """
    values: Values = {}
    for hp, share in zip(space, row, strict=True):
        if all(condition.is_active(values) for condition in hp.conditions):
            values[hp.name] = hp.prob_to_value(float(share))
    return values


def vector(space: list[Any], values: Values) -> list[float]:
    """The point of the unit cube that stands for values; what is inactive stands at its default.

    Args:
        space: hyperparameters of Keras Tuner.
        values: by setting.

    Returns:
        A share 0…1 of each.
    """
    return [
        hp.value_to_prob(values[hp.name] if all(c.is_active(values) for c in hp.conditions) else hp.default)
        for hp in space
    ]


def _fit(oracle: Any) -> None:
    """Fit the process to finished trials; running ones count as slightly worse than expected."""
    space = oracle.hyperparameters.space
    sign = -1.0 if oracle.objective.direction == "max" else 1.0
    done = [trial for trial in oracle.trials.values() if trial.status == "COMPLETED"]
    x = np.array([vector(space, trial.hyperparameters.values) for trial in done])
    y = sign * np.array([trial.score for trial in done], np.float64)
    oracle.gpr = oracle._make_gpr()
    with warnings.catch_warnings():
        # A length scale at the end of its range: there is no trend yet, which is no news to the user.
        warnings.simplefilter("ignore")
        oracle.gpr.fit(x, y)
        running = [vector(space, trial.hyperparameters.values) for trial in oracle.ongoing_trials.values()]
        if running:
            # Pessimistic, as in Keras Tuner: keeps parallel trials apart.
            mean, deviation = oracle.gpr.predict(np.array(running), return_std=True)
            oracle.gpr.set_params(kernel=oracle.gpr.kernel_, optimizer=None)
            oracle.gpr.fit(np.concatenate([x, running]), np.concatenate([y, mean + deviation]))


def _bound(oracle: Any, vectors: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # variances that round to below 0 are set to 0
        mean, deviation = oracle.gpr.predict(vectors, return_std=True)
    bound: Array = mean - oracle.beta * deviation
    return bound
