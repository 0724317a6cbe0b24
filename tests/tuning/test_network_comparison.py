"""Which networks a comparison looks at, tries and leaves out, without any network."""

from dataclasses import replace

import numpy as np
import pytest

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import split
from transferkit.errors import WeightsError
from transferkit.selection.candidate_scores import OutOfFold
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning import network_comparison
from transferkit.tuning.journal import Journal
from transferkit.tuning.kept_answers import KeptAnswers
from transferkit.tuning.network_comparison import NetworkComparison, TimeBudget
from transferkit.tuning.portfolio_account import FirstLook
from transferkit.tuning.records import Outcome

SCORES = {"mini": 0.7, "mobilenet": 0.8, "vgg16": 0.9}


def test_a_budget_counts_what_is_still_to_come():
    now = [100.0]
    budget = TimeBudget(60, lambda: now[0])
    assert budget.allows(60)
    now[0] = 130
    assert budget.spent == 30
    assert budget.allows(30)
    assert not budget.allows(31)


@pytest.fixture
def samples():
    return Samples(
        root=None, paths=tuple(f"{i}.png" for i in range(60)), targets=np.arange(60) % 2, classes=("a", "b"),
        task="classify", split=(None,) * 60, group=(None,) * 60, sha256=tuple(f"{i:064d}" for i in range(60)),
        pixels=None, origin="table",
    )  # fmt: skip


class Engine:
    """Does each task in a second, `slots` at a time, the newest first. `refused` are networks that cannot be looked at,
    or not be used: by an error, or by a worker that is lost."""

    def __init__(self, now, slots=1, unseen=(), unusable=(), lost=()):
        self.now, self.slots, self.waiting, self.closed, self.begun = now, slots, [], False, []
        self.unseen, self.unusable, self.lost = unseen, unusable, lost

    def submit(self, task):
        assert len(self.waiting) < self.slots
        self.waiting.append(task)
        self.begun.append((task.values["backbone"], task.limits.seconds))

    def wait(self):
        self.now[0] += 1
        task = self.waiting.pop()
        name, look = task.values["backbone"], task.values["look"]
        if name in (self.unseen if look else self.unusable):
            error = WeightsError(f"no weights of {name} at v1.0. To put them there: do so\nand more")
            return [Outcome(task.id, "failed", error=str(error), payload=error)]
        if name in self.lost and not look:
            return [Outcome(task.id, "killed", error="its worker or node was lost 3 times")]
        one = OutOfFold(logits=[np.zeros((51, 2))], scores=[0.5], by_picture=None)
        answers = NetworkAnswers(name, 1, 32, "ridge", "last", 0.5, None, [one], 0, 1.0, 1.0)
        return [
            Outcome(task.id, "ok", payload=FirstLook(name, "accuracy", SCORES[name], 0.1, 100.0) if look else answers)
        ]

    def close(self):
        self.closed = True


@pytest.fixture
def now():
    """The time, by the clock of the budget."""
    return [0.0]


@pytest.fixture
def comparison(samples, tmp_path, monkeypatch, now):
    """One of the three networks of `SCORES`, which take a second each."""
    monkeypatch.setattr(network_comparison.compute, "start", lambda **_: None)
    journal = Journal.open(tmp_path / "networks.jsonl", {}, resume=True)
    return NetworkComparison(
        samples=samples, splits=split(samples), base=Settings(backbone="mini", augment="none"), networks=[*SCORES],
        named=False, settled=False, budget=TimeBudget(100.0, lambda: now[0]), engine=lambda: Engine(now),
        journal=journal, kept=KeptAnswers(tmp_path / "networks", journal, [*SCORES]), reporter=Reporter(quiet=True),
    )  # fmt: skip


def again(comparison, **more):
    """The same comparison after a kill."""
    return replace(comparison, found=[], looks=[], left_out=[], **more)


def never():
    """There is no cluster any more."""
    raise AssertionError("nothing is left to be done")


def test_the_first_comes_first_and_the_others_by_what_they_promise(comparison):
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "vgg16", "mobilenet"]
    assert comparison.left_out == []


def test_what_is_done_is_not_done_again(comparison):
    comparison.run()
    events = len(comparison.journal.events)
    resumed = again(comparison, engine=never)
    resumed.run()
    assert [one.network for one in resumed.found] == [one.network for one in comparison.found]
    assert resumed.looks == comparison.looks
    assert len(comparison.journal.events) == events


def test_a_network_that_cannot_be_looked_at_is_told_once_and_not_tried(comparison, now):
    comparison.engine = lambda: Engine(now, unseen=["mini"])
    comparison.run()
    assert [one.network for one in comparison.found] == ["vgg16", "mobilenet"]
    assert [(row.network, row.why) for row in comparison.left_out] == [("mini", "no weights of mini at v1.0")]


def test_who_named_a_network_that_cannot_be_had_is_told(comparison, now):
    engine = Engine(now, unseen=["vgg16"])
    comparison.engine = lambda: engine
    comparison.named = True
    with pytest.raises(WeightsError, match="vgg16"):
        comparison.run()
    assert engine.closed


def test_where_no_network_can_be_used_the_last_reason_is_raised(comparison, now):
    comparison.engine = lambda: Engine(now, unseen=SCORES)
    with pytest.raises(WeightsError, match="no weights of"):
        comparison.run()
    assert len(comparison.left_out) == 3


def test_a_network_that_fails_is_left_out(comparison, now):
    comparison.engine = lambda: Engine(now, unusable=["vgg16"])
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "mobilenet"]
    assert [row.network for row in comparison.left_out] == ["vgg16"]


def test_time_is_kept_for_the_winner(comparison, now):
    """Fifteen of a hundred seconds: what would take a part of them is not begun."""

    class Slow(Engine):
        def submit(self, task):
            self.now[0] += 0 if task.values["look"] else 84
            super().submit(task)

    comparison.engine = lambda: Slow(now)
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini"]
    assert [row.network for row in comparison.left_out] == ["vgg16", "mobilenet"]
    assert all("no time was left" in row.why for row in comparison.left_out)


def test_once_the_winner_is_in_training_no_other_has_a_say(comparison):
    comparison.budget.begun = -99
    comparison.run()
    assert len(comparison.found) == 1
    resumed = again(comparison, settled=True, budget=TimeBudget(1e9))
    resumed.run()
    assert [one.network for one in resumed.found] == ["mini"]
    assert resumed.left_out == comparison.left_out


@pytest.mark.parametrize("slots", [2, 3, 9])
def test_several_at_a_time_come_to_the_same_whichever_is_done_first(comparison, now, slots):
    engine = Engine(now, slots=slots)
    comparison.engine = lambda: engine
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "vgg16", "mobilenet"]
    assert [look.network for look in comparison.looks] == ["mini", "mobilenet", "vgg16"]
    assert [name for name, _ in engine.begun[3:]] == ["mini", "vgg16", "mobilenet"]
    assert engine.closed


@pytest.mark.parametrize(("budget", "limit"), [(400.0, 400.0), (100.0, 300.0)])
def test_only_the_first_network_may_take_as_long_as_it_needs(comparison, now, budget, limit):
    """The others may take the budget; where that is short, the five minutes below which nothing is taken to hang."""
    engine = Engine(now, slots=3)
    comparison.engine, comparison.budget = lambda: engine, TimeBudget(budget, lambda: now[0])
    comparison.run()
    assert engine.begun[3:] == [("mini", None), ("vgg16", limit), ("mobilenet", limit)]


def test_beside_the_first_network_others_begin_only_where_there_is_time_for_their_pass(comparison, now):
    engine = Engine(now, slots=3)
    comparison.engine, comparison.budget = lambda: engine, TimeBudget(4.0, lambda: now[0])
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini"]
    assert {row.network for row in comparison.left_out} == {"vgg16", "mobilenet"}


def test_a_network_whose_worker_is_lost_is_left_out_and_tried_again_on_resume(comparison, now):
    """Even one that was named: it can be had."""
    comparison.engine, comparison.named = lambda: Engine(now, slots=2, lost=["vgg16"]), True
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "mobilenet"]
    assert [(row.network, row.why) for row in comparison.left_out] == [("vgg16", "its worker or node was lost 3 times")]
    resumed = again(comparison, engine=lambda: Engine(now, slots=2))
    resumed.run()
    assert [one.network for one in resumed.found] == ["mini", "vgg16", "mobilenet"]
    assert resumed.left_out == []
