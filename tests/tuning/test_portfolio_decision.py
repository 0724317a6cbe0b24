"""What a comparison decides, and that it stays decided."""

import numpy as np
import pytest

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.runs.tail_plan import TailPlan
from transferkit.selection.candidate_scores import OutOfFold
from transferkit.selection.ensemble import Ensemble
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers, NetworkChoice
from transferkit.tuning.network_comparison import TimeBudget
from transferkit.tuning.portfolio_decision import Decider, PortfolioDecision

ONE = OutOfFold(logits=[np.zeros((4, 2))], scores=[0.5], by_picture=None)


def answers(name, networks=(), mirrored=False, choice=10.0):
    return NetworkAnswers(name, 1, 32, "ridge", "last", 0.5, None, [ONE], 0, 20.0, choice, {}, networks, mirrored)


EVERY = [answers("a"), answers("b"), answers("a", ("a",), True), answers("a with b", ("a", "b"))]


@pytest.fixture
def decide():
    """What is decided of `EVERY` where place `winner` won, after `spent` of 100 seconds."""

    def made(winner=0, ensemble=None, spent=0.0, policy="none", **settings):
        now, asked = [0.0], []
        budget = TimeBudget(100.0, lambda: now[0])
        now[0] = spent

        def tail(network, left):
            asked.append((network, left))
            return TailPlan(policy, left, "as planned")

        base = Settings(backbone="mini", **settings)
        choice = NetworkChoice(winner, 0.5, None, 0.5, [(0.0, 0.0)] * 2, ensemble, 1)
        decider = Decider(
            every=EVERY, chosen=choice, base=base, budget=budget, tail=tail, reporter=Reporter(quiet=True)
        )  # fmt: skip
        return decider.decide(), asked

    return made


def test_the_winner_is_shipped_as_it_is(decide):
    found, asked = decide(winner=2)
    assert found.members == {Voter(("a",), True): 1.0}
    assert not found.plain
    assert found.single == ""
    assert asked == [("a", 100 - 15 - 20)], "time is kept for the end, and for choosing and mirroring once more"


def test_an_average_that_gained_has_members_of_every_kind(decide):
    several = Ensemble({1: 0.25, 3: 0.75}, ONE, 0.1, 0.01)
    found, _ = decide(ensemble=several)
    assert found.members == {Voter(("b",)): 0.25, Voter(("a", "b")): 0.75}
    assert found.first == "a"


@pytest.mark.parametrize("more", [{"spent": 95.0}, {"max_size": 50}])
def test_what_cannot_be_afforded_gives_way_to_one_network_which_is_said(decide, more):
    several = Ensemble({1: 0.25, 3: 0.75}, ONE, 0.1, 0.01)
    for given in ({"winner": 3}, {"ensemble": several, "winner": 2}):
        found, _ = decide(**given, **more)
        assert found.members == {Voter(("b",)): 1.0}
        assert found.plain
        assert found.single


def test_layers_are_trained_as_planned_where_there_is_time_to_plan(decide):
    found, _ = decide(policy="from:block4")
    assert (found.unfreeze, found.seconds, found.tail) == ("from:block4", 75.0, "as planned")
    late, asked = decide(policy="from:block4", spent=80.0)
    assert not asked
    assert late.unfreeze == "none"
    assert "no time was left" in late.tail
    assert late.late
    assert not found.late


def test_what_was_decided_comes_back_from_the_journal(decide):
    found, _ = decide(winner=3, policy="from:block4")
    assert PortfolioDecision.read(found.event()) == found
    earlier = PortfolioDecision.read({"event": "chosen", "shares": {"a": 0.5, "b": 0.5}, "single": ""})
    assert earlier.members == {Voter(("a",)): 0.5, Voter(("b",)): 0.5}
