"""Every score comes with an interval that holds it, by the means that fits it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from transferkit import tasks
from transferkit.evaluation.baselines import Baseline
from transferkit.evaluation.intervals import of_table, wilson
from transferkit.evaluation.metrics import score
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import CountedScores, Scores
from transferkit.runs import analysis, scoring

NAMES = ["a", "b", "c", "d"]


class Pictures(SimpleNamespace):
    sha256, group = None, ()

    def __len__(self):
        return len(self.targets)

    @property
    def kind(self):
        return tasks.of(self.task)


def data(task, n=240, seed=0):
    rng = np.random.default_rng(seed)
    if task == "regress":
        targets = rng.normal(10, 3, (n, 2))
        return Pictures(task=task, targets=targets, classes=["x", "y"]), targets + rng.normal(0, 1, targets.shape)
    if task == "multilabel":
        targets = (rng.random((n, 4)) < 0.4).astype(int)
        return Pictures(task=task, targets=targets, classes=NAMES), np.clip(
            0.4 * targets + 0.6 * rng.random((n, 4)), 0, 1
        )
    targets = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    outputs = np.exp(rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[targets])
    return Pictures(task=task, targets=targets, classes=NAMES), outputs / outputs.sum(1, keepdims=True)


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress", "ordinal"])
def test_every_score_lies_in_its_interval_and_is_the_metric(task):
    samples, outputs = data(task)
    found = scoring.scores(samples, outputs, 0)
    plain = score(task, samples.targets, outputs, samples.classes)
    tables = [(found, plain), *zip(found.get("per_class", []) + found.get("per_target", []),
                                   plain.get("per_class", []) + plain.get("per_target", []), strict=True)]  # fmt: skip
    assert len(tables) == 1 + len(samples.classes)
    for table, expected in tables:
        for key, value in expected.items():
            if not isinstance(value, float) or key in scoring.UNRESAMPLED:
                continue
            assert table[key] == value
            low, high = table[f"{key}_ci95"]
            assert low <= value <= high, key
            assert low < high, key


@pytest.mark.parametrize("task", ["classify", "multilabel", "ordinal"])
def test_where_all_is_right_no_score_is_said_to_be_sure(task):
    targets = np.arange(20) % 4
    right = np.eye(4)[targets] * 0.9 + 0.025
    samples = Pictures(
        task=task, targets=np.eye(4, dtype=int)[targets] if task == "multilabel" else targets, classes=NAMES
    )
    found = scoring.scores(samples, right, 0)
    tables = [(20, found), *[(5, row) for row in found["per_class"]]]
    for count, table in tables:
        perfect = {key for key, value in table.items() if value == 1.0 and f"{key}_ci95" in table}
        assert {"f1" if count == 5 else "macro_f1"} <= perfect
        for key in perfect:
            assert table[f"{key}_ci95"] == pytest.approx(wilson(count, count)), key


def test_an_error_of_one_everywhere_is_no_perfect_score():
    targets = np.arange(20) % 3
    found = scoring.scores(Pictures(task="ordinal", targets=targets, classes=NAMES), np.eye(4)[targets + 1], 0)
    assert found["mae"] == 1.0
    assert found["mae_ci95"] == [1.0, 1.0]


def test_proportions_have_wilsons_interval():
    samples, outputs = data("classify")
    found = scoring.scores(samples, outputs, 0)
    hits = outputs.argmax(1) == samples.targets
    assert found["accuracy_ci95"] == pytest.approx(wilson(int(hits.sum()), len(hits)))
    row, own = found["per_class"][2], samples.targets == 2
    assert row["recall_ci95"] == pytest.approx(wilson(int(hits[own].sum()), int(own.sum())))
    called = outputs.argmax(1) == 2
    assert row["precision_ci95"] == pytest.approx(wilson(int(hits[called].sum()), int(called.sum())))


def test_counts_give_what_resampling_pictures_gives():
    samples, outputs = data("classify", 600)
    found = scoring.scores(samples, outputs, 0)
    slow = of_table(
        lambda t, p: {"kappa": score("classify", t, p, NAMES)["kappa"]}, samples.targets, outputs,
        repeats=400, seed=1, stratify=True, ends_at_one=lambda _: len(outputs),
    )  # fmt: skip
    assert found["kappa_ci95"] == pytest.approx(slow["kappa"], abs=0.015)


def test_intervals_repeat_and_are_left_out_where_they_would_take_minutes(monkeypatch):
    samples, outputs = data("classify")
    first = scoring.scores(samples, outputs, 3)
    assert scoring.scores(samples, outputs, 3) == first
    monkeypatch.setattr(scoring, "MOST_RESAMPLED", 10)
    large = scoring.scores(samples, outputs, 3)
    assert "roc_auc_ci95" not in large
    assert large["accuracy_ci95"] == first["accuracy_ci95"]
    assert large["macro_f1_ci95"] == first["macro_f1_ci95"]
    assert not [key for key in scoring.scores(samples, outputs, 3, bounded=False) if key.endswith("ci95")]


def test_an_absent_class_has_scores_and_intervals_of_nothing():
    samples, outputs = data("classify")
    samples.targets[samples.targets == 3] = 0
    outputs[:, 3] = 0
    row = scoring.scores(samples, outputs / outputs.sum(1, keepdims=True), 0)["per_class"][3]
    assert row["recall"] is None
    assert not [key for key in row if key.endswith("_ci95") and key != "class"]


def many(count, n, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, count, n)
    outputs = rng.random((n, count)) + 0.9 * np.eye(count)[targets]
    return Pictures(task="classify", targets=targets, classes=[f"class_{c:04}" for c in range(count)]), (
        outputs / outputs.sum(1, keepdims=True)
    )


def test_of_many_classes_the_mistakes_made_most_often_are_kept():
    samples, outputs = many(120, 600)
    found = scoring.scores(samples, outputs, 0)
    matrix = np.array(score("classify", samples.targets, outputs, samples.classes)["confusion"])
    assert "confusion" not in found
    np.fill_diagonal(matrix, 0)
    assert [one.count for one in found.confused] == sorted(matrix[matrix > 0], reverse=True)[:500]
    number = {name: c for c, name in enumerate(samples.classes)}
    assert all(matrix[number[one.true], number[one.predicted]] == one.count for one in found.confused)
    assert Scores.checked(json.loads(json.dumps(found))).confused == found.confused
    with pytest.raises(ValueError, match="confused"):
        Scores.checked({"confused": [{"true": "a"}]})


def test_metrics_of_a_thousand_classes_stay_below_two_megabytes():
    samples, outputs = many(1000, 1000)
    test = scoring.scores(samples, outputs, 0)
    rivals = {name: Baseline(Scores(test), outputs, {}) for name in ("majority", "linear_probe", "nearest_neighbours")}
    found = MetricsRecord(
        schema_version=1, task="classify", classes=samples.classes, goal="accuracy", val=test, train=test,
        test=CountedScores(test), baselines={},
    )  # fmt: skip
    found.baselines = analysis.beside(rivals.items(), outputs, found, samples, 0)
    text = json.dumps(found.as_json(), indent=2)
    assert len(text) < 2e6
    assert len(MetricsRecord.read(json.loads(text)).test.rows) == 1000


def test_groups_are_counted_where_there_are_any():
    samples, outputs = data("classify", 40)
    assert "groups" not in scoring.scores(samples, outputs, 0)
    samples.group = [f"film {i // 4}" if i < 20 else None for i in range(40)]
    found = scoring.scores(samples, outputs, 0)
    assert found.groups == found["groups"] == found["groups_drawn"] == 25
    assert not {"groups", "groups_drawn"} & dict(found.numbers()).keys()


@pytest.mark.parametrize("task", ["classify", "multilabel", "ordinal", "regress"])
def test_intervals_of_pictures_in_groups_are_as_wide_as_those_of_as_many_groups(task):
    samples, outputs = data(task, 30)
    many = [np.repeat(part, 20, axis=0) for part in (samples.targets, outputs)]
    alone = scoring.scores(samples, outputs, 0)
    samples.targets, samples.group = many[0], [f"film {i // 20}" for i in range(600)]
    found = scoring.scores(samples, many[1], 0)
    keys = [key for key, _ in alone.numbers() if alone.interval(key) and found.interval(key)]
    assert len(keys) > 3
    for key in keys:
        (low, high), (first, last) = alone.interval(key), found.interval(key)
        assert last - first > 0.6 * (high - low), key
