"""What keeps a run from starting, found before anything is written; and the short look at the data before it does."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import tasks
from transferkit.config import Given, Settings
from transferkit.config.values import POLICY
from transferkit.console import Reporter
from transferkit.data.containers import bucket
from transferkit.data.images import tones
from transferkit.data.images.decode import Intensity
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.samples import Pixels, Samples, shown
from transferkit.data.threads import map_ordered
from transferkit.errors import ConfigError, DataError, nearest, raise_problems

if TYPE_CHECKING:
    from transferkit.data.audit.audit import Audit


def problems(settings: Given, offline: bool) -> list[str]:
    """What is wrong with backbone and metric; settings by themselves are checked by `config.make`.

    Args:
        settings: as they were given, which need not be valid.
        offline: whether weights may not be fetched.

    Returns:
        Problems, each with its remedy; empty if there is none.
    """
    from transferkit.backbones.build import check
    from transferkit.data.augmentation.augmentation_config import augmentation
    from transferkit.evaluation.metric_registry import goal, known, names

    found = []
    name, size = settings.get("backbone"), str(settings.get("image_size", ""))
    if isinstance(name, str):
        policy = str(settings.get("unfreeze", "none"))
        # A malformed policy or size is reported by `make`, once.
        policy = policy if POLICY.fullmatch(policy) else "none"
        pixels = int(size) if size.isdecimal() and len(size) < 10 and int(size) >= 8 else None
        weights, pooler = str(settings.get("weights", "auto")), settings.get("pooling") == "pooler"
        found += check(name.strip(), pixels, policy, weights, offline, pooler)
    augment = settings.get("augment", "")
    if isinstance(augment, str) and "=" in augment:
        try:
            if augmentation(augment).is_none:
                found.append(f"--augment {augment} changes nothing; widen a range, or use --augment none")
        except ConfigError as error:
            found.append(f"--augment: {error}")
    metric, task = settings.get("metric", "auto"), settings.get("task", "auto")
    try:
        if metric != "auto" and known(str(metric)) is None:
            hint = nearest(str(metric), names())
            found.append(f"--metric {metric} is unknown; choose from {', '.join(names())}{hint}")
        elif metric != "auto" and task in tasks.NAMES:
            goal(metric, task)
    except ConfigError as error:
        found.append(f"--metric {metric}: {error}")
    return found


def remote(origin: str | os.PathLike[str] | None, offline: bool) -> list[str]:
    """Data that only the network has, where it is not to be used.

    Args:
        origin: path of the data, None for what is in memory.
        offline: whether the network is forbidden.
    """
    problem = None if origin is None else bucket.forbidden(origin, offline)
    return [] if problem is None else [problem]


def inside(folder: Path, origin: str | None) -> list[str]:
    """A run inside the data folder would be read as a class by the next one.

    Args:
        folder: of the run.
        origin: path of the data, None for what is in memory.
    """
    if origin is None:
        return []
    data = Path(origin).expanduser()
    if not data.is_dir() or not folder.absolute().resolve().is_relative_to(data.resolve()):
        return []
    return [f"--output {folder} lies inside the data {origin}, which is never written to; choose a folder outside"]


def check_task(samples: Samples, settings: Settings) -> None:
    """Settings that only the data can refute, and targets from which nothing can be learnt.

    Args:
        samples: the pictures.
        settings: of the run.

    Raises:
        ConfigError: a setting that does not fit the data.
        DataError: numbers that never change, or classes whose order has to be known.
    """
    from transferkit.evaluation.metric_registry import goal

    raise_problems(DataError, [*_constant_targets(samples), *_unordered(samples)])
    task, problems = samples.task, []
    if "split" in settings.model_fields_set and set(samples.split) == {"train", "val", "test"}:
        problems.append("--split has no effect: the data comes with its own train, val and test; drop it")
    if settings.metric != "auto":
        try:
            goal(settings.metric, task)
        except ConfigError as error:
            problems.append(f"--metric {settings.metric}: {error}")
    kind = samples.kind
    if not kind.exclusive and settings.class_weights != "none":
        problems.append(f"--class-weights {settings.class_weights} is for single-label data; this is {task}")
    if not kind.smooths and settings.label_smoothing:
        problems.append("--label-smoothing has no effect on regression")
    if not kind.numbers and settings.loss not in ("auto", *kind.losses):
        problems.append(f"--loss {settings.loss} is for regression; pass --task regress, or drop it")
    if kind.numbers and settings.loss not in ("auto", *kind.losses):
        problems.append("--loss crossentropy is for classification; regression has squared, absolute, huber")
    raise_problems(ConfigError, problems)


def _unordered(samples: Samples) -> list[str]:
    return [samples.kind.unordered(samples.classes)] if samples.kind.ordered and not samples.ordered else []


def _constant_targets(samples: Samples) -> list[str]:
    """Numbers to predict that are the same in every picture (as one class alone is refused)."""
    if not samples.kind.numbers or not len(samples):
        return []
    values = samples.targets
    return [
        f"the target {shown(name)} is constant: {values[0, t]:.9g} in all {len(samples)} pictures, so that nothing can "
        "be learnt from it; give values that differ, or remove its column"
        for t, name in enumerate(samples.classes)
        if (values[:, t] == values[0, t]).all()
    ]


def check_depth(samples: Samples, intensity: Intensity) -> None:
    """Raise where `--intensity percentile` would change nothing.

    Args:
        samples: the pictures.
        intensity: how it is to be scaled.

    Raises:
        ConfigError: no picture is grey of more than 8 bits.
    """
    if intensity == "full" or any(map_ordered(is_deep, samples.sources())):
        return
    raise ConfigError(f"--intensity {intensity} has no effect: no picture is grey of more than 8 bits; drop it")


def is_deep(source: Path | Pixels) -> bool:
    """Whether a picture is grey of more than 8 bits, which `--intensity` bears on."""
    if not isinstance(source, Path):
        return False
    with suppress(PictureError):
        head = read_header(source)
        return head.format != "DICOM" and tones.is_deep(head.mode)
    return False


def short_check(audit: Audit, origin: str | None, settings: Settings, reporter: Reporter) -> None:
    """Say what headers and hashes show, and which command shows it all. Stops nothing: a split that leaks does.

    Args:
        audit: of the pictures.
        origin: path of the data, None for what is in memory.
        settings: of the run; the command repeats what they leave out.
        reporter: is told.
    """
    if not audit.brief():
        return
    more = ["--exclude-file", settings.exclude_file] if settings.exclude_file else []
    more += [word for item in settings.exclude for word in ("--exclude", item)]
    where = ""
    if origin is not None:
        where = f"; to see them: {shlex.join(['transferkit', 'data', 'check', origin, *more])}"
    # A warning is recorded in run.json.
    (reporter.warn if audit.errors else reporter.say)(f"data: found {audit.brief()}{where}")
