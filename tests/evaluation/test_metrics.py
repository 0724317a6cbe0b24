"""scikit-learn is the oracle; the degenerate cases have their answers written down."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from transferkit import tasks
from transferkit.errors import ConfigError, DataError
from transferkit.evaluation import counts, metrics
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics import best_thresholds, one, score
from transferkit.features import working_arrays
from transferkit.file_windows import release
from transferkit.tasks import task as task_module


def classified(seed, n=200, count=6, levels=None):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, count, n)
    true[:count] = np.arange(count)
    logits = rng.normal(size=(n, count)) + 2 * np.eye(count)[true] * rng.random((n, 1))
    if levels:  # coarse logits make ties
        logits = np.round(logits * levels) / levels
    probs = np.exp(logits)
    return true, probs / probs.sum(axis=1, keepdims=True), [f"c{i}" for i in range(count)]


@pytest.mark.parametrize(("seed", "count", "levels"), [(0, 6, None), (1, 2, None), (2, 10, 1), (3, 4, 2)])
def test_classify_agrees_with_scikit_learn(seed, count, levels):
    true, probs, names = classified(seed, count=count, levels=levels)
    guess, hot = probs.argmax(1), np.eye(count)[true]
    got = score("classify", true, probs, names)
    average = {"zero_division": 0, "y_true": true, "y_pred": guess}
    expected = {
        "accuracy": oracle.accuracy_score(true, guess),
        "balanced_accuracy": oracle.balanced_accuracy_score(true, guess),
        "macro_precision": oracle.precision_score(average="macro", **average),
        "recall": oracle.recall_score(average="macro", **average),
        "macro_f1": oracle.f1_score(average="macro", **average),
        "weighted_precision": oracle.precision_score(average="weighted", **average),
        "weighted_recall": oracle.recall_score(average="weighted", **average),
        "weighted_f1": oracle.f1_score(average="weighted", **average),
        "kappa": oracle.cohen_kappa_score(true, guess),
        "mcc": oracle.matthews_corrcoef(true, guess),
        "roc_auc": np.mean([oracle.roc_auc_score(hot[:, c], probs[:, c]) for c in range(count)]),
        "pr_auc": np.mean([oracle.average_precision_score(hot[:, c], probs[:, c]) for c in range(count)]),
        "loss": oracle.log_loss(true, probs),
        "brier": ((probs - hot) ** 2).sum(1).mean(),
    }
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-6), key
    assert got["confusion"] == oracle.confusion_matrix(true, guess).tolist()
    rows = oracle.precision_recall_fscore_support(true, guess, zero_division=0)
    for c, row in enumerate(got["per_class"]):
        assert [row["precision"] or 0, row["recall"], row["f1"], row["support"]] == pytest.approx(
            [part[c] for part in rows]
        )


def test_top_k_agrees_with_scikit_learn():
    true, probs, names = classified(4, count=8)
    got = score("classify", true, probs, names)
    assert got["top3_accuracy"] == pytest.approx(oracle.top_k_accuracy_score(true, probs, k=3))
    assert got["top5_accuracy"] == pytest.approx(oracle.top_k_accuracy_score(true, probs, k=5))


def test_top_k_exists_only_where_it_says_something_and_ties_do_not_flatter():
    names = list("abcd")
    got = score("classify", np.arange(4), np.full((4, 4), 0.25), names)
    assert got["top3_accuracy"] == 0.0
    assert "top5_accuracy" not in got
    assert "top3_accuracy" not in score("classify", [0, 1, 2], np.eye(3), names[:3])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 7))
def test_any_classification_is_finite_json_and_agrees_with_the_oracle_on_averages(seed, n, count):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, count, n)  # classes may be absent
    probs = rng.dirichlet(np.ones(count), n)
    got = score("classify", true, probs, [f"c{i}" for i in range(count)])
    json.dumps(got, allow_nan=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert got["macro_f1"] == pytest.approx(
            oracle.f1_score(true, probs.argmax(1), average="macro", zero_division=0)
        )
        assert got["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(true, probs.argmax(1)))
        assert got["mcc"] == pytest.approx(oracle.matthews_corrcoef(true, probs.argmax(1)), abs=1e-9)


def test_a_class_absent_from_the_split_has_no_recall_rather_than_zero():
    got = score("classify", [0, 0, 1], [[0.9, 0.1, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]], ["a", "b", "ghost"])
    empty = dict.fromkeys(("precision", "recall", "f1", "roc_auc", "pr_auc"))
    assert got["per_class"][2] == {"class": "ghost", "support": 0, **empty}
    assert got["roc_auc"] is not None  # of the two classes that exist


def test_one_class_only_leaves_the_undefined_scores_empty():
    got = score("classify", [1, 1], [[0.0, 1.0], [0.0, 1.0]], ["a", "b"])
    assert got["accuracy"] == 1.0
    assert got["kappa"] is None
    assert got["roc_auc"] is None
    assert got["mcc"] == 0.0
    assert got["loss"] == pytest.approx(0, abs=1e-9)


def test_a_certain_and_wrong_answer_has_a_finite_loss():
    assert score("classify", [0], [[0.0, 1.0]], ["a", "b"])["loss"] == pytest.approx(-np.log(1e-7))


def labelled(seed, n=150, count=5):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, count)) < 0.3).astype(int)
    return (
        true,
        np.clip(rng.random((n, count)) * 0.7 + 0.3 * true, 0, 1).round(2),
        [f"l{i}" for i in range(count)],
    )


@pytest.mark.parametrize("seed", range(3))
def test_multilabel_agrees_with_scikit_learn(seed):
    true, probs, names = labelled(seed)
    guess = (probs >= 0.5).astype(int)
    got = score("multilabel", true, probs, names)
    expected = {
        "map": oracle.average_precision_score(true, probs, average="macro"),
        "roc_auc": oracle.roc_auc_score(true, probs, average="macro"),
        "micro_f1": oracle.f1_score(true, guess, average="micro"),
        "macro_f1": oracle.f1_score(true, guess, average="macro", zero_division=0),
        "macro_precision": oracle.precision_score(true, guess, average="macro", zero_division=0),
        "recall": oracle.recall_score(true, guess, average="macro", zero_division=0),
        "subset_accuracy": oracle.accuracy_score(true, guess),
        "hamming": oracle.hamming_loss(true, guess),
        "loss": np.mean([oracle.log_loss(true[:, c], np.clip(probs[:, c], 1e-7, 1 - 1e-7)) for c in range(5)]),
    }
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-6), key


def test_thresholds_move_the_labels_of_their_own_column_only():
    true = np.array([[1, 1], [0, 0]])
    probs = np.array([[0.3, 0.3], [0.1, 0.1]])
    got = score("multilabel", true, probs, ["a", "b"], thresholds=[0.2, 0.5])
    assert [row["recall"] for row in got["per_class"]] == [1.0, 0.0]
    assert [row["threshold"] for row in got["per_class"]] == [0.2, 0.5]


def test_a_label_that_never_occurs_leaves_the_mean_to_the_others():
    true = np.array([[1, 0], [0, 0], [1, 0]])
    got = score("multilabel", true, np.array([[0.9, 0.2], [0.1, 0.1], [0.8, 0.3]]), ["a", "never"])
    assert got["map"] == 1.0
    assert got["macro_f1"] == 1.0
    assert got["per_class"][1]["recall"] is None
    json.dumps(got, allow_nan=False)


def test_best_thresholds_reach_the_best_f1_of_any_threshold():
    true, probs, _ = labelled(7)
    found = best_thresholds(true, probs)
    for c in range(5):
        best = max(oracle.f1_score(true[:, c], probs[:, c] >= t) for t in np.unique(probs[:, c]))
        assert oracle.f1_score(true[:, c], probs[:, c] >= found[c]) == pytest.approx(best)


def test_best_thresholds_do_not_trust_one_or_two_pictures():
    true = np.array([[1], [1], [0], [0]])
    probs = np.array([[0.9], [0.8], [0.75], [0.1]])
    assert best_thresholds(true, probs).tolist() == [0.5]
    assert best_thresholds(true, probs, least=1) == pytest.approx([0.775])


@pytest.mark.parametrize("targets", [1, 3])
def test_regress_agrees_with_scikit_learn(targets):
    rng = np.random.default_rng(0)
    true = rng.normal(10, 2, (80, targets))
    guess = true + rng.normal(0.3, 1, true.shape)
    got = score("regress", true, guess, [f"t{i}" for i in range(targets)])
    rmse = np.sqrt(((guess - true) ** 2).mean(0)).mean()
    spearman = np.mean([spearmanr(true[:, t], guess[:, t]).statistic for t in range(targets)])
    expected = {
        "mae": oracle.mean_absolute_error(true, guess),
        "rmse": rmse,
        "r2": oracle.r2_score(true, guess),
        "mape": oracle.mean_absolute_percentage_error(true, guess),
        "spearman": spearman,
        "loss": oracle.mean_squared_error(true, guess),
        "bias": (guess - true).mean(),
    }
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-6), key
    assert [row["target"] for row in got["per_target"]] == [f"t{i}" for i in range(targets)]


def test_constant_targets_and_zeros_leave_what_is_undefined_empty():
    got = score("regress", [0.0, 0.0, 0.0], [0.1, -0.1, 0.0], ["t"])
    assert (got["r2"], got["spearman"], got["mape"]) == (None, None, None)
    assert got["mae"] == pytest.approx(0.2 / 3)
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize(
    ("task", "targets", "predictions", "say"),
    [
        ("classify", [], np.zeros((0, 2)), "empty"),
        ("classify", [0, 2], np.full((2, 2), 0.5), "whole numbers in 0…1"),
        ("classify", [0, 1], np.full((3, 2), 0.5), "do not fit"),
        ("classify", [0, 1], [[3.0, -2.0], [1.0, 0.0]], "softmax"),
        ("classify", [0], [[np.nan, 0.5]], "NaN"),
        ("multilabel", [0, 1], np.full((2, 2), 0.5), "do not fit"),
        ("multilabel", [[0.5, 1.0]], [[0.5, 0.5]], "whole numbers"),
        ("regress", [1.0, np.inf], [1.0, 2.0], "NaN or infinity"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_reason(task, targets, predictions, say):
    with pytest.raises(DataError, match=say):
        score(task, targets, predictions, ["a", "b"] if task != "regress" else ["t"])


def test_thresholds_where_they_cannot_act_are_refused():
    with pytest.raises(ConfigError, match="multilabel"):
        score("classify", [0], [[1.0, 0.0]], ["a", "b"], thresholds=0.3)


@pytest.mark.parametrize("levels", [None, 2])
def test_areas_and_brier_of_each_class_agree_with_scikit_learn(levels):
    true, probs, names = classified(5, count=5, levels=levels)
    got, hot = score("classify", true, probs, names), np.eye(5)[true]
    for c, row in enumerate(got["per_class"]):
        assert row["roc_auc"] == pytest.approx(oracle.roc_auc_score(hot[:, c], probs[:, c]), abs=1e-6)
        assert row["pr_auc"] == pytest.approx(oracle.average_precision_score(hot[:, c], probs[:, c]), abs=1e-6)
    each = [oracle.brier_score_loss(hot[:, c], probs[:, c]) for c in range(5)]
    assert got["brier"] == pytest.approx(sum(each), abs=1e-6)
    assert got["roc_auc"] == pytest.approx(oracle.roc_auc_score(true, probs, multi_class="ovr"), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_labels_one_by_one_and_together_agree_with_scikit_learn(seed):
    true, probs, names = labelled(seed)
    got, guess = score("multilabel", true, probs, names), (probs >= 0.5).astype(int)
    expected = {
        "micro_precision": oracle.precision_score(true, guess, average="micro"),
        "micro_recall": oracle.recall_score(true, guess, average="micro"),
        "pr_auc": oracle.average_precision_score(true, probs, average="macro"),
        "brier": np.mean([oracle.brier_score_loss(true[:, c], probs[:, c]) for c in range(5)]),
    }
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, abs=1e-6), key
    rows = oracle.precision_recall_fscore_support(true, guess, zero_division=0)
    for c, row in enumerate(got["per_class"]):
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx([p[c] for p in rows])
        assert row["roc_auc"] == pytest.approx(oracle.roc_auc_score(true[:, c], probs[:, c]), abs=1e-6)
        assert row["pr_auc"] == pytest.approx(oracle.average_precision_score(true[:, c], probs[:, c]), abs=1e-6)


@pytest.mark.parametrize("area", [counts.roc_auc, counts.average_precision])
def test_areas_of_many_classes_are_the_same_in_blocks(area, monkeypatch):
    rng = np.random.default_rng(0)
    true, scores = rng.random((30, 7)) < 0.3, np.round(rng.random((30, 7)), 1)  # with ties
    true[:, 2] = False
    whole = area(true.astype(np.int64), scores)
    assert whole[2] is None
    assert None not in whole[3:]
    labels = rng.integers(0, 7, 30)
    of_labels = area(np.eye(7, dtype=np.int64)[labels], scores)
    assert area(labels, scores) == of_labels
    monkeypatch.setattr(counts, "CELLS", 60)  # two columns at once
    assert area(true.astype(np.int64), scores) == whole
    assert area(labels, scores) == of_labels


@pytest.mark.parametrize("task", ["classify", "ordinal"])
def test_one_score_alone_is_what_all_of_them_give(task):
    true, probs, names = classified(3)
    every = score(task, true, probs, names)
    keys = {GOALS[name].key for name in tasks.of(task).metrics}
    assert {key: one(task, key, true, probs, names) for key in keys} == {key: every[key] for key in keys}
    with pytest.raises(DataError, match="NaN"):
        one(task, "loss", true, probs * np.nan, names)


@pytest.mark.parametrize("task", ["classify", "ordinal"])
def test_float32_and_a_part_at_a_time_are_scored_as_the_whole_in_float64(task, monkeypatch):
    true, probs, names = classified(3)
    single = probs.astype(np.float32)
    every = score(task, true, single.astype(np.float64), names)
    assert score(task, true, single, names) == every
    monkeypatch.setattr(task_module, "AT_ONCE", 3 * len(names))  # of three pictures
    keys = {GOALS[name].key for name in tasks.of(task).metrics}
    found = {key: one(task, key, true, 2 * single, names, answers=lambda rows: rows / 2) for key in keys}
    assert found == {key: every[key] for key in keys}
    monkeypatch.setattr(counts, "AT_ONCE", 3 * len(names))
    assert score(task, true, single, names) == every


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is read from /proc")
def test_a_table_in_a_file_is_scored_without_being_held(monkeypatch, tmp_path):
    """Answers of 4,000 pictures and 1,000 classes, 32 MB: of them only what is scored at once is in memory."""
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    rng, count, width = np.random.default_rng(0), 4000, 1000
    true, table = rng.integers(0, width, count), working_arrays._on_disk((count, width), np.float64)
    table[:] = rng.dirichlet(np.ones(width), count)
    release(table)
    names, most, ready = [str(i) for i in range(width)], [0], resident()
    for module, name in ((metrics, "roc_auc"), (metrics, "average_precision"), (metrics, "top_k"), (metrics, "ece")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, real=real: (real(*args), most.append(resident()))[0])
    whole = score("classify", true, table, names)
    assert max(most) - ready < 16 << 20
    assert whole == score("classify", true, np.array(table), names)


def resident():
    """Bytes of files that this process has in memory."""
    text = Path("/proc/self/status").read_text()
    return sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith(("RssFile", "RssShmem")))
