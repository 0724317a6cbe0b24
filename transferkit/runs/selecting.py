"""`--head auto`: which of the network's depths and which classifier suit the pictures, found by cross-validation.

One frozen pass gives vectors of several depths; everything after it costs seconds. What becomes of the winner is in
`runs.fitting`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from transferkit import terms
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import Splits, rounds_of_folds
from transferkit.errors import DataError, TrainingError
from transferkit.evaluation.metrics_record import (
    CostRecord,
    CrossValidation,
    HeadCandidate,
    MetricsRecord,
    UnfrozenRecord,
    UnlabeledRecord,
)
from transferkit.evaluation.portfolio_record import EnsembleRecord
from transferkit.features.precision import Precision
from transferkit.features.row_sources import Stored
from transferkit.quantities import duration, figure, plural
from transferkit.runs import agreement, fitting, pool_choice
from transferkit.runs.cross_validation import FOLDS, judge_of, require_room, rounds_of
from transferkit.runs.limits import Account, CostLimits
from transferkit.runs.tapped_rows import SHARE, most_in_memory, tapped_rows
from transferkit.selection import choice as choosing
from transferkit.selection import shipping
from transferkit.selection.candidate_scores import CandidateScore, Judge, OutOfFold
from transferkit.selection.candidates import LINEAR, learners
from transferkit.selection.choice import HeadChoice
from transferkit.selection.comparison import behind
from transferkit.training.problem import Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

# Standard errors by which a neural network has to be better on validation: its epoch was chosen by these very pictures,
# it never learns from them as the winner does in the end, and that the winner was unlucky with them is likelier.
CLEARLY = 3.0


@dataclass(kw_only=True)
class HeadSelection:
    """What was selected, and the parts of metrics.json that say why.

    `answers` are the winner's on validation, to pictures that had been left out, as `judge` has them. `gap`: see
    `agreement.gap`. `start` makes the head that a tail begins with: the best linear classifier on the last layer,
    fitted on the pictures at the given places of `samples`. `trial` is what cross-validation chose.
    """

    trained: Trained
    cross_validation: CrossValidation
    candidates: list[HeadCandidate]
    cost: CostRecord | None
    unfrozen: UnfrozenRecord | None = None
    ensemble: EnsembleRecord | None = None
    unlabeled: UnlabeledRecord | None = None
    gap: float
    answers: OutOfFold
    judge: Judge
    start: Callable[[np.ndarray], keras.Model]
    trial: CandidateScore

    def record(self, metrics: MetricsRecord) -> None:
        """Write into metrics.json how the choice was made."""
        metrics.cross_validation, metrics.candidates = self.cross_validation, self.candidates
        if self.cost is not None:
            metrics.cost = self.cost
        if self.unfrozen is not None:
            metrics.unfrozen = self.unfrozen
        if self.ensemble is not None:
            metrics.ensemble = self.ensemble
        if self.unlabeled is not None:
            metrics.unlabeled = self.unlabeled


@dataclass
class Selector:
    """One selection for a run. `work` is its recipe, by which the neural network among the candidates is trained.

    `precision` is that of the features; None chooses it. `network`: whether there is one among the candidates.
    `pool` are pictures without labels, if there are any.
    """

    work: Recipe
    splits: Splits
    precision: Precision | None = None
    network: bool = True
    pool: Samples | None = None
    taught: pool_choice.PoolChoice | None = field(default=None, init=False)  # by the pool, where that helps

    def run(self) -> HeadSelection:
        """Extract, cross-validate, choose, fit, assemble."""
        work, reporter = self.work, self.work.reporter
        found = self.choose()
        found, unlabeled = self._with_pool(found)
        judge = self._judge(work.problem.val)
        answers = OutOfFold.of(found.logits[self.rows.places(work.problem.val)], judge)
        table, network = list(found.table), None
        if self.network:
            network, row = self._rival(answers, judge)
            table = [*table, row]
            if network is not None:
                for entry in table:
                    entry.chosen = entry is row
        work.timings["choice"] = found.seconds
        reporter.say(self._said(found, table, network is not None))
        if unlabeled is not None:
            unlabeled = unlabeled if network is None else pool_choice.beaten(unlabeled)
            reporter.say(unlabeled.words)
        if network is None:
            trained, expected = fitting.classifier(work, self.rows, found, self.taught, judge)
        else:
            trained, expected = fitting.network(work, self.rows, *network)
        asked = agreement.sampled(work.problem)
        left_out = trained.val_outputs[asked] if network is None else None
        gap = agreement.gap(trained.model, expected, work.problem, work.views, left_out)
        answers = answers if network is None else OutOfFold.of(network[1], judge)
        return HeadSelection(
            trained=trained, cross_validation=self._cross_validation(found), candidates=table,
            cost=self.account.record(), gap=gap, answers=answers, judge=judge, start=fitting.start(self.rows, found),
            unlabeled=unlabeled, trial=found.trial,
        )  # fmt: skip

    def choose(self) -> HeadChoice:
        """Only the cross-validation: what would be chosen, and nothing fitted."""
        work, started = self.work, time.monotonic()
        self.rows = tapped_rows(work, self.precision)
        if self.pool is not None:
            pool_choice.require_memory(self.rows, self.pool)
        self.account = Account(CostLimits.of(work.settings), work.reporter.say)
        work.timings["features"] = time.monotonic() - started
        return self._choose()

    # -- choosing

    def _judge(self, rows: np.ndarray) -> Judge:
        return judge_of(self.work.problem, self.work.settings.metric, rows)

    def _choose(self) -> HeadChoice:
        self.work.reporter.heading("choosing the classifier by cross-validation")
        samples, settings, rows = self.work.problem.samples, self.work.settings, self.rows
        rounds = self._rounds()
        if 4 * math.prod(rows.x.shape) > most_in_memory():
            self._say_on_disk()
        candidates = choosing.sets(rows.taps.sets(), learners(samples.task))
        with self.work.reporter.progress("choosing", 2 * len(candidates), "candidates") as advance:
            return choosing.choose(
                rows.x, rows.y, rounds, candidates, self._judge(rows.pictures), settings.seed, advance, self._admitted
            )  # fmt: skip

    def _say_on_disk(self) -> None:
        work = self.work
        words = (
            f"features of {plural(len(self.rows.x), 'picture')} take {4 * math.prod(self.rows.x.shape) / 1e9:.3g} GB, "
            f"more than one part in {SHARE} of the memory: they are read from disk, a block at a time"
        )
        work.reporter.say(words)
        if words not in work.notes:
            work.notes.append(words)

    def _rounds(self) -> list[list[np.ndarray]]:
        """Rounds of folds, as places in the rows."""
        return rounds_of(self.work, self.splits, self.rows)

    def _with_pool(self, found: HeadChoice) -> tuple[HeadChoice, UnlabeledRecord | None]:
        """The choice with what pictures without labels add to it, where they do; and what is said of them."""
        if self.pool is None:
            return found, None
        asked = pool_choice.PoolChoice.of(self.work, self.rows, self.pool, found, self._rounds(), self._judge)
        if asked.helps and self._admitted(asked.trial, asked):
            self.taught = asked
        return asked.outcome(self.taught is not None)

    def _admitted(self, trial: CandidateScore, taught: pool_choice.PoolChoice | None = None) -> bool:
        """Whether the network that `trial` makes, with a pool where it is taught by one, is within the limits."""
        candidate, columns = trial.candidate, (trial.candidate.start, trial.candidate.stop)
        name = candidate.learner.name
        linear = isinstance(candidate.learner, LINEAR)
        kind = columns, "linear" if linear else name, taught is not None and not linear

        def made() -> keras.Model:
            every = np.arange(len(self.rows.y))
            fitted = choosing.fit(self.rows.x, self.rows.y, trial) if taught is None else taught.fit(every)
            return self.rows.network(shipping.body(*fitted, trial.scale, trial.shift), columns)

        return self.account.admits(kind, terms.candidate(name, candidate.features), made)

    def _network(self) -> tuple[keras.Model, np.ndarray]:
        """A neural network on all depths, trained on the training pictures, and its answers on validation."""
        source = self.rows.source
        body = self.work.head_alone(self.rows.kind, source, "mlp")
        answers = self.work.trainer.outputs(body, source, self.work.problem.val).astype(np.float64)
        if isinstance(source, Stored):
            source.let_go()  # what follows works on `rows.x`
        return body, answers

    def _rival(self, theirs: OutOfFold, judge: Judge) -> tuple[tuple[keras.Model, np.ndarray] | None, HeadCandidate]:
        """The neural network with its answers on validation, where it is better there and within the limits; and its
        row for the table."""
        mlp, val = self._network()
        beaten, row = self._beaten(theirs, val, judge)
        what = terms.candidate("mlp", "all")
        beaten = beaten and self.account.admits("mlp", what, lambda: self.rows.network(mlp, self.rows.columns))
        return ((mlp, val) if beaten else None), row

    def _beaten(self, theirs: OutOfFold, val: np.ndarray, judge: Judge) -> tuple[bool, HeadCandidate]:
        """Whether the network's answers on validation are better than the winner's there, beyond `CLEARLY` standard
        errors, and its row for the table. Cross-validating it would cost as much again for every fold."""
        ours = OutOfFold.of(val, judge)
        gap, error = behind(theirs, ours, judge)
        network = HeadCandidate(
            name="mlp on all", features="all", classifier="mlp",
            setting={"width": float(self.work.settings.head_width[0])}, score=ours.score, rounds=0,
            spread=None, behind_best=-gap, behind_best_se=error, given_up=False, chosen=False,
            judged_on="validation",
        )  # fmt: skip
        return bool(gap > CLEARLY * error), network

    def _cross_validation(self, found: HeadChoice) -> CrossValidation:
        gain = found.gain
        return CrossValidation(
            metric=self.work.problem.goal.name, score=found.score,
            ci95=None if found.interval is None else list(found.interval), winner_alone=found.apparent,
            simplest=None if gain is None else gain.over, gain=None if gain is None else gain.gain,
            gain_se=None if gain is None else gain.error,
            n=len(self.rows.pictures), folds=found.folds, rounds=found.rounds,
        )  # fmt: skip

    def _said(self, found: HeadChoice, table: list[HeadCandidate], beaten: bool) -> str:
        chosen = next(row for row in table if row.chosen)
        interval = "" if found.interval is None else f" ({figure(found.interval[0])} to {figure(found.interval[1])})"
        name = terms.score(self.work.problem.goal.name)
        expected = "" if beaten else f": expected {name} {figure(found.score)}{interval}"
        what = terms.candidate(chosen.classifier, chosen.features)
        rounds = "" if found.rounds == 1 else f"{found.rounds} × "
        return (
            f"chosen of {len(table)} candidates: {what}{expected}, by {rounds}{found.folds}-fold cross-validation in "
            f"{duration(found.seconds)}"
        )


def select(
    work: Recipe, splits: Splits, network: bool = True, pool: Samples | None = None, bounded: bool = True
) -> HeadSelection | None:
    """The selection of a run.

    Args:
        work: the recipe.
        splits: which part each picture belongs to.
        network: whether a neural network is among the candidates.
        pool: pictures without labels.
        bounded: whether no choice is made where the answers would take too much memory; a comparison of networks has
            held them already.

    Returns:
        None, which is said, where a class has too few pictures for folds, or the answers of all candidates would take
        too much memory.

    Raises:
        DataError: it is so, and there is a pool, which only the choice can use.
    """
    try:
        rounds_of_folds(work.problem.samples, splits, work.settings.folds or FOLDS, 1)
        if bounded:
            require_room(work)
    except DataError as error:
        if pool is not None:
            raise DataError(
                f"--unlabeled is for the choice of the classifier by cross-validation, and {error}"
            ) from error
        work.notes.append(f"no choice of the classifier by cross-validation: {error}")
        work.reporter.say(f"head: {work.notes[-1]}; a neural network is trained instead")
        return None
    selector = Selector(work, splits, network=network, pool=pool)
    selection = selector.run()
    allowed = agreement.tolerance(work.frozen.precision, selection.trained.phases)
    return selection if selection.gap <= allowed else _exact(selector, selection)


def _exact(before: Selector, found: HeadSelection) -> HeadSelection:
    """The selection on features in TensorFlow's float32, in which what is shipped computes. Raises TrainingError where
    it is not what is shipped even then."""
    work = before.work
    problem, words = work.problem, agreement.said(found.gap, work.problem)
    if work.frozen.precision.how != "plain":
        work.frozen.refuse_engine(found.trained.features, agreement.refusal(found.gap))
        how = "by TensorFlow" if work.frozen.precision.engine else "in float32"
        work.notes.append(f"{words}: features were computed again {how}, and the classifier chosen by these")
        work.reporter.warn(work.notes[-1])
        _forget(work)
        precision = Precision(reason="others did not agree with what is shipped")
        selection = Selector(work, before.splits, precision, before.network, before.pool).run()
        if selection.gap <= agreement.TOLERANCE:
            return selection
        words = agreement.said(selection.gap, problem)
    raise TrainingError(f"{words}; use another classifier, --head mlp")


def _forget(work: Recipe) -> None:
    """Of the network among the candidates, which is trained again, and not from what was kept of the one before."""
    trainer = work.trainer
    trainer.phases.clear()
    trainer.history.clear()
    if trainer.checkpoints is not None:
        trainer.checkpoints = trainer.checkpoints / "float32"
