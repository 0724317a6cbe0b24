"""What is said of a comparison is what was done: whatever is shipped, and whatever it was better than."""

import numpy as np
import pytest

from transferkit.config import Settings
from transferkit.evaluation import metric_registry
from transferkit.evaluation.metrics_record import MetricsRecord, UnfrozenRecord
from transferkit.evaluation.portfolio_record import EnsembleMember, EnsembleRecord
from transferkit.record import SCHEMA_VERSION
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.ensemble import Ensemble
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers, NetworkChoice
from transferkit.tuning import portfolio_account
from transferkit.tuning.portfolio_account import FirstLook, Story

N = 40
JUDGE = Judge("classify", np.arange(N) % 2, ("a", "b"), metric_registry.goal("accuracy", "classify"))
BOTH = Voter(("a", "b"))


def answers(name, errors, networks=(), mirrored=False):
    guess = np.where(np.arange(N) < errors, 1 - JUDGE.targets, JUDGE.targets)
    one = OutOfFold.of(np.eye(2)[guess] * 4.0, JUDGE)
    return NetworkAnswers(
        name, 1, 32, "ridge", "last", one.score, None, [one], 0, 4.0, 1.0, {}, networks or (name,), mirrored
    )  # fmt: skip


def metrics(ensemble=None, tail=None):
    found = MetricsRecord(
        schema_version=SCHEMA_VERSION, task="classify", classes=["a", "b"], goal="accuracy", test={"n": 0}, baselines={}
    )  # fmt: skip
    if ensemble is not None:
        found.ensemble = ensemble
    if tail is not None:
        found.unfrozen = UnfrozenRecord(shipped=tail, words="from:block4 0.9, frozen 0.8")
    return found


@pytest.fixture
def told():
    """The account where `members` were trained and `written` is what the run says of itself."""
    found, made = (
        [answers("a", 9), answers("b", 7)],
        [answers("b", 6, mirrored=True), answers("a with b", 2, ("a", "b"))],
    )

    def of(members, written, *, taken=False, averaged=found[1].own, **more):
        several = Ensemble({0: 0.5, 1: 0.5}, averaged, 0.1 if taken else 0.0, 0.05)
        chosen = NetworkChoice(
            0, 0.9, (0.8, 1.0), 0.95, [(0.0, 0.0), (0.05, 0.03)], several, 0, [(0.02, 0.03), (0.1, 0.04)]
        )  # fmt: skip
        story = Story(
            found=found, left_out=[], made=made, untried=["x: no time was left"], late=False, chosen=chosen,
            members=members, first="a", judge=JUDGE,
            **{
                "looks": [], "waiting": {}, "single": "", "unfreeze": "none", "tail": "no layers were trained: y",
                **more,
            },
        )  # fmt: skip
        return portfolio_account.content(story, Settings(backbone="a.keras"), "classify", written)

    return of


def record(*members):
    rows = [EnsembleMember(network=str(m), weight=1 / len(members), networks=list(m.networks)) for m in members]
    return EnsembleRecord(members=rows)


def test_one_network_is_chosen_and_the_rest_is_told(told):
    found = told({Voter(("a",)): 1.0}, metrics())
    assert [row.chosen for row in found.networks] == [True, False]
    assert found.words[0].startswith("a: ridge regression on the last layer")
    assert found.words[0].endswith("; chosen")
    assert any(
        "b also on mirror images" in line and "no gain beyond one standard error" in line for line in found.words
    )
    assert "not tried: x: no time was left" in found.words
    assert any("their answers averaged" in line and line.endswith("not taken (no gain beyond one standard error)")
               for line in found.words)  # fmt: skip
    assert "no layers were trained: y" in found.words
    assert found.winner_alone == pytest.approx(31 / N)


def test_features_of_two_are_chosen_and_neither_network_is_by_itself(told):
    found = told({BOTH: 1.0}, metrics(ensemble=record(BOTH)))
    assert [line for line in found.words if line.endswith("; chosen")] == [found.refined[1].words]
    assert "features of a and b side by side: ridge regression on the last layer" in found.refined[1].words
    assert [row.shipped for row in found.refined] == [False, True]
    assert found.winner_alone == pytest.approx(38 / N)


def test_shares_are_of_what_answers(told):
    members = {Voter(("a",)): 0.25, Voter(("b",), mirrored=True): 0.75}
    found = told(members, metrics(ensemble=record(*members)), taken=True)
    assert [row.share for row in found.networks] == [0.25, None]
    assert found.words[0].endswith("; 25 % of the answer")
    assert found.refined[0].words.endswith("; 75 % of the answer")
    assert found.together.shipped


def test_a_tail_that_won_over_an_average_is_why_it_is_not_taken(told):
    members = {Voter(("a",)): 0.5, Voter(("b",)): 0.5}
    found = told(members, metrics(tail=True), taken=True)
    assert not found.together.shipped
    assert "not taken (training layers was better still)" in found.together.words
    assert [row.chosen for row in found.networks] == [True, False]


def test_layers_that_lacked_time_in_the_end_are_not_said_to_be_trained(told):
    planned = {"unfreeze": "from:block4", "tail": "layers were trained too, since z"}
    assert told({Voter(("a",)): 1.0}, metrics(tail=False), **planned).tail == planned["tail"]
    found = told({Voter(("a",)): 1.0}, metrics(), **planned)
    assert found.tail == portfolio_account.OVER
    assert found.tail in found.words
    assert "ten minutes more would bring is not known" in found.forecast.words


def test_every_step_has_the_best_so_far(told):
    steps = told({Voter(("a",)): 1.0}, metrics()).steps
    assert [step.what for step in steps] == ["a", "b", "b, also on mirror images", "a with b", "answers averaged"]
    assert [step.best for step in steps[:4]] == pytest.approx([31 / N, 33 / N, 34 / N, 38 / N])
    assert steps[4].best == steps[3].best


def test_more_time_gains_only_what_it_brings_over_answers_averaged(told, monkeypatch):
    asked = []
    monkeypatch.setattr(portfolio_account.portfolio_forecast, "forecast", lambda *given: asked.append(given[2]))
    averaged = answers("together", 1).own
    looks = [FirstLook(name, "accuracy", 0.7, 0.1, 9.0) for name in ("a", "b", "c")]
    found = told({Voter(("a",)): 1.0}, metrics(), averaged=averaged, looks=looks, waiting={"c": 9.0})
    assert asked == [found.steps[-1].best]
    assert found.steps[-1].best > found.steps[-2].best
