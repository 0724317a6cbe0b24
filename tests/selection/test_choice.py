"""The choice: finds what is there, prefers what is plain, and does not praise the winner for having won."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from transferkit.errors import TrainingError
from transferkit.evaluation.intervals import wilson
from transferkit.evaluation.metric_registry import goal
from transferkit.features import row_blocks, working_arrays
from transferkit.features.row_blocks import StoredRows, Table
from transferkit.selection import answering, expectation, kernels
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge, OutOfFold
from transferkit.selection.choice import HeadChoice, choose, fit, sets
from transferkit.selection.expectation import expected
from transferkit.selection.fitted import Affine, Fitted, Floats, Rows
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Folds, Setting
from transferkit.selection.learner import Path as Answered
from transferkit.selection.linear import Discriminant, Logistic, Ridge


def judge(labels: np.ndarray, name: str = "accuracy", classes: int = 0) -> Judge:
    count = classes or int(labels.max()) + 1
    return Judge("classify", labels, tuple(map(str, range(count))), goal(name, "classify"))


def rounds(n: int, count: int = 2) -> list[list[np.ndarray]]:
    return [np.array_split(np.random.default_rng(r).permutation(n), 5) for r in range(count)]


def test_the_set_that_holds_the_signal_is_found() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = rng.normal(size=(200, 1, 30)).astype(np.float32)
    x[:, 0, :5] += 1.2 * rng.normal(size=(4, 5))[labels]  # below; the last columns say nothing
    found = choose(
        x, np.eye(4)[labels], rounds(200), sets({"last": (20, 30), "all": (0, 30)}, [Discriminant()]), judge(labels)
    )
    assert found.trial.candidate.features == "all"
    assert [row.name for row in found.table] == ["discriminant on all", "discriminant on last"]
    assert found.table[1].given_up
    projection, fitted = fit(x, np.eye(4)[labels], found.trial)
    assert (fitted(projection(x[:, 0])).argmax(1) == labels).mean() > found.apparent - 0.05


def test_of_two_that_are_as_good_the_plainer_is_kept() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(240) % 2
    x = (rng.normal(size=(240, 1, 6)) + labels[:, None, None]).astype(np.float32)  # linear by construction
    found = choose(x, np.eye(2)[labels], rounds(240), sets({"all": (0, 6)}, [KernelRidge(), Ridge()]), judge(labels))
    assert found.trial.candidate.learner.name == "ridge"


def test_what_needs_a_kernel_gets_it() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 1, 2)).astype(np.float32)
    labels = (np.hypot(x[:, 0, 0], x[:, 0, 1]) > 1.1).astype(int)
    found = choose(x, np.eye(2)[labels], rounds(300), sets({"all": (0, 2)}, [KernelRidge(), Ridge()]), judge(labels))
    assert found.trial.candidate.learner.name == "kernel"
    assert found.score > 0.9


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "loss"])
def test_the_expected_score_is_not_the_winners_own(name: str) -> None:
    rng = np.random.default_rng(0)
    labels, optimism, own = np.arange(120) % 3, [], []
    for _ in range(30 if name != "macro_f1" else 4):
        trials = []
        for k in range(20):  # all alike: guesses that are right with probability .6
            guess = np.where(rng.random(120) < 0.6, labels, (labels + rng.integers(1, 3, 120)) % 3)
            logits = np.eye(3)[guess] * 2.0
            goal_ = judge(labels, name)
            trials.append(
                CandidateScore(
                    candidate=Candidate("all", 0, 1, Ridge()), setting={"penalty": float(k)}, logits=[logits],
                    scores=[goal_.score(logits)], by_picture=goal_.by_picture(logits),
                )
            )  # fmt: skip
        score, interval = expected(trials, judge(labels, name))
        sign = 1 if name != "loss" else -1
        best = max(sign * t.score for t in trials)
        truth = np.mean([sign * t.score for t in trials])
        optimism.append(best - truth)
        own.append(sign * score - truth)
        assert interval is not None
        assert interval[0] <= score <= interval[1]
    assert np.mean(optimism) > 0.02
    assert abs(np.mean(own)) < 0.35 * np.mean(optimism)


def test_of_answers_that_are_all_right_no_more_is_said_than_their_number_allows() -> None:
    labels = np.arange(30) % 3
    one = OutOfFold(logits=[20 * np.eye(3)[labels]], scores=[1.0], by_picture=None)
    score, interval = expected([one], judge(labels, "macro_f1"))
    assert score == 1.0
    assert interval == pytest.approx(wilson(30, 30))
    labels[0] = 1
    score, interval = expected([one], judge(labels, "macro_f1"))
    assert interval is not None
    assert interval[0] < score < interval[1] <= 1.0


@pytest.mark.extended
def test_the_interval_holds_what_it_says() -> None:
    """Classifiers chosen and fitted on 150 pictures of which the truth is known: the score on new ones lies inside."""
    rng, inside, repeats = np.random.default_rng(0), 0, 150
    for _ in range(repeats):
        centres = 0.55 * rng.normal(size=(3, 8))
        labels, new = rng.integers(0, 3, 150), rng.integers(0, 3, 4000)
        x = (centres[labels] + rng.normal(size=(150, 8))).astype(np.float32)[:, None]
        candidates = sets({"last": (0, 4), "all": (0, 8)}, [Discriminant(), Ridge()])
        found = choose(x, np.eye(3)[labels], rounds(150, 1), candidates, judge(labels, classes=3))
        projection, fitted = fit(x, np.eye(3)[labels], found.trial)
        fresh = (centres[new] + rng.normal(size=(4000, 8))).astype(np.float32)
        truth = (fitted(projection(fresh)).argmax(1) == new).mean()
        assert found.interval is not None
        inside += found.interval[0] <= truth <= found.interval[1]
    # 95 % of 150 are 142.5, its standard error 2.7.
    assert 0.91 <= inside / repeats <= 0.99


@dataclass(frozen=True)
class Counting:
    """A learner that counts how often it was asked, and knows nothing."""

    calls: list[int]
    name: str = "nothing"
    simplicity: int = 0
    gives_logits: bool = True

    def path(self, z: Rows, y: Floats, rounds: Sequence[Folds]) -> Iterator[Answered]:
        self.calls.append(1)
        yield {}, [np.zeros_like(y) for _ in rounds]

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        return Affine(np.zeros((z.shape[2], y.shape[1]), np.float32), np.zeros(y.shape[1], np.float32))


def test_the_hopeless_are_tried_once_and_said() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = (rng.normal(size=(200, 1, 5)) + 2 * rng.normal(size=(4, 5))[labels][:, None]).astype(np.float32)
    counting = Counting([])
    candidates = sets({"all": (0, 5)}, [counting, Discriminant()])
    told: list[int] = []
    found = choose(x, np.eye(4)[labels], rounds(200, 3), candidates, judge(labels), advance=told.append)
    assert len(counting.calls) == 1
    assert sum(told) == 2 * len(candidates)
    row = next(row for row in found.table if row.classifier == "nothing")
    assert row.given_up
    assert row.rounds == 1
    assert found.rounds == 3


def test_what_may_not_be_shipped_is_not_chosen_nor_counted_on() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 1, 2)).astype(np.float32)
    labels = (np.hypot(x[:, 0, 0], x[:, 0, 1]) > 1.1).astype(int)
    candidates = sets({"all": (0, 2)}, [KernelRidge(), Ridge()])
    asked: list[str] = []

    def admitted(trial: CandidateScore) -> bool:
        asked.append(trial.candidate.learner.name)
        return trial.candidate.learner.name != "kernel"

    found = choose(x, np.eye(2)[labels], rounds(300), candidates, judge(labels), admitted=admitted)
    assert asked == ["kernel", "ridge"]
    assert found.trial.candidate.learner.name == "ridge"
    assert found.score < 0.75  # what a line through a circle is worth, not what the kernel reached
    with pytest.raises(TrainingError, match="--max-latency"):
        choose(x, np.eye(2)[labels], rounds(300), candidates, judge(labels), admitted=lambda trial: False)


def test_the_expected_error_is_in_the_units_of_the_user() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1, 4)).astype(np.float32)
    values = 1000 * (x[:, 0, 0] + 0.1 * rng.normal(size=200)) + 5000
    units = (np.array([values.mean()]), np.array([values.std()]))
    judge_ = Judge("regress", values[:, None], ("a",), goal("mae", "regress"), units)
    found = choose(x, (values[:, None] - units[0]) / units[1], rounds(200), sets({"all": (0, 4)}, [Ridge()]), judge_)
    assert found.score == pytest.approx(found.apparent, rel=0.1)
    assert 60 < found.score < 110  # of a noise of 100
    assert found.interval is not None
    assert found.interval[0] < found.score < found.interval[1]


def test_what_the_choice_brought_is_told_apart_on_the_same_pictures() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 1, 2)).astype(np.float32)
    labels = (np.hypot(x[:, 0, 0], x[:, 0, 1]) > 1.1).astype(int)
    candidates = sets({"last": (0, 2)}, [KernelRidge(), Logistic()])
    found = choose(x, np.eye(2)[labels], rounds(300), candidates, judge(labels))
    simple = next(row for row in found.table if row.name == "logistic on last")
    assert found.gain is not None
    assert found.gain.over == simple.name
    assert found.gain.gain == pytest.approx(simple.behind_best)
    assert found.gain.gain > 2 * found.gain.error > 0
    alone = choose(x, np.eye(2)[labels], rounds(300), sets({"last": (0, 2)}, [Logistic()]), judge(labels))
    assert alone.gain is None


def test_rows_that_memory_has_no_room_for_are_chosen_by_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "EXACT", 100)
    rng = np.random.default_rng(0)
    labels = np.arange(210) % 3
    x = (rng.normal(size=(210, 2, 20)) + 0.7 * rng.normal(size=(3, 20))[labels][:, None]).astype(np.float32)
    candidates = sets({"last": (12, 20), "all": (0, 20)}, [Discriminant(), Ridge(), Logistic(), KernelRidge()])

    def chosen(rows: Table) -> HeadChoice:
        return choose(rows, np.eye(3)[labels], rounds(210), candidates, judge(labels))

    monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 32)
    there = chosen(x)
    outputs = [fitted(projection(x[:, 0])) for projection, fitted in [fit(x, np.eye(3)[labels], there.trial)]]
    monkeypatch.setattr(working_arrays, "HELD_BYTES", 0)
    stored = StoredRows(lambda places: x[places], x.shape)
    found = chosen(stored)
    assert all(isinstance(answers, np.memmap) for trial in found.contenders for answers in trial.logits)
    assert not any(isinstance(answers, np.memmap) for trial in there.contenders for answers in trial.logits)
    assert found.table == there.table
    assert (found.trial.candidate.name, found.trial.setting) == (there.trial.candidate.name, there.trial.setting)
    assert (found.score, found.interval, found.apparent) == (there.score, there.interval, there.apparent)
    assert np.array_equal(found.logits, there.logits)
    projection, fitted = fit(stored, np.eye(3)[labels], found.trial)
    assert np.array_equal(fitted(projection(x[:, 0])), outputs[0])


def test_one_set_of_features_at_a_time_is_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    x = np.random.default_rng(0).normal(size=(20, 1, 6)).astype(np.float32)
    candidates = sets({"last": (4, 6), "all": (0, 6)}, [Ridge()])
    for rows, kept in ((x, 2), (StoredRows(lambda places: x[places], x.shape), 1)):
        known: dict[tuple[int, int], Table] = {}
        assert [answering.projected(rows, candidate, known).shape[2] for candidate in candidates] == [2, 6]
        assert len(known) == kept


def test_expecting_of_many_pictures_takes_no_more_memory_for_more_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, trials, of = np.random.default_rng(0), [], judge(np.arange(150) % 3)
    for _ in range(4):
        logits = rng.normal(size=(150, 3)) + np.eye(3)[of.targets]
        trials.append(OutOfFold.of(logits, of))
    whole = expected(trials, of)
    monkeypatch.setattr(expectation, "DRAWN", 150 * 7)  # a thousand draws in sevens, and the rest
    assert expected(trials, of)[0] == pytest.approx(whole[0], abs=1e-12)
