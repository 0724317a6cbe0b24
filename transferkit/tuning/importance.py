"""How much each searched setting mattered: permutation on a random forest, judged on trials that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from transferkit.tuning.search_space.space import Space

Tried = tuple[Mapping[str, Any], float | None]
Array = npt.NDArray[np.float64]

FEWEST = 8  # scored trials below which nothing can be said
TREES = 100
REPEATS = 5
FOLDS = 4


@dataclass(frozen=True)
class Importance:
    """`shares` of the explained variation by setting, the largest first, summing to 1 (all 0 where none matters).

    `spread` is the standard deviation of each share over the folds. `explained` is the share of the variance of the
    scores (R²) that the forest predicts of trials it has not seen: near or below 0, the shares mean nothing, and
    `reliable` is False.
    """

    shares: dict[str, float]
    spread: dict[str, float]
    explained: float
    trials: int

    @property
    def reliable(self) -> bool:
        """Whether the settings predict the score of an unseen trial at all."""
        return self.explained > 0.1

    def words(self) -> str:
        """One line for people."""
        if not self.reliable:
            return f"{self.trials} trials do not show which settings matter (R² {self.explained:.2f})"
        listed = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items() if share >= 0.005)
        return f"what mattered: {listed} (of what {self.trials} trials explain, R² {self.explained:.2f})"


def importance(space: Space, trials: Sequence[Tried], seed: int = 0) -> Importance | None:
    """How much each setting of a space mattered.

    Permutation importance (Breiman 2001) of a random forest, on held-out folds: in-sample it flatters settings that a
    forest can only memorise. The same trials and seed give the same numbers.

    Args:
        space: the settings.
        trials: values and score of each (None: failed, left out); they should have had the same number of epochs.
        seed: of forests and folds.

    Returns:
        Shares that sum to 1 (all 0 where none matters), the greatest first, with their spread over folds; None below 8
        scored trials, or where all scores are equal.
    """
    scored = [(values, float(score)) for values, score in trials if score is not None and np.isfinite(score)]
    if len(scored) < FEWEST or len({score for _, score in scored}) == 1:
        return None
    known = learners()
    x, categorical = matrix(space, [values for values, _ in scored])
    y = np.array([score for _, score in scored])
    rng, drops, guesses = np.random.RandomState(seed), [], np.empty_like(y)
    # Two rounds of folds: one division of few trials is a matter of luck.
    for fold, (train, held_out) in enumerate(_folds(known.KFold, len(y), seed)):
        forest = _forest(categorical, seed + fold).fit(x[train], y[train])
        guesses[held_out], mattered = _permuted(forest, x[held_out], y[held_out], rng)
        drops.append(mattered)
    each = np.maximum(np.array(drops), 0)
    mean = np.maximum(np.mean(drops, axis=0), 0)
    total = float(mean.sum())
    order = sorted(range(len(space.names)), key=lambda i: (-mean[i], i))
    share = mean / total if total > 0 else mean
    deviation = each.std(axis=0) / total if total > 0 else np.zeros_like(mean)
    return Importance(
        {space.names[i]: float(share[i]) for i in order},
        {space.names[i]: float(deviation[i]) for i in order},
        float(known.r2_score(y, guesses)),
        len(scored),
    )


def _permuted(forest: Any, x: Array, y: Array, rng: np.random.RandomState) -> tuple[Array, Array]:
    """What a forest says of rows that it has not seen [n], and how much its mean squared error grows when a column of
    them is permuted [columns]: scikit-learn's `permutation_importance` to the last digit. All permuted copies are asked
    about at once, since a call of a forest takes as long as thousands of rows do.
    """
    copies, seed = [x], rng.randint(np.iinfo(np.int32).max + 1)
    for column in range(x.shape[1]):
        draw, order, copy = np.random.RandomState(seed), np.arange(len(x)), x.copy()
        for _ in range(REPEATS):
            draw.shuffle(order)
            copy[:, column] = copy[order, column]
            copies.append(copy.copy())
    found = forest.predict(np.concatenate(copies)).reshape(len(copies), len(x))
    errors = np.mean((y - found) ** 2, axis=1)
    return found[0], np.mean(errors[1:].reshape(x.shape[1], REPEATS) - errors[0], axis=1)


def _folds(kind: Any, count: int, seed: int) -> list[tuple[Any, Any]]:
    parts = max(2, min(FOLDS, count // 4))
    return [
        split
        for turn in range(2)
        for split in kind(parts, shuffle=True, random_state=2 * seed + turn).split(np.zeros(count))
    ]


def learners() -> SimpleNamespace:
    """What is taken of scikit-learn. Its import takes a second: who will be asked for `importance` later calls this."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    return SimpleNamespace(
        ColumnTransformer=ColumnTransformer, RandomForestRegressor=RandomForestRegressor, r2_score=r2_score,
        KFold=KFold, make_pipeline=make_pipeline, OneHotEncoder=OneHotEncoder,
    )  # fmt: skip


def _forest(categorical: list[int], seed: int) -> Any:
    known = learners()
    # Inside the pipeline, so that all columns of one setting are permuted together.
    encoder = known.ColumnTransformer(
        [("choice", known.OneHotEncoder(handle_unknown="ignore"), categorical)], remainder="passthrough"
    )
    return known.make_pipeline(encoder, known.RandomForestRegressor(TREES, min_samples_leaf=2, random_state=seed))


def matrix(space: Space, trials: Sequence[Mapping[str, Any]]) -> tuple[Array, list[int]]:
    """Values as numbers.

    Args:
        space: the settings.
        trials: values of each by setting; one that was not active is missing, or None.

    Returns:
        float64 [trials, settings], and the columns whose numbers name choices. Numbers on a log scale enter as
        logarithms; choices of words are numbered, choices of numbers stay numbers; what was inactive is -1 among
        choices and below every other value among numbers.
    """
    columns, categorical = [], []
    for place, name in enumerate(space.names):
        values = [_number(row.get(name)) for row in trials]
        if any(isinstance(v, str) for v in values):
            known = {v: float(i) for i, v in enumerate(dict.fromkeys(v for v in map(str, values) if v != "None"))}
            columns.append([known.get(str(v), -1.0) for v in values])
            categorical.append(place)
            continue
        numbers = np.array([np.nan if v is None else float(v) for v in values])
        if any(d.log for d in space.dimensions if d.name == name):
            numbers = np.log(numbers)
        absent = (np.nanmin(numbers) if np.isfinite(numbers).any() else 0.0) - 1
        columns.append(np.where(np.isnan(numbers), absent, numbers).tolist())
    return np.array(columns, np.float64).T, categorical


def _number(value: Any) -> Any:
    """A width of one layer as its number; several layers, and words, as text."""
    if isinstance(value, list | tuple):
        return float(value[0]) if len(value) == 1 else "x".join(map(str, value))
    return value if value is None or isinstance(value, str) else float(value)
