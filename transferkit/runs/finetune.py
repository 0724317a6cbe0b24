"""The main job: data and settings in, a complete run directory out. Resumes after a kill, to the same result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone, build, to_be_fetched
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.samples import shown
from transferkit.data.splitting.split import Splits, fold_indices, load_splits, save_splits, split
from transferkit.errors import BackboneError, DataError, RunError, raise_problems
from transferkit.features.extraction_engines import ExtractionEngine
from transferkit.features.row_sources import Views
from transferkit.runs import agreement, beforehand, limits, plan, pool, refit, resumption, selecting, tails, view_count
from transferkit.runs.assessment import Assessment, Told
from transferkit.runs.context import RunContext, rows_of
from transferkit.runs.cross_validation import judge_of
from transferkit.runs.data_changes import changes
from transferkit.runs.directory import require_whole, run_lock
from transferkit.runs.intake import Intake
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import Manifest, command_line
from transferkit.runs.results import judge, write_history
from transferkit.runs.run_record import RunOptions
from transferkit.runs.trackers import Tracking
from transferkit.selection.candidate_scores import Judge as CandidateJudge
from transferkit.selection.choice import HeadChoice
from transferkit.training import outlook, planning, recipe, user_callbacks
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.fit import Callback
from transferkit.training.problem import Problem, coarse

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ClassifierChoice:
    """What cross-validation chose on a network of so many `parameters`, for pictures of `size` pixels a side."""

    found: HeadChoice
    parameters: int
    size: int


@dataclass(kw_only=True)
class Job:
    """One fine-tuning run. `origin` is the data as the user named it, for the record; None for arrays."""

    intake: Intake
    settings: Settings
    layout: Layout
    origin: str | None
    reporter: Reporter
    resume: bool = False
    offline: bool = False
    cache: bool | None = None
    search_seconds: float | None = None  # of the search that this run ends
    tracking: Tracking | None = None  # is told every epoch
    callbacks: Sequence[Callback] = ()  # the caller's
    unlabeled: Sequence[Path] = ()  # picture files of `settings.unlabeled`
    engine: ExtractionEngine | None = None  # extracts the features; None: this process
    network: LoadedBackbone | None = None  # what `build` would give for `settings`, where it is there already
    heads: HeadPool | None = None  # through which heads like this one were trained before
    told: Told | None = None  # is told when what figures show is known
    bounded: bool = True  # whether no classifier is chosen where the answers of all would take too much memory

    def __post_init__(self) -> None:
        self.samples = self.intake.samples
        self.pool: pool.Pool | None = None
        self.shipped: keras.Model | None = None  # as `run` loaded it from its file, for who goes on with it

    def run(self) -> None:
        """Do everything that is not done yet. On failure run.json says so and the folder stays resumable."""
        started = time.monotonic()
        # Nothing is written before data and network have proved sound.
        splits = self._splits()
        for sentence in beforehand.said(self.settings, self.samples, splits):
            self.reporter.say(sentence)
        splitting = time.monotonic() - started
        problem, folds = self._problems(splits)
        user_callbacks.check_monitored(self.callbacks, problem)
        self.pool = self._pool()
        backbone = self._backbone()
        limits.check(backbone, problem.outputs, self.settings)
        building = time.monotonic() - started - splitting
        with run_lock(self.layout):
            manifest = self._manifest()
            record = manifest.record
            if record.complete:  # by another process, meanwhile
                return
            search = {} if self.search_seconds is None else {"search": self.search_seconds}
            record.add_timings({"check": self.intake.seconds, **search, "splits": splitting, "backbone": building})
            record.status = "running"
            record.options = RunOptions(offline=self.offline, track=[*self.tracking.names] if self.tracking else [])
            manifest.write()
            if self.tracking:
                self.tracking.start(self.layout, record)
            context = RunContext(
                samples=self.samples, splits=splits, settings=self.settings, layout=self.layout, origin=self.origin,
                reporter=self.reporter, problem=problem, backbone=backbone,
                views=self._views(backbone.size),
                engine=self.engine,
            )  # fmt: skip
            with manifest.recorded(started):
                self._train_and_assess(manifest, context, folds, started)
                require_whole(self.layout, "test" in splits.assignment)
                record.files = self.layout.sealed()
            shutil.rmtree(self.layout.checkpoints, ignore_errors=True)

    def plan(self) -> plan.DryRun:
        """What `run` would do, checked and measured alike; nothing is written but the cache of probes."""
        s, splits = self.settings, self._splits()
        problem, folds = self._problems(splits)
        absent = to_be_fetched(s.backbone, s.weights, s.image_size)
        backbone = self._backbone("random" if absent else None)  # as fast with any weights
        limits.check(backbone, problem.outputs, s)
        views = self._views(backbone.size)
        work = recipe.Recipe(backbone, s, problem, views, self.reporter, cache=self.cache, folds=folds)
        found = outlook.outlook(work)
        counts, (total, sides), (needed, free, cache) = (
            splits.counts(), plan.sizes(self.samples), plan.disk(found, self.cache)
        )  # fmt: skip
        layers, frozen = plan.layers(backbone, found)
        unlabeled = self._pool()
        notes = [*beforehand.said(s, self.samples, splits), *([] if unlabeled is None else [unlabeled.words])]
        if s.views == "auto":
            notes.append(f"how many views pay is found in training; {views.count} are reckoned with here")
        weights = f"{s.weights}: {absent} is to be fetched" if absent else backbone.weights
        return plan.DryRun(
            data=self.origin or "arrays", pictures=len(self.samples), bytes=total, sides=sides,
            task=self.samples.task, classes=self.samples.counts(), parts=counts, backbone=backbone.row.name,
            weights=weights, image_size=backbone.size, tokens=plan.tokens(backbone.model),
            parameters=freeze.describe(backbone.model)["total"], layers=layers,
            frozen_layers=frozen, unfreeze=s.unfreeze, adapt=s.adapt, views=views.count,
            batch_size=work.trainer.batch_size, folds=s.folds, check=self.intake.seconds, outlook=found,
            needed=needed, free=free, cache=cache, asked=self.cache, output=str(self.layout.folder),
            notes=notes,
        )  # fmt: skip

    def choose(self, splits: Splits) -> ClassifierChoice:
        """Only what `run` would choose by cross-validation, on this split; nothing is written but features."""
        work = self.work(splits)
        found = selecting.Selector(work, splits).choose()
        return ClassifierChoice(found, int(work.backbone.model.count_params()), work.backbone.size)

    def work(self, splits: Splits) -> recipe.Recipe:
        """The recipe of `run` on this split, by which nothing is written but features."""
        self.samples = self.samples.hashed()
        problem, _ = self._problems(splits)
        backbone = self._backbone()
        limits.check(backbone, problem.outputs, self.settings)
        views = self._views(backbone.size)
        return recipe.Recipe(backbone, self.settings, problem, views, self.reporter, cache=self.cache)

    def judge(self, splits: Splits) -> CandidateJudge:
        """The run's goal on training and validation pictures together, in the order of their row numbers."""
        self.samples = self.samples.hashed()
        problem, _ = self._problems(splits)
        return judge_of(problem, self.settings.metric, np.union1d(problem.train, problem.val))

    # -- set-up

    def _manifest(self) -> Manifest:
        if not self.layout.manifest.exists():
            command = command_line(self.origin, self.settings, str(self.layout.folder), self.cache)
            begun = Manifest.start(self.layout, self.origin, self.settings, command, cache=self.cache)
            begun.record.callbacks = user_callbacks.names(self.callbacks)
            return begun
        if not self.resume:
            raise RunError(
                f"--output {self.layout.folder}: another process has made a run there; choose another folder"
            )
        record = resumption.begun(self.layout, self.settings, self.callbacks, self.reporter)
        # What the run was started with, unless this call says otherwise: a full disk may be why it has to go on.
        record.cache = self.cache = record.cache if self.cache is None else self.cache
        record.forget("error")
        record.resumed += 1
        return Manifest(self.layout, record)

    def _splits(self) -> Splits:
        """The saved split on resume, a new one otherwise."""
        self.samples = self.samples.hashed()
        s = self.settings
        if self.resume and self.layout.splits.exists():
            try:
                splits = load_splits(self.layout.splits, self.samples, s.seed)
            except DataError as error:
                raise DataError(
                    f"--resume: the data is not what the run was started with. {error}\n"
                    "Put it back, or start again with another --output"
                ) from error
        else:
            splits = split(self.samples, s.split, s.seed, s.folds)
        for note in (*self.samples.notes, *splits.notes):
            self.reporter.say(f"data: {note}")
        self._say_data(splits)
        return splits

    def _pool(self) -> pool.Pool | None:
        """Pictures without labels, where there are any."""
        name, seed = self.settings.unlabeled, self.settings.seed
        return None if name is None else pool.take_in(self.unlabeled, self.samples, name, seed, self.reporter)

    def _say_data(self, splits: Splits) -> None:
        c, samples = splits.counts(), self.samples
        what = samples.kind.outputs
        self.reporter.heading(
            f"{len(samples):,} pictures, {len(samples.classes)} {what}: "
            f"{c['train']:,} train, {c['val']:,} validation, {c['test']:,} test"
        )

    def _backbone(self, weights: str | None = None) -> LoadedBackbone:
        s = self.settings
        compute.start(reporter=self.reporter)
        with self.reporter.step(f"building {shown(s.backbone)}"):
            backbone = self.network or build(
                s.backbone, weights or s.weights, s.image_size, s.seed, self.offline,
                None if s.scaling == "auto" else s.scaling, self.reporter.say, s.pooling == "pooler",
            )  # fmt: skip
        for note in backbone.notes:
            self.reporter.say(f"backbone: {note}")
        raise_problems(BackboneError, planning.problems(backbone, self.settings))
        return backbone

    # -- the work

    def _train_and_assess(self, manifest: Manifest, context: RunContext, folds: list[Problem], started: float) -> None:
        splits, record = context.splits, manifest.record
        resumption.check_data(record, self.samples, splits, self.layout)
        pool.check_same(record, self.pool)
        manifest.note_data(self.intake, self.samples, splits, None if self.pool is None else self.pool.record)
        record.weights = resumption.weights_of(record, context.backbone)
        manifest.write()  # before the split, which it vouches for
        if not self.layout.splits.exists():
            save_splits(self.layout.splits, self.samples, splits)
        s, views = view_count.found(context, record, self.cache, self._problem)
        context = replace(context, views=views)
        manifest.write()
        work = recipe.Recipe(
            context.backbone, s, context.problem, context.views, self.reporter,
            checkpoints=self.layout.checkpoints, deadline=None if s.budget is None else started + s.budget,
            cache=self.cache, folds=folds, callbacks=[*([self.tracking] if self.tracking else []), *self.callbacks],
            engine=self.engine, pool=self.heads,
        )  # fmt: skip
        trained, choice = self._trained(work, splits)
        write_history(self.layout.history, trained.history)
        manifest.note_training(work, trained)
        record.learnt_from = "train+val" if trained.refitted or s.refit == "train+val" else "train"
        watched = user_callbacks.names(self.callbacks)
        asked = [f"trained with callbacks ({', '.join(watched)}), which the command does not repeat"] if watched else []
        record.notes = [*context.backbone.notes, *trained.notes, *asked]
        manifest.write()
        assessment = Assessment(
            context=context, work=work, trained=trained, choice=choice, manifest=manifest, told=self.told
        )
        del trained, choice  # see there
        assessment.run()
        self.shipped = assessment.shipped
        if (sentence := changes(self.intake.before, self.samples)) is not None:
            self.reporter.warn(sentence)
        record.warnings = self.reporter.warnings

    def _trained(self, work: recipe.Recipe, splits: Splits) -> tuple[recipe.Trained, selecting.HeadSelection | None]:
        """The network with its head, chosen or trained, and how it was chosen, where it was."""
        if self.settings.chooses_head:
            unlabeled = None if self.pool is None else self.pool.samples
            selection = selecting.select(work, splits, pool=unlabeled, bounded=self.bounded)
            if selection is not None and self.settings.unfreeze != "none":
                selection = tails.compete(work, selection)
            if selection is not None:
                return self._refitted(work, selection), selection
        trained = work.run()
        with self.reporter.step("checking that what is shipped answers as what was trained"):
            trained = agreement.agreed(trained, work)
        if self.settings.refit == "train+val":
            trained = refit.on_all(work, trained, self.layout.checkpoints)
        return trained, None

    def _refitted(self, work: recipe.Recipe, selection: selecting.HeadSelection) -> recipe.Trained:
        """What was chosen on frozen layers has learnt from validation pictures already; a tail does so where asked."""
        trained, part = selection.trained, work.problem
        if self.settings.refit == "train" or trained.tuned is None:
            return trained
        return refit.on_all(work, trained, self.layout.checkpoints, selection.start(np.union1d(part.train, part.val)))

    def _problems(self, splits: Splits) -> tuple[Problem, list[Problem]]:
        """What is to be learnt, and that of each fold. Raises DataError where the goal cannot be computed."""
        train, val, _ = rows_of(splits)
        pairs = fold_indices(splits) if self.settings.folds else []
        problem = self._problem(train, val)
        for line in coarse(problem.units, self.samples.classes):
            self.reporter.warn(line)
        return problem, [self._problem(*pair) for pair in pairs]

    def _problem(self, train: np.ndarray, val: np.ndarray) -> Problem:
        return recipe.problem(
            self.samples, train, val, lambda samples, units: judge(samples, self.settings.metric, units)
        )

    def _views(self, size: int) -> Views:
        s = self.settings
        return Views(DecodeSettings(size, s.resize, s.intensity), augmentation(s.augment), s.used_views, s.seed)
