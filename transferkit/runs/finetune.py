"""The main job: data and settings in, a complete run directory out. Resumes after a kill, to the same result."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transferkit import compute, heads
from transferkit.backbones import freeze
from transferkit.backbones.build import Backbone, build
from transferkit.backbones.cut import operations_of
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augment import augmentation
from transferkit.data.decode import DecodeSettings
from transferkit.data.samples import Samples
from transferkit.data.split import Splits, fold_indices, load_splits, save_splits, split
from transferkit.errors import BackboneError, ConfigError, DataError, RunError, raise_problems
from transferkit.evaluation import calibration, diagnosis, metrics
from transferkit.features.extract import Views
from transferkit.files import write_json
from transferkit.runs import judging, model_file, refit, scoring
from transferkit.runs.layout import Layout, held
from transferkit.runs.manifest import ARRAYS, Manifest, command_line, data_digest, repeatable, split_digest, versions
from transferkit.runs.results import answer, judge, write_history, write_predictions
from transferkit.runs.trackers import Tracking
from transferkit.runs.untrained import random_weights
from transferkit.training import models, recipe
from transferkit.training.fit import ignore


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
    cache: bool = True
    findings: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)  # of stages that came before
    tracking: Tracking | None = None  # is told every epoch

    def run(self) -> None:
        """Do everything that is not done yet. On failure run.json says so and the folder stays resumable."""
        started = time.monotonic()
        # Nothing is written before data and network have proved sound.
        splits = self._splits()
        splitting = time.monotonic() - started
        backbone = self._backbone()
        building = time.monotonic() - started - splitting
        with held(self.layout):
            manifest = self._manifest()
            if manifest.content["status"] == "complete":  # by another process, meanwhile
                return
            before = manifest.content["timings"].get("total", 0.0)
            stages = {**self.timings, "splits": splitting, "backbone": building}
            manifest.content["timings"] |= {stage: round(seconds, 2) for stage, seconds in stages.items()}
            manifest.update(status="running")
            if self.tracking:
                self.tracking.start(self.layout, manifest.content)
            try:
                self._train_and_judge(manifest, splits, backbone, started)
                status = {"status": "complete"}
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

    # -- set-up

    def _manifest(self) -> Manifest:
        if not self.layout.manifest.exists():
            command = command_line(self.data, self.settings, str(self.layout.folder))
            return Manifest.start(self.layout, self.data, self.settings, command)
        content = self.layout.read_manifest()
        if not self.resume:
            raise RunError(
                f"--output {self.layout.folder}: another process has made a run there; choose another folder"
            )
        same_settings(content, self.settings)
        self._same_versions(content["versions"])
        content.pop("error", None)
        content["resumed"] = content.get("resumed", 0) + 1
        return Manifest(self.layout, content)

    def _same_versions(self, saved: dict[str, str]) -> None:
        now = versions()
        other = [f"{name} {saved.get(name)} → {now.get(name)}" for name in now if saved.get(name) != now.get(name)]
        if other:
            self.reporter.warn(
                f"the run was started with other versions ({', '.join(other)}); numbers may differ a little"
            )

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
        what = {"classify": "classes", "multilabel": "labels", "regress": "targets"}[samples.task]
        self.reporter.heading(
            f"{len(samples):,} pictures, {len(samples.classes)} {what}: "
            f"{c['train']:,} train, {c['val']:,} validation, {c['test']:,} test"
        )

    def _backbone(self) -> Backbone:
        s = self.settings
        compute.start()
        backbone = build(
            s.backbone, s.weights, s.image_size, s.seed, self.offline,
            None if s.scaling == "auto" else s.scaling, self.reporter.say,
        )  # fmt: skip
        for note in backbone.notes:
            self.reporter.say(f"backbone: {note}")
        raise_problems(BackboneError, self._trainable_problems(backbone))
        return backbone

    def _trainable_problems(self, backbone: Backbone) -> list[str]:
        """What only the built network can refute (for a user's own file, its stages too)."""
        found = freeze.problems(backbone.row, self.settings.unfreeze)
        if self.settings.batchnorm == "train" and not found:
            kinds = {type(layer).__name__ for layer in backbone.model._flatten_layers()}
            if "BatchNormalization" not in kinds:
                found.append(f"--batchnorm train has no effect: {backbone.row.name} has no BatchNorm; drop it")
        if "layer_decay" in self.settings.model_fields_set and not found and self._top_stage_only(backbone):
            found.append(
                f"--layer-decay {self.settings.layer_decay:g} has no effect with --unfreeze {self.settings.unfreeze}: "
                "only the top stage is trained, and that at the full rate; unfreeze more, or drop it"
            )
        return found

    def _top_stage_only(self, backbone: Backbone) -> bool:
        policy, depths = self.settings.unfreeze, models.depths(backbone)
        first = 0 if policy == "gradual" else freeze.first_trainable(backbone.model, backbone.row, policy)
        return not any(depths[operation.name] for operation in operations_of(backbone.model)[first:])

    # -- the work

    def _train_and_judge(self, manifest: Manifest, splits: Splits, backbone: Backbone, started: float) -> None:
        samples, s = self.samples, self.settings
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
        train, val, test = (np.flatnonzero(np.array(splits.assignment) == p) for p in ("train", "val", "test"))
        problem = self._problem(train, val)
        folds = fold_indices(samples, splits) if s.folds else []
        decode = DecodeSettings(backbone.size, s.resize)
        work = recipe.Recipe(
            backbone, s, problem, self._views(decode), self.reporter, self.layout.checkpoints,
            None if s.budget is None else started + s.budget, self.cache,
            [self._problem(*pair) for pair in folds], self.tracking.epoch if self.tracking else ignore,
        )  # fmt: skip
        trained = work.run()
        if s.refit == "train+val":
            trained = refit.on_all(work, trained, self.layout.checkpoints)
        write_history(self.layout.history, trained.history)
        manifest.content["timings"] |= {k: round(v, 2) for k, v in work.timings.items()}
        manifest.content["precision"] = work.frozen.precision.__dict__
        manifest.content["phases"] = [p.__dict__ for p in trained.phases]
        manifest.content["chosen"] = trained.chosen
        manifest.content["notes"] = [*backbone.notes, *trained.notes]
        manifest.content["rate_curve"] = trained.rate_curve
        manifest.content["learning_rate"] = work.rate
        manifest.write()
        facts, val_outputs, train_outputs = self._finish_model(trained, problem, decode, backbone)
        content = self._scores(problem, val_outputs, train_outputs, trained, facts)
        judged = time.monotonic()
        fit, tune, judge_on = judging.features(work, trained, samples, [train, val, test])
        content["learning_curve"] = judging.curve(fit, tune, samples.task, list(samples.classes), s.seed)
        judging.save_typical(self.layout.typical, fit, tune, trained, problem, decode, s.seed)
        self._test(content, test, problem, facts)
        if len(test):
            content["baselines"] = judging.compare_baselines(fit, tune, judge_on, samples.task, list(samples.classes))
        if len(test) and s.random_baseline:
            content["baselines"]["random_weights"] = random_weights(
                backbone, work, problem, self._views(decode), samples.select(test), self.reporter
            )
        manifest.content["timings"]["test"] = round(time.monotonic() - judged, 2)
        command = repeatable(self.data, s)
        parts = {"train": fit, "val": tune, "test": judge_on}
        context = judging.context(samples, splits, problem, s, trained.chosen, command, content, val_outputs, parts)
        context |= {
            "data": None if self.data == ARRAYS else self.data,
            "run": str(self.layout.folder),
            "learning_rate": work.rate,
        }
        content["diagnosis"] = diagnosis.diagnose(trained.history, content, context).as_dict()
        write_json(self.layout.metrics, content)
        manifest.content["warnings"] = self.reporter.warnings

    def _problem(self, train: np.ndarray, val: np.ndarray) -> recipe.Problem:
        return recipe.problem(
            self.samples, train, val, lambda samples, units: judge(samples, self.settings.metric, units)
        )

    def _views(self, decode: DecodeSettings) -> Views:
        s = self.settings
        count = 0 if s.augment == "none" else s.views
        return Views(decode, augmentation(s.augment), count, s.seed)

    def _finish_model(
        self, trained: recipe.Trained, problem: recipe.Problem, decode: DecodeSettings, backbone: Backbone
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """Calibrate on validation, add the output layers, save. Returns the facts and calibrated answers."""
        import keras

        samples, task = self.samples, self.samples.task
        temperature, thresholds = 1.0, None
        if task != "regress":
            temperature = calibration.fit_temperature(trained.val_outputs, samples.targets[problem.val], task)
        val = answer(task, trained.val_outputs, temperature, problem.units)
        train = answer(task, trained.train_outputs, temperature, problem.units)
        if task == "multilabel":
            thresholds = metrics.best_thresholds(samples.targets[problem.val], val)
        x = trained.model.outputs[0]
        for layer in heads.output_layers(task, temperature, problem.units):
            x = layer(x)
        model = keras.Model(trained.model.inputs, x, name="transferkit")
        facts = {
            "task": task,
            "classes": list(samples.classes),
            "decode": decode.key(),
            "temperature": temperature,
            "thresholds": None if thresholds is None else [float(t) for t in thresholds],
            "backbone": backbone.row.name,
            "scaling": backbone.scaling,
            "weights": backbone.weights,
            "pooling": self.settings.pooling,
        }
        model_file.save(model, facts, self.layout.model)
        return facts, val, train

    def _scores(
        self, problem: recipe.Problem, val: np.ndarray, train: np.ndarray, trained: recipe.Trained,
        facts: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
        seed = self.settings.seed
        uncalibrated = answer(self.samples.task, trained.val_outputs, 1.0, problem.units)
        content = {
            "task": self.samples.task,
            "classes": list(self.samples.classes),
            "goal": problem.goal.name,
            "train": scoring.scores(self.samples.select(trained.train_judged), train, seed, thresholds, bounded=False),
            "val": scoring.scores(self.samples.select(problem.val), val, seed, thresholds),
            "temperature": facts["temperature"],
            "thresholds": facts["thresholds"],
        }
        if trained.fold_scores:
            content["folds"] = {
                "metric": problem.goal.name,
                "scores": trained.fold_scores,
                "mean": float(np.mean(trained.fold_scores)),
                "std": float(np.std(trained.fold_scores, ddof=1)),
            }
        if self.samples.task == "classify":
            content["val"]["ece_uncalibrated"] = calibration.ece(uncalibrated, self.samples.targets[problem.val])
            judging.add_abstention(content, val, self.samples.targets[problem.val])
        return content

    def _test(self, content: dict[str, Any], test: np.ndarray, problem: recipe.Problem, facts: dict[str, Any]) -> None:
        """The test split, read here and nowhere else: every choice has been made and the model is on disk."""
        content["test"], content["baselines"] = {"n": len(test)}, {}
        if not len(test):
            self.reporter.warn("there is no test split, so nothing here says how good the model is on new pictures")
            write_predictions(self.layout, self.samples.select(test), np.zeros((0, problem.outputs)), facts)
            return
        samples = self.samples.select(test)
        model = model_file.load(self.layout.model)
        decode = DecodeSettings.from_key(facts["decode"])
        outputs = scoring.predictions(model, samples, decode, self.reporter, "test")
        thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
        content["test"] = scoring.scores(samples, outputs, self.settings.seed, thresholds)
        write_predictions(self.layout, samples, outputs, facts)
        if samples.task == "classify":
            judging.abstain_on_test(content, outputs, samples.targets, facts["temperature"])


def same_settings(manifest: dict[str, Any], settings: Settings) -> None:
    """Raise ConfigError that shows every setting in which a run differs from what is asked for now."""
    saved, now = manifest["config"], settings.model_dump(mode="json")
    other = [f"{name}: {saved.get(name)} then, {now[name]} now" for name in now if now[name] != saved.get(name)]
    if other:
        listed = "\n".join(f"  - {line}" for line in other)
        raise ConfigError(
            f"--resume: the run was started with other settings:\n{listed}\n"
            f"Repeat its command with --resume, or choose another --output. Its command was:\n  {manifest['command']}"
        )
