"""Simulated runs with a known state, healthy ones among them: a good fit must not be called a bad one."""

import json
import math

import numpy as np
import pytest

from tests.records import about, judged
from transferkit import tasks
from transferkit.evaluation import diagnosis, symptoms
from transferkit.evaluation.diagnosis import GOOD, RULES, confident_errors
from transferkit.evaluation.diagnosis_context import ConfidentErrors
from transferkit.evaluation.symptoms import standard_error


def diagnose(history, metrics, context):
    return diagnosis.diagnose(history, judged(metrics), about(context))


def make_case(history, metrics, context):
    return symptoms.make_case(history, judged(metrics), about(context))


def run(loss, val_loss=None, rates=None, phase="head"):
    val_loss = [value * 1.1 for value in loss] if val_loss is None else val_loss
    rates = [1e-3] * len(loss) if rates is None else rates
    return [
        {"phase": phase, "epoch": e, "loss": a, "val_loss": b, "learning_rate": r}
        for e, (a, b, r) in enumerate(zip(loss, val_loss, rates, strict=True))
    ]


def falling(epochs=20, start=1.8, end=0.3, speed=4.0):
    return [end + (start - end) * math.exp(-e / speed) for e in range(epochs)]


def scores(train, val, test=None, n=300, n_train=1400, floor=0.25):
    test = val if test is None else test
    return {
        "train": {"n": n_train, "accuracy": train},
        "val": {"n": n, "accuracy": val},
        "test": {"n": n, "accuracy": test},
        "baselines": {"majority": {"accuracy": floor}},
    }


CONTEXT = {"n_train": 1400, "n_classes": 6, "settings": {"epochs": 30, "learning_rate": 1e-3}}


def state(history, metrics, **context):
    return diagnose(history, metrics, {**CONTEXT, **context}).state


@pytest.mark.parametrize(
    ("train", "val", "n"),
    [
        (0.86, 0.85, 300),
        (0.90, 0.87, 300),
        (0.95, 0.90, 60),
        (1.0, 0.97, 100),
        (0.83, 0.86, 120),
        (0.97, 0.90, 300),
    ],
)
def test_small_gaps_and_gaps_within_noise_are_a_good_fit(train, val, n):
    found = diagnose(run(falling()), scores(train, val, n=n), CONTEXT)
    assert found.state == GOOD
    assert found.remedies == []
    assert f"{val:.3f}" in found.evidence[0]


@pytest.mark.parametrize(("n", "said"), [(6, True), (300, False)])
def test_where_nothing_was_found_and_few_pictures_looked_at_that_is_said(n, said):
    metrics = {"val": scores(0.5, 0.5, n=n)["val"], "baselines": {}}
    found = diagnose([], metrics, CONTEXT)
    assert found.state == GOOD
    assert (f"{n} validation pictures show large faults only" in found.evidence[0]) == said


def test_chance_alone_rarely_accuses_a_good_fit():
    rng = np.random.default_rng(0)
    accused = 0
    for _ in range(300):
        n_train, n = int(rng.integers(400, 3000)), int(rng.integers(40, 400))
        truth = rng.uniform(0.82, 0.99)
        measured = [rng.binomial(k, truth) / k for k in (n_train, n, n)]
        noisy = [v * rng.normal(1, 0.03) for v in falling()]
        val_loss = [v * rng.normal(1, 0.08) for v in falling()]
        metrics = scores(*measured, n=n, n_train=n_train)
        accused += state(run(noisy, val_loss), metrics, n_train=n_train) != GOOD
    assert accused <= 6


def test_a_noisy_validation_curve_alone_is_no_instability():
    val_loss = [0.5, 0.7, 0.45, 0.8, 0.4, 0.75, 0.42, 0.7, 0.4, 0.6]
    assert state(run(falling(10), val_loss), scores(0.9, 0.89)) == GOOD


def test_a_tiny_loss_that_doubles_is_no_instability():
    loss = [0.9, 0.1, 0.01, 0.02, 0.005, 0.012, 0.004, 0.011, 0.003]
    assert state(run(loss), scores(1.0, 0.99)) == GOOD


def test_early_stopping_is_not_a_run_cut_short():
    history = run(falling(12), [*falling(9), 0.6, 0.62, 0.61])
    assert state(history, scores(0.93, 0.91)) == GOOD


def test_overfitting_by_the_turn_of_the_curve():
    val_loss = [1.8, 1.2, 0.9, 0.8, 0.85, 0.95, 1.05, 1.2]
    found = diagnose(run(falling(8, end=0.02), val_loss), scores(1.0, 0.88), CONTEXT)
    assert found.state == "overfitting"
    assert "after epoch 4" in " ".join(found.evidence)
    assert any("--augment medium" in remedy.command for remedy in found.remedies)


def test_overfitting_by_a_wide_gap():
    assert state(run(falling()), scores(0.99, 0.75)) == "overfitting"


def test_remedies_in_use_are_not_proposed_again():
    settings = {"augment": "strong", "views": 4, "dropout": 0.5, "l2": 1e-4, "unfreeze": "none"}
    found = diagnose(run(falling()), scores(0.99, 0.75), {**CONTEXT, "settings": settings})
    assert [remedy.command for remedy in found.remedies] == ["transferkit finetune DATA --views 8"]
    settings["views"] = "auto"  # which has found that more do not help
    found = diagnose(run(falling()), scores(0.99, 0.75), {**CONTEXT, "settings": settings})
    assert not any("--views" in remedy.command for remedy in found.remedies)
    settings["augment"] = "light"
    found = diagnose(run(falling()), scores(0.99, 0.75), {**CONTEXT, "settings": settings})
    assert [remedy.command for remedy in found.remedies if "--augment" in remedy.command] == [
        "transferkit finetune DATA --augment medium"
    ]


@pytest.mark.parametrize("loss", [[1.0, 0.8, float("nan")], [1.0, 3.0, 9.0, 40.0]])
def test_a_rate_too_high(loss):
    found = diagnose(run(loss), scores(0.3, 0.3), CONTEXT)
    assert found.state == "learning rate too high"
    assert found.remedies[0].command == "transferkit finetune DATA --learning-rate 0.0001"


def test_a_jumping_training_loss_is_unstable():
    loss = [1.5, 0.9, 1.3, 0.8, 1.2, 0.7, 1.1, 0.8, 1.2, 0.7]
    found = diagnose(run(loss), scores(0.85, 0.84), CONTEXT)
    assert found.state == "unstable"
    assert "--batch-size 64" in found.remedies[1].command


@pytest.mark.parametrize("cosine", [False, True])
def test_a_rate_too_low_shows_under_any_schedule(cosine):
    rates = [1e-6 * (1 + math.cos(math.pi * e / 30)) / 2 + 1e-9 if cosine else 1e-6 for e in range(30)]
    loss = (2.0 - 1e4 * np.cumsum(rates)).tolist()
    found = diagnose(run(loss, rates=rates), scores(0.4, 0.39, floor=0.2), CONTEXT)
    assert found.state == "learning rate too low"


def test_a_run_cut_short_should_go_on():
    loss = falling(6, speed=6)
    found = diagnose(run(loss), scores(0.85, 0.84), {**CONTEXT, "settings": {"epochs": 6}})
    assert found.state == "underfitting"
    assert "--epochs 18" in found.remedies[0].command


def test_training_as_poor_as_validation_is_underfitting():
    found = diagnose(run(falling(end=1.0)), scores(0.62, 0.61), CONTEXT)
    assert found.state == "underfitting"
    assert any("--unfreeze" in remedy.command for remedy in found.remedies)


def test_the_running_mean_under_mixup_accuses_nobody():
    history = [{**row, "accuracy": 0.55} for row in run(falling(end=1.0))]
    metrics = scores(0, 0.9)
    del metrics["train"]
    assert diagnose(history, metrics, CONTEXT).state == GOOD


def test_no_better_than_the_majority():
    found = diagnose(run(falling(end=1.5)), scores(0.82, 0.81, floor=0.8), CONTEXT)
    assert found.state == "underfitting"
    assert "0.800" in found.evidence[0]


def test_a_state_that_two_rules_find_is_said_once():
    found = diagnose(
        run(falling(6, end=1.5, speed=6)), scores(0.82, 0.81, floor=0.8), CONTEXT | {"settings": {"epochs": 6}}
    )
    assert (found.state, found.also) == ("underfitting", [])


def test_duplicates_across_splits_come_first():
    found = diagnose(run(falling()), scores(0.99, 0.75), {**CONTEXT, "duplicates_across_splits": 12})
    assert found.state == "leakage suspected"
    assert "overfitting" in found.also
    assert "12 pictures" in found.evidence[0]


def test_validation_far_above_test_is_suspect_but_noise_is_not():
    assert state(run(falling()), scores(0.99, 0.98, test=0.80)) == "leakage suspected"
    assert state(run(falling()), scores(0.95, 0.92, test=0.85, n=40)) == GOOD


def test_evidence_names_the_score_that_is_judged_by():
    numbers = {"train": {"n": 1400, "r2": 0.9}, "val": {"n": 300, "r2": 0.3}, "test": {"n": 300, "r2": 0.3}}
    found = diagnose(run(falling()), {**numbers, "baselines": {}}, {**CONTEXT, "task": "regress", "n_classes": 1})
    assert found.state == "overfitting"  # what is shown first of numbers is their mean absolute error
    assert found.evidence[0].startswith("training R² 0.900 against validation 0.300")
    good = diagnose(run(falling()), scores(0.9, 0.89), CONTEXT)
    assert good.evidence[0].startswith("training accuracy 0.900 and validation 0.890 agree")


def test_test_pictures_of_another_kind_are_no_leak_and_no_underfitting():
    far = scores(0.9, 0.85, test=0.3, floor=0.25)
    far["baselines"]["majority"]["against"] = {"accuracy": {"gain": 0.05, "low": -0.05, "high": 0.15, "p": 0.4}}
    found = diagnose(run(falling()), far, {**CONTEXT, "unlike": 0.8})
    assert (found.state, found.also) == ("test unlike training", [])
    assert "80% of the test pictures" in found.evidence[0]
    assert found.remedies[0].command == "transferkit data summary DATA"
    known = diagnose(run(falling()), far, CONTEXT)
    assert (known.state, "underfitting" in known.also) == ("leakage suspected", True)
    assert state(run(falling()), scores(0.9, 0.88, test=0.87), unlike=0.8) == GOOD  # answered well all the same


def test_label_noise_by_confident_mistakes():
    bad = {"observed": 20, "expected": 4.0, "answers": 200}
    assert state(run(falling()), scores(0.9, 0.89), confident_errors=bad) == "label noise suspected"
    assert state(run(falling()), scores(0.9, 0.89), confident_errors={**bad, "observed": 7}) == GOOD


def test_label_noise_by_pictures_under_several_labels_unless_they_are_few():
    found = diagnose(run(falling()), scores(0.9, 0.89), {**CONTEXT, "n_train": 100, "conflicting_labels": 3})
    assert found.state == "label noise suspected"
    assert "3 pictures occur under more than one label" in found.evidence
    assert found.remedies[0].command == "transferkit data check DATA"  # it lists them
    assert state(run(falling()), scores(0.9, 0.89), n_train=1000, conflicting_labels=3) == GOOD


def test_confident_errors_are_counted_against_what_calibration_allows():
    probs = [[0.95, 0.05]] * 4 + [[0.6, 0.4]]
    assert confident_errors(probs, [0, 0, 1, 0, 1]) == ConfidentErrors(1, pytest.approx(0.2), 4)


def test_too_little_data():
    found = diagnose(run(falling()), scores(0.98, 0.87, n_train=90), {**CONTEXT, "n_train": 90})
    assert found.state == "too little data"
    curve = {"gain": 0.04, "gain_low": 0.02, "gain_high": 0.06}
    assert state(run(falling()), scores(0.9, 0.88), learning_curve=curve) == "too little data"
    assert state(run(falling()), scores(0.9, 0.88), learning_curve={**curve, "gain_low": -0.01}) == GOOD


def test_a_learning_curve_says_whose_it_is_and_nothing_of_a_model_beyond_it():
    point = {"n": 600.0, "score": 0.8, "low": 0.76, "high": 0.84}
    curve = {"gain": 0.04, "gain_low": 0.02, "gain_high": 0.06, "doubled": point}
    found = diagnose(run(falling()), scores(0.84, 0.82), {**CONTEXT, "learning_curve": curve})
    assert found.state == "too little data"
    assert "(linear probe) about +0.040 in accuracy (+0.020 to +0.060)" in found.evidence[0]
    assert state(run(falling()), scores(0.9, 0.88), learning_curve=curve) == GOOD


def recalls(rare, common, support=100):
    return [
        {"class": "rare", "recall": rare, "support": support},
        {"class": "often", "recall": common, "support": 300},
    ]


def test_imbalance_that_hurts_and_imbalance_that_does_not():
    counts = {"rare": 30, "often": 900}
    metrics = scores(0.9, 0.88)
    metrics["test"]["per_class"] = recalls(0.4, 0.95)
    found = diagnose(run(falling()), metrics, {**CONTEXT, "class_counts": counts})
    assert found.state == "class imbalance hurting"
    assert "--class-weights balanced" in found.remedies[0].command
    metrics["test"]["per_class"] = recalls(0.4, 0.95, support=2)  # two pictures prove nothing
    assert state(run(falling()), metrics, class_counts=counts) == GOOD
    metrics["test"]["per_class"] = recalls(0.9, 0.95)
    assert state(run(falling()), metrics, class_counts=counts) == GOOD


def test_only_the_phase_that_was_kept_is_judged():
    history = run(falling()) + run([0.3, 1.0, 9.0], phase="fine-tune")
    assert state(history, scores(0.9, 0.89), phase="head") == GOOD
    assert state(history, scores(0.9, 0.89), phase="fine-tune") == "learning rate too high"


def test_history_as_read_from_csv():
    rows = [{key: str(value) for key, value in row.items()} for row in run([1.0, 0.8, float("nan")])]
    rows[0]["val_loss"] = ""
    assert state(rows, scores(0.5, 0.5)) == "learning rate too high"


@pytest.mark.parametrize("task", tasks.NAMES)
def test_every_task_has_a_diagnosis(task):
    metrics = {
        split: {"n": 200, tasks.of(task).judged_by: value}
        for split, value in (("train", 0.99), ("val", 0.6), ("test", 0.6))
    }
    assert diagnose(run(falling()), metrics, {**CONTEXT, "task": task}).state == "overfitting"


def test_nothing_known_is_said_to_be_unknown():
    found = diagnose([], {}, {})
    assert found.state == "unknown"
    assert found.evidence


def test_the_diagnosis_goes_into_json():
    found = diagnose(run(falling()), scores(0.99, 0.7), CONTEXT).as_record().as_json()
    assert json.loads(json.dumps(found))["remedies"][0].keys() == {"why", "command"}


def test_every_rule_is_documented_with_its_source():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text("utf-8")
    for name, rule in RULES:
        assert name in page
        assert f"`{rule.__name__}`" in page


def test_near_identical_copies_are_leakage_but_a_series_of_shots_is_not():
    good = run(falling()), scores(0.9, 0.88)
    found = {"val": {"n": 0, "of": 300}, "test": {"n": 120, "of": 300}}
    leaked = diagnose(*good, {**CONTEXT, "near_duplicates": found})
    assert leaked.state == "leakage suspected"
    assert leaked.evidence == ["120 of 300 test pictures that were compared have a near-identical copy in training"]
    assert state(*good, near_duplicates={"test": {"n": 9, "of": 300}}) == GOOD
    assert state(*good, near_duplicates={"test": {"n": 4, "of": 20}}) == GOOD  # four pictures are no evidence


def test_many_labels_beyond_the_judges_own_errors_are_noise_and_a_few_are_not():
    good = run(falling()), scores(0.9, 0.88)
    many = {"n": 200, "of": 1400, "share": 0.15, "low": 0.11, "contradicted": 105, "sure": 700}
    found = diagnose(*good, {**CONTEXT, "doubtful_labels": many})
    assert found.state == "label noise suspected"
    assert found.evidence == [
        "about 15% of the 1,400 training labels that were judged are probably wrong (at least 11%): models that never "
        "saw them contradict 105 of the 700 where they are surest, more than errors of their own explain"
    ]
    assert state(*good, doubtful_labels={**many, "low": 0.01}) == GOOD
    assert state(*good, doubtful_labels={**many, "n": 9, "of": 40, "sure": 20}) == GOOD


def test_a_loss_far_above_guessing_is_too_high_a_rate_even_if_it_falls():
    wild = falling(12, 50000.0, 12000.0)
    found = diagnose(run(wild, [v / 10 for v in wild]), scores(0.97, 0.93), CONTEXT)
    assert found.state == "learning rate too high"
    assert "mere guessing has 1.79" in found.evidence[0]
    # A penalty raises the training loss alone, overfitting the validation loss alone.
    assert state(run([v + 20 for v in falling()], falling()), scores(0.9, 0.88)) == GOOD
    assert state(run(falling(), [v + 20 for v in falling()]), scores(0.9, 0.88)) != "learning rate too high"


def gallery(**settings):
    """A run in each state, by the rule that names it, with `settings`."""
    curve = {"gain": 0.04, "gain_low": 0.02, "gain_high": 0.06}
    uneven = scores(0.9, 0.88)
    uneven["test"]["per_class"] = recalls(0.4, 0.95)
    few = scores(0.98, 0.87, n_train=90)
    few["val"]["per_class"] = [{"class": "rare", "recall": 0.4, "support": 9}, {"class": "often", "recall": 1.0}]
    short = {**CONTEXT["settings"], **settings, "epochs": 20}
    return {
        "leakage": (run(falling()), scores(0.9, 0.88), {"duplicates_across_splits": 3}),
        "shift": (run(falling()), scores(0.99, 0.98, test=0.5), {"unlike": 0.8}),
        "too_high": (run([1.0, 3.0, 9.0, 40.0]), scores(0.3, 0.3), {}),
        "unstable": (run([1.5, 0.9, 1.3, 0.8, 1.2, 0.7, 1.1, 0.8, 1.2, 0.7]), scores(0.85, 0.84), {}),
        "learned_nothing": (run(falling(end=1.5)), scores(0.82, 0.81, floor=0.8), {}),
        "label_noise": (run(falling()), scores(0.9, 0.89), {"conflicting_labels": 30}),
        "too_low": (run([2.0 - 0.01 * e for e in range(20)]), scores(0.4, 0.39), {"settings": short}),
        "overfitting": (run(falling()), scores(0.99, 0.75), {}),
        "too_little_data": (run(falling()), few, {"learning_curve": curve}),
        "imbalance": (run(falling()), uneven, {"class_counts": {"rare": 30, "often": 900}}),
        "underfitting": (run(falling(end=1.0)), scores(0.62, 0.61), {}),
    }  # fmt: skip


GIVEN = [
    {},
    {"head": "linear", "learning_rate": "auto", "label_smoothing": 0.3, "class_weights": "balanced"},
    {"unfreeze": "all", "layer_decay": 0.5, "batchnorm": "train", "augment": "none", "head_width": (512, 128)},
    {"learning_rate": 9.0, "batch_size": 4096, "augment": "strong", "views": 8, "dropout": 0.9, "l2": 0.1},
]


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", [rule.__name__ for _, rule in RULES])
def test_every_remedy_is_a_command_that_would_run(name, given):
    from transferkit.config import make
    from transferkit.runs.manifest import repeatable

    settings = make({"backbone": "vgg16", **given})
    history, metrics, more = gallery(**given)[name]
    known = {**settings.model_dump(mode="json"), "epochs": more.get("settings", {}).get("epochs", 30)}
    context = {**CONTEXT, **more, "settings": known, "data": "my flowers", "run": "runs/a b", "learning_rate": 3e-3}
    found = diagnose(history, metrics, {**context, "command": repeatable("my flowers", settings)})
    [rule] = [rule for _, rule in RULES if rule.__name__ == name]
    assert rule(make_case(history, metrics, context)) is not None
    assert found.remedies or (name, given) == ("overfitting", GIVEN[3])
    for remedy in found.remedies:
        options = parsed(remedy.command)
        assert "DATA" not in remedy.command
        if "backbone" in options:
            changed = make({k: v for k, v in options.items() if v is not None and k in type(settings).model_fields})
            assert changed.key() != settings.key(), remedy.command


def parsed(command):
    """The options of a command line, as the command itself takes them."""
    import shlex

    import click

    from transferkit.cli import cli

    found, words = cli, shlex.split(command)[1:]
    while isinstance(found, click.Group):
        found = found.get_command(click.Context(found), words.pop(0))
    context = found.make_context("x", words)
    return {k: v for k, v in context.params.items() if v not in (None, ())}


def test_remedies_name_classes_widths_and_rates():
    def remedies(name, **settings):
        history, metrics, more = gallery()[name]
        context = {**CONTEXT, "class_counts": {"rare": 12, "often": 900}, **more, "learning_rate": 0.003}
        return diagnose(history, metrics, {**context, "settings": {**settings, "epochs": 30}}).remedies

    why = remedies("too_little_data")[0].why
    assert "rare (40 % recognised on validation, 12 for training)" in why
    assert "100 %" not in why
    assert "rare (30)" in remedies("imbalance")[1].why
    assert any("--head-width 128,32" in r.command for r in remedies("overfitting", head_width=[512, 128]))
    assert any("--head-width 512" in r.command for r in remedies("underfitting", head_width=[256]))
    assert any("backbones recommend" in r.command for r in remedies("underfitting"))
    # A rate that nobody gave is the one the run had.
    assert "--learning-rate 0.0003" in remedies("too_high", learning_rate=None)[0].command
    assert "--learning-rate 0.0003" in remedies("too_high", learning_rate="auto")[0].command


def test_what_a_linear_probe_does_better_on_the_same_features_was_trained_too_little():
    def judged(train, test, probe, **changes):
        metrics = scores(train, test)
        metrics["baselines"]["linear_probe"] = {"accuracy": probe}
        return diagnose(run(falling(**changes)), metrics, {**CONTEXT, "settings": {"epochs": 20}})

    found = judged(0.62, 0.51, 0.95)
    assert found.state == "learning rate too low"
    assert "0.950" in found.evidence[0]
    assert judged(0.62, 0.51, 0.95, epochs=8).state == "underfitting"  # stopped early: not too small a step
    assert judged(0.93, 0.90, 0.94).state == GOOD  # within noise
    assert judged(1.0, 0.90, 0.99).state == GOOD  # it learnt the training pictures: that is no underfitting


def regression(r2, n, p=None):
    found = {"train": {"n": 4 * n, "r2": r2 + 0.05}, "val": {"n": n, "r2": r2}, "test": {"n": n, "r2": r2}}
    against = {} if p is None else {"against": {"r2": {"gain": r2 + 0.01, "low": r2 - 0.15, "high": r2 + 0.15, "p": p}}}
    return {**found, "baselines": {"majority": {"r2": -0.01, **against}}}


@pytest.mark.parametrize("p", [None, 2e-5])
def test_a_clear_r2_is_no_failure_to_learn_with_pairs_and_without(p):
    found = diagnose(run(falling()), regression(0.29, 55, p), {**CONTEXT, "task": "regress", "n_classes": 1})
    assert not any("median" in line or "commonest" in line for line in found.evidence)


def test_numbers_that_are_not_learnt_are_said_in_words_for_numbers():
    context = {**CONTEXT, "task": "regress", "n_classes": 1}
    found = diagnose(run(falling(end=1.5)), regression(0.01, 300, 0.6), context)
    assert found.state == "underfitting"
    assert "no clear difference from always giving the median of training (-0.010)" in found.evidence[0]
    assert "class" not in found.evidence[0]


def test_the_standard_error_of_r2_is_that_of_draws():
    rng = np.random.default_rng(0)
    for slope in (0.1, 0.5, 0.9):
        y = rng.normal(size=(4000, 80))
        guess = slope * (slope * y + np.sqrt(1 - slope**2) * rng.normal(size=y.shape))
        r2 = 1 - ((y - guess) ** 2).sum(1) / ((y - y.mean(1, keepdims=True)) ** 2).sum(1)
        case = make_case([], regression(float(np.mean(r2)), 80), {"task": "regress"})
        assert standard_error(case, "test") == pytest.approx(r2.std(), rel=0.35)


def test_few_pictures_are_no_proof_that_nothing_was_learnt():
    assert state(run(falling()), scores(0.85, 0.8, n=10, floor=0.6)) != "underfitting"


def test_a_classifier_that_was_fitted_in_one_step_is_not_judged_by_the_curves_of_others():
    history = run([0.3, 1.0, 9.0], phase="mlp")
    assert state(history, scores(0.9, 0.89), phase="mlp") == "learning rate too high"
    assert state(history, scores(0.9, 0.89), phase="head") == GOOD


def test_too_much_and_too_little_are_never_found_together() -> None:
    """A head that stopped after five epochs, still improving, with a wide gap: train on. One that turned up: stop."""
    settings = {"settings": {"epochs": 5, "learning_rate": 1e-3}}
    falls = run(falling(5, end=0.05), [1.8, 1.5, 1.3, 1.2, 1.1])
    found = diagnose(falls, scores(0.98, 0.72), {**CONTEXT, **settings})
    assert (found.state, "overfitting" in found.also) == ("underfitting", False)
    assert any("--epochs 15" in remedy.command for remedy in found.remedies)
    rises = run(falling(20, end=0.01), [1.8, 1.2, 1.0, 0.9, *(0.9 + 0.1 * e for e in range(16))])
    metrics = scores(0.99, 0.7)
    pair = {"gain": -0.08, "low": -0.12, "high": -0.04, "p": 0.001}
    metrics["baselines"] |= {"linear_probe": {"accuracy": 0.78, "versus": {"accuracy": pair}}}
    found = diagnose(rises, metrics, CONTEXT)
    assert (found.state, "underfitting" in found.also) == ("overfitting", False)


def test_what_knows_its_training_pictures_alone_is_overfitting() -> None:
    metrics = scores(0.99, 0.26, 0.25)
    pair = {"gain": 0.0, "low": -0.03, "high": 0.03, "p": 1.0}
    metrics["baselines"]["majority"] |= {"versus": {"accuracy": pair}}
    found = diagnose(run(falling(20, end=0.01), [1.4 + 0.1 * e for e in range(20)]), metrics, CONTEXT)
    assert (found.state, found.also) == ("overfitting", [])
