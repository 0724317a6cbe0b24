"""Of many pictures: who cannot win is found out on some, who may is judged on all, and what is said of both is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from transferkit.errors import TrainingError
from transferkit.evaluation.metric_registry import goal
from transferkit.selection import choice, screening
from transferkit.selection.candidate_scores import Candidate, CandidateScore, Judge
from transferkit.selection.choice import choose, sets
from transferkit.selection.fitted import Affine, Fitted, Floats, Rows
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Folds, Learner, Path, Setting
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours
from transferkit.selection.screening import answers, comparisons, drawn

N = 600
JUDGED = 150  # of these in the first comparison


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "ALL", 300)
    monkeypatch.setattr(screening, "FIRST", JUDGED)


def judge(labels: np.ndarray, name: str = "accuracy") -> Judge:
    return Judge("classify", labels, tuple(map(str, range(labels.max() + 1))), goal(name, "classify"))


def rounds(n: int) -> list[list[np.ndarray]]:
    return [np.array_split(np.random.default_rng(r).permutation(n), 5) for r in range(2)]


def pictures(n: int = N, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 1, 8)) + apart * rng.normal(size=(3, 8))[labels][:, None]).astype(np.float32), labels


@dataclass(frozen=True)
class Knowing:
    """A learner that is right with a probability, whatever it learns from, and notes how many pictures it answers."""

    name: str
    right: float
    labels: dict[int, np.ndarray] = field(compare=False, hash=False)
    asked: list[int] = field(default_factory=list, compare=False, hash=False)
    simplicity: int = 2
    gives_logits: bool = True

    def path(self, z: Rows, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        self.asked.append(len(z))
        wrong = np.random.default_rng(len(self.name)).random(len(z)) > self.right
        yield {}, [np.roll(y, 1, axis=1) * wrong[:, None] + y * ~wrong[:, None] for _ in rounds]

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        return Affine(np.zeros((z.shape[2], y.shape[1]), np.float32), np.zeros(y.shape[1], np.float32))

    def quick(self) -> Knowing:
        return self

    def narrowed(self, best: Setting) -> Knowing:
        return self


def known(shares: Sequence[float]) -> list[Knowing]:
    return [Knowing("k" * (number + 1), share, {}) for number, share in enumerate(shares)]


def test_few_pictures_or_candidates_are_all_judged_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert comparisons(3000, 10, 18) == []
    assert comparisons(100_000, 10, 4) == []
    monkeypatch.setattr(choice, "screened", lambda *_: pytest.fail("no comparison is wanted"))
    x, labels = pictures()
    learners = known([0.9, 0.5, 0.8, 0.7, 0.6])
    found = choose(x, np.eye(3)[labels], rounds(N), sets({"all": (0, 8)}, learners), judge(labels))
    assert [row.pictures for row in found.table] == [None] * 5
    assert found.rounds == 2


def test_there_are_more_comparisons_of_more_pictures_and_answers_grow_no_faster_than_these() -> None:
    assert comparisons(8500, 10, 18) == [4000]
    assert comparisons(3001, 10, 18) == [1500]
    assert comparisons(85_000, 10, 18) == [4000, 16_000]
    assert comparisons(850_000, 10, 18) == [4000, 16_000, 64_000, 256_000]
    assert comparisons(85_000, 1000, 18) == [20_000]  # twenty of each class
    assert answers(3000, 10, 18) == 18 * 3000
    assert answers(8500, 10, 18) == 11 * 8500
    assert answers(850_000, 10, 18) <= 6 * 850_000


def test_what_is_drawn_is_alike_in_classes_and_keeps_its_fold() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    groups = rng.integers(0, 200, 1000)  # together in a fold
    folds = [np.flatnonzero(groups % 5 == k) for k in range(5)]
    places, parts = drawn(np.eye(3)[labels], folds, 200, 0)
    assert len(np.unique(places)) == len(places) == pytest.approx(200, abs=5)
    assert np.bincount(labels[places]) == pytest.approx([180, 18, 2], abs=3)
    assert sorted(np.concatenate(parts)) == list(range(len(places)))
    for fold, part in zip(folds, parts, strict=True):
        assert np.isin(places[part], fold).all()
    again, _ = drawn(np.eye(3)[labels], folds, 200, 0)
    assert np.array_equal(places, again)


@pytest.mark.usefixtures("few_are_many")
def test_who_is_left_behind_is_said_with_the_pictures_it_was_judged_on() -> None:
    x, labels = pictures()
    learners = known([0.9, 0.4, 0.85, 0.3, 0.5, 0.2])
    told: list[int] = []
    candidates = sets({"all": (0, 8)}, learners)
    found = choose(x, np.eye(3)[labels], rounds(N), candidates, judge(labels), advance=told.append)
    assert [learner.asked for learner in learners] == [[JUDGED, N], [JUDGED], [JUDGED, N], [JUDGED], [JUDGED], [JUDGED]]
    assert [row.pictures for row in found.table] == [None, None, *[JUDGED] * 4]
    assert [row.given_up for row in found.table][2:] == [True] * 4
    assert found.table[2].score == pytest.approx(0.5, abs=0.12)
    assert sum(told) == 2 * len(candidates)
    assert found.rounds == 1
    assert found.trial.candidate.learner.name == "k"
    assert found.logits.shape == (N, 3)
    assert len(found.leaders) == len(found.table) == 6
    assert {trial.candidate.learner.name for trial in found.contenders} <= {"k", "kkk"}


@pytest.mark.usefixtures("few_are_many")
def test_half_go_on_where_all_are_alike_and_with_them_the_simplest_and_who_would_be_chosen() -> None:
    x, labels = pictures(apart=0.0)
    learners: list[Learner] = [Discriminant("class mean", 0, shrinkages=(1.0,)), Ridge(), *known([0.34] * 6)]
    found = choose(x, np.eye(3)[labels], rounds(N), sets({"last": (0, 8)}, learners), judge(labels))
    everywhere = [row.name for row in found.table if row.pictures is None]
    assert 4 <= len(everywhere) <= 6
    assert "class mean on last" in everywhere
    assert "ridge on last" in everywhere
    assert found.gain is None or found.gain.over == "ridge on last"


@pytest.mark.usefixtures("few_are_many")
def test_what_takes_a_kernel_gets_it_of_many_pictures_too() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N, 1, 4)).astype(np.float32)
    labels = (np.hypot(x[:, 0, 0], x[:, 0, 1]) > 1.1).astype(int)
    learners: list[Learner] = [KernelRidge(), Ridge(), Logistic(), Discriminant()]
    candidates = sets({"last": (0, 2), "all": (0, 4)}, learners)
    found = choose(x, np.eye(2)[labels], rounds(N), candidates, judge(labels))
    assert found.trial.candidate.name == "kernel on last"
    assert not found.trial.candidate.learner.rough  # type: ignore[attr-defined]
    assert found.score > 0.93
    assert found.gain is not None
    assert found.gain.over == "logistic on last"
    assert found.gain.gain > 0.2


@pytest.mark.usefixtures("few_are_many")
def test_where_nothing_that_is_left_may_be_shipped_the_others_answer_for_all_pictures() -> None:
    x, labels = pictures()
    learners = known([0.9, 0.4, 0.85, 0.3, 0.5, 0.2])
    candidates = sets({"all": (0, 8)}, learners)

    def admitted(trial: CandidateScore) -> bool:
        return trial.candidate.learner.name in ("kkkk", "kk")

    found = choose(x, np.eye(3)[labels], rounds(N), candidates, judge(labels), admitted=admitted)
    assert found.trial.candidate.learner.name == "kk"
    assert learners[1].asked == [JUDGED, N]
    assert found.logits.shape == (N, 3)
    assert [row.pictures for row in found.table] == [None] * 6
    assert [row.chosen for row in found.table].count(True) == 1
    with pytest.raises(TrainingError, match="--max-latency"):
        choose(x, np.eye(3)[labels], rounds(N), candidates, judge(labels), admitted=lambda _: False)


@pytest.mark.parametrize("learner", [Ridge(), Discriminant(), Logistic(), NearestNeighbours(), KernelRidge()],
                         ids=lambda learner: learner.name)  # fmt: skip
def test_fewer_settings_answer_as_they_did_among_all(learner: Learner) -> None:
    x, labels = pictures(150)
    y, (folds, _) = np.eye(3)[labels], rounds(150)
    every = [(setting, out) for setting, (out,) in learner.path(x, y, [folds])]
    for best, _ in every:
        some = [(setting, out) for setting, (out,) in learner.narrowed(best).path(x, y, [folds])]
        assert best in [setting for setting, _ in some]
        for setting, out in some:
            assert np.allclose(out, next(o for s, o in every if s == setting), atol=1e-5)


def test_numbers_are_drawn_from_all_over_their_range() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(1000, 1)), axis=0)
    places, _ = drawn(values, np.array_split(np.random.default_rng(1).permutation(1000), 5), 100, 0)
    assert values[places].mean() == pytest.approx(values.mean(), abs=0.05)
    assert values[places].std() == pytest.approx(values.std(), abs=0.1)


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_luck_with_the_pictures_of_a_comparison_is_not_counted_as_merit(name: str) -> None:
    """Twelve that know nothing: the best half of them by half of the pictures is not better than chance."""
    off = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels, x = rng.integers(0, 3, 400), rng.normal(size=(400, 1, 24)).astype(np.float32)
        places = {"last": (0, 21), "top": (1, 22), "more": (2, 23), "all": (3, 24)}
        candidates = sets(places, [Discriminant("class mean", 0, shrinkages=(1.0,)), Discriminant(), Ridge()])
        found = choose(x, np.eye(3)[labels], rounds(400), candidates, judge(labels, name), seed)
        assert found.flattered > 0
        chance = 1 / 3 if name == "accuracy" else np.log(3)
        off.append((found.score - chance) * (1 if name == "accuracy" else -1))
        assert found.interval is not None
        assert found.interval[0] < found.score < found.interval[1]
    assert np.mean(off) < 2 * np.std(off) / np.sqrt(len(off))


@pytest.mark.usefixtures("few_are_many")
def test_candidates_keep_their_names_and_columns() -> None:
    x, labels = pictures()
    candidates = sets({"last": (4, 8), "all": (0, 8)}, [Ridge(), Discriminant(), Logistic()])
    places = {one.name: (one.start, one.stop) for one in candidates}
    found = screening.screened(x, np.eye(3)[labels], rounds(N)[0], candidates, judge(labels), 0, lambda _: None)
    every: list[Candidate] = [*found.candidates, *(one.entire for one in found.behind)]
    assert {one.name: (one.start, one.stop) for one in every} == places
    assert len(every) == len(places)
