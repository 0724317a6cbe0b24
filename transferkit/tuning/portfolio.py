"""A comparison of networks from data to run directory: split, compare, choose, train the winner, judge it once.

All are cross-validated on the same folds of training and validation pictures; the test split is looked at once, by the
run of the winner.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar

from transferkit import compute
from transferkit.data.samples import shown
from transferkit.data.splitting.split import Splits, rounds_of_folds
from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import CrossValidation
from transferkit.evaluation.portfolio_record import PortfolioRecord
from transferkit.record import JsonObject
from transferkit.runs import tail_plan
from transferkit.runs.cross_validation import FOLDS
from transferkit.runs.directory import require_whole, run_lock
from transferkit.runs.finetune import Job
from transferkit.runs.manifest import amend
from transferkit.runs.run_record import PortfolioOrigin
from transferkit.runs.together import EnsembleJob
from transferkit.selection import network_choice
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.network_choice import NetworkAnswers, NetworkChoice
from transferkit.tuning import portfolio_account
from transferkit.tuning.distillation import Distillation
from transferkit.tuning.executors.local import InProcess, TrialEngine
from transferkit.tuning.journal import Journal
from transferkit.tuning.journalled import JournalledJob
from transferkit.tuning.kept_answers import KeptAnswers
from transferkit.tuning.network_comparison import NetworkComparison, TimeBudget
from transferkit.tuning.network_runner import NetworkRunners, settings_of
from transferkit.tuning.portfolio_account import Story
from transferkit.tuning.portfolio_decision import Decider, PortfolioDecision
from transferkit.tuning.records import TrialPlan
from transferkit.tuning.refinement import Refinement
from transferkit.tuning.search_settings import SearchSettings


@dataclass(kw_only=True)
class PortfolioJob(JournalledJob):
    """One comparison and the run of its winner. See `NetworkComparison` for `networks`, `named` and `budget`. `place`:
    where networks are compared, in the words of a search; all else is done here."""

    WHAT: ClassVar[str] = "comparison"

    networks: Sequence[str]
    named: bool
    budget: TimeBudget
    distill: str = ""  # the student, where one is taught
    place: SearchSettings = field(default_factory=SearchSettings)

    @property
    def kept(self) -> Path:
        """Folder of the answers of networks that are done; removed when the run is complete."""
        return self.layout.folder / "networks"

    def run(self) -> None:
        """Do everything that is not done yet. On interruption the networks that are done are kept."""
        started = time.monotonic()
        with run_lock(self.layout):
            splits = self._splits()
            if self._is_trained(splits) and self.layout.read_metrics().portfolio is not None:
                self.reporter.say(f"{self.layout.folder} is complete already; nothing to resume")
                return
            with self._opened(splits) as journal:
                self._begin(journal)
                kept = KeptAnswers(self.kept, journal, self.networks)
                compared = self._comparison(journal, kept, splits)
                compared.run()
                judge = self._job(compared.found[0].network).judge(splits)
                refined = self._refinement(compared, kept, splits, judge)
                refined.run()
                chosen = network_choice.choose(compared.found, judge, self.base.seed, refined.made)
                decision = self._decided(journal, splits, [*compared.found, *refined.made], chosen)
        seconds = time.monotonic() - started
        job = self._winner(decision)
        job.search_seconds = round(seconds, 2)
        job.run()
        require_whole(self.layout, "test" in splits.assignment, self.journal)
        story = Story(
            found=compared.found, looks=compared.looks, left_out=compared.left_out, waiting=compared.waiting,
            made=refined.made, untried=refined.untried, late=refined.late or decision.late,
            chosen=chosen, members=decision.members, first=decision.first, single=decision.single,
            unfreeze=decision.unfreeze, tail=decision.tail, judge=judge,
        )  # fmt: skip
        content = portfolio_account.content(story, self.base, self.samples.task, self.layout.read_metrics())
        content.seconds, content.budget = round(seconds, 2), self.budget.seconds
        if self.distill:
            content.distilled = Distillation(
                job=self._job(self.distill), splits=splits, every=story.every, members=decision.members,
                command=self.command,
            ).run()  # fmt: skip
            content.words.append(content.distilled.words)
        self._account(content, seconds)
        shutil.rmtree(self.kept, ignore_errors=True)

    # -- before the first network

    @property
    def journal(self) -> Path:
        """networks.jsonl."""
        return self.layout.networks

    def _new_splits(self) -> Splits:
        splits = super()._new_splits()
        try:
            rounds_of_folds(self.samples, splits, FOLDS, 1)
        except DataError as error:
            raise DataError(
                f"networks are compared by cross-validation, and {error}. Add pictures, or use `transferkit finetune`"
            ) from error
        return splits

    def _asked(self) -> JsonObject:
        """The budget may be another."""
        student = {"distill": self.distill} if self.distill else {}
        settings = self.base.model_dump(mode="json", exclude={"budget"})
        return {"networks": list(self.networks), "settings": settings, **student}

    def _comparison(self, journal: Journal, kept: KeptAnswers, splits: Splits) -> NetworkComparison:
        return NetworkComparison(
            samples=self.samples, splits=splits, base=self.base, networks=self.networks, named=self.named,
            settled=self.layout.manifest.exists(), budget=self.budget,
            engine=lambda: self._engine(splits), journal=journal, kept=kept, reporter=self.reporter,
        )  # fmt: skip

    def _engine(self, splits: Splits) -> TrialEngine:
        """What cross-validates networks."""
        plan, made = TrialPlan(self.samples, (), self.base, self.kept, self.offline, self.cache), NetworkRunners(splits)
        if self.place.engine == "local":
            return InProcess(plan, self.reporter, made)
        from transferkit.tuning.executors.ray_executor import Ray

        p = self.place
        return Ray(plan, p.workers, self.reporter, p.address, p.trial_cpus, p.trial_gpus, made)

    def _job(self, network: str) -> Job:
        return Job(
            intake=replace(self.intake, samples=self.samples), settings=settings_of(self.base, network),
            layout=self.layout, origin=self.origin, reporter=self.reporter, resume=True, offline=self.offline,
            cache=self.cache, bounded=False,
        )  # fmt: skip

    def _refinement(self, compared: NetworkComparison, kept: KeptAnswers, splits: Splits, judge: Judge) -> Refinement:
        return Refinement(
            found=compared.found, splits=splits, base=self.base, budget=self.budget, judge=judge,
            recipe=lambda name: self._job(name).work(splits),
            speeds={look.network: look.speed for look in compared.looks}, kept=kept,
            settled=self.layout.manifest.exists(), reporter=self.reporter,
        )  # fmt: skip

    # -- the winner

    def _decided(
        self, journal: Journal, splits: Splits, every: Sequence[NetworkAnswers], chosen: NetworkChoice
    ) -> PortfolioDecision:
        """What to train: as decided before, where training has begun."""
        events = [event for event in journal.events if event["event"] == "chosen"]
        if events and self.layout.manifest.exists():
            return PortfolioDecision.read(events[-1])
        decision = Decider(
            every=every, chosen=chosen, base=self.base, budget=self.budget, reporter=self.reporter,
            tail=lambda network, left: tail_plan.plan(self._job(network), splits, left),
        ).decide()  # fmt: skip
        compute.release()
        journal.append(decision.event())
        return decision

    def _winner(self, decision: PortfolioDecision) -> Job:
        job = self._job(decision.first)
        self.reporter.heading(f"training on what was chosen: {', '.join(shown(str(m)) for m in decision.members)}")
        if decision.unfreeze != "none":
            job.settings = tail_plan.unfrozen(job.settings, decision.unfreeze, decision.seconds)
        if decision.plain:
            return job
        return EnsembleJob(**{f.name: getattr(job, f.name) for f in fields(job)}, members=decision.members)

    # -- afterwards

    def _account(self, content: PortfolioRecord, seconds: float) -> None:
        """Write what was compared into the run of the winner, and what is to be expected of choosing so."""
        record, metrics = self.layout.read_manifest(), self.layout.read_metrics()
        if record.portfolio is None:
            record.timings = record.timings | {"total": record.timings["total"] + round(seconds, 2)}
        record.kind = "best"
        record.portfolio = PortfolioOrigin(command=self.command)
        judged = metrics.cross_validation or CrossValidation(metric=content.metric)
        judged.score, judged.ci95 = content.score, content.ci95
        judged.winner_alone, judged.networks = content.winner_alone, len(content.networks)
        metrics.cross_validation, metrics.portfolio = judged, content
        amend(self.layout, record, metrics)
