"""run.json: what was done, with what, on what, and the command that repeats it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from transferkit import plugins
from transferkit._version import __version__
from transferkit.backbones.catalog import ROWS
from transferkit.config import Settings, gone
from transferkit.config.declarations import AUGMENTATIONS, HEADS
from transferkit.data.containers.bucket import is_address
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits
from transferkit.errors import RunError
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.files import write_json
from transferkit.plugins import Plugin
from transferkit.record import SCHEMA_VERSION, JsonObject
from transferkit.runs import tables
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import (
    ConfigRecord,
    DataRecord,
    HardwareRecord,
    PhaseRecord,
    PluginRecord,
    PoolRecord,
    PrecisionRecord,
    RatePoint,
    RunRecord,
)
from transferkit.signals import undisguised

if TYPE_CHECKING:
    from transferkit.runs.intake import Intake
    from transferkit.training.problem import Trained
    from transferkit.training.recipe import Recipe

PACKAGES = (
    "keras", "tensorflow", "jax", "numpy", "pillow", "simplejpeg", "opencv-python-headless", "scikit-learn",
)  # fmt: skip


def versions(settings: Settings | None = None) -> dict[str, str]:
    """Versions of what decides the numbers: our own, those of libraries, and of plugins that `settings` use."""
    found = {"transferkit": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {plugin.package: plugin.version for plugin in used(settings)}


def used(settings: Settings | None) -> list[Plugin]:
    """The plugins whose names are among the settings."""
    if settings is None:
        return []
    s, metrics = settings, (*GOALS, "auto")
    # A path is no plugin's name.
    network = s.backbone.lower() if s.backbone.lower() in ROWS else s.backbone
    return plugins.used({
        "backbones": (network, ROWS), "heads": (s.head, HEADS), "augmentations": (s.augment, AUGMENTATIONS),
        "metrics": (s.metric, metrics),
    })  # fmt: skip


def hardware() -> HardwareRecord:
    """Processor, cores and memory."""
    from transferkit.features.precision import cpu_name

    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HardwareRecord(cpu=cpu_name(), cores=os.cpu_count(), memory_bytes=memory, system=platform.platform())


def data_digest(samples: Samples) -> str:
    """Changes when any picture, label, or given split changes; not when the folder moves."""
    assert samples.sha256 is not None
    labels = [samples.label(i) for i in range(len(samples))]
    return tables.data_digest(zip(samples.paths, samples.sha256, labels, strict=True), samples.classes)


def split_digest(samples: Samples, splits: Splits) -> str:
    """Changes when any picture changes sides.

    Args:
        samples: all pictures.
        splits: which part each belongs to.
    """
    return tables.split_digest(zip(samples.paths, splits.assignment, splits.fold, strict=True))


def command_line(data: str | None, settings: Settings, output: str, cache: bool | None = None) -> str:
    """What repeats a run.

    Args:
        data: its path; None for arrays.
        settings: of the run; those that were given are repeated.
        output: of the run.
        cache: what was asked for, if anything.

    Returns:
        A shell command, or for arrays a Python call.
    """
    if data is None:
        return _python_call(settings, output, cache)
    asked = {None: "", True: " --cache", False: " --no-cache"}[cache]
    return f"{repeatable(data, settings)}{asked} --output {shlex.quote(output)}"


def repeatable(data: str | None, settings: Settings) -> str:
    """The shell command without --output, for advice that adds options (arrays appear as DATA).

    Args:
        data: its path; arrays (None) appear as DATA.
        settings: of the run; those that were given are repeated.
    """
    parts = ["transferkit", "finetune", "DATA" if data is None else data]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name not in settings.model_fields_set or value is None:
            continue
        flag = "--" + name.replace("_", "-")
        if name in ("exclude", "label_column") or (name == "classes" and any("," in item for item in value)):
            parts += [word for item in value for word in (flag, item)]
        elif isinstance(value, bool):
            parts.append(flag if value else "--no-" + flag[2:])
        else:
            parts += [flag, ",".join(map(_number, value)) if isinstance(value, tuple) else _number(value)]
    return shlex.join(parts)


def _number(value: Any) -> str:
    """Shortest text that reads back as the same value: 0.7, 3, 1e-05."""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _python_call(settings: Settings, output: str, cache: bool | None) -> str:
    given = {name: getattr(settings, name) for name in Settings.model_fields if name in settings.model_fields_set}
    given["cache"] = cache
    words = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    return ", ".join(["transferkit.finetune((x, y)", *words, f"output={output!r})"])


def given(record: RunRecord) -> Settings:
    """The settings that a run was given, by its run.json. Raises RunError for what this version does not take."""
    found = gone.given(record.config.as_json(), record.given)
    return settings({name: value for name, value in found.items() if name in Settings.model_fields})


def settings(values: JsonObject) -> Settings:
    """Settings of values that a run.json holds. Raises RunError for what this version does not take."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(
            f"run.json holds settings that this version does not take: {shown(problems[:400])}; make the run again"
        ) from error


class Manifest:
    """run.json while it grows: every change is written whole."""

    def __init__(self, layout: Layout, record: RunRecord) -> None:
        self.layout = layout
        self.record = record

    @classmethod
    def start(
        cls, layout: Layout, data: str | None, settings: Settings, command: str, kind: str = "finetune",
        cache: bool | None = None,
    ) -> Manifest:  # fmt: skip
        """A manifest with status `running`. `cache`: whether features were to be stored; None left it to the run."""
        return cls(
            layout,
            RunRecord(
                schema_version=SCHEMA_VERSION,
                status="running",
                kind=kind,
                command=command,
                started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                working_directory=os.getcwd(),
                config=ConfigRecord.read(settings.model_dump(mode="json")),
                given=sorted(settings.model_fields_set),
                cache=cache,
                seed=settings.seed,
                # Absolute, so that evaluate finds it from everywhere; the command above is as it was typed.
                data=DataRecord(path=data if data is None or is_address(data) else os.path.abspath(data)),
                versions=versions(settings),
                plugins=[PluginRecord(**dataclasses.asdict(plugin)) for plugin in used(settings)],
                hardware=hardware(),
                timings={},
            ),
        )

    def note_data(self, intake: Intake, samples: Samples, splits: Splits, pool: PoolRecord | None) -> None:
        """What the run learns from, and how it is split.

        Args:
            intake: what was taken in.
            samples: the pictures of it, with their hashes.
            splits: which part each belongs to.
            pool: of pictures without labels, where there are any.
        """
        data = self.record.data
        data.parts = {str(part): count for part, count in splits.counts().items()}
        data.sha256, data.n = data_digest(samples), len(samples)
        if intake.skipped:
            data.skipped = intake.skipped
        if intake.relabelled:
            data.relabelled = intake.relabelled
        if pool is not None:
            data.unlabeled = pool
        data.reader = {key: value for key, value in samples.reader.items() if key != "said"}
        self.record.split_sha256 = split_digest(samples, splits)

    def note_training(self, work: Recipe, trained: Trained) -> None:
        """Phases, times and precision of what was trained.

        Args:
            work: the recipe.
            trained: what it came to.
        """
        record, precision = self.record, work.frozen.precision
        record.add_timings(work.timings)
        record.precision = PrecisionRecord(name=precision.name, how=precision.how, reason=precision.reason)
        record.phases = [PhaseRecord.model_validate(dataclasses.asdict(phase)) for phase in trained.phases]
        record.chosen = trained.chosen
        record.rate_curve = [RatePoint(learning_rate=p["learning_rate"], loss=p["loss"]) for p in trained.rate_curve]
        record.learning_rate = work.rate

    def write(self) -> None:
        """Write run.json."""
        self.layout.write_manifest(self.record)

    @contextmanager
    def recorded(self, started: float) -> Iterator[None]:
        """However what is done inside ends, run.json says so, and what it took since `started` (`time.monotonic`)."""
        record, before = self.record, self.record.timings.get("total", 0.0)
        try:
            with undisguised():
                yield
            record.status = "complete"
        except KeyboardInterrupt:
            record.status = "interrupted"
            raise
        except BaseException as error:
            record.status, record.error = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            record.add_timings({"total": before + time.monotonic() - started})
            self.write()


def amend(layout: Layout, record: RunRecord, metrics: MetricsRecord) -> None:
    """Write both files of a finished run again; a kill between them leaves none that run.json calls damaged.

    Args:
        layout: of the run.
        record: run.json as it is to be.
        metrics: metrics.json as it is to be.
    """
    record.forget("files")
    layout.write_manifest(record)
    write_json(layout.metrics, metrics.as_json())
    record.files = layout.sealed()
    layout.write_manifest(record)
