"""The verbs that make a run: `finetune` and `tune`. Each checks everything first, then works."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from transferkit.api import plain, unnamed
from transferkit.api.arguments import checked
from transferkit.api.asked import PathOrName, asked
from transferkit.api.extraction import extraction_engine
from transferkit.api.objects import Run
from transferkit.api.signature import listing
from transferkit.compute import restoring
from transferkit.config import Given, Settings, make
from transferkit.config.values import film_step
from transferkit.console import Reporter
from transferkit.data.samples import shown
from transferkit.errors import ConfigError, DataError, RunError
from transferkit.runs import preflight, trackers
from transferkit.runs.directory import check_new
from transferkit.runs.layout import Layout
from transferkit.signals import undisguised
from transferkit.training import user_callbacks
from transferkit.training.fit import Callback

if TYPE_CHECKING:
    from transferkit.api.keywords import FinetuneSettings, TuneSettings
    from transferkit.runs.finetune import Job
    from transferkit.runs.plan import DryRun


@overload
def finetune(
    data: Any, backbone: PathOrName | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), callbacks: Sequence[Any] | Any = (), engine: Literal["local", "ray"] = "local",
    address: str | None = None, dry_run: Literal[False] = False, **settings: Unpack[FinetuneSettings],
) -> Run: ...  # fmt: skip


@overload
def finetune(
    data: Any, backbone: PathOrName | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), callbacks: Sequence[Any] | Any = (), engine: Literal["local", "ray"] = "local",
    address: str | None = None, dry_run: Literal[True], **settings: Unpack[FinetuneSettings],
) -> DryRun: ...  # fmt: skip


@overload
def finetune(
    data: Any, backbone: PathOrName | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), callbacks: Sequence[Any] | Any = (), engine: Literal["local", "ray"] = "local",
    address: str | None = None, dry_run: bool, **settings: Unpack[FinetuneSettings],
) -> Run | DryRun: ...  # fmt: skip


@listing()
@restoring
@checked
def finetune(
    data: Any, backbone: PathOrName | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), callbacks: Sequence[Any] | Any = (), engine: Literal["local", "ray"] = "local",
    address: str | None = None, dry_run: bool = False, **settings: Unpack[FinetuneSettings],
) -> Run | DryRun:  # fmt: skip
    """Train the best classifier `data` allows on top of `backbone`, judge it, and write a run directory.

    Args:
        data: what `load_data` reads, or its result.
        backbone: a name of the catalog or a .keras file. Without one, it is chosen by the pictures and by whose weights
            are here (`transferkit.backbones.default`), and said.
        output: the run directory. It must not exist, unless `resume` finishes the run in it; where there is none, that
            begins one. By default `runs/DATA-BACKBONE`.
        resume: finish the run in `output`.
        offline: never download weights.
        cache: whether features are stored; by default what measured costs and the disk say.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.
        track: who else is told of the run as it goes: "tensorboard", "mlflow", "wandb".
        callbacks: objects that watch the training and may end it, of classes made from `transferkit.Callback` or, where
            their contract can be kept, of Keras'. With any, a head is trained, never chosen by cross-validation.
        engine: where features are extracted: "local", in this process, or "ray", by all of a Ray cluster.
        address: of the cluster (`auto`, `host:port`, `ray://host:port`); None: one on this machine.
        dry_run: check everything, measure a few pictures, and train and make nothing.
        settings: the fields of `transferkit.Settings`, below.

    Returns:
        The finished run; with `dry_run` the plan of it, to be printed.

    Raises:
        ConfigError, DataError, BackboneError, WeightsError: before anything is written, with every problem found.
            Objects of Keras that it cannot take are answered with the lines that use them in plain Keras.
    """
    reporter = reporter or Reporter(quiet)
    values = settings if backbone is None else {"backbone": backbone, **settings}
    watching, problems = plain.callbacks(callbacks, values)
    this = asked(
        data, None, values, output, resume=resume, offline=offline, callbacks=callbacks,
        resumed="that is to be finished",
    )  # fmt: skip
    given, origin = this.given, this.origin
    if given.get("backbone") is None:
        this.announce(reporter)
    choice, more = unnamed.backbone(this.data, given, origin, output if resume else None, offline)
    folder = this.folder(output, str(given["backbone"]))
    track = (track,) if isinstance(track, str) else tuple(track)
    found = _problems(given, folder, origin, track, resume=resume, dry_run=dry_run, offline=offline)
    where, wrong = extraction_engine(engine, address, cache)
    chosen = make(given, [*problems, *this.problems, *more, *found, *wrong])
    this.begin(reporter, choice, cache)
    layout = Layout(folder)
    if watching:
        chosen = _watched(chosen, reporter)
    if resume and layout.manifest.exists() and _is_complete(layout, this.source, chosen, watching, reporter, track):
        return Run(folder)

    def job() -> Job:
        """The run with its pictures taken in: each was opened."""
        from transferkit.delivery.inputs import find
        from transferkit.runs.finetune import Job
        from transferkit.runs.intake import take_in

        intake = take_in(this.source, chosen, origin, reporter)
        return Job(
            intake=intake, settings=chosen, layout=layout, origin=origin, reporter=reporter, resume=resume,
            offline=offline, cache=cache, callbacks=watching, engine=where,
            unlabeled=[] if chosen.unlabeled is None else find(
                [Path(chosen.unlabeled).expanduser()], reporter.warn, step=film_step(chosen.frames)
            ),
        )  # fmt: skip

    if dry_run:
        return job().plan()
    with resumable(layout):
        _finetune(job(), track)
    return Run(folder)


def _problems(
    given: Given, folder: Path, origin: str | None, track: Sequence[str], *, resume: bool, dry_run: bool, offline: bool
) -> list[str]:
    """What keeps a run from being begun or gone on with in `folder`, besides its settings and its data."""
    found = [*preflight.problems(given, offline), *check_new(folder, resume), *preflight.inside(folder, origin)]
    found += trackers.problems(track)
    if dry_run and resume:
        found.append("--dry-run says what a new run would do, --resume goes on with one; drop one of them")
    return found


def _watched(settings: Settings, reporter: Reporter) -> Settings:
    """The settings of a run with callbacks: they watch a head in training."""
    if settings.unlabeled is not None:
        raise ConfigError("--unlabeled has no effect where callbacks watch a head that is trained; drop one of them")
    if not settings.chooses_head:
        return settings
    reporter.say("head: a neural network is trained, since callbacks watch one; no classifier is chosen")
    return settings.model_copy(update={"head": "mlp"})


@listing(search=True)
@restoring
@checked
def tune(
    data: Any, backbone: PathOrName | Sequence[PathOrName] | None = None, *,
    search: Sequence[str] | Mapping[str, Any] = (), space: Any = None, output: str | Path | None = None,
    resume: bool = False, offline: bool = False, cache: bool | None = None, quiet: bool = False,
    reporter: Reporter | None = None, **settings: Unpack[TuneSettings],
) -> Run:  # fmt: skip
    """Search for the settings that suit `data`, train the best, and write a run directory with `trials.csv`.

    Trials never see the test split; the winner is scored on it, once.

    Args:
        data: what `load_data` reads, or its result.
        backbone: a network; several are searched over. Without any, one is chosen as `finetune` does.
        search: what is searched, `{"learning_rate": "1e-4:1e-2:log", "head_width": "64,128"}` or such texts; by default
            learning rate, batch size and head width.
        space: the same as a TOML file, a `Space`, or a function of `keras_tuner.HyperParameters`.
        output: the run directory, by default `runs/DATA-BACKBONE-tuned`.
        resume: go on with the search in `output`, or begin it.
        offline: never download weights.
        cache: whether features are stored; by default what measured costs and the disk say.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.
        settings: how to search, and the settings of a run, which stay as given: below.

    Returns:
        The finished run of the winner.

    Raises:
        ConfigError, DataError, BackboneError, WeightsError: before anything is written, with every problem found.
    """
    from transferkit.delivery.report.beside import draughtsman
    from transferkit.delivery.report.publish import drawn_when_known, publish
    from transferkit.runs.intake import take_in
    from transferkit.tuning.entry import request
    from transferkit.tuning.importance import importance
    from transferkit.tuning.tune import SearchJob

    reporter = reporter or Reporter(quiet)
    this = asked(data, backbone or None, settings, output, resume=resume, offline=offline, resumed="of the search")
    given, origin, choice = this.given, this.origin, ""
    networks: Any = given.pop("backbone", None)
    if not networks:
        this.announce(reporter)
        choice, more = unnamed.backbone(this.data, given, origin, output if resume else None, offline)
        this.problems += more
        networks = given.pop("backbone")
    folder = this.folder(output, str(networks if isinstance(networks, str) else networks[0]), "-tuned")
    found = request(
        networks, search, space, given, origin=origin, folder=folder, resume=resume, offline=offline,
        problems=this.problems,
    )  # fmt: skip
    this.begin(reporter, choice, cache)
    layout = Layout(folder)
    with resumable(layout):
        intake = take_in(this.source, found.base, origin, reporter)
        with draughtsman(intake.samples.root, weighs=True) as drawing:
            job = SearchJob(
                intake=intake, base=found.base, space=found.space, search=found.search, layout=layout, origin=origin,
                command=found.command, reporter=reporter, offline=offline, cache=cache,
                searched=None if drawing is None else drawing.searched,
                weigh=importance if drawing is None else drawing.weigh,
                told=drawn_when_known(layout, drawing),
            )  # fmt: skip
            job.run()
            publish(layout, reporter, job.shipped, drawing)
    return Run(folder)


@contextmanager
def resumable(layout: Layout) -> Iterator[None]:
    """An interrupt carries the command that goes on with what was begun."""
    try:
        with undisguised():
            yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(_way_on(layout))
        raise


def _way_on(layout: Layout) -> str:
    from transferkit.delivery.invocation import beginning

    if not any(path.exists() for path in (layout.manifest, layout.journal, layout.networks)):
        return "no run was begun, nothing is left behind; repeat the command to start"
    with suppress(RunError):
        beginning(layout)
        return f"go on with:  transferkit resume {shlex.quote(shown(layout.folder))}"
    return f"go on with the same call and:  output={os.fspath(layout.folder)!r}, resume=True"


def _is_complete(
    layout: Layout,
    data: Any,
    settings: Settings,
    callbacks: Sequence[Callback],
    reporter: Reporter,
    track: Sequence[str],
) -> bool:
    """Whether the run to be resumed is done; its report is written, and told, if a kill came before that.

    Where the data has changed since, that is said: the scores are those of then.
    """
    from transferkit.delivery.report.publish import publish
    from transferkit.runs import resumption

    manifest = layout.read_manifest()
    if not manifest.complete:  # before the settings: a head is trained because there are callbacks
        user_callbacks.check_same(manifest.callbacks, callbacks)
    resumption.check_settings(manifest, settings)
    if not manifest.complete:
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
        found = pictures.changed(layout, data, settings)
    except DataError as error:
        found = [f"it cannot be read as it was then: {error}"]
    if found:
        reporter.warn(
            f"the data has changed since {shown(layout.folder)} was made: {'; '.join(found)}. The model and its scores "
            "are those of then; to train on the data as it is now, choose another --output"
        )


def _finetune(job: Job, track: Sequence[str]) -> None:
    from transferkit.delivery.report.beside import draughtsman
    from transferkit.delivery.report.publish import drawn_when_known, publish

    with trackers.tracked(track, job.reporter) as job.tracking, draughtsman(job.samples.root) as drawing:
        job.told = drawn_when_known(job.layout, drawing)
        job.run()
        publish(job.layout, job.reporter, job.shipped, drawing)
        job.tracking.finish(job.layout)
