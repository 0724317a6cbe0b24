"""Which pictures are worth a label next, by their features: typical ones first, then those a model is unsure of.

With few labels a model's doubts say little, and what helps are pictures that stand for many others (TypiClust: Hacohen,
Dekel & Weinshall 2022). Later, unsure ones that are unlike one another (Zhdanov 2019). NumPy and scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import few_threads, one_thread
from transferkit.selection import projection
from transferkit.selection.fitted import Floats, Rows, unit

Indices = npt.NDArray[np.int64]

FEW = 8  # labelled pictures a class up to which typical ones are chosen
DIRECTIONS = 128  # in which pictures are compared
CLUSTERS = 500  # at most, among which typical pictures are looked for
DENSITY = 20  # nearest others in its cluster by which a picture is typical
UNSURE = 10  # times as many unsure pictures as are asked for, among which diverse ones are looked for
MOST = 20_000  # pictures of a pool that are clustered
BLOCK = 1024  # of them compared with all others at once


@dataclass(frozen=True)
class Pick:
    """A picture of the pool that is worth a label: `stands_for` that many (itself too) where it is typical, else 0."""

    index: int
    stands_for: int = 0


def worth_labelling(
    pool: Rows, known: Rows, count: int, answers: Floats | None = None, labelled: int = 0, seed: int = 0
) -> list[Pick]:
    """Up to `count` pictures of the pool, the most useful first.

    Args:
        pool: features float32 [M, D] of pictures without labels.
        known: those of pictures that have one, or will have one soon, [N, D].
        count: how many are wanted.
        answers: a model's probabilities [M, C] for the pool; None where there is no model.
        labelled: pictures that the model learnt from.
        seed: of the clustering.
    """
    some = np.arange(len(pool))
    if len(pool) > MOST:
        some = np.sort(np.random.default_rng(seed).permutation(len(pool))[:MOST])
    z, others = _comparable(pool[some], known)
    count = min(count, len(some))
    with few_threads(pool.size):
        if answers is None or labelled < FEW * answers.shape[1]:
            found = typical(z, others, count, seed)
        else:
            found = [Pick(i) for i in unsure(z, answers[some], count, seed)]
    return [Pick(int(some[pick.index]), pick.stands_for) for pick in found]


def typical(pool: Rows, known: Rows, count: int, seed: int) -> list[Pick]:
    """Of clusters that hold the fewest known pictures, the largest first, each one's densest picture.

    Args:
        pool: rows [n, d] of the pictures without labels.
        known: those of the pictures with labels.
        count: how many are picked.
        seed: of the clusters.
    """
    every = np.concatenate([known, pool])
    total = min(len(known) + count, CLUSTERS, len(every))
    cluster = _clusters(every, max(total, 1), seed, None)
    taken = np.bincount(cluster[: len(known)], minlength=total)
    of_pool = cluster[len(known) :]
    left = {c: np.flatnonzero(of_pool == c) for c in range(total)}
    found: list[Pick] = []
    while len(found) < count:
        c = min((c for c in left if len(left[c])), key=lambda c: (taken[c], -len(left[c])))
        members = left[c]
        best = members[int(np.argmax(_density(pool[members])))]
        found.append(Pick(int(best), len(members)))
        left[c], taken[c] = members[members != best], taken[c] + 1
    return found


def unsure(pool: Rows, answers: Floats, count: int, seed: int) -> list[int]:
    """Those between whose two likeliest answers there is least, one of each kind: the nearest to the centre of each of
    `count` clusters of them, in which a picture weighs by how unsure it is. The least sure first.

    Args:
        pool: rows [n, d] of the pictures without labels.
        answers: to them, [n, C].
        count: how many are picked.
        seed: of the clusters.
    """
    two = np.sort(answers, axis=1)[:, -2:]
    doubt = 1 - (two[:, 1] - two[:, 0])
    drawn = np.random.default_rng(seed).permutation(len(pool))  # of those that are as unsure, not the first in a folder
    first = drawn[np.argsort(-doubt[drawn], kind="stable")][: UNSURE * count]
    z, weight = pool[first], np.maximum(doubt[first], 1e-6)
    cluster = _clusters(z, min(count, len(z)), seed, weight)
    chosen = []
    for c in np.unique(cluster):
        members = np.flatnonzero(cluster == c)
        centre = np.average(z[members], axis=0, weights=weight[members])
        chosen.append(int(members[np.argmin(((z[members] - centre) ** 2).sum(1))]))
    taken = set(chosen)
    spare = [i for i in range(len(first)) if i not in taken]  # clusters that no picture is in
    chosen += spare[: count - len(chosen)]
    return [int(first[i]) for i in sorted(chosen, key=lambda i: -doubt[first[i]])]


def _comparable(pool: Rows, known: Rows) -> tuple[Rows, Rows]:
    """Both standardised, in few directions and of length 1."""
    every = np.concatenate([pool, known])
    found = projection.fit(every, 0, every.shape[1], DIRECTIONS)
    return unit(found(pool)), unit(found(known))


def _clusters(z: Rows, count: int, seed: int, weight: Floats | None) -> Indices:
    """The cluster [n] of each row."""
    import warnings

    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    kind = KMeans if len(z) <= 5000 else MiniBatchKMeans
    # On a busy machine, threads for steps this small cost many times what they save.
    with warnings.catch_warnings(), one_thread(None):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different pictures than clusters
        found = kind(count, random_state=seed, n_init=1).fit_predict(z.astype(np.float64), sample_weight=weight)
    return np.asarray(found, np.int64)


def _density(z: Rows) -> Floats:
    """One over the mean distance to the nearest others; alone, a picture is as dense as any."""
    if len(z) == 1:
        return np.ones(1)
    squares = (z**2).sum(1)
    found = np.empty(len(z))
    for start in range(0, len(z), BLOCK):  # of a pool in one cluster the whole table would take gigabytes
        part = slice(start, start + BLOCK)
        distances = np.sqrt(np.maximum(squares[part, None] + squares[None] - 2 * z[part] @ z.T, 0))
        count = min(DENSITY + 1, len(z))
        near = np.sort(np.partition(distances, count - 1, axis=1)[:, :count], axis=1)[:, 1:]
        found[part] = 1 / (near.mean(1) + 1e-9)
    return found
