"""Which networks a comparison looks at, tries and leaves out, without any network."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import split
from transferkit.errors import WeightsError
from transferkit.selection.candidate_scores import OutOfFold
from transferkit.selection.portfolio import NetworkAnswers
from transferkit.tuning import network_comparison
from transferkit.tuning.journal import Journal
from transferkit.tuning.kept_answers import KeptAnswers
from transferkit.tuning.network_comparison import Budget, NetworkComparison

SCORES = {"mini": 0.7, "mobilenet": 0.8, "vgg16": 0.9}


def test_a_budget_counts_what_is_still_to_come():
    now = [100.0]
    budget = Budget(60, lambda: now[0])
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


@pytest.fixture
def comparison(samples, tmp_path, monkeypatch):
    """One of the three networks of `SCORES`, which take a second each."""
    now = [0.0]

    def answers(name, parameters, size, found, seconds):
        one = OutOfFold(logits=[np.zeros((51, 2))], scores=[0.5], by_picture=None)
        return NetworkAnswers(name, 1, 32, "ridge", "last", 0.5, None, [one], 0, seconds, 1.0)

    def choose(name):
        now[0] += 1
        return refused()(name)

    monkeypatch.setattr(network_comparison.compute, "start", lambda **_: None)
    monkeypatch.setattr(network_comparison.compute, "release", lambda: None)
    monkeypatch.setattr(network_comparison, "probe", refused())
    monkeypatch.setattr(NetworkAnswers, "of", answers)
    journal = Journal.open(tmp_path / "networks.jsonl", {}, resume=True)
    return NetworkComparison(
        samples=samples, splits=split(samples), base=Settings(backbone="mini", augment="none"), networks=[*SCORES],
        named=False, settled=False, budget=Budget(100.0, lambda: now[0]), choose=choose, journal=journal,
        kept=KeptAnswers(tmp_path / "networks", journal, [*SCORES]), reporter=Reporter(quiet=True), offline=True,
    )  # fmt: skip


def again(comparison, **more):
    """The same comparison after a kill."""
    return replace(comparison, found=[], looks=[], left_out=[], **more)


def refused(*names):
    """A probe, or a choice, that answers for all networks but these."""

    def of(name, *_):
        if name in names:
            raise WeightsError(f"no weights of {name} at v1.0. To put them there: do so\nand more")
        return SimpleNamespace(
            metric="accuracy",
            score=SCORES[name],
            spread=0.1,
            images_per_second=100.0,
            parameters=1,
            size=32,
            found=None,
        )

    return of


def test_the_first_comes_first_and_the_others_by_what_they_promise(comparison):
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "vgg16", "mobilenet"]
    assert comparison.left_out == []


def test_what_is_done_is_not_done_again(comparison):
    comparison.run()
    events = len(comparison.journal.events)
    resumed = again(comparison, choose=refused(*SCORES))
    resumed.run()
    assert [one.network for one in resumed.found] == [one.network for one in comparison.found]
    assert resumed.looks == comparison.looks
    assert len(comparison.journal.events) == events


def test_a_network_that_cannot_be_looked_at_is_told_once_and_not_tried(comparison, monkeypatch):
    monkeypatch.setattr(network_comparison, "probe", refused("mini"))
    comparison.run()
    assert [one.network for one in comparison.found] == ["vgg16", "mobilenet"]
    assert [(row.network, row.why) for row in comparison.left_out] == [("mini", "no weights of mini at v1.0")]


def test_who_named_a_network_that_cannot_be_had_is_told(comparison, monkeypatch):
    monkeypatch.setattr(network_comparison, "probe", refused("vgg16"))
    comparison.named = True
    with pytest.raises(WeightsError, match="vgg16"):
        comparison.run()


def test_where_no_network_can_be_used_the_last_reason_is_raised(comparison, monkeypatch):
    monkeypatch.setattr(network_comparison, "probe", refused(*SCORES))
    with pytest.raises(WeightsError, match="no weights of"):
        comparison.run()
    assert len(comparison.left_out) == 3


def test_a_network_that_fails_is_left_out(comparison):
    comparison.choose = refused("vgg16")
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini", "mobilenet"]
    assert [row.network for row in comparison.left_out] == ["vgg16"]


def test_time_is_kept_for_the_winner(comparison):
    """Fifteen of a hundred seconds: what would take a part of them is not begun."""
    inner = comparison.choose

    def slow(name):
        comparison.budget.begun -= 84
        return inner(name)

    comparison.choose = slow
    comparison.run()
    assert [one.network for one in comparison.found] == ["mini"]
    assert [row.network for row in comparison.left_out] == ["vgg16", "mobilenet"]
    assert all("no time was left" in row.why for row in comparison.left_out)


def test_once_the_winner_is_in_training_no_other_has_a_say(comparison):
    comparison.budget.begun = -99
    comparison.run()
    assert len(comparison.found) == 1
    resumed = again(comparison, settled=True, budget=Budget(1e9))
    resumed.run()
    assert [one.network for one in resumed.found] == ["mini"]
    assert resumed.left_out == comparison.left_out
