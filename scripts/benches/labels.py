"""What pictures without labels are worth, and what choosing the next to label is worth over drawing at random."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import ASSETS, MOBILENET, TRASHNET, Bar, measurement, scratch

CIFAR = ASSETS / "data" / "cifar10.zip"
TESTED = 400
SHOTS = (5, 10, 20)  # labelled pictures a class, beside a pool of all others
STEPS = (24, 48, 96, 192)  # labelled pictures in all, of which each step chooses what the one before had not
BARS = (
    *(
        Bar(f"pool/{shots}/gain", ">=", 0.0, f"test accuracy gained by a pool, {shots} labels a class, TrashNet, mean")
        for shots in SHOTS
    ),
    Bar("strangers/gain", ">=", -0.005, "… by a pool of other things (CIFAR-10), 10 labels a class, mean"),
    *(
        Bar(
            f"next/{step}/gain",
            ">=",
            0.0,
            f"test accuracy of {step} chosen pictures above {step} drawn, TrashNet, mean",
        )
        for step in STEPS[:-1]
    ),
)


@dataclass(frozen=True)
class Rows:
    """Tapped rows x [n, V, D], classes y [n], where sets of columns lie."""

    x: np.ndarray
    y: np.ndarray
    sets: dict[str, tuple[int, int]]


def rows(data: Path, backbone: str, weights: str = "auto", most: int | None = None) -> Rows:
    """Every picture once, and two changed views of each, through the frozen network."""
    from transferkit import compute
    from transferkit.backbones.build import build
    from transferkit.config import Settings
    from transferkit.console import Reporter
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.features.frozen import Frozen
    from transferkit.features.row_sources import Views

    compute.start()
    samples = scan(data).hashed()
    if most is not None:
        samples = samples.select(np.sort(np.random.default_rng(0).permutation(len(samples))[:most]))
    network = build(backbone, weights, offline=True)
    views = Views(DecodeSettings(network.size), augmentation("light"), 2, 0)
    frozen = Frozen(network, Settings(backbone=backbone), views, True, Reporter(quiet=True))
    taps, kind = frozen.tapped()
    wanted = {i: range(3) for i in range(len(samples))}
    frozen.choose_precision(kind, samples, 3 * len(samples))
    frozen.prepare([kind], samples, wanted)
    source, every = frozen.source(kind, samples, wanted), np.arange(len(samples))
    x = np.stack([source.take(every, np.full(len(every), view))[0] for view in range(3)], axis=1)
    return Rows(x, samples.targets, taps.sets())


def chosen(rows: Rows, learnt: np.ndarray, seed: int, pool: np.ndarray | None = None) -> tuple[Callable[..., Any], Any]:
    """What `finetune` would choose and fit on the pictures at `learnt` (with the clean rows of a `pool`): answers for
    rows [n, D]; and what the pool came to."""
    from sklearn.model_selection import StratifiedKFold

    from transferkit.evaluation import metric_registry
    from transferkit.selection import choice, unlabeled
    from transferkit.selection.candidate_scores import Judge
    from transferkit.selection.candidates import learners

    x, y = rows.x[learnt], rows.y[learnt]
    classes = int(rows.y.max()) + 1
    folds = min(5, int(np.bincount(y, minlength=classes)[np.unique(y)].min()))
    drawn = [StratifiedKFold(max(folds, 2), shuffle=True, random_state=10 * seed + r).split(y, y) for r in range(2)]
    rounds = [[held for _, held in one] for one in drawn]
    goal = metric_registry.goal("accuracy", "classify")
    judge = Judge("classify", y, tuple(map(str, range(classes))), goal)
    hot = np.eye(classes)[y]
    found = choice.choose(x, hot, rounds, choice.sets(rows.sets, learners("classify")), judge, seed)
    projection, fitted = choice.fit(x, hot, found.trial)
    if pool is None:
        return lambda some: fitted(projection(some)), None
    taught = unlabeled.Taught(x, hot, pool, found.trial)
    best, _ = unlabeled.best_way(taught, rounds, judge)
    with_it = taught.fit(best.way, np.arange(len(y)))
    own = taught.projection
    return lambda some: (fitted(projection(some)), with_it(own(some))), best


def pool_trial(rows: Rows, learnt: np.ndarray, pool: np.ndarray, tested: np.ndarray, seed: int) -> dict[str, Any]:
    """Test accuracy without a pool, with it, and as the rule decides."""
    answers, best = chosen(rows, learnt, seed, pool)
    without, with_it = (float((a.argmax(1) == rows.y[tested]).mean()) for a in answers(rows.x[tested, 0]))
    return {
        "without": without, "with": with_it, "kept": best.helps, "gain": with_it - without if best.helps else 0.0,
    }  # fmt: skip


def shots(rows: Rows, count: int, seed: int, within: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`count` pictures a class to learn from, the pool, and the tested ones; of the pictures `within`."""
    order = np.random.default_rng(seed).permutation(within)
    tested, others = order[:TESTED], order[TESTED:]
    learnt = np.concatenate([others[rows.y[others] == c][:count] for c in np.unique(rows.y)])
    return learnt, np.setdiff1d(others, learnt), tested


def next_trial(rows: Rows, seed: int, how: str, within: np.ndarray, few: int | None = None) -> list[float]:
    """Test accuracy at each of `STEPS`, the pictures chosen `how`: as `label` does, or "random"."""
    from transferkit.selection import active_learning

    rng = np.random.default_rng(seed)
    order = rng.permutation(within)
    tested, pool = order[:TESTED], order[TESTED:]
    start, stop = rows.sets["last"]
    z = np.ascontiguousarray(rows.x[:, 0, start:stop])
    learnt, scores, answers = np.zeros(0, np.int64), [], None
    before, active_learning.FEW = active_learning.FEW, active_learning.FEW if few is None else few
    for step in STEPS:
        rest, count = np.setdiff1d(pool, learnt), step - len(learnt)
        if how == "random":
            picked = rng.permutation(rest)[:count]
        else:
            p = None if answers is None else _softmax(answers(rows.x[rest, 0]))
            picks = active_learning.worth_labelling(z[rest], z[learnt], count, p, len(learnt), seed)
            picked = rest[[pick.index for pick in picks]]
        learnt = np.concatenate([learnt, picked])
        answers = _plain(rows, learnt)
        scores.append(float((answers(rows.x[tested, 0]).argmax(1) == rows.y[tested]).mean()))
    active_learning.FEW = before
    return scores


def _plain(rows: Rows, learnt: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Logistic regression on the last layer: the same for both sides, however few pictures a class has."""
    from transferkit.selection import projection
    from transferkit.selection.linear import Logistic

    found = projection.fit(rows.x[learnt, 0], *rows.sets["last"])
    hot = np.eye(int(rows.y.max()) + 1)[rows.y[learnt]]
    fitted = Logistic().fit(found(rows.x[learnt]), hot, {"C": 0.03})
    return lambda some: np.asarray(fitted(found(some)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def _over(found: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("without", "with", "gain")
    mean = {name: statistics.mean(row[name] for row in found) for name in names}
    return {**mean, "spread": statistics.stdev(row["gain"] for row in found), "kept": sum(r["kept"] for r in found)}


@measurement("labels", BARS)
@click.option("--seeds", default=5, show_default=True, help="Each seed draws test, labelled pictures and pool again.")
def measure(quick: bool, seeds: int) -> dict[str, Any]:
    """Test accuracy with and without a pool, and of chosen against drawn pictures; `efficientnet_lite0`'s features, and
    `mobilenet_0.25`'s for the pool."""
    seeds = 2 if quick else seeds
    with scratch():
        of = rows(TRASHNET, "efficientnet_lite0", most=1500 if quick else None)
        small = rows(TRASHNET, "mobilenet_0.25", str(MOBILENET), most=1500 if quick else None)
        strange = rows(CIFAR, "efficientnet_lite0", most=500 if quick else 1500)
    # The other half is what the ways and limits in `selection.unlabeled` and `selection.active_learning` were found on.
    every = np.random.default_rng(123).permutation(len(of.y))[len(of.y) // 2 :]
    found: dict[str, Any] = {"seeds": seeds, "pool": {}, "pool_mobilenet": {}, "next": {}}
    for key, one in (("pool", of), ("pool_mobilenet", small)):
        for count in SHOTS:
            drawn = [shots(one, count, seed, every) for seed in range(seeds)]
            trials = [pool_trial(one, a, one.x[b, 0], c, seed) for seed, (a, b, c) in enumerate(drawn)]
            found[key][str(count)] = _over(trials)
            click.echo(f"{key} {count}: {found[key][str(count)]}", err=True)
    drawn = [shots(of, 10, seed, every) for seed in range(seeds)]
    found["strangers"] = _over([pool_trial(of, a, strange.x[:, 0], c, seed) for seed, (a, _, c) in enumerate(drawn)])
    ours = np.array([next_trial(of, seed, "label", every) for seed in range(seeds)])
    theirs = np.array([next_trial(of, seed, "random", every) for seed in range(seeds)])
    for number, step in enumerate(STEPS):
        gains = (ours - theirs)[:, number]
        found["next"][str(step)] = {
            "chosen": float(ours[:, number].mean()), "drawn": float(theirs[:, number].mean()),
            "gain": float(gains.mean()), "spread": float(gains.std(ddof=1)),
        }  # fmt: skip
    return found
