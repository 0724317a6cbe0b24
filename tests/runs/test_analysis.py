"""What a finished run says of itself beyond its scores."""

import dataclasses

import numpy as np

from tests.records import metrics_of
from transferkit.data.source import scan
from transferkit.runs import analysis


def test_metrics_hold_learning_curve_abstention_and_both_calibration_errors(digits_run):
    metrics = digits_run.metrics
    curve = metrics["learning_curve"]
    assert curve["sizes"][-1] == metrics["train"]["n"]
    assert len(curve["scores"]) == len(curve["sizes"]) >= 3
    assert curve["fit"]["gain_low"] <= curve["fit"]["gain"] <= curve["fit"]["gain_high"]
    for row in metrics["abstention"]:
        if row["threshold"] is None:
            assert row["needed"] is None or row["needed"] > 0
        else:
            assert 0 < row["coverage"] < 1
            assert 0 <= row["test_coverage"] <= 1
    for split in ("val", "test"):
        assert 0 <= metrics[split]["ece_uncalibrated"] <= 1


def test_exact_copies_and_groups_do_not_judge_each_others_labels(monkeypatch):
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 3), np.uint8)
    x[7] = x[3]
    samples = scan((x, np.arange(60) % 2)).hashed()
    samples = dataclasses.replace(samples, group=tuple("g" if i in (3, 9) else None for i in range(60)))
    seen = []
    whole = analysis.find_label_issues

    def watched(features, targets, task, classes, groups, seed):
        seen.extend(groups)
        return whole(features, targets, task, classes, groups, seed)

    monkeypatch.setattr(analysis, "find_label_issues", watched)
    train = np.arange(60)[::-1]
    fit = analysis.Split(np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32), samples.targets[train])
    found = analysis.doubtful_labels(fit, samples, train, 0)
    kin = dict(zip(train.tolist(), seen, strict=True))
    assert kin[3] == kin[7] == kin[9]
    assert len(set(seen)) == 58
    # Features of noise: the judges doubt half of the labels, and know that they know nothing.
    assert (found.n, found.of, found.low) == (0, 60, 0.0)


def test_pictures_under_several_labels_are_counted_once_each():
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 3), np.uint8)
    x[[7, 9]] = x[3]  # all three of one class
    x[[20, 23]] = x[5]
    y = np.arange(60) % 2
    y[[23]] = 0
    assert analysis.contradicted(scan((x, y)).hashed()) == 1
    assert analysis.contradicted(scan((x, y.astype(float) + x[:, 0, 0, 0]), "regress").hashed()) == 0


def test_baselines_have_the_interval_of_the_score_that_is_shown_first():
    from transferkit.evaluation.baselines import majority

    rng = np.random.default_rng(0)
    numbers = rng.normal(30, 9, 40)
    samples = scan((rng.integers(0, 255, (40, 8, 8, 3), np.uint8), numbers), "regress")
    rivals = [("majority", majority(numbers, numbers, "regress", list(samples.classes)))]
    content = metrics_of({"task": "regress"})
    found = analysis.beside(rivals, numbers[:, None] + 1, content, samples, 0)["majority"]
    low, high = found["mae_ci95"]
    assert low < found["mae"] < high
    assert "r2_ci95" not in found


def test_of_very_many_pictures_some_are_judged_and_searched_each_with_its_own_label_and_group(monkeypatch):
    rng = np.random.default_rng(0)
    samples = scan((rng.integers(0, 255, (200, 8, 8, 3), np.uint8), np.arange(200) % 2)).hashed()
    samples = dataclasses.replace(samples, group=tuple(f"g{i // 2}" for i in range(200)))
    train = np.arange(198, 78, -1)
    fit = analysis.Split(np.repeat(train[:, None], 5, 1).astype(np.float32), samples.targets[train])
    asked = []
    whole = analysis.find_label_issues
    monkeypatch.setattr(analysis, "find_label_issues", lambda *given: asked.append(given) or whole(*given))
    monkeypatch.setattr(analysis, "MOST_JUDGED", 60)
    assert analysis.doubtful_labels(fit, samples, train, 0).of == 60
    ((features, targets, _, _, groups, _),) = asked
    pictures = features[:, 0].astype(int)
    assert len(set(pictures.tolist())) == 60
    assert (targets == samples.targets[pictures]).all()
    together = pictures[:, None] // 2 == pictures // 2
    assert (together == (np.array(groups)[:, None] == np.array(groups))).all()
    assert together.sum() > 60, "some pictures of one group were both drawn"

    monkeypatch.setattr(analysis, "MOST_SEARCHED", 40)
    train, others = (rng.normal(size=(n, 16)).astype(np.float32) for n in (100, 80))
    assert analysis.copies(train, others, 0) == (0, 40)
    assert analysis.copies(train, train[:80], 0) == (40, 40)
