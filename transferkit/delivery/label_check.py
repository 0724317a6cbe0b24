"""Labels that are probably wrong, among a run's own pictures: ranked by the run's pretrained network, for people.

Every picture is judged, those of the test split too, by models that never saw its label. That serves cleaning the
data only: nothing of it reaches a score, a choice or a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transferkit import tasks, text
from transferkit.console import Reporter
from transferkit.data.audit.checks import LabelIssue
from transferkit.data.containers import places
from transferkit.data.readers.cells import in_cell
from transferkit.data.samples import Samples
from transferkit.data.source import ScanOptions
from transferkit.data.splitting.units import units_of
from transferkit.errors import DataError, RunError
from transferkit.runs import pictures
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import given
from transferkit.runs.run_record import RunRecord
from transferkit.storage import ready_cache

SHOWN = 60
_AT_ONCE = 256  # rows read from the store together


def source_of(run: Path) -> tuple[str, ScanOptions]:
    """A finished run's data, and the `task` and exclusions it was read with. Raises DataError where it is gone."""
    manifest = Layout(run).complete()
    origin, settings = manifest.data.path, manifest.config
    if origin is None or not places.exists(Path(origin).expanduser()):
        gone = f"its data {text.shown(origin or '')} is no longer there; put it back"
        raise DataError(
            f"the data of run {text.shown(run)} cannot be read again: {gone if origin else 'it was trained on arrays'}"
        )
    task = tasks.named(settings.task)
    left_out = settings.exclude_file
    from_there = Path(manifest.working_directory) / str(left_out)
    if left_out and from_there.is_file():
        left_out = str(from_there)
    how: ScanOptions = {
        "task": task, "exclude": settings.exclude, "exclude_file": left_out, "order": settings.classes,
        "reading": pictures.reading_of(manifest),
    }  # fmt: skip
    return origin, how


def own_samples(layout: Layout) -> Samples:
    """The pictures the run was made from (those of its splits.csv), with their hashes and present labels.

    Raises DataError where the data is gone or none of it is left.
    """
    origin, _ = source_of(layout.folder)
    saved, metrics = layout.read_splits(), layout.read_metrics()
    samples = pictures.own(layout, saved, metrics.task, metrics.classes)
    if not len(samples):
        raise DataError(f"none of the {len(saved)} pictures of run {layout.folder} is left in {origin}")
    return samples


def label_check(run: Path, reporter: Reporter, shown: int = SHOWN) -> list[LabelIssue]:
    """The most doubtful labels of a run's pictures, by the chance that the label is right, smallest first. Nothing is
    written to the run.

    Args:
        run: its folder.
        reporter: is told of the progress.
        shown: how many.

    Raises:
        RunError, DataError: as `label_issues`.
    """
    layout = Layout(run)
    layout.complete()
    return label_issues(layout, own_samples(layout), reporter)[:shown]


def label_issues(layout: Layout, samples: Samples, reporter: Reporter) -> list[LabelIssue]:
    """All pictures by the chance that their label is right, smallest first.

    Features come from the store as training left them; what is missing is computed.

    Args:
        layout: of the run.
        samples: its pictures, hashed.
        reporter: is told of the progress.

    Raises:
        RunError: the run is not finished.
        DataError: its data has numbers for labels.
    """
    from transferkit.evaluation.label_issues import find_label_issues

    manifest = layout.complete()
    if samples.kind.numbers:
        raise DataError(
            f"run {layout.folder} predicts numbers; for those, look at the largest errors in {layout.predictions}"
        )
    features = _features(samples, manifest, reporter)
    # Copies must not vouch for each other, nor pictures of one group.
    kin = {i: str(number) for number, members in enumerate(units_of(samples)) for i in members}
    groups = [kin[i] for i in range(len(samples))]
    found = find_label_issues(features, samples.targets, samples.task, len(samples.classes), groups, manifest.seed)
    count = int(found.likely.sum())
    how_many = (
        f"about {count} of {len(samples)} labels are probably wrong"
        if count
        else f"which of the {len(samples)} labels are wrong, if any, cannot be told from the judges' own errors"
    )
    reporter.say(f"{how_many}; the most doubtful come first")
    return [
        _label_issue(samples, int(i), int(found.suggested[i]), float(found.confidence[i]), bool(found.likely[i]))
        for i in found.ranking
    ]


def _label_issue(samples: Samples, i: int, other: int, chance: float, likely: bool) -> LabelIssue:
    """Of several labels, the one that is doubted is turned: added, or taken away."""
    if not samples.kind.exclusive:
        turned = samples.targets[i].copy()
        turned[other] = 1 - turned[other]
        suggested = ";".join(in_cell(name) for name, on in zip(samples.classes, turned, strict=True) if on)
    else:
        suggested = samples.classes[other]
    return LabelIssue(samples.paths[i], samples.label(i), suggested, round(min(1.0, max(0.0, chance)), 6), likely)


def _features(samples: Samples, manifest: RunRecord, reporter: Reporter) -> np.ndarray:
    """Pooled features [N, D] by the run's pretrained network, averaged over the run's views.

    Averaged over views they find more: of 30 flipped labels in TrashNet 22.7 instead of 21.4 among the 60 most
    doubtful (MobileNet 0.25, mean of 12 draws).
    """
    from transferkit import compute
    from transferkit.backbones.build import build
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.features import engine_choice
    from transferkit.features.frozen import Frozen
    from transferkit.features.precision import Precision
    from transferkit.features.row_sources import Views

    ready_cache(reporter.warn)
    compute.start(reporter=reporter)
    # Only what was given: a default spelt out may contradict another setting.
    s = given(manifest)
    scaling, pooler = None if s.scaling == "auto" else s.scaling, s.pooling == "pooler"
    backbone = build(s.backbone, s.weights, s.image_size, s.seed, True, scaling, reporter.say, pooler)
    if backbone.weights_sha256 != manifest.weights.sha256:
        raise RunError(f"the weights of {s.backbone} are not those the run was made with; put them back")
    made = s.full_views if manifest.views is None else manifest.views.chosen
    views = Views(DecodeSettings(backbone.size, s.resize, s.intensity), augmentation(s.augment), made, s.seed)
    count = 1 if s.augment == "none" else 1 + made
    precision = manifest.precision
    computed = Precision(precision.name, precision.how, precision.reason)
    if computed.engine not in ("", *engine_choice.offered()):
        computed = Precision()
    frozen = Frozen(backbone, s, views, True, reporter, computed)
    rows = frozen.pooled()
    wanted = {i: range(count) for i in range(len(samples))}
    frozen.prepare([rows], samples, wanted)
    source = frozen.source(rows, samples, wanted)
    blocks = np.array_split(np.arange(len(samples)), -(-len(samples) // _AT_ONCE))
    return np.concatenate([_mean(source, block, count) for block in blocks])


def _mean(source: Any, block: np.ndarray, count: int) -> np.ndarray:
    """Features [n, D] of some pictures, the mean of their views; maps are averaged over their places."""
    taken = [source.take(block, np.full(len(block), view, np.int64))[0] for view in range(count)]
    mean: np.ndarray = np.mean(taken, axis=0)
    return mean.mean(axis=(1, 2)) if mean.ndim == 4 else mean
