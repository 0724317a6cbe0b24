"""What is said of a trained model: saved and scored, compared, diagnosed; metrics.json is written last.

The test split is read here, once: every choice has been made and the model is on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from transferkit.data.images.memory import trim
from transferkit.evaluation import baselines, diagnosis, drift
from transferkit.evaluation.baselines import Baseline, Probe, Split
from transferkit.evaluation.diagnosis_context import ConfidentErrors
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import BaselineScores
from transferkit.file_windows import release
from transferkit.files import write_json
from transferkit.quantities import plural
from transferkit.runs import analysis, typical_features, uses
from transferkit.runs.context import RunContext, rows_of
from transferkit.runs.manifest import Manifest, repeatable
from transferkit.runs.one_pass import both
from transferkit.runs.packaging import Packaging
from transferkit.runs.random_baseline import random_weights
from transferkit.runs.run_record import RunRecord, TestSplitRecord
from transferkit.runs.selecting import HeadSelection
from transferkit.runs.tapped_rows import few_enough
from transferkit.training import recipe

if TYPE_CHECKING:
    import keras

# Is told what is known of a run once training is judged, and again once the test pictures are scored (True).
Told = Callable[[RunRecord, MetricsRecord, bool], None]


@dataclass(kw_only=True)
class Assessment:
    """The steps after training, in their order. `choice` says how the head was chosen, where it was. Whose outputs are
    large lets go of both before `run`, which does so once they are scored."""

    context: RunContext
    work: recipe.Recipe
    trained: recipe.Trained
    choice: HeadSelection | None
    manifest: Manifest
    told: Told | None = None  # is told when what figures show is known
    shipped: keras.Model | None = field(init=False, default=None)  # loaded from its file; without a test split, none

    def run(self) -> MetricsRecord:
        """Save, score and judge the model; write metrics.json."""
        context, reporter = self.context, self.context.reporter
        packaging = Packaging(context=context, trained=self.trained)
        with reporter.step("saving the model"):
            val_outputs, train_outputs = packaging.ship()
            metrics = packaging.scores(val_outputs, train_outputs)
            if self.choice is not None:
                self.choice.record(metrics)
        confident = self._confident(val_outputs)
        del val_outputs, train_outputs  # of many classes they are large, and nothing below asks for them
        self.choice, self.trained = None, self.trained.without_answers()
        packaging.trained = self.trained
        trim()
        started = time.monotonic()
        features = self._features()
        with reporter.step("judging what more pictures would bring"):
            probe = baselines.probe(features["train"], features["val"], context.task, context.classes)
            metrics.learning_curve = analysis.curve(
                features["train"], features["val"], probe, context.task, context.classes, context.settings.seed
            )
            if not self.trained.joined:
                self._save_typical()
        self._tell(metrics, scored=False)
        width = features["train"].x.shape[1]
        with analysis.as_it_came(self.work, self.trained):
            outputs, vectors = packaging.test(metrics, lambda model: both(model, self.work, self.trained, width))
        self.shipped = packaging.shipped
        self._tell(metrics, scored=True)
        if len(context.test):
            features["test"] = self._tested(vectors)
            self._count_use(metrics)
            self._compare(metrics, features, probe, outputs)
        del outputs, vectors
        trim()
        record = self.manifest.record
        if packaging.halved is not None:
            record.notes = [*record.notes, f"model.keras: {packaging.halved}; none has changed by it"]
        record.timings = record.timings | {"test": round(time.monotonic() - started, 2)}
        self._diagnose(metrics, features, confident)
        write_json(context.layout.metrics, metrics.as_json())
        trim()
        return metrics

    def _tell(self, metrics: MetricsRecord, scored: bool) -> None:
        if self.told is not None:
            self.told(self.manifest.record, metrics, scored)

    def _features(self) -> dict[str, Split]:
        """Vectors of the last layer of the network as it came, of training and validation."""
        # Maps and tokens are averaged over places.
        context, width = self.context, int(self.trained.features.shapes[0][-1])
        train, val, _ = rows_of(context.splits)
        self._train, judged = (few_enough(part, width, share, context.settings.seed)
                            for part, share in ((train, 0.5), (val, 0.25)))  # fmt: skip
        if len(self._train) < len(train) or len(judged) < len(val):
            words = (
                f"simpler classifiers, the learning curve and what is said of labels and copies go by "
                f"{len(self._train):,} of {plural(len(train), 'training picture')} and {len(judged):,} of "
                f"{plural(len(val), 'validation picture')}: there is no memory for more features"
            )
            context.reporter.say(words)
            self.manifest.record.notes = [*self.manifest.record.notes, words]
        self._judged = judged
        found = analysis.features(self.work, self.trained, context.samples, [self._train, judged])
        return dict(zip(("train", "val"), found, strict=True))

    def _tested(self, vectors: np.ndarray | None) -> Split:
        """Vectors of the test pictures: those out of the shipped model's own pass, or another pass."""
        context = self.context
        if vectors is not None:
            # A copy, so that the answers beside them are not held as well.
            found = Split(np.ascontiguousarray(vectors), context.samples.targets[context.test])
            release(vectors)
            return found
        return analysis.features(self.work, self.trained, context.samples, [context.test])[0]

    def _save_typical(self) -> None:
        """What goes into the head, of those training pictures that it is summed up from, and of validation."""
        context, seed = self.context, self.context.settings.seed
        some = self._train[drift.fitted_on(len(self._train), seed)]
        train, val = analysis.features(self.work, self.trained, context.samples, [some, self._judged], "head")
        typical_features.save(context.layout.typical, train, val, self.trained, context.problem, seed)

    def _count_use(self, metrics: MetricsRecord) -> None:
        """Note which run this is that was scored on these test pictures."""
        context, record = self.context, self.manifest.record
        name = uses.test_digest(context.samples.select(context.test).sha256 or ())
        metrics.test_uses = uses.count(context.layout, record, name)
        record.test_split = TestSplitRecord.model_validate({"sha256": name, **metrics.test_uses.as_json()})
        self.manifest.write()

    def _compare(self, metrics: MetricsRecord, features: dict[str, Split], probe: Probe, outputs: np.ndarray) -> None:
        """Simpler classifiers on the same test pictures, and how much better than each the model is."""
        context, reporter = self.context, self.context.reporter
        tested = context.samples.select(context.test)

        def beside(rivals: Iterable[tuple[str, Baseline]]) -> dict[str, BaselineScores]:
            return analysis.beside(rivals, outputs, metrics, tested, context.settings.seed)

        with reporter.step("comparing with simpler classifiers"):
            metrics.baselines = beside(
                analysis.simpler(
                    features["train"], features["val"], features["test"], probe, context.task, context.classes
                )
            )
        if context.settings.random_baseline:
            metrics.baselines |= beside([("random_weights", random_weights(context, self.work, tested))])

    def _confident(self, val_outputs: np.ndarray) -> ConfidentErrors | None:
        """Wrong answers among the confident ones on validation; None where answers have no class."""
        samples, val = self.context.samples, self.context.problem.val
        return diagnosis.confident_errors(val_outputs, samples.targets[val]) if samples.kind.exclusive else None

    def _diagnose(self, metrics: MetricsRecord, features: dict[str, Split], confident: ConfidentErrors | None) -> None:
        context = self.context
        with context.reporter.step("looking for what is wrong"):
            about = analysis.diagnosis_context(
                context, chosen=self.trained.chosen, command=repeatable(context.origin, context.settings),
                metrics=metrics, confident=confident, train=self._train, features=features,
                learning_rate=self.work.rate,
            )  # fmt: skip
        # Of a classifier that was fitted in one step there is no curve; that of the network that lost is another's.
        fitted = any(phase.name == self.trained.chosen and not phase.epochs for phase in self.trained.phases)
        metrics.diagnosis = diagnosis.diagnose([] if fitted else self.trained.history, metrics, about).as_record()
