"""Which network suits these pictures? Candidates ranked by what a linear probe makes of their features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from transferkit import compute
from transferkit.backbones import build as networks
from transferkit.console import Reporter
from transferkit.data.images.decode import Intensity
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import fold_indices, split
from transferkit.errors import BackboneError, ConfigError, DataError, raise_problems
from transferkit.evaluation import charts, transferability
from transferkit.evaluation.plot_style import save
from transferkit.quantities import plural
from transferkit.runs import preflight
from transferkit.runs.network_scores import RankedBackbone, candidates, probe
from transferkit.storage import ready_cache

FOLDS = (5, 3, 2)  # the first that the rarest class allows
PICTURES = 1000


def recommend(
    samples: Samples, names: Sequence[str] = (), *, pictures: int = PICTURES, seed: int = 0, offline: bool = False,
    intensity: Intensity = "full", reporter: Reporter | None = None,
) -> list[RankedBackbone]:  # fmt: skip
    """Networks, best first, by a cross-validated linear probe on their frozen features, with LogME beside it.

    Only training and validation pictures of the default split are looked at: the test split stays unseen.

    Args:
        samples: the pictures.
        names: of the networks; without any, those of `candidates()`.
        pictures: how many are looked at at most.
        seed: of the split and of the choice of pictures.
        offline: never download weights.
        intensity: how grey of more than 8 bits is scaled, as `finetune` does with it.
        reporter: is told of the progress.

    Raises:
        BackboneError, WeightsError: a network that cannot be had.
        DataError: data too small to be folded.
        ConfigError: an `intensity` that changes nothing.
    """
    reporter = reporter or Reporter(quiet=True)
    preflight.check_depth(samples, intensity)
    if pictures < 50:
        raise ConfigError(f"--pictures {pictures} is too few to tell networks apart; give 50 or more")
    chosen = candidates(names)
    raise_problems(BackboneError, [p for name in chosen for p in networks.check(name, offline=offline)])
    samples, folds = _folds(samples.hashed(), pictures, seed)
    reporter.heading(
        f"{plural(len(chosen), 'network')} on {plural(len(samples), 'picture')} (test pictures left alone)"
    )
    ready_cache(reporter.warn)
    compute.start(reporter=reporter)
    found = []
    for name in chosen:
        found.append(probe(name, samples, folds, seed, offline, reporter, intensity))
        compute.release()
    best = transferability.pareto([-c.images_per_second for c in found], [c.score for c in found])
    ranked = [RankedBackbone(**{**asdict(c), "pareto": p}) for c, p in zip(found, best, strict=True)]
    return sorted(ranked, key=lambda c: (-c.score, -c.images_per_second))


def _folds(samples: Samples, pictures: int, seed: int) -> tuple[Samples, list[tuple[np.ndarray, np.ndarray]]]:
    """Pictures of train and validation, and folds over them as positions among these."""
    for count in FOLDS:
        try:
            pairs = fold_indices(split(samples, seed=seed, folds=count))
            break
        except DataError:
            if count == FOLDS[-1]:
                raise
    known = np.sort(np.concatenate([part for _, part in pairs]))
    if len(known) > pictures:
        known = np.sort(np.random.default_rng(seed).choice(known, pictures, replace=False))
    place = np.full(len(samples), -1)
    place[known] = np.arange(len(known))
    folds = [tuple(place[part][place[part] >= 0] for part in pair) for pair in pairs]
    return samples.select(known), [(train, part) for train, part in folds if len(train) and len(part)]


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
    """Score against speed as a PNG.

    Args:
        found: what `recommend` gave.
        path: of the file.
    """
    rows: list[dict[str, object]] = [asdict(c) for c in found]
    return save(charts.speed(rows), path)
