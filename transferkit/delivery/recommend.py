"""Which network suits these pictures? Candidates ranked by what a linear probe makes of their features."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from transferkit import compute
from transferkit.backbones import build as networks
from transferkit.backbones import bundled, published, userfile, weights
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.console import figure as written
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import fold_indices, split
from transferkit.errors import BackboneError, ConfigError, DataError, raise_problems
from transferkit.evaluation import charts, transferability
from transferkit.evaluation.figures import save
from transferkit.features.extract import FORWARD_BATCH, Views
from transferkit.features.frozen import Frozen, Rows
from transferkit.features.precision import applied
from transferkit.files import ready_cache

FOLDS = (5, 3, 2)  # the first that the rarest class allows
PICTURES = 1000
TIMED = 2  # passes of FORWARD_BATCH pictures, after one that compiles


@dataclass(frozen=True, kw_only=True)
class RankedBackbone:
    """One network on one data set. `score` is the probe's `metric` over folds, `pareto` that none is faster and as
    good, or better and as fast."""

    backbone: str
    size: int
    metric: str
    score: float
    spread: float
    logme: float
    parameters: int
    weights_bytes: int | None
    images_per_second: float
    precision: str
    pareto: bool = False


def candidates(names: Sequence[str] = ()) -> list[str]:
    """`names`, or every network whose weights are in the store or in the package."""
    if names:
        return list(dict.fromkeys(names))
    return [name for name, row in ROWS.items() if row.kind == "bundled" or weights.locate(row, row.size)]


def recommend(
    samples: Samples, names: Sequence[str] = (), *, pictures: int = PICTURES, seed: int = 0, offline: bool = False,
    reporter: Reporter | None = None,
) -> list[RankedBackbone]:  # fmt: skip
    """Candidates, best first, by a cross-validated linear probe on their frozen features, with LogME beside it.

    Only training and validation pictures of the default split with `seed` are looked at, at most `pictures` of them:
    the test split stays unseen. Without `names` they are `candidates()`. Raises BackboneError or WeightsError for
    networks that cannot be had, DataError for data too small to be folded.
    """
    reporter = reporter or Reporter(quiet=True)
    if pictures < 50:
        raise ConfigError(f"--pictures {pictures} is too few to tell networks apart; give 50 or more")
    chosen = candidates(names)
    raise_problems(BackboneError, [p for name in chosen for p in networks.check(name, offline=offline)])
    samples, folds = _folds(samples.hashed(), pictures, seed)
    reporter.heading(f"{len(chosen)} networks on {len(samples):,} pictures (test pictures left alone)")
    ready_cache(reporter.warn)
    compute.start(reporter=reporter)
    found = []
    for name in chosen:
        found.append(_judge(name, samples, folds, seed, offline, reporter))
        compute.release()
    best = transferability.pareto([-c.images_per_second for c in found], [c.score for c in found])
    ranked = [RankedBackbone(**{**asdict(c), "pareto": p}) for c, p in zip(found, best, strict=True)]
    return sorted(ranked, key=lambda c: (-c.score, -c.images_per_second))


def _folds(samples: Samples, pictures: int, seed: int) -> tuple[Samples, list[tuple[np.ndarray, np.ndarray]]]:
    """Pictures of train and validation, and folds over them as positions among these."""
    for count in FOLDS:
        try:
            pairs = fold_indices(samples, split(samples, seed=seed, folds=count))
            break
        except DataError:
            if count == FOLDS[-1]:
                raise
    known = np.sort(np.concatenate([held for _, held in pairs]))
    if len(known) > pictures:
        known = np.sort(np.random.default_rng(seed).choice(known, pictures, replace=False))
    place = np.full(len(samples), -1)
    place[known] = np.arange(len(known))
    folds = [tuple(place[part][place[part] >= 0] for part in pair) for pair in pairs]
    return samples.select(known), [(train, held) for train, held in folds if len(train) and len(held)]


def _judge(
    name: str, samples: Samples, folds: list[tuple[np.ndarray, np.ndarray]], seed: int, offline: bool,
    reporter: Reporter,
) -> RankedBackbone:  # fmt: skip
    started = time.monotonic()
    backbone = networks.build(name, seed=seed, offline=offline, reporter=reporter.say)
    settings = Settings(backbone=name, augment="none", seed=seed)
    views = Views(DecodeSettings(backbone.size), augmentation("none"), 0, seed)
    frozen = Frozen(backbone, settings, views, True, reporter)
    rows = frozen.pooled()
    wanted = {i: range(1) for i in range(len(samples))}
    frozen.choose_precision(rows, samples, len(samples))
    frozen.prepare([rows], samples, wanted)
    source = frozen.source(rows, samples, wanted)
    order = np.arange(len(samples))
    blocks = np.array_split(order, -(-len(order) // 256))
    x = np.concatenate([source.take(part, np.zeros(len(part), np.int64))[0] for part in blocks])
    probe = transferability.cross_validated_probe(x, samples.targets, folds, samples.task, samples.classes)
    found = RankedBackbone(
        backbone=name, size=backbone.size, metric=probe.metric, score=probe.score, spread=probe.spread,
        logme=transferability.logme(x, samples.targets, samples.task), parameters=backbone.model.count_params(),
        weights_bytes=_bytes(backbone, name), images_per_second=_speed(frozen, rows),
        precision=frozen.precision.name,
    )  # fmt: skip
    reporter.say(f"{shown(name)}: {probe.metric} {written(probe.score)} in {time.monotonic() - started:.0f} s")
    return found


def _speed(frozen: Frozen, rows: Rows) -> float:
    """Pictures a second through the frozen network on this machine, without decoding."""
    pixels = np.zeros((FORWARD_BATCH, *rows.model.input_shape[1:]), np.uint8)
    with applied(rows.model, frozen.precision):
        run = compute.forward(rows.model, graph_bfloat16=frozen.precision.how == "graph")
        run([pixels])
        seconds = []
        for _ in range(TIMED):
            started = time.perf_counter()
            run([pixels])
            seconds.append(time.perf_counter() - started)
    return FORWARD_BATCH / min(seconds)


def _bytes(backbone: LoadedBackbone, name: str) -> int | None:
    """Size of the weights file."""
    if backbone.row.kind == "published":
        return published.opened(name).size_bytes
    if userfile.is_file(name):
        return Path(name).stat().st_size
    if backbone.row.kind == "bundled":
        return bundled.packaged(backbone.row).weights.stat().st_size
    path = weights.locate(backbone.row, backbone.size)
    return path.stat().st_size if path else None


def as_lines(found: Sequence[RankedBackbone]) -> Iterator[str]:
    """A table for people; ● marks networks that none beats in both score and speed."""
    width = max(len(shown(c.backbone)) for c in found)
    yield (
        f"  {'network':<{width}}  {found[0].metric:>8}  {'±':>5}  {'LogME':>7}  {'parameters':>11}  {'on disk':>9}  "
        f"{'images/s':>8}  size"
    )
    for c in found:
        disk = "–" if c.weights_bytes is None else f"{c.weights_bytes / 1e6:.1f} MB"
        yield (
            f"{'●' if c.pareto else ' '} {shown(c.backbone):<{width}}  {c.score:>8.3f}  {c.spread:>5.3f}  "
            f"{c.logme:>7.3f}  {c.parameters:>11,}  {disk:>9}  {c.images_per_second:>8.0f}  {c.size}"
        )


def figure(found: Sequence[RankedBackbone], path: Path) -> Path:
    """Score against speed as a PNG."""
    rows: list[dict[str, object]] = [asdict(c) for c in found]
    return save(charts.speed(rows), path)
