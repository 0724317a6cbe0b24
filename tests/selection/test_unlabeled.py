"""A pool of pictures without labels: it helps where classes are clusters, and what does not help is not used."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.evaluation.metric_registry import goal
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.choice import HeadChoice, choose, sets
from transferkit.selection.fitted import Kernel, Neighbours
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Ridge
from transferkit.selection.unlabeled import WAYS, Taught, Way, WayScore, best_way, merged, nearest, spread

CLASSES, WIDTH = 4, 20
Chosen = tuple[HeadChoice, list[list[np.ndarray]], Judge]


def curves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, 1, WIDTH] along a closed curve for each class, which a few labels do not show; and their classes [n]."""
    rng, shapes = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(CLASSES, 4, WIDTH))
    labels, t = np.arange(n) % CLASSES, rng.uniform(0, 2 * np.pi, n)
    along = np.stack([np.sin(t), np.cos(t), np.sin(2 * t), np.cos(2 * t)], axis=1)
    x = np.einsum("nk,nkd->nd", along, shapes[labels]) + 0.15 * rng.normal(size=(n, WIDTH))
    return x[:, None].astype(np.float32), labels


def chosen(x: np.ndarray, labels: np.ndarray, seed: int, learner: Learner | None = None) -> Chosen:
    order = [np.random.default_rng(10 * seed + r).permutation(len(x)) for r in range(2)]
    rounds = [np.array_split(one, 5) for one in order]
    judge = Judge("classify", labels, tuple("abcd"), goal("accuracy", "classify"))
    every = sets({"all": (0, WIDTH)}, [learner] if learner else [Ridge(), KernelRidge()])
    return choose(x, np.eye(CLASSES)[labels], rounds, every, judge), rounds, judge


def asked(pool: np.ndarray, seed: int, shots: int = 6) -> tuple[WayScore, float]:
    """What a pool comes to on `shots` labels a class, and the accuracy on new pictures that it gains in truth."""
    x, labels = curves(CLASSES * shots, 100 + seed)
    found, rounds, judge = chosen(x, labels, seed)
    taught = Taught(x, np.eye(CLASSES)[labels], pool, found.trial)
    best, _ = best_way(taught, rounds, judge)
    new, truth = curves(500, 900 + seed)
    fitted = taught.fit(best.way, np.arange(len(x)))
    plain = found.trial.candidate.learner.fit(taught.z, taught.y, found.trial.setting)
    with_it, without = (f(taught.projection(new[:, 0])).argmax(1) for f in (fitted, plain))
    return best, float((with_it == truth).mean() - (without == truth).mean())


def test_where_classes_are_clusters_a_pool_is_kept_and_helps_on_new_pictures() -> None:
    found = [asked(curves(400, seed)[0][:, 0], seed) for seed in range(3)]
    assert all(best.helps for best, _ in found)
    assert np.mean([gain for _, gain in found]) > 0.1


def test_a_pool_of_noise_is_not_used() -> None:
    noise = [np.random.default_rng(seed).normal(scale=3, size=(400, WIDTH)).astype(np.float32) for seed in range(3)]
    found = [asked(pool, seed) for seed, pool in enumerate(noise)]
    assert sum(best.helps for best, _ in found) <= 1
    assert all(best.gain <= best.error for best, gain in found if gain < -0.05)  # nothing that does harm is let in


def test_left_out_pictures_have_no_part_in_what_the_pool_is_taken_for() -> None:
    """Or the score of learning from a pool would be flattered: what they look like and are labelled changes nothing."""
    x, labels = curves(40, 0)
    found, _, _ = chosen(x, labels, 0, Ridge())
    fold = np.arange(8)
    for way in WAYS:
        taught = Taught(x, np.eye(CLASSES)[labels], curves(200, 1)[0][:, 0], found.trial)
        before = taught.fit(way, np.arange(8, 40))
        other = Taught(x, np.eye(CLASSES)[(labels + (np.arange(40) < 8)) % CLASSES], taught.pool, found.trial)
        after = other.fit(way, np.arange(8, 40))
        assert not isinstance(before, Neighbours)
        assert not isinstance(after, Neighbours)
        assert np.array_equal(before.weights, after.weights)
        whole = next(iter(taught.out_of_fold(way, [[fold, np.arange(8, 40)]])))
        assert np.allclose(whole[fold], before(taught.z[fold, 0]))


def test_labels_do_not_spread_through_pictures_that_are_left_out() -> None:
    """Two of the pool, joined to the labelled one only by way of a picture that is left out."""
    angles = np.deg2rad([0, 30, 120, 60, 150])
    z = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    graph = nearest(z, 4)
    hot = np.eye(2)[[0, 0, 1]]
    whole = spread(*graph, np.array([0, 1, 2]), hot, 3)
    without = spread(*graph, np.array([0, 2]), hot[[0, 2]], 3)
    moved = z.copy()
    moved[1] = [0, -1]
    elsewhere = spread(*nearest(moved, 4), np.array([0, 2]), hot[[0, 2]], 3)
    assert np.allclose(without, elsewhere)
    assert not np.allclose(whole, without)


def test_labels_spread_to_neighbours_and_no_class_takes_all() -> None:
    z = np.array([[1, 0], [0, 1], [1, 0.1], [0.9, 0.2], [0.1, 1], [0.2, 0.9]], np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    shares = spread(*nearest(z, 2), np.array([0, 1]), np.eye(2), 2)
    assert shares.argmax(1).tolist() == [0, 0, 1, 1]
    assert np.allclose(shares.sum(1), 1)


@pytest.mark.parametrize("views", [1, 3])
def test_a_picture_of_the_pool_is_kept_once_in_what_is_shipped(views: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(20) % CLASSES
    x = rng.normal(size=(20, views, WIDTH)).astype(np.float32)
    found, _, _ = chosen(x, labels, 0, KernelRidge())
    taught = Taught(x, np.eye(CLASSES)[labels], rng.normal(size=(30, WIDTH)).astype(np.float32), found.trial)
    small = taught.fit(Way(), np.arange(20))
    assert isinstance(small, Kernel)
    assert len(small.supports) == 20 * views + 30
    z = np.concatenate([taught.z, np.repeat(taught.p[:, None], views, axis=1)])
    whole = KernelRidge().fit(z, np.eye(CLASSES)[np.arange(50) % CLASSES], found.trial.setting)
    assert isinstance(whole, Kernel)
    assert np.allclose(merged(whole, 20, views)(taught.p), whole(taught.p), atol=1e-4)
