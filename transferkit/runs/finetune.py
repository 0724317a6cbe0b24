"""The main job: data and settings in, a complete run directory out. Resumes after a kill, to the same result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone, build, to_be_fetched
from transferkit.backbones.cut import operations_of
from transferkit.compute import keras_private
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits, fold_indices, load_splits, save_splits, split
from transferkit.errors import BackboneError, ConfigError, DataError, RunError, raise_problems
from transferkit.evaluation import diagnosis
from transferkit.evaluation.baselines import Split
from transferkit.features.extract import Views
from transferkit.files import write_json
from transferkit.runs import agreement, analysis, limits, plan, refit, selecting, tails, uses
from transferkit.runs.advice import own
from transferkit.runs.beforehand import coarse_test
from transferkit.runs.layout import Layout, run_lock
from transferkit.runs.manifest import ARRAYS, Manifest, command_line, data_digest, repeatable, split_digest, versions
from transferkit.runs.packaging import Finishing
from transferkit.runs.random_baseline import random_weights
from transferkit.runs.results import judge, write_history
from transferkit.runs.trackers import Tracking
from transferkit.training import models, outlook, recipe, user_callbacks
from transferkit.training.fit import Callback
from transferkit.training.problem import Problem, coarse


@dataclass
class Job:
    """One fine-tuning run. `data` is what the user named, for the record."""

    samples: Samples
    settings: Settings
    layout: Layout
    data: str
    reporter: Reporter
    resume: bool = False
    offline: bool = False
    cache: bool | None = None
    findings: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)  # of stages that came before
    tracking: Tracking | None = None  # is told every epoch
    callbacks: Sequence[Callback] = ()  # the caller's

    def run(self) -> None:
        """Do everything that is not done yet. On failure run.json says so and the folder stays resumable."""
        started = time.monotonic()
        # Nothing is written before data and network have proved sound.
        splits = self._splits()
        coarse = coarse_test(splits.counts()["test"], self.samples.task, self.settings.folds)
        if coarse is not None:
            self.reporter.say(coarse)
        splitting = time.monotonic() - started
        problem, folds = self._problems(splits)
        user_callbacks.check_monitored(self.callbacks, problem)
        backbone = self._backbone()
        limits.check(backbone, problem.outputs, self.settings)
        building = time.monotonic() - started - splitting
        with run_lock(self.layout):
            manifest = self._manifest()
            if manifest.content["status"] == "complete":  # by another process, meanwhile
                return
            before = manifest.content["timings"].get("total", 0.0)
            stages = {**self.timings, "splits": splitting, "backbone": building}
            manifest.content["timings"] |= {stage: round(seconds, 2) for stage, seconds in stages.items()}
            names = list(self.tracking.names) if self.tracking else []
            manifest.update(status="running", options={"offline": self.offline, "track": names})
            if self.tracking:
                self.tracking.start(self.layout, manifest.content)
            status: dict[str, Any]
            try:
                self._train_and_judge(manifest, splits, (problem, folds), backbone, started)
                require_whole(self.layout, "test" in splits.assignment)
                status = {"status": "complete", "files": self.layout.sealed()}
            except KeyboardInterrupt:
                status = {"status": "interrupted"}
                raise
            except BaseException as error:
                status = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
                raise
            finally:
                manifest.content["timings"]["total"] = round(before + time.monotonic() - started, 2)
                manifest.update(**status)
            shutil.rmtree(self.layout.checkpoints, ignore_errors=True)

    def plan(self) -> plan.DryRun:
        """What `run` would do, checked and measured alike; nothing is written but the cache of probes."""
        s, splits = self.settings, self._splits()
        problem, folds = self._problems(splits)
        absent = to_be_fetched(s.backbone, s.weights, s.image_size)
        backbone = self._backbone("random" if absent else None)  # as fast with any weights
        limits.check(backbone, problem.outputs, s)
        views = self._views(DecodeSettings(backbone.size, s.resize))
        work = recipe.Recipe(backbone, s, problem, views, self.reporter, cache=self.cache, folds=folds)
        found = outlook.outlook(work)
        counts, (total, sides), (needed, free, cache) = (
            splits.counts(), plan.sizes(self.samples), plan.disk(found, self.cache)
        )  # fmt: skip
        layers, frozen = plan.layers(backbone, found)
        coarse = coarse_test(counts["test"], self.samples.task, s.folds)
        weights = f"{s.weights}: {absent} is to be fetched" if absent else backbone.weights
        return plan.DryRun(
            self.data, len(self.samples), total, sides, self.samples.task, self.samples.counts(), counts,
            backbone.row.name, weights, backbone.size, freeze.describe(backbone.model)["total"], layers, frozen,
            s.unfreeze, views.count, work.trainer.batch_size, s.folds, self.timings.get("check", 0.0), found, needed,
            free, cache, self.cache, str(self.layout.folder), [] if coarse is None else [coarse],
        )  # fmt: skip

    # -- set-up

    def _manifest(self) -> Manifest:
        if not self.layout.manifest.exists():
            command = command_line(self.data, self.settings, str(self.layout.folder), self.cache)
            begun = Manifest.start(self.layout, self.data, self.settings, command, cache=self.cache)
            begun.content["callbacks"] = user_callbacks.names(self.callbacks)
            return begun
        content = self.layout.read_manifest()
        if not self.resume:
            raise RunError(
                f"--output {self.layout.folder}: another process has made a run there; choose another folder"
            )
        same_settings(content, self.settings)
        user_callbacks.check_same(content.get("callbacks", []), self.callbacks)
        forgetful = user_callbacks.forgetful(self.callbacks)
        if forgetful:
            self.reporter.say(f"callbacks without a state begin anew: {', '.join(forgetful)}")
        self._same_versions(content.get("versions", {}))
        content.setdefault("timings", {})
        self.cache = self._same_cache(content)
        content.pop("error", None)
        content["resumed"] = content.get("resumed", 0) + 1
        return Manifest(self.layout, content)

    def _same_versions(self, saved: dict[str, str]) -> None:
        now = versions(self.settings)
        other = [f"{name} {saved.get(name)} → {now.get(name)}" for name in now if saved.get(name) != now.get(name)]
        if other:
            self.reporter.warn(
                f"the run was started with other versions ({', '.join(other)}); numbers may differ a little"
            )

    def _same_cache(self, content: dict[str, Any]) -> bool | None:
        """What the run was started with, unless this call says otherwise: a full disk may be why it has to go on."""
        asked = content.get("cache") if self.cache is None else self.cache
        content["cache"] = asked
        return asked

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
                    "Put it back, or start anew with another --output"
                ) from error
        else:
            # Settings hold floats; whole numbers are numbers of pictures.
            counts = sum(s.split) > 1.5
            splits = split(self.samples, [int(n) for n in s.split] if counts else s.split, s.seed, s.folds)
        for note in (*self.samples.notes, *splits.notes):
            self.reporter.say(f"data: {note}")
        self._say_data(splits)
        return splits

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
            backbone = build(
                s.backbone, weights or s.weights, s.image_size, s.seed, self.offline,
                None if s.scaling == "auto" else s.scaling, self.reporter.say,
            )  # fmt: skip
        for note in backbone.notes:
            self.reporter.say(f"backbone: {note}")
        raise_problems(BackboneError, self._trainable_problems(backbone))
        return backbone

    def _trainable_problems(self, backbone: LoadedBackbone) -> list[str]:
        """What only the built network can refute (for a user's own file, its stages too)."""
        found = freeze.problems(backbone.row, self.settings.unfreeze)
        if self.settings.batchnorm == "train" and not found:
            kinds = {type(layer).__name__ for layer in keras_private.all_layers(backbone.model)}
            if "BatchNormalization" not in kinds:
                found.append(f"--batchnorm train has no effect: {backbone.row.name} has no BatchNorm; drop it")
        if "layer_decay" in self.settings.model_fields_set and not found and self._top_stage_only(backbone):
            found.append(
                f"--layer-decay {self.settings.layer_decay:g} has no effect with --unfreeze {self.settings.unfreeze}: "
                "only the top stage is trained, and that at the full rate; unfreeze more, or drop it"
            )
        return found

    def _top_stage_only(self, backbone: LoadedBackbone) -> bool:
        policy, depths = self.settings.unfreeze, models.depths(backbone)
        first = 0 if policy == "gradual" else freeze.first_trainable(backbone.model, backbone.row, policy)
        return not any(depths[operation.name] for operation in operations_of(backbone.model)[first:])

    # -- the work

    def _train_and_judge(
        self, manifest: Manifest, splits: Splits, problems: tuple[Problem, list[Problem]], backbone: LoadedBackbone,
        started: float,
    ) -> None:  # fmt: skip
        samples, s, (problem, folds) = self.samples, self.settings, problems
        self._same_split(manifest.content, splits)
        if not self.layout.splits.exists():
            save_splits(self.layout.splits, samples, splits)
        manifest.content["data"] |= {
            "parts": splits.counts(),
            "sha256": data_digest(samples),
            "n": len(samples),
            **self.findings,
        }
        manifest.content["split_sha256"] = split_digest(samples, splits)
        weights = {"source": backbone.weights, "sha256": backbone.weights_sha256}
        if manifest.content.get("weights", weights) != weights:
            raise RunError("--resume: the network's weights are not those the run was started with; start it anew")
        manifest.content["weights"] = weights
        manifest.write()
        train, val, test = _parts(splits)
        decode = DecodeSettings(backbone.size, s.resize)
        work = recipe.Recipe(
            backbone, s, problem, self._views(decode), self.reporter, self.layout.checkpoints,
            None if s.budget is None else started + s.budget, self.cache,
            folds, [*([self.tracking] if self.tracking else []), *self.callbacks],
        )  # fmt: skip
        trained, chosen = self._trained(work, splits)
        write_history(self.layout.history, trained.history)
        manifest.content["timings"] |= {k: round(v, 2) for k, v in work.timings.items()}
        manifest.content["precision"] = work.frozen.precision.__dict__
        manifest.content["phases"] = [p.__dict__ for p in trained.phases]
        manifest.content["chosen"] = trained.chosen
        manifest.content["learnt_from"] = "train+val" if trained.refitted or s.refit == "train+val" else "train"
        watched = user_callbacks.names(self.callbacks)
        asked = [f"trained with callbacks ({', '.join(watched)}), which the command does not repeat"] if watched else []
        manifest.content["notes"] = [*backbone.notes, *trained.notes, *asked]
        manifest.content["rate_curve"] = trained.rate_curve
        manifest.content["learning_rate"] = work.rate
        manifest.write()
        finishing = Finishing(samples, s, self.layout, problem, trained, self.reporter)
        with self.reporter.step("saving the model"):
            val_outputs, train_outputs = finishing.ship(decode, backbone)
            content = finishing.scores(val_outputs, train_outputs) | chosen
        judged = time.monotonic()
        rows = analysis.features(work, trained, samples, [train, val, test])
        fit, tune, judge_on = (Split(selecting.narrowed(part.x, trained, "last"), part.y) for part in rows)
        with self.reporter.step("judging what more pictures would bring"):
            content["learning_curve"] = analysis.curve(fit, tune, samples.task, list(samples.classes), s.seed)
            seen = [Split(selecting.narrowed(part.x, trained, "head"), part.y) for part in rows[:2]]
            analysis.save_typical(self.layout.typical, seen[0], seen[1], trained, problem, s.seed)
        outputs = finishing.test(content, test)
        if len(test):
            tested = samples.select(test)
            name = uses.test_digest(tested.sha256 or ())
            content["test_uses"] = uses.count(self.layout, manifest.content, name)
            manifest.content["test_split"] = {"sha256": name, **content["test_uses"]}
            manifest.write()
            with self.reporter.step("training simpler classifiers to compare with"):
                rivals = analysis.compare_baselines(fit, tune, judge_on, samples.task, list(samples.classes))
            if s.random_baseline:
                views = self._views(decode)
                rivals["random_weights"] = random_weights(backbone, work, problem, views, tested, self.reporter)
            with self.reporter.step("comparing with simpler classifiers"):
                content["baselines"] = analysis.beside(rivals, outputs, content, tested, s.seed)
        manifest.content["timings"]["test"] = round(time.monotonic() - judged, 2)
        command = repeatable(self.data, s)
        parts = {"train": fit, "val": tune, "test": judge_on}
        with self.reporter.step("looking for what is wrong"):
            context = analysis.context(
                samples, splits, problem, s, trained.chosen, command, content, val_outputs, parts
            )
        context |= {
            "data": None if self.data == ARRAYS else self.data,
            "run": str(self.layout.folder),
            "learning_rate": work.rate,
        }
        # Of a classifier that was fitted in one step there is no curve; that of the network that lost is another's.
        fitted = any(phase.name == trained.chosen and not phase.epochs for phase in trained.phases)
        content["diagnosis"] = diagnosis.diagnose([] if fitted else trained.history, content, context).as_dict()
        write_json(self.layout.metrics, content)
        manifest.content["warnings"] = self.reporter.warnings

    def _same_split(self, manifest: dict[str, Any], splits: Splits) -> None:
        """What an unfinished run has seen so far must go on, though splits.csv were lost or changed since."""
        pairs = ("split_sha256", manifest, split_digest(self.samples, splits)), (
            "sha256", manifest["data"], data_digest(self.samples)
        )  # fmt: skip
        if any(place.get(name, now) != now for name, place, now in pairs):
            raise RunError(
                f"--resume: {shown(self.layout.splits)} or the data is not what the run was started with; put both "
                "back as they were, or start anew with another --output"
            )

    def _trained(self, work: recipe.Recipe, splits: Splits) -> tuple[recipe.Trained, dict[str, Any]]:
        """The network with its head, chosen or trained, and what metrics.json says of the choice."""
        if self.settings.chooses_head:
            selection = selecting.select(work, splits)
            if selection is not None and self.settings.unfreeze != "none":
                selection = tails.compete(work, selection)
            if selection is not None:
                return self._refitted(work, selection), selection.content
        trained = work.run()
        with self.reporter.step("checking that what is shipped answers as what was trained"):
            trained = agreement.agreed(trained, work.problem, work.views, self.reporter)
        if self.settings.refit == "train+val":
            trained = refit.on_all(work, trained, self.layout.checkpoints)
        return trained, {}

    def _refitted(self, work: recipe.Recipe, selection: selecting.Selection) -> recipe.Trained:
        """What was chosen on frozen layers has learnt from validation pictures already; a tail does so where asked."""
        trained, part = selection.trained, work.problem
        if self.settings.refit == "train" or trained.tuned is None:
            return trained
        return refit.on_all(work, trained, self.layout.checkpoints, selection.start(np.union1d(part.train, part.val)))

    def _problems(self, splits: Splits) -> tuple[Problem, list[Problem]]:
        """What is to be learnt, and that of each fold. Raises DataError where the goal cannot be computed."""
        train, val, _ = _parts(splits)
        pairs = fold_indices(self.samples, splits) if self.settings.folds else []
        problem = self._problem(train, val)
        for line in coarse(problem.units, self.samples.classes):
            self.reporter.warn(line)
        return problem, [self._problem(*pair) for pair in pairs]

    def _problem(self, train: np.ndarray, val: np.ndarray) -> Problem:
        return recipe.problem(
            self.samples, train, val, lambda samples, units: judge(samples, self.settings.metric, units)
        )

    def _views(self, decode: DecodeSettings) -> Views:
        s = self.settings
        return Views(decode, augmentation(s.augment), s.used_views, s.seed)


def require_whole(layout: Layout, tested: bool, *more: Path) -> None:
    """Raise RunError where a file of the contract (or of `more`) is gone: somebody removed the folder meanwhile."""
    wanted = [layout.splits, layout.history, layout.metrics, layout.model, *more]
    lost = [path.name for path in (*wanted, *[layout.predictions] * tested) if not path.is_file()]
    if lost:
        raise RunError(
            f"{layout.folder} was removed or changed while the run was worked on: {', '.join(lost)} of it are gone. "
            "Leave it alone and finish it with --resume, or choose another --output"
        )


def _parts(splits: Splits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of train, val and test."""
    sides = np.array(splits.assignment)
    return np.flatnonzero(sides == "train"), np.flatnonzero(sides == "val"), np.flatnonzero(sides == "test")


def same_settings(manifest: dict[str, Any], settings: Settings) -> None:
    """Raise ConfigError that shows every setting in which a run differs from what is asked for now."""
    saved, now = manifest["config"], settings.model_dump(mode="json")
    other = [f"{name}: {saved.get(name)} then, {now[name]} now" for name in now if now[name] != saved.get(name)]
    if other:
        listed = "\n".join(f"  - {shown(line)}" for line in other)
        command = own(manifest["command"])
        was = "" if not command else f". Its command was:\n  {command}"
        raise ConfigError(
            f"--resume: the run was started with other settings:\n{listed}\n"
            f"Repeat its command with --resume, or choose another --output{was}"
        )
