"""What a network promises on some pictures: a linear probe of its frozen features, and its speed on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferkit import terms
from transferkit.backbones import build as networks
from transferkit.backbones import bundled, published, userfile, weights
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings, Intensity
from transferkit.data.samples import Samples, shown
from transferkit.evaluation import transferability
from transferkit.features.frozen import Frozen
from transferkit.features.precision import applied
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import FORWARD_BATCH, Views
from transferkit.heads import has_class_token
from transferkit.quantities import figure as written

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
    """`names`, or every network whose weights are in the package, in the store or in the hub's cache."""
    if names:
        return list(dict.fromkeys(names))
    own = [name for name, row in ROWS.items() if row.kind == "bundled" or weights.locate(row, row.size)]
    return [*own, *published.at_hand()]


def probe(
    name: str, samples: Samples, folds: list[tuple[np.ndarray, np.ndarray]], seed: int, offline: bool,
    reporter: Reporter, intensity: Intensity = "full",
) -> RankedBackbone:  # fmt: skip
    """A cross-validated linear probe of the last layer of the network `name`, on clean pictures.

    Args:
        name: of the catalog or the hub, a published folder, or a .keras file.
        samples: the pictures.
        folds: positions among these, to learn from and to judge by.
        seed: of the network, where its weights are random.
        offline: never download weights.
        reporter: is told.
        intensity: how grey of more than 8 bits is scaled.
    """
    started = time.monotonic()
    backbone = networks.build(name, seed=seed, offline=offline, reporter=reporter.say)
    for note in backbone.notes:
        reporter.say(f"{shown(name)}: {note}")
    frozen, rows, x = last_layer(backbone, name, samples, seed, reporter, intensity)
    judged = transferability.cross_validated_probe(x, samples.targets, folds, samples.task, samples.classes)
    found = RankedBackbone(
        backbone=name, size=backbone.size, metric=judged.metric, score=judged.score, spread=judged.spread,
        logme=transferability.logme(x, samples.targets, samples.task), parameters=backbone.model.count_params(),
        weights_bytes=_bytes(backbone, name), images_per_second=_speed(frozen, rows),
        precision=frozen.precision.name,
    )  # fmt: skip
    reporter.say(
        f"{shown(name)}: {terms.score(judged.metric)} {written(judged.score)} in {time.monotonic() - started:.0f} s"
    )
    return found


def last_layer(
    backbone: LoadedBackbone, name: str, samples: Samples, seed: int, reporter: Reporter, intensity: Intensity = "full"
) -> tuple[Frozen, Rows, np.ndarray]:
    """What the last layer of a network gives for clean pictures, from the store or computed.

    Args:
        backbone: the network.
        name: its name.
        samples: the pictures, hashed, and not none.
        seed: of the run.
        reporter: is told of the progress.
        intensity: how grey of more than 8 bits is scaled.

    Returns:
        What computed them, the kind of rows, and the rows, float32 [n, d].
    """
    settings = Settings(backbone=name, augment="none", seed=seed)
    if has_class_token(backbone.model.output_shape[1:]):  # as the classifier that `finetune` chooses has them
        settings = settings.model_copy(update={"pooling": "cls+mean"})
    views = Views(DecodeSettings(backbone.size, intensity=intensity), augmentation("none"), 0, seed)
    frozen = Frozen(backbone, settings, views, True, reporter)
    rows = frozen.pooled()
    wanted = {i: range(1) for i in range(len(samples))}
    frozen.choose_precision(rows, samples, wanted)
    frozen.prepare([rows], samples, wanted)
    source = frozen.source(rows, samples, wanted)
    order = np.arange(len(samples))
    blocks = np.array_split(order, -(-len(order) // 256))
    return frozen, rows, np.concatenate([source.take(part, np.zeros(len(part), np.int64))[0] for part in blocks])


def _speed(frozen: Frozen, rows: Rows) -> float:
    """Pictures a second through the frozen network on this machine, without decoding."""
    pixels = np.zeros((FORWARD_BATCH, *rows.model.input_shape[1:]), np.uint8)
    with applied(rows.model, frozen.precision):
        run = frozen.compiled(rows.model)
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
        return published.weights_bytes(name)
    if userfile.is_file(name):
        return Path(name).stat().st_size
    if backbone.row.kind == "bundled":
        return bundled.packaged(backbone.row).weights.stat().st_size
    path = weights.locate(backbone.row, backbone.size)
    return path.stat().st_size if path else None
