"""Trials are trained here: features once for all trials that share them, heads (and tails) by the recipe itself."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone, build
from transferkit.backbones.cut import operations_of
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.errors import TransferKitError
from transferkit.features.extraction_engines import ExtractionEngine
from transferkit.features.frozen import Frozen
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source, Views
from transferkit.files import digest
from transferkit.record import HistoryRow
from transferkit.runs import scoring
from transferkit.runs.results import judge
from transferkit.storage import cache_folder, locked
from transferkit.training import recipe
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.fit import Callback, Loop
from transferkit.training.problem import PhaseReport
from transferkit.tuning.records import Outcome, TrialPlan, TrialTask
from transferkit.tuning.trial_limits import memory_in_use, within

if TYPE_CHECKING:
    import keras

TRAINED_BYTES = 64 << 20  # of weights of heads that trials have trained
STANDS = 2  # networks kept in memory; neighbours in the order of trials share theirs
# Settings that decide which features are computed: trials that agree on them share a stand.
FEATURES = (
    "backbone", "weights", "scaling", "image_size", "resize", "intensity", "augment", "views", "pooling", "precision",
)  # fmt: skip
A_DAY = 86400.0  # how long to wait for another process that computes the same features


@dataclass
class Network:
    """A network with what computes its features of any pictures."""

    backbone: LoadedBackbone
    views: Views
    frozen: Frozen
    pooled: Rows
    pretrained: list[np.ndarray]


@dataclass
class Stand(Network):
    """A network with its features of all pictures, ready for any number of trials."""

    source: Source


@dataclass
class Built:
    """Networks, by what decides their features, and compiled heads: one runner leaves them to the next, and to the run
    that trains the winner. Building and tracing them again would take longer than all that the winner's training does.
    """

    networks: OrderedDict[str, Network] = field(default_factory=OrderedDict)
    heads: HeadPool = field(default_factory=HeadPool)
    trained: OrderedDict[str, list[np.ndarray]] = field(default_factory=OrderedDict)  # weights of heads, by `keep`

    def network(self, settings: Settings) -> LoadedBackbone | None:
        """The network that `build` would give for these settings, where it is here; it may have been trained on."""
        found = self.networks.get(_key(settings))
        return None if found is None else found.backbone

    def keep(self, task: TrialTask, head: keras.Model) -> None:
        """Keep the weights of the head that a task has trained, by its settings and seed; the oldest make room."""
        self.trained[_trained_by(task)] = compute.values(head.weights)
        while sum(x.nbytes for weights in self.trained.values() for x in weights) > TRAINED_BYTES:
            self.trained.popitem(last=False)

    def clear(self) -> None:
        """Let go of all, their compiled graphs too."""
        self.networks.clear()
        self.heads.clear()
        self.trained.clear()
        compute.release()


class TrialRunner:
    """Runs the tasks of one plan, one after the other, in this process."""

    def __init__(
        self, plan: TrialPlan, reporter: Reporter, engine: ExtractionEngine | None = None, built: Built | None = None
    ) -> None:
        """Run trials of `plan`. `engine` extracts their features; None: this process. What is in `built` is not built
        again, and what is built goes there; None: this runner's alone."""
        self.plan, self.reporter, self._engine = plan, reporter, engine
        self._stands: dict[str, Stand] = {}
        self._waited = 0.0
        compute.start()
        self._built, self._lent = built or Built(), built is not None

    def run(self, task: TrialTask) -> Outcome:
        """Train and judge. What goes wrong is told in the outcome; only an interrupt gets out."""
        started, self._waited = time.monotonic(), 0.0
        try:
            outcome = self._run(task, within(task.limits.memory))
        except MemoryError as error:
            outcome = Outcome(task.id, "memory", error=str(error) or "out of memory")
        except TransferKitError as error:
            outcome = Outcome(task.id, "failed", error=str(error))
        except Exception as error:  # whatever Keras or its backend raises: the search goes on
            status = "memory" if "RESOURCE_EXHAUSTED" in str(error) or "OOM" in str(error) else "failed"
            outcome = Outcome(task.id, status, error=f"{type(error).__name__}: {error}"[:2000])  # type: ignore[arg-type]
        if outcome.status != "ok":
            self._stands.clear()  # what failed may have left a network half trained, or memory full
            self._built.clear()
        seconds = time.monotonic() - started - self._waited
        return replace(
            outcome, seconds=round(seconds, 3), features=round(self._waited, 3), memory=memory_in_use()
        )  # fmt: skip

    def forget(self) -> None:
        """Drop features from memory, and networks, unless they were lent: who lent them lets go of them."""
        self._stands.clear()
        if not self._lent:
            self._built.clear()

    def folder(self, trial: str) -> Path:
        """Where a trial leaves what others go on from: nothing, where training again is as fast."""
        return self.plan.checkpoints / trial

    # -- one trial

    def _run(self, task: TrialTask, check: Callable[[], None]) -> Outcome:
        settings = self.plan.settings(task.values, task.seed)
        stand = self.stand(settings)
        if task.continues and not self.folder(task.id).exists():
            _copy(self.folder(task.continues), self.folder(task.id))
        found = [self._pair(task, settings, stand, number, check) for number in range(len(self.plan.pairs))]
        reports = [report for report, _, _ in found]
        scores = tuple(float(report.score) for report in reports)
        allowed = task.limits.seconds
        slow = allowed is not None and any(elapsed >= allowed for _, _, elapsed in found)
        return Outcome(
            task.id,
            "ok",
            float(np.mean(scores)),
            float(np.mean([report.loss for report in reports])),
            scores,
            max(report.epochs for report in reports),
            max(report.best_epoch for report in reports),
            training=round(sum(seconds for _, seconds, _ in found), 3),
            note=f"ended by its time limit of {allowed:g} s" if slow else "",
        )

    def _pair(
        self, task: TrialTask, settings: Settings, stand: Stand, number: int, check: Callable[[], None]
    ) -> tuple[PhaseReport, float, float]:
        """How the best phase of one pair went, the seconds of all epochs at their median pace, and those it took."""
        check()
        started = time.monotonic()
        work = self._recipe(task, settings, stand, number, [_Check(check)])
        if settings.unfreeze == "none":
            head = work.head_alone(stand.pooled, stand.source)
            report = work.trainer.phases[-1]
            if len(self.plan.pairs) == 1 and task.epochs is None and task.limits.seconds is None:
                self._built.keep(task, head)
        else:
            with _restored(stand):
                trained = work.run()
            report = next(p for p in trained.phases if p.name == trained.chosen)
        return report, _training_seconds(work.trainer.history), time.monotonic() - started

    def answers(self, task: TrialTask) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the validation pictures of the first pair and of the plan's `judged` ones, after training again (or
        from what was kept of it: by this runner's `built`, of a task of these settings that had this one pair). For
        judging settings when every choice has been made.
        """
        settings, judged = self.plan.settings(task.values, task.seed), self.plan.judged
        stand = self.stand(settings)
        work = self._recipe(task, settings, stand, 0)
        if settings.unfreeze == "none":
            kept = self._built.trained.get(_trained_by(task))
            body = (
                work.head_alone(stand.pooled, stand.source) if kept is None
                else work.head_again(stand.pooled, stand.source, kept)
            )  # fmt: skip
            on_val, on_judged = (work.trainer.outputs(body, stand.source, p) for p in (work.problem.val, judged))
            return on_val, on_judged
        with _restored(stand):
            trained = work.run()
            samples = self.plan.samples.select(judged)
            found = scoring.predictions(trained.model, samples, stand.views.decode, self.reporter, "test")
        return trained.val_outputs, found

    def _recipe(
        self, task: TrialTask, settings: Settings, stand: Stand, number: int, callbacks: Sequence[Callback] = ()
    ) -> recipe.Recipe:
        problem = recipe.problem(
            self.plan.samples, *self.plan.pairs[number],
            lambda samples, units: judge(samples, settings.metric, units),
        )  # fmt: skip
        # A head that need not go on later is trained again faster than it is kept.
        lasting = settings.unfreeze != "none" or task.epochs is not None
        limit = task.limits.seconds
        return recipe.Recipe(
            stand.backbone, settings, problem, stand.views, Reporter(quiet=True),
            self.folder(task.id) / f"pair-{number}" if lasting else None,
            None if limit is None else time.monotonic() + limit, self.plan.cache,
            callbacks=callbacks, pause=task.epochs, shared=stand.frozen, pool=self._built.heads,
        )  # fmt: skip

    # -- features

    def stand(self, settings: Settings) -> Stand:
        """The stand of trials with these settings: made once, its features read from the store where they are."""
        key, networks = _key(settings), self._built.networks
        if key not in self._stands:
            started = time.monotonic()
            while key not in networks and len(networks) >= STANDS:
                self._stands.pop(networks.popitem(last=False)[0], None)
            # Of several processes one computes the features, the others wait and find them.
            lock = locked(cache_folder() / "locks" / f"{key[:32]}.lock", timeout=A_DAY)
            with nullcontext() if self.plan.cache is False else lock:
                self._stands[key] = self._made(key, settings)
            self._waited = time.monotonic() - started
        networks.move_to_end(key)
        return self._stands[key]

    def _made(self, key: str, settings: Settings) -> Stand:
        """A network and its features of the plan's pictures."""
        plan, network = self.plan, self._built.networks.get(key)
        if network is None:
            network = self._built.networks[key] = self._network(settings)
        else:  # a run may have trained it
            compute.assign(network.backbone.model.weights, network.pretrained)
        frozen, pooled, wanted = network.frozen, network.pooled, self._wanted(network.views.count)
        # Of a network that was left by another runner too: the job is another, and an engine may be refused by now.
        before = frozen.precision
        frozen.choose_precision(pooled, plan.samples, wanted)
        if (frozen.precision.name, frozen.precision.how) != (before.name, before.how):
            pooled.features = None  # rows in memory were computed otherwise
        frozen.prepare([pooled], plan.samples, wanted)
        return Stand(**vars(network), source=frozen.source(pooled, plan.samples, wanted))

    def _network(self, settings: Settings) -> Network:
        s, plan = settings, self.plan
        # The seed of weights and views is the search's, whatever seed a repeated trial has: features stay the same.
        backbone = build(
            s.backbone, s.weights, s.image_size, plan.base.seed, plan.offline,
            None if s.scaling == "auto" else s.scaling, self.reporter.say, s.pooling == "pooler",
        )  # fmt: skip
        freeze.freeze_at(backbone.model, len(operations_of(backbone.model)))
        decode = DecodeSettings(backbone.size, s.resize, s.intensity)
        count = 0 if s.augment == "none" else s.full_views
        views = Views(decode, augmentation(s.augment), count, plan.base.seed)
        frozen = Frozen(backbone, s, views, plan.cache is not False, self.reporter, engine=self._engine)
        return Network(backbone, views, frozen, frozen.pooled(), compute.values(backbone.model.weights))

    def _wanted(self, count: int) -> dict[int, range]:
        """Views per picture: all where any pair trains on it, the clean one where it only validates."""
        wanted = {int(i): range(1) for part in (self.plan.judged, *(val for _, val in self.plan.pairs)) for i in part}
        return wanted | {int(i): range(count + 1) for train, _ in self.plan.pairs for i in train}


def _trained_by(task: TrialTask) -> str:
    """What the weights of a plan's head depend on."""
    return repr((task.seed, sorted(task.values.items())))


def _key(settings: Settings) -> str:
    """The same for settings of the same network, views and features."""
    return digest([{name: getattr(settings, name) for name in FEATURES}, bool(settings.cutmix)])


class _Check(Callback):
    """Calls `check` after each epoch: it raises where a trial has to end."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_epoch_end(self, loop: Loop) -> None:
        """Check."""
        self.check()


@contextmanager
def _restored(stand: Stand) -> Iterator[None]:
    """Afterwards the network has its pretrained weights again, for the next trial."""
    try:
        yield
    finally:
        compute.assign(stand.backbone.model.weights, stand.pretrained)


def _training_seconds(history: list[HistoryRow]) -> float:
    """Of each phase the number of epochs times the median: an epoch in which a graph was traced is none to count."""
    phases: dict[str, list[float]] = {}
    for row in history:
        phases.setdefault(str(row["phase"]), []).append(float(row["seconds"] or 0.0))
    return float(sum(len(seconds) * np.median(seconds) for seconds in phases.values()))


def _copy(source: Path, target: Path) -> None:
    """Checkpoints of the trial that is continued; without them the trial starts at its first epoch, to the same end."""
    if not source.exists():
        return
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    temporary.rename(target)
