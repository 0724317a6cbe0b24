"""What is made of the best networks, and when: without any network."""

from dataclasses import replace

import numpy as np
import pytest

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.splitting.split import Splits
from transferkit.evaluation import metric_registry
from transferkit.selection.candidate_scores import Judge, OutOfFold
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning import refinement
from transferkit.tuning.journal import Journal
from transferkit.tuning.kept_answers import KeptAnswers
from transferkit.tuning.network_comparison import TimeBudget
from transferkit.tuning.refinement import Refinement

N = 40
JUDGE = Judge("classify", np.arange(N) % 2, ("a", "b"), metric_registry.goal("accuracy", "classify"))


def answers(name, errors, size=32):
    guess = np.where(np.arange(N) < errors, 1 - JUDGE.targets, JUDGE.targets)
    one = OutOfFold.of(np.eye(2)[guess] * 4.0, JUDGE)
    setting = {"learner": {"penalty": 0.01}, "scale": 1.0, "shift": 0.5}
    return NetworkAnswers(name, 1, size, "ridge", "last", one.score, None, [one], 0, 4.0, 1.0, setting, (name,))


@pytest.fixture
def asked(monkeypatch):
    """What was computed: (networks, mirrored), in order."""
    done = []

    def mirrored(self, one):
        done.append(((one.network,), True))
        return replace(answers(one.network, 3), mirrored=True)

    def paired(self, left, right):
        done.append(((left.network, right.network), False))
        return replace(answers("pair", 2), networks=(left.network, right.network))

    monkeypatch.setattr(Refinement, "_mirrored", mirrored)
    monkeypatch.setattr(Refinement, "_paired", paired)
    monkeypatch.setattr(refinement.compute, "release", lambda: None)
    return done


@pytest.fixture
def work(tmp_path, asked):
    journal = Journal.open(tmp_path / "networks.jsonl", {}, resume=True)
    now, names = [0.0], ["a", "b", "large", "c"]
    made = Refinement(
        found=[answers("a", 9), answers("b", 5), answers("large", 7, size=64), answers("c", 6)],
        splits=Splits(("train",) * N, (-1,) * N, 0), base=Settings(backbone="mini"),
        budget=TimeBudget(100, lambda: now[0]), judge=JUDGE, recipe=None, speeds={"b": 100.0}, settled=False,
        kept=KeptAnswers(tmp_path / "networks", journal, names), reporter=Reporter(quiet=True),
    )  # fmt: skip
    made.now = now
    return made


def test_the_two_best_networks_of_one_size_are_refined(work, asked):
    work.run()
    assert asked == [(("b",), True), (("c",), True), (("b", "c"), False)]
    assert [str(one.member) for one in work.made] == [
        "b, also on mirror images", "c, also on mirror images", "b with c",
    ]  # fmt: skip
    assert not work.untried
    assert not work.late


def test_what_was_done_is_read_and_not_done_again(work, asked):
    work.run()
    again = replace(work, made=[], untried=[], settled=True)
    again.run()
    assert len(asked) == 3
    assert [one.member for one in again.made] == [one.member for one in work.made]
    assert again.made[2].own.score == work.made[2].own.score
    (work.kept.folder / "pair-1-3.npz").write_bytes(b"PK")
    damaged = replace(work, made=[], untried=[])
    damaged.run()
    assert asked[3:] == [(("b", "c"), False)], "what was damaged is done again"


def test_what_was_kept_stays_of_its_network_where_another_one_is_compared_in_between(work, asked):
    """As when a comparison is resumed with more time."""
    work.found = [work.found[0], work.found[3]]
    work.run()
    again = replace(work, found=[work.found[0], answers("b", 5), work.found[1]], made=[], untried=[])
    again.run()
    assert asked[3:] == [(("b",), True), (("b", "c"), False)]
    assert [str(one.member) for one in again.made] == [
        "b, also on mirror images",
        "c, also on mirror images",
        "b with c",
    ]


@pytest.mark.parametrize("how", ["late", "settled"])
def test_without_time_nothing_is_begun_which_is_said(work, asked, how):
    work.now[0] = 90.0 if how == "late" else 0.0
    work.settled = how == "settled"
    work.run()
    assert not asked
    assert not work.made
    assert work.late
    assert work.untried[0] == "b on mirror images: no time was left"
    assert work.untried[-1] == "features of b and c side by side: no time was left"


def test_limits_are_for_one_network_that_looks_once(work, asked):
    work.base = Settings(backbone="mini", max_latency=5)
    work.run()
    assert not asked
    assert not work.late
    assert "--max-latency and --max-size bound one network" in work.untried[0]


def test_one_network_alone_has_no_other_to_stand_beside(work, asked):
    work.found = work.found[:1]
    work.run()
    assert asked == [(("a",), True)]
