"""A search from data to run directory: split, search, choose, train the winner, judge it once, say how sure that is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from transferkit import compute, importing
from transferkit.data.machine import machine_memory
from transferkit.data.splitting.split import Splits, fold_indices
from transferkit.data.threads import begun
from transferkit.errors import ConfigError, RunError, TrainingError
from transferkit.evaluation import calibration, metric_registry
from transferkit.features.extraction_engines import RayActors
from transferkit.quantities import plural
from transferkit.record import JsonObject
from transferkit.runs.assessment import Told
from transferkit.runs.directory import require_whole, run_lock
from transferkit.runs.finetune import Job
from transferkit.runs.manifest import amend
from transferkit.runs.results import answer, judge
from transferkit.runs.run_record import SearchOrigin
from transferkit.training.recipe import problem as problem_of
from transferkit.tuning import gallery, search_results, verdict
from transferkit.tuning import search_settings as how
from transferkit.tuning.executors.local import TrialEngine, engine
from transferkit.tuning.importance import Importance, Tried, importance
from transferkit.tuning.journalled import JournalledJob
from transferkit.tuning.oracles.oracle import Oracle
from transferkit.tuning.records import Pair, TrialLimits, TrialPlan, TrialTask
from transferkit.tuning.search import DEFAULT, Finalist, Search
from transferkit.tuning.search_settings import SearchSettings
from transferkit.tuning.search_space.space import Space
from transferkit.tuning.trial_limits import SHARE
from transferkit.tuning.trial_runner import Built, TrialRunner

if TYPE_CHECKING:
    import keras


@dataclass(kw_only=True)
class SearchJob(JournalledJob):
    """One search. `base` are the settings that are not searched."""

    WHAT: ClassVar[str] = "search"

    space: Space
    search: SearchSettings
    searched: Callable[[JsonObject], None] | None = None  # is told what the figures of the search show
    weigh: Callable[[Space, Sequence[Tried], int], Importance | None] = importance  # who says what settings mattered
    told: Told | None = None  # is told when what figures of the winner's run show is known
    shipped: keras.Model | None = field(init=False, default=None)  # as the winner's run loaded it from its file

    def run(self) -> None:
        """Do everything that is not done yet. An interrupt leaves what was found so far, and how to go on."""
        self._built = Built()
        try:
            self._search_and_train()
        finally:
            # A process that is ours ends soon, and lets go of all.
            if self._built.networks and not importing.is_ours():
                self._built.clear()

    def _search_and_train(self) -> None:
        started = time.monotonic()
        self.algorithm = how.algorithm(self.search, self.space)
        self.folder = search_results.SearchFiles(self.layout)
        with run_lock(self.layout):
            splits = self._splits()
            if self._is_trained(splits) and self.layout.read_metrics().search is not None:
                self.reporter.say(f"{self.layout.folder} is complete already; nothing to resume")
                return
            candidates, searched = self._search(splits)
        seconds = time.monotonic() - started
        with begun(lambda: self._weigh(searched), "transferkit-importance") as weighed:
            self._train(candidates[0], seconds)
            require_whole(self.layout, "test" in splits.assignment, self.journal, self.folder.trials)
            self._account(splits, candidates, searched, seconds, weighed)
        shutil.rmtree(self.folder.checkpoints, ignore_errors=True)

    def _weigh(self, searched: Search) -> Importance | None:
        """How much each setting mattered; who draws the figures of the search is told."""
        tried = [(t.proposal.values, t.outcome.score) for t in searched.longest()]
        found = self.weigh(self.space, tried, self.base.seed)
        if self.searched is not None:
            mattered = search_results.recorded(found)
            with suppress(RunError):  # of what is wrong with the journal others tell
                self.searched(gallery.content(self.journal, searched.metric, searched.maximise, mattered))
        return found

    def _train(self, winner: Finalist, seconds: float) -> None:
        """Train and judge the winner; the search took so many seconds."""
        settings = TrialPlan(self.samples, (), self.base, self.folder.checkpoints).settings(
            winner.values, self.base.seed
        )
        if settings.head == "auto":  # its trials trained one, and so does the run that ships the winner
            settings = settings.model_copy(update={"head": "mlp"})
        self.reporter.heading(f"training the winner: {search_results.named(winner)}")
        self._hand_over(winner)
        job = Job(
            intake=replace(self.intake, samples=self.samples), settings=settings, layout=self.layout,
            origin=self.origin, reporter=self.reporter, resume=True, offline=self.offline, cache=self.cache,
            search_seconds=seconds, network=self._built.network(settings), heads=self._built.heads,
            told=self.told,
        )  # fmt: skip
        job.run()
        self.shipped = job.shipped

    # -- before the first trial

    @property
    def journal(self) -> Path:
        """trials.jsonl."""
        return self.layout.journal

    def _asked(self) -> JsonObject:
        asked: JsonObject = {
            "algorithm": self.algorithm,
            "space": self.space.as_dict(),
            "settings": self.base.model_dump(mode="json"),
        }
        # Grid tries all; a random search can be made longer, the others plan with the number.
        return asked | ({"trials": self.search.trials} if self.algorithm in ("bayesian", "hyperband") else {})

    def _plan(self, splits: Splits) -> TrialPlan:
        """Without the test split: no trial can look at it."""
        where = np.array(splits.assignment)
        seen = np.flatnonzero(where != "test")
        place = np.full(len(where), -1)
        place[seen] = np.arange(len(seen))
        pairs: list[Pair] = [(np.flatnonzero(where == "train"), np.flatnonzero(where == "val"))]
        if self.base.folds:
            pairs = fold_indices(splits)
        moved = tuple((place[train], place[val]) for train, val in pairs)
        samples = self.samples.select(seen)
        for train, val in moved:  # a metric that says nothing there is refused now, not trial by trial
            problem_of(samples, train, val, lambda part, units: judge(part, self.base.metric, units))
        return TrialPlan(samples, moved, self.base, self.folder.checkpoints.absolute(), self.offline, self.cache)

    # -- the search

    def _search(self, splits: Splits) -> tuple[list[Finalist], Search]:
        s, plan = self.search, self._plan(splits)
        goal = metric_registry.goal(self.base.metric, self.samples.task)
        name = self.samples.kind.default_metric if self.base.metric == "auto" else self.base.metric
        maximise = goal.direction == "max"
        compute.start(
            reporter=self.reporter
        )  # before the oracle imports Keras, whose backend would fill standard error
        trials = None if self.algorithm == "grid" else s.trials
        oracle = Oracle(self.space, self.algorithm, trials, maximise, self.base.seed, self.base.epochs)
        self._announce(oracle, len(plan.samples), len(plan.pairs))
        with self._opened(splits) as journal:
            self._begin(journal)
            self._extract(plan)
            runner = self._engine(plan)
            ends = None if s.budget is None else time.monotonic() + s.budget
            search = Search(
                plan, oracle, journal, runner, self.reporter, maximise=maximise, metric=name,
                limits=self._limits(), ends=ends,
            )  # fmt: skip
            try:
                search.run()
                if not search.ranked():
                    raise TrainingError("no trial was scored; the reasons are in " + str(self.folder.trials))
                return search.finals(s.finalists, s.seeds), search
            finally:
                runner.close()
                search_results.write_trials(self.folder.trials, search.trials, self.space)
                search_results.write_best(self.folder, search, self.origin, self.base)

    def _engine(self, plan: TrialPlan) -> TrialEngine:
        s = self.search
        options = {"address": s.address, "cpus": s.trial_cpus, "gpus": s.trial_gpus} if s.engine == "ray" else {}
        return engine(s.engine, plan, s.workers, self.reporter, built=self._built, **options)

    def _extract(self, plan: TrialPlan) -> None:
        """On a cluster, have all of it compute the features of the settings as they stand: one trial would do it while
        the others wait. Where its machines do not share the store, each makes its own as before."""
        s = self.search
        shared = s.engine == "ray" and (s.address or os.environ.get("RAY_ADDRESS"))  # not one made for this search
        if not shared or plan.cache is False:
            return
        runner = TrialRunner(plan, self.reporter, RayActors(s.address, None, s.trial_cpus, s.trial_gpus))
        try:
            runner.stand(plan.settings({}, plan.base.seed))
        except ConfigError as error:
            self.reporter.warn(f"features are left to the trials: {error}")
        finally:
            runner.forget()

    def _limits(self) -> TrialLimits:
        s = self.search
        # Of a cluster's machines nothing is known here, and Ray watches their memory itself.
        usual = None if s.engine == "ray" else int(SHARE * machine_memory() / s.workers)
        return TrialLimits(s.trial_budget, s.trial_memory or usual)

    def _announce(self, oracle: Oracle, pictures: int, pairs: int) -> None:
        how_judged = f"{pairs} folds" if pairs > 1 else "validation"
        self.reporter.heading(
            f"searching {plural(len(self.space.names), 'setting')} by {self.algorithm} search: "
            f"{plural(oracle.planned, 'trial')} on {plural(pictures, 'picture')}, judged by {how_judged}; the test "
            "split is not looked at"
        )
        self.reporter.say(f"space: {self.space}")

    def _hand_over(self, winner: Finalist) -> None:
        """Where the winner's training with the run's own seed was kept (a tail's is), the run goes on from its end."""
        if winner.own is None:
            return
        kept = self.folder.checkpoints / winner.own.id / "pair-0"
        if kept.exists() and not self.base.folds and not self.layout.manifest.exists():
            shutil.copytree(kept, self.layout.checkpoints, dirs_exist_ok=True)

    # -- afterwards

    def _account(
        self, splits: Splits, candidates: list[Finalist], search: Search, seconds: float,
        weighed: Callable[[], Importance | None],
    ) -> None:  # fmt: skip
        """Compare the winner with the runner-up and the default, and write it all into the run."""
        started = time.monotonic()
        others = candidates[1:]
        rivals = [c for c in others if c.id != DEFAULT][:1] + [c for c in others if c.id == DEFAULT]
        found = self._compare(splits, candidates[0], rivals)
        content = search_results.content(
            search, candidates, algorithm=self.algorithm, space=self.space, found=found, seconds=seconds,
            mattered=weighed(),
        )  # fmt: skip
        manifest = self.layout.read_manifest()
        if manifest.search is None:  # a kill may come before the next file, by which a search is known to be complete
            spent = time.monotonic() - started
            total = manifest.timings["total"] + round(seconds + spent, 2)
            manifest.timings = manifest.timings | {"verdict": round(spent, 2), "total": total}
        manifest.kind = "tune"
        manifest.search = SearchOrigin(command=self.command, engine=self.search.engine, workers=self.search.workers)
        metrics = self.layout.read_metrics()
        metrics.search = content
        amend(self.layout, manifest, metrics)

    def _compare(self, splits: Splits, winner: Finalist, rivals: list[Finalist]) -> list[verdict.WinnerComparison]:
        """The winner against each rival on the validation and test pictures, all trained with the first seed."""
        where = np.array(splits.assignment)
        train, val, test = (np.flatnonzero(where == part) for part in ("train", "val", "test"))
        # What was kept of a search by folds was trained on other pictures.
        kept = self.folder.checkpoints / "judged" if self.base.folds else self.folder.checkpoints
        plan = TrialPlan(self.samples, ((train, val),), self.base, kept.absolute(), self.offline, self.cache, test)
        bench = TrialRunner(plan, self.reporter, built=self._built)
        answers = {c.id: self._answers(bench, c, train, val) for c in (winner, *rivals)}
        found = []
        for rival in rivals:
            name = "the default settings" if rival.id == DEFAULT else f"the runner-up (trial {rival.id})"
            for number, (part, rows) in enumerate((("val", val), ("test", test))):
                pair = answers[winner.id][number], answers[rival.id][number]
                samples = self.samples.select(rows)
                one = verdict.against(name, part, samples, self.base.metric, *pair, seed=self.base.seed)
                found += [] if one is None else [one]
        bench.forget()
        return found

    def _answers(
        self, bench: TrialRunner, candidate: Finalist, train: np.ndarray, val: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated answers on validation and test."""
        seed = self.base.seed
        name = candidate.own.id if candidate.own else f"{candidate.id}-seed{seed}"
        on_val, on_test = bench.answers(TrialTask(name, candidate.values, seed))
        task, temperature = self.samples.task, 1.0
        if self.samples.kind.calibrated:
            temperature = calibration.fit_temperature(on_val, self.samples.targets[val], task)
        units = problem_of(self.samples, train, val, lambda samples, units: None).units  # type: ignore[arg-type, return-value]
        return answer(task, on_val, temperature, units), answer(task, on_test, temperature, units)
