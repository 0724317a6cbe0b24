"""A report's content for each task, made of small arrays and hostile names."""

import numpy as np

from tests.records import about, judged, metrics_of
from transferkit.delivery.report.report import ReportContent
from transferkit.evaluation import baselines, calibration
from transferkit.evaluation.diagnosis import diagnose
from transferkit.evaluation.extrapolation import learning_curve_fit
from transferkit.evaluation.intervals import wilson
from transferkit.evaluation.metrics import score
from transferkit.evaluation.metrics_record import LearningCurve
from transferkit.runs.run_record import RatePoint

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    "$x_1^2$",
    'quote" onerror="alert(2)',
    "{{ 7*7 }}",
    "| pipe # *star*",
    "日本語",
    "long " * 12,
]


def history():
    return [
        {"phase": phase, "epoch": e, "loss": 2.0 / (e + 2), "accuracy": 1 - 0.5 / (e + 1),
         "val_loss": 2.2 / (e + 2), "val_accuracy": 0.95 - 0.5 / (e + 1), "learning_rate": rate / (e + 1)}
        for phase, rate in (("head", 1e-3), ("fine-tune", 1e-4)) for e in range(8)
    ]  # fmt: skip


def pictures(n, names, rng, size=(40, 56)):
    return [
        {
            "path": f"test/{SCRIPT}/picture {i} '\"&.jpg",
            "label": names[i % len(names)],
            "predicted": names[(i + 1) % len(names)],
            "confidence": 0.99 - 0.05 * i,
            "picture": rng.integers(0, 255, (*size, 3), np.uint8),
            "overlay": rng.integers(0, 255, (*size, 3), np.uint8) if i % 2 else None,
        }
        for i in range(n)
    ]


def common(task, names, metrics):
    return ReportContent(
        title=f"flowers {SCRIPT}",
        created="2025-01-31 12:00",
        version="0.1.0",
        metrics=metrics_of({"task": task, "classes": names, **metrics}),
        counts={"train": 1400, "validation": 300, "test": 300},
        summary=["Features were computed once.", "The head was trained on them for 8 epochs."],
        history=history(),
        findings=[f"2 pictures of {SCRIPT} occur twice"],
        settings={"backbone": "vgg16", "learning_rate": 1e-3, "exclude": (SCRIPT,)},
        timings={"features": 12.3, "head": 340.0, "search": 9000.0},
        command="transferkit finetune 'flowers <b>' --backbone vgg16",
        environment={"python": "3.11", "keras": "3.15.1"},
        backbone="vgg16",
        weights="imagenet",
        data_name="flowers",
        input_size=(224, 224),
    )


def classify(names=HOSTILE, seed=0, n=300) -> ReportContent:
    rng = np.random.default_rng(seed)
    count = len(names)
    true = rng.integers(0, count, n)
    logits = rng.normal(size=(n, count)) + 3 * np.eye(count)[true]
    probs = calibration.apply_temperature(logits, 1.0, "classify")
    test = score("classify", true, probs, names)
    test["accuracy_ci95"] = list(wilson(round(test["accuracy"] * n), n))
    train = {**test, "accuracy": 0.99, "n": 1400}
    metrics = {
        "train": train,
        "val": test,
        "test": test,
        "baselines": {"majority": baselines.majority(true, true, "classify", names).scores},
        "abstention": [
            {"accuracy": 0.95, "threshold": 0.71, "coverage": 0.8, "test_accuracy": 0.94, "test_coverage": 0.83},
            {"accuracy": 0.99, "threshold": None, "coverage": 0.0},
        ],
    }
    found = diagnose(
        history(), judged(metrics), about({"n_train": 1400, "n_classes": count, "duplicates_across_splits": 2})
    )
    sizes = [100, 200, 400, 800]
    fit = learning_curve_fit(sizes, [0.6, 0.7, 0.77, 0.82], n_val=300)
    content = common("classify", names, {**metrics, "diagnosis": found.as_record().as_json()})
    content["metrics"].learning_curve = LearningCurve(sizes=[*sizes], scores=[0.6, 0.7, 0.77, 0.82], fit=fit)
    return content | {
        "reliability": calibration.reliability(probs, true),
        "learning_rate_range": (
            [RatePoint(learning_rate=10.0 ** (i / 5 - 6), loss=2 - i / 40) for i in range(30)],
            1e-3,
        ),
        "errors": pictures(4, names, rng),
        "confident": pictures(2, names, rng),
        "uncertain": pictures(2, names, rng),
    }


def multilabel() -> ReportContent:
    rng = np.random.default_rng(1)
    names = ["sky", SCRIPT, "never"]
    true = (rng.random((120, 3)) < [0.5, 0.3, 0]).astype(int)
    probs = np.clip(0.6 * true + 0.4 * rng.random((120, 3)), 0, 1)
    test = score("multilabel", true, probs, names)
    base = baselines.majority(true, true, "multilabel", names).scores
    return common("multilabel", names, {"val": test, "test": test, "baselines": {"majority": base}}) | {
        "reliability": calibration.reliability(probs, true),
        "errors": pictures(2, names, rng),
    }


def regress() -> ReportContent:
    rng = np.random.default_rng(2)
    true = rng.normal(40, 9, (80, 2))
    guess = true + rng.normal(0, 3, true.shape)
    names = ["age", SCRIPT]
    test = score("regress", true, guess, names)
    test["mae_ci95"] = [test["mae"] - 0.3, test["mae"] + 0.3]
    base = baselines.majority(true, true, "regress", names).scores
    return common("regress", names, {"val": test, "test": test, "baselines": {"majority": base}}) | {
        "regression": (true, guess)
    }


TASKS = {"classify": classify, "multilabel": multilabel, "regress": regress}
