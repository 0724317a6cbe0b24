"""The verbs that make a run: `finetune` and `tune`. Each checks everything first, then works."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transferkit.api import unnamed
from transferkit.api.objects import Data, Run
from transferkit.compute import restoring
from transferkit.config import Settings, make
from transferkit.console import Reporter
from transferkit.data.arrays import ARRAYS
from transferkit.data.samples import shown
from transferkit.data.source import origin_of
from transferkit.errors import DataError
from transferkit.files import ready_cache
from transferkit.runs import refusals, trackers
from transferkit.runs.layout import Layout, check_new, free_name


@restoring
def finetune(
    data: Any, backbone: str | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), **settings: Any,
) -> Run:  # fmt: skip
    """Train the best classifier `data` allows on top of `backbone`, judge it, and write a run directory.

    `data` is what `load_data` reads, or its result. Without `backbone` one is chosen by the pictures and by whose
    weights are here (`transferkit.backbones.default`), and said. `settings` are the fields of `transferkit.Settings`
    (`unfreeze`, `head_width`, `augment`, …). `output` must not exist, unless `resume` finishes the run in it; where
    there is none, it begins one.
    `track` names who else is told of the run as it goes: "tensorboard", "mlflow", "wandb".
    Raises ConfigError, DataError, BackboneError or WeightsError before anything is written.
    """
    reporter = reporter or Reporter(quiet)
    loaded = data if isinstance(data, Data) else None
    given = {"backbone": backbone} if backbone is not None else {}
    # Paths may come as pathlib objects; settings hold text.
    given |= {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in settings.items()}
    problems = _adopt(loaded, given) if loaded else []
    origin = loaded.origin if loaded else origin_of(data)
    unnamed_network = _announced(reporter, given.get("backbone") is None, origin)
    choice, more = unnamed.backbone(data, given, origin, output if resume else None, offline)
    problems += more
    folder = Path(output) if output is not None else free_name(Path("runs"), _name(origin, given))
    if resume and output is None:
        problems.append("--resume needs --output: the run directory that is to be finished")
    problems += [*refusals.problems(given, offline), *check_new(folder, resume), *refusals.inside(folder, origin)]
    track = (track,) if isinstance(track, str) else tuple(track)
    problems += trackers.problems(track)
    chosen = make(given, problems)
    _announced(reporter, not unnamed_network, origin)
    if cache is not False:
        ready_cache(reporter.warn)
    layout = Layout(folder)
    if choice:
        reporter.say(choice)
    if resume and layout.manifest.exists() and _is_complete(layout, loaded or data, chosen, reporter, track):
        return Run(folder)
    with _resumable(layout):
        _finetune(layout, loaded or data, origin, chosen, reporter, resume, offline, cache, track)
    return Run(folder)


@restoring
def tune(
    data: Any, backbone: str | Sequence[str] | None = None, *, search: Sequence[str] | Mapping[str, Any] = (),
    space: Any = None, output: str | Path | None = None, resume: bool = False, offline: bool = False,
    cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None, **settings: Any,
) -> Run:  # fmt: skip
    """Search for the settings that suit `data`, train the best, and write a run directory with `trials.csv`.

    What is searched: `search` (`{"learning_rate": "1e-4:1e-2:log", "head_width": "64,128"}` or such texts), or `space`
    (a TOML or YAML file, a `Space`, or a function of `keras_tuner.HyperParameters`); by default learning rate, batch
    size and head width. Several backbones are searched over; without any, one is chosen as `finetune` does. `settings`
    are those of `finetune`, which stay as given, and those of the search: `algorithm`, `trials`, `workers`, `budget`,
    `seeds`… (`transferkit.tuning.settings`).
    Trials never see the test split. `resume` goes on with the search in `output`, or begins it.
    Raises ConfigError, DataError, BackboneError or WeightsError before anything is written.
    """
    from transferkit.delivery.publish import publish
    from transferkit.runs.intake import take_in
    from transferkit.tuning.entry import request
    from transferkit.tuning.tune import Tuning

    reporter = reporter or Reporter(quiet)
    loaded = data if isinstance(data, Data) else None
    given = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in settings.items()}
    problems = _adopt(loaded, given) if loaded else []
    origin = loaded.origin if loaded else origin_of(data)
    if resume and output is None:
        problems.append("--resume needs --output: the run directory of the search")
    choice, unnamed_network = "", _announced(reporter, not backbone, origin)
    if not backbone:
        choice, more = unnamed.backbone(data, given, origin, output if resume else None, offline)
        problems += more
        backbone = given.pop("backbone", None)
    first = backbone if isinstance(backbone, str) or not backbone else backbone[0]
    name = _name(origin, {"backbone": first}) + "-tuned"
    folder = Path(output) if output is not None else free_name(Path("runs"), name)
    asked = request(backbone, search, space, given, origin, folder, resume, offline, problems)
    _announced(reporter, not unnamed_network, origin)
    if choice:
        reporter.say(choice)
    if cache is not False:
        ready_cache(reporter.warn)
    layout = Layout(folder)
    source = loaded.samples if loaded else data
    with _resumable(layout):
        samples, findings, timings = take_in(source, asked.base, origin, reporter)
        Tuning(
            samples, asked.base, asked.space, asked.search, layout, origin, asked.command, reporter, offline, cache,
            findings, timings,
        ).run()  # fmt: skip
        publish(layout, reporter)
    return Run(folder)


def _announced(reporter: Reporter, now: bool, origin: str) -> bool:
    """Say, if it is to be now, what is read: before pictures are looked at, yet after a wrong option is refused."""
    if now:
        reporter.say(f"reading {shown(origin)}")
    return now


@contextmanager
def _resumable(layout: Layout) -> Iterator[None]:
    """An interrupt carries the command that goes on with what was begun."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if layout.folder.is_dir():
            interrupt.add_note(f"go on with:  transferkit resume {shlex.quote(shown(layout.folder))}")
        raise


def _adopt(data: Data, settings: dict[str, Any]) -> list[str]:
    """Take split and seed of `load_data` into `settings`; problems where `finetune` was given others."""
    problems = []
    for name, value in (("split", data.split), ("seed", data.seed)):
        if value is not None and settings.setdefault(name, value) != value:
            problems.append(f"{name}={settings[name]} contradicts load_data, which was given {name}={value}; drop one")
    return problems


def _is_complete(layout: Layout, data: Any, settings: Settings, reporter: Reporter, track: Sequence[str]) -> bool:
    """Whether the run to be resumed is done; its report is written, and told, if a kill came before that.

    Where the data has changed since, that is said: the scores are those of then.
    """
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import same_settings

    manifest = layout.read_manifest()
    same_settings(manifest, settings)
    if manifest["status"] != "complete":
        return False
    reporter.say(f"{layout.folder} is complete already; nothing to resume")
    _tell_changes(layout, data, settings, reporter)
    if not layout.has_report():
        publish(layout, reporter)
    with trackers.tracked(track, reporter) as tracking:
        tracking.start(layout, manifest)
        tracking.finish(layout)
    return True


def _tell_changes(layout: Layout, data: Any, settings: Settings, reporter: Reporter) -> None:
    from transferkit.runs import pictures

    try:
        found = pictures.changed(layout, data.samples if isinstance(data, Data) else data, settings)
    except DataError as error:
        found = [f"it cannot be read as it was then: {error}"]
    if found:
        reporter.warn(
            f"the data has changed since {shown(layout.folder)} was made: {'; '.join(found)}. The model and its scores "
            "are those of then; to train on the data as it is now, choose another --output"
        )


def _finetune(
    layout: Layout, data: Any, origin: str, settings: Settings, reporter: Reporter, resume: bool, offline: bool,
    cache: bool | None, track: Sequence[str],
) -> None:  # fmt: skip
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import Job
    from transferkit.runs.intake import take_in

    source = data.samples if isinstance(data, Data) else data
    samples, findings, timings = take_in(source, settings, origin, reporter)
    with trackers.tracked(track, reporter) as tracking:
        Job(samples, settings, layout, origin, reporter, resume, offline, cache, findings, timings, tracking).run()
        publish(layout, reporter)
        tracking.finish(layout)


def _name(origin: str, settings: dict[str, Any]) -> str:
    data, network = Path(origin).resolve(), str(settings.get("backbone"))
    words = [
        origin if origin == ARRAYS else data.name if data.is_dir() else data.stem,
        Path(network).stem if network.endswith(".keras") else network,
    ]
    return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in word) for word in words)
