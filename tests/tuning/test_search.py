"""The search's loop over engines that end trials in any order: the same trials, the same winner, killed or not."""

import json
import math
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from transferkit.console import Reporter
from transferkit.errors import RunError
from transferkit.tuning.journal import Journal
from transferkit.tuning.oracles.oracle import Oracle, Proposal
from transferkit.tuning.records import Outcome
from transferkit.tuning.search import DEFAULT, Search, Trial
from transferkit.tuning.search_space.space import parse_search

SPACE = parse_search(["learning_rate=1e-4:1e-2:log", "batch_size=16,32,64", "dropout=0:0.5"])
TRIALS = {"grid": None, "random": 9, "bayesian": 9, "hyperband": 6}


class Killed(BaseException):
    """kill -9, as far as the journal is concerned."""


class Engine:
    """Ends what runs in an order drawn at random; trials score by their settings and seed alone."""

    def __init__(self, slots, order, score):
        self.slots, self.rng, self.score = slots, np.random.default_rng(order), score
        self.running, self.begun = [], []

    def submit(self, task):
        self.running.append(task)
        self.begun.append(task.id)
        assert len(self.running) <= self.slots

    def wait(self):
        ended = [self.running.pop(self.rng.integers(len(self.running))) for _ in range(1 + self.rng.integers(2))
                 if self.running]  # fmt: skip
        return [self._outcome(task) for task in ended]

    def _outcome(self, task):
        score = self.score(task)
        return Outcome(task.id, "failed" if score is None else "ok", score, None if score is None else -score)


def by_settings(task):
    """A hill; every seventh trial fails, and now and then a score is no number."""
    if task.id.isdigit() and int(task.id) % 7 == 3:
        return None
    if task.id.isdigit() and int(task.id) % 7 == 5:
        return math.nan
    rate = math.log10(task.values.get("learning_rate", 1e-3)) + 2.6
    return round(0.8 - 0.1 * rate**2 + task.values.get("batch_size", 32) / 1e3 + 1e-3 * (task.epochs or 9), 3)


def searching(folder, algorithm, slots, order, score=by_settings, stop=None):
    """A finished search in `folder` (resumed, where there is a journal), cut off once the journal has `stop` lines."""
    space = parse_search(["batch_size=16,32,64", "dropout=0:0.4:0.1"]) if algorithm == "grid" else SPACE
    plan = SimpleNamespace(base=SimpleNamespace(seed=5, epochs=9), checkpoints=folder / "trials")
    oracle = Oracle(space, algorithm, TRIALS[algorithm], True, 5, 9)
    engine = Engine(slots, order, score)
    with Journal.open(folder / "trials.jsonl", {"seed": 5}, resume=True) as journal:
        if stop is not None:
            append, lines = journal.append, [len(journal.events)]

            def counted(event):
                append(event)
                lines[0] += 1
                if lines[0] >= stop:
                    raise Killed

            journal.append = counted
        search = Search(plan, oracle, journal, engine, Reporter(quiet=True), True, "accuracy")
        search.run()
        candidates = search.finals(3, 3)
    return search, candidates, engine


def account(search, candidates):
    """What of a search must not depend on chance: trials, what became of them, and the finals."""
    return (
        [(t.proposal, t.outcome.score, t.outcome.status) for t in search.trials],
        [t.proposal.id for t in search.ranked()],
        [(c.id, c.values, c.own.id if c.own else None, c.scores, c.mean) for c in candidates],
    )


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("algorithm", TRIALS)
def test_the_order_in_which_trials_end_changes_nothing(algorithm, slots, tmp_path):
    found = []
    for order in range(4):
        (tmp_path / str(order)).mkdir()
        found.append(account(*searching(tmp_path / str(order), algorithm, slots, order)[:2]))
    assert all(one == found[0] for one in found)
    assert len(found[0][0]) == Oracle(SPACE, algorithm, TRIALS[algorithm], True, 5, 9).planned or algorithm in (
        "grid", "hyperband",
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", TRIALS)
def test_killed_at_any_line_and_resumed_it_is_the_same_search(algorithm, tmp_path):
    (tmp_path / "whole").mkdir()
    search, candidates, _ = searching(tmp_path / "whole", algorithm, 2, 0)
    lines = len(search.journal.events)
    for stop in range(1, lines, 1 if algorithm == "random" else 5):
        folder = tmp_path / str(stop)
        folder.mkdir()
        with pytest.raises(Killed):
            searching(folder, algorithm, 2, stop, stop=stop)
        begun = json.loads((folder / "trials.jsonl").read_text().splitlines()[-1])
        again, chosen, engine = searching(folder, algorithm, 2, stop + 1)
        assert account(again, chosen) == account(search, candidates)
        told = [e["trial"] for e in again.journal.events if e["event"] in ("tell", "final")]
        assert len(told) == len(set(told)), "a finished trial was repeated"
        assert begun["event"] == "ask" or begun["trial"] not in engine.begun


def test_ctrl_c_while_an_outcome_is_written_down_loses_no_trial_of_the_journal(tmp_path):
    oracle = Oracle(SPACE, "random", 9, True, 5, 9)
    plan = SimpleNamespace(base=SimpleNamespace(seed=5, epochs=9), checkpoints=tmp_path / "trials")
    with Journal.open(tmp_path / "trials.jsonl", {"seed": 5}, resume=True) as journal:
        search = Search(plan, oracle, journal, Engine(1, 0, by_settings), Reporter(quiet=True), True, "accuracy")
        append = journal.append

        def pressed(event):
            append(event)
            if event["event"] == "tell" and len(search.trials) == 2:
                signal.raise_signal(signal.SIGINT)

        journal.append = pressed
        with pytest.raises(KeyboardInterrupt):
            search.run()
    told = [event["trial"] for event in journal.events if event["event"] == "tell"]
    assert len(told) == 3
    assert sorted(told) == sorted(trial.proposal.id for trial in search.trials)


def test_workers_are_kept_busy_while_one_trial_is_long(tmp_path):
    """The next ones do not wait for it: as many as run at a time may end before it."""

    class Slow(Engine):
        def wait(self):
            first = next((t for t in self.running if t.id != "0000"), self.running[0])
            self.running.remove(first)
            ended.append(first.id)
            return [self._outcome(first)]

    ended = []
    oracle = Oracle(SPACE, "bayesian", 12, True, 5, 9)
    plan = SimpleNamespace(base=SimpleNamespace(seed=5, epochs=9), checkpoints=tmp_path / "trials")
    with Journal.open(tmp_path / "trials.jsonl", {}, resume=True) as journal:
        Search(plan, oracle, journal, Slow(4, 0, by_settings), Reporter(quiet=True), True, "accuracy").run()
    assert ended.index("0000") == 6  # of seven at most that are without a told outcome


def test_a_journal_that_lacks_an_outcome_is_refused(tmp_path):
    searching(tmp_path, "bayesian", 2, 0)
    path = tmp_path / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    rest = [line for line in lines if '"event":"tell","trial":"0000"' not in line]
    path.write_text("".join(re.sub(',"crc":"[0-9a-f]{8}"', "", line) for line in rest))  # as of an earlier version
    with pytest.raises(RunError, match="lacks the outcome of trial 0000"):
        searching(tmp_path, "bayesian", 2, 0)


# -- finals


def finals(score, trials, finalists=3, seeds=3, slots=2, order=0, epochs=9, maximise=True):
    """Finals of a search whose `trials` scored so."""
    plan = SimpleNamespace(base=SimpleNamespace(seed=5, epochs=9), checkpoints=None)
    journal = SimpleNamespace(events=[], append=lambda event: None)
    engine = Engine(slots, order, score)
    search = Search(plan, SimpleNamespace(), journal, engine, Reporter(quiet=True), maximise, "accuracy")
    search.trials = [
        Trial(Proposal(f"{n:04d}", {"dropout": n / 100}, epochs), Outcome(f"{n:04d}", "ok", value, 0.0))
        for n, value in enumerate(trials)
    ]
    return search.finals(finalists, seeds), engine


def test_the_score_that_chose_a_finalist_does_not_judge_it():
    """Twenty trials no better than the default: with three finalists, one of four is kept, and that is the default."""
    rng, kept, searches = np.random.default_rng(0), 0, 3000
    for _ in range(searches):
        candidates, _ = finals(lambda _: float(rng.normal()), rng.normal(size=20).tolist(), slots=8)
        kept += candidates[0].id == DEFAULT
    assert kept / searches == pytest.approx(0.25, abs=0.025)  # three standard errors


def test_outcomes_of_finals_are_told_apart_by_their_ids():
    """Whichever seed ends first, the run's own is the one that is shipped."""
    for order in range(8):
        candidates, engine = finals(lambda task: (task.seed - 3) / 4, [0.9, 0.8], 2, 3, slots=3, order=order)
        found = {c.id: c for c in candidates}
        assert found[DEFAULT].own.id == found[DEFAULT].outcomes[0].id == "default-seed5"
        assert found["0000"].own.id == found["0000"].outcomes[0].id == "0000"
        assert all(c.scores == [0.75, 1.0] and c.fresh for c in candidates)
        assert "0000-seed5" not in engine.begun, "the search has trained that already"
        assert [c.id for c in candidates] == [DEFAULT, "0000", "0001"], "equal means: the default"


def test_a_finalist_of_a_lower_rung_is_trained_whole():
    candidates, engine = finals(lambda task: 0.5, [0.9], 1, 2, epochs=3)
    assert {c.id: c.own.id for c in candidates} == {DEFAULT: "default-seed5", "0000": "0000-seed5"}
    assert "0000-seed5" in engine.begun


def test_seeds_that_fail_are_left_out_and_nobody_wins_by_the_score_that_chose_him():
    def some(task):
        return None if task.id.startswith("0000") or task.id == "default-seed5" else 0.6

    candidates, _ = finals(some, [0.9, 0.8], 2, 3)
    assert [(c.id, c.scores) for c in candidates] == [(DEFAULT, [0.6, 0.6]), ("0001", [0.6, 0.6])]
    assert candidates[0].own is None
    # Where no fresh seed was scored, what there is has to do.
    candidates, _ = finals(lambda _: None, [0.9, 0.8], 2, 3)
    assert [(c.id, c.scores, c.fresh) for c in candidates] == [("0000", [0.9], False), ("0001", [0.8], False)]
    candidates, _ = finals(lambda _: 0.7, [0.9, 0.8], 2, 1)
    assert [(c.id, c.scores, c.fresh) for c in candidates[:2]] == [("0000", [0.9], False), ("0001", [0.8], False)]
