import time
from dataclasses import replace

import numpy as np
import pytest

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import build
from transferkit.console import Reporter
from transferkit.errors import ConfigError, DataError, TrainingError
from transferkit.features import precision
from transferkit.features.precision import Precision
from transferkit.training import batches, optimizers, recipe
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.problem import coarse

from ..marks import extended
from .job import always_better, judge, numbers, part_of, recipe_for

# Frozen features are the same in most of these, and are computed once.
pytestmark = pytest.mark.usefixtures("one_cache")


def by_layer(model):
    return {layer.name: compute.values(layer.weights) for layer in model.layers if layer.weights}


def moved(before, after):
    return {name for name in before if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))}


def answers(trained, samples, pictures, views):
    pixels = views.pixels(samples, pictures)
    return compute.forward(trained.model)([pixels])[0]


POLICIES = [
    ("none", "frozen"),
    ("none", "train"),
    ("all", "frozen"),
    ("all", "train"),
    ("from:block4", "frozen"),
    ("from:block3", "train"),
    ("last:2", "frozen"),
    ("gradual", "train"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "batchnorm"),
    extended(POLICIES, [("all", "frozen"), ("from:block3", "train"), ("gradual", "train")], spread=True),
)
def test_frozen_means_frozen(digits, policy, batchnorm):
    if policy == "none" and batchnorm == "train":
        with pytest.raises(ConfigError, match="nothing is trained there"):
            recipe_for(digits, unfreeze=policy, batchnorm=batchnorm)
        return
    made = recipe_for(digits, unfreeze=policy, batchnorm=batchnorm, goal=always_better)
    model = made.backbone.model
    before = by_layer(model)
    trained = made.run()
    changed = moved(before, by_layer(model))
    lowest = {"gradual": "all"}.get(policy, policy)
    first = freeze.first_trainable(model, made.backbone.row, lowest)
    open_layers = {operation.name for operation in model.operations[first:]} & set(before)
    norms = {name for name in before if "_bn" in name}
    assert changed == open_layers - (norms if batchnorm == "frozen" else set())
    assert len(trained.phases) == {"none": 1, "gradual": 6}.get(policy, 2)
    if batchnorm == "train":
        statistics = {name for name in open_layers & norms if (before[name][2] != by_layer(model)[name][2]).any()}
        assert statistics == open_layers & norms


@pytest.mark.parametrize("pooling", ["gem", "flatten", "attention"])  # and "avg" below, from an earlier run's rows
def test_the_whole_model_gives_from_pixels_what_was_trained_on_features(digits, pooling):
    made = recipe_for(digits, unfreeze="from:block4", pooling=pooling, goal=always_better)
    trained = made.run()
    outputs = answers(trained, made.problem.samples, made.problem.val, made.views)
    np.testing.assert_allclose(outputs, trained.val_outputs, atol=1e-4)
    judged = answers(trained, made.problem.samples, trained.train_judged, made.views)
    np.testing.assert_allclose(judged, trained.train_outputs, atol=1e-4)
    assert trained.chosen == "tail"


def test_where_the_tail_is_worse_the_head_alone_is_shipped_on_the_pretrained_network(digits):
    def head_wins(samples, units):
        line = iter([0.9, 0.9, 0.1, 0.1])
        return type(judge(samples, units))("score", True, lambda outputs: next(line))

    made = recipe_for(digits, unfreeze="from:block4", goal=head_wins)
    pretrained = by_layer(made.backbone.model)
    trained = made.run()
    assert trained.chosen == "head"
    assert moved(pretrained, by_layer(made.backbone.model)) == set()
    outputs = answers(trained, made.problem.samples, made.problem.val, made.views)
    np.testing.assert_allclose(outputs, trained.val_outputs, atol=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_does_not(digits):
    first, again, other = (numbers(recipe_for(digits, seed=s).run()) for s in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)
    assert not np.array_equal(first["val"], other["val"])


STREAMED, HELD = "computed each epoch", "held in memory"


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        ({"unfreeze": "from:block4", "mixup": 0.3}, [HELD, STREAMED]),
        ({"cutmix": 1.0}, [STREAMED]),
        pytest.param({"unfreeze": "from:block3", "cutmix": 0.5}, [STREAMED, STREAMED], marks=pytest.mark.extended),
        pytest.param({"unfreeze": "from:block4", "augment": "none"}, [HELD, STREAMED], marks=pytest.mark.extended),
    ],
)
def test_without_the_store_the_same_numbers_come_out_bit_by_bit(digits, settings, sources):
    # Views are left to their default: a stream must not draw others.
    runs = [recipe_for(digits, cache=cache, **settings) for cache in (True, False)]
    for made in runs:
        made.settings.model_fields_set.discard("views")
    stored, streamed = (made.run() for made in runs)
    assert {p.source for p in stored.phases} == {"cached"}
    assert [p.source for p in streamed.phases] == sources
    a, b = numbers(stored), numbers(streamed)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert np.isfinite(a["history"][:, 1]).all(), "losses are numbers, mixed or not"


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_other_tasks(digits, task):
    made = recipe_for(digits, task=task, per_class=8, epochs=12, patience=11)
    trained = made.run()
    assert trained.val_outputs.shape == (40, 2)
    assert trained.history[-1]["val_loss"] < 0.7 * trained.history[0]["val_loss"]
    assert trained.history[0]["accuracy"] is None
    if task == "regress":
        np.testing.assert_allclose(made.problem.targets[made.problem.train].mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(made.problem.targets[made.problem.train].std(0), 1, atol=1e-6)


def test_a_regression_target_that_never_varies(digits):
    samples, train, val = part_of(digits, 4, "regress")
    samples.targets[:, 1] = 7.0
    found = recipe.problem(samples, train, val, judge)
    np.testing.assert_array_equal(found.targets[:, 1], 0)
    assert found.units[1][1] == 1.0


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 1.7e9), (1e-7, 0.0), (1e-7, 3e-6), (1e30, 0.0), (1e-30, 0.0)])
def test_regression_targets_are_standardised_before_digits_are_lost(digits, scale, offset):
    samples, train, val = part_of(digits, 4, "regress")
    numbers = np.arange(len(samples), dtype=np.float64)[:, None] * np.ones(2)
    shifted = replace(samples, targets=numbers * scale + offset)
    plain = recipe.problem(replace(samples, targets=numbers), train, val, judge)
    found = recipe.problem(shifted, train, val, judge)
    np.testing.assert_allclose(found.targets, plain.targets, atol=1e-5)
    assert found.units[0].dtype == found.units[1].dtype == np.float64
    warned = list(coarse(found.units, samples.classes))
    assert len(warned) == (2 if offset == 1.7e9 else 0)
    assert all("lie 128 apart" in line and "Subtract a constant" in line for line in warned)


def test_noise_about_a_constant_is_no_deviation(digits):
    samples, train, val = part_of(digits, 4, "regress")
    found = recipe.problem(replace(samples, targets=np.full((len(samples), 2), 0.1)), train, val, judge)
    np.testing.assert_array_equal(found.units[1], 1)
    assert np.abs(found.targets).max() < 1e-12


def test_rectangles_are_mixed_below_a_tail_too(digits):
    trained = recipe_for(digits, unfreeze="from:block4", cutmix=1.0).run()
    assert np.isfinite([row["loss"] for row in trained.history]).all()


@pytest.mark.parametrize("part", ["training", "validation"])
def test_an_empty_part_is_refused(digits, part):
    samples, train, val = part_of(digits, 4)
    parts = (train[:0], val) if part == "training" else (train, val[:0])
    with pytest.raises(DataError, match=f"no {part} pictures.*--split"):
        recipe.problem(samples, *parts, judge)


def test_fewer_pictures_than_a_batch_and_a_class_missing_from_training(digits):
    made = recipe_for(digits, per_class=2, batch_size=64, class_weights="balanced")
    made.problem = recipe.problem(made.problem.samples, made.problem.train[2:5], made.problem.val, judge)
    made.trainer = made._trainer(made.problem, None)
    assert made.trainer.batch_size == 3
    trained = made.run()
    assert trained.val_outputs.shape == (10, 10)
    assert np.isfinite(trained.val_outputs).all()


def test_one_picture(digits):
    made = recipe_for(digits, per_class=2, augment="none", unfreeze="last:1")
    made.problem = recipe.problem(made.problem.samples, made.problem.train[:1], made.problem.val[:1], judge)
    made.trainer = made._trainer(made.problem, None)
    assert made.run().val_outputs.shape == (1, 10)


def test_a_spent_budget_trains_the_head_and_says_what_was_left_out(digits):
    reporter = Reporter(quiet=True)
    made = recipe_for(digits, unfreeze="from:block4", deadline=time.monotonic() - 1, reporter=reporter)
    trained = made.run()
    assert [(p.name, p.epochs) for p in trained.phases] == [("head", 1)]
    assert "from:block4" in reporter.warnings[0]
    assert "--budget" in reporter.warnings[0]
    assert trained.notes == ["the time budget was spent before from:block4 could be trained"]


def test_folds_train_the_head_as_the_head_is_trained(digits):
    train = np.arange(40)
    everything = recipe_for(digits, folds=[(train, train[::2])])
    # A fold with the very pictures of the run itself: its score is the head's.
    everything.folds = [everything.problem]
    trained = everything.run()
    assert trained.fold_scores == [trained.phases[0].score]
    assert [p.name for p in trained.phases] == ["head"]


def test_the_range_test_picks_a_rate_that_trains(digits):
    made = recipe_for(digits, per_class=8, learning_rate="auto", epochs=8, patience=7)
    trained = made.run()
    assert 3e-4 < made.rate < 0.1
    assert len(trained.rate_curve) > 10
    assert "range test" in trained.notes[0]
    assert trained.phases[0].score > 0.5  # ten classes


def test_balanced_weights_and_smoothing_reach_the_batches(digits):
    made = recipe_for(digits, class_weights="balanced", label_smoothing=0.2)
    source = made.frozen.pixels(made.problem.samples)
    batches = made.trainer.batches(source)
    np.testing.assert_allclose(batches.targets[np.arange(len(batches.pictures))].max(1), 0.82, atol=1e-6)
    np.testing.assert_allclose(batches.weights.sum(), 40, rtol=1e-6)
    assert batches.mixup == 0
    assert recipe_for(digits, mixup=0.3).trainer.batches(source).mixup == 0.3


@pytest.mark.parametrize(("pictures", "size"), [(1, 1), (50, 8), (700, 16), (10**6, 128)])
def test_the_automatic_batch_size_gives_about_forty_steps(digits, pictures, size):
    s = recipe_for(digits, batch_size="auto").settings
    assert batches.batch_size(s, pictures) == size


def test_lower_layers_learn_more_slowly(digits, monkeypatch):
    factors = []
    inner = optimizers.build
    monkeypatch.setattr(optimizers, "build", lambda *a, **k: factors.append(k.get("rates")) or inner(*a, **k))
    recipe_for(digits, unfreeze="all", layer_decay=0.5).run()
    assert not factors[0]
    stages = {name: {factors[1][p] for p in factors[1] if p.startswith(name)} for name in ("stem", "block2", "block4")}
    assert stages == {"stem": {0.5**4}, "block2": {0.5**2}, "block4": {1.0}}


@pytest.mark.extended
def test_where_bfloat16_is_far_from_float32_asking_for_it_trains_in_float32(digits, cache, monkeypatch):
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(cache))  # which knows of no earlier probe
    monkeypatch.setattr(precision, "COSINE", 1.1)  # nothing agrees so well
    monkeypatch.setattr(precision, "TRAINING_COSINE", 1.1)
    reporter = Reporter(quiet=True)
    asked = recipe_for(digits, unfreeze="from:block4", precision="bfloat16", reporter=reporter)
    found, plain = asked.run(), recipe_for(digits, unfreeze="from:block4", precision="float32").run()
    assert [p.precision for p in found.phases] == ["float32", "float32"]
    a, b = numbers(found), numbers(plain)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    features, tail = reporter.warnings
    assert "--precision bfloat16: bfloat16 outputs differ (cosine" in features
    assert "features are computed in float32" in features
    assert "tail is trained in float32" in tail


def test_asking_for_bfloat16_trains_in_it_and_ships_float32(digits):
    made = recipe_for(digits, unfreeze="from:block4", precision="bfloat16", goal=always_better)
    trained = made.run()
    assert [p.precision for p in trained.phases] == ["bfloat16", "bfloat16"]
    assert {str(w.dtype) for w in trained.model.weights} == {"float32"}
    assert {layer.dtype_policy.name for layer in made.backbone.model.layers} == {"float32"}
    outputs = answers(trained, made.problem.samples, made.problem.val, made.views)
    np.testing.assert_allclose(outputs, trained.val_outputs, atol=0.15)  # features themselves are bfloat16's


def test_a_rate_far_too_high_ends_with_advice_about_the_setting(digits):
    made = recipe_for(
        digits, optimizer="sgd", learning_rate=10.0, epochs=60, patience=59, weights="random", head_width=(512, 512)
    )
    made.trainer.optimizer = lambda *a, **k: __import__("keras").optimizers.SGD(1e30)
    made.trainer.pool = None  # whose heads have an optimizer of their own
    with pytest.raises(TrainingError, match=r"--learning-rate 1.0e\+00"):
        made.run()


def test_a_backbone_is_not_read_from_an_earlier_runs_tail(digits):
    # Two runs on two copies of the network: the second finds the first one's features, which are of the
    # pretrained network and not of the tail that was trained meanwhile.
    first = recipe_for(digits, unfreeze="from:block4", goal=always_better)
    first.run()
    second = recipe_for(digits, unfreeze="from:block4", goal=always_better)
    before = by_layer(build("mini").model)
    assert moved(before, by_layer(second.backbone.model)) == set()
    trained = second.run()
    assert second.frozen.rows_computed == 0
    for pictures, found in ((second.problem.val, trained.val_outputs), (trained.train_judged, trained.train_outputs)):
        outputs = answers(trained, second.problem.samples, pictures, second.views)
        np.testing.assert_allclose(outputs, found, atol=1e-4)
    assert trained.chosen == "tail"


@pytest.mark.extended
def test_a_probe_of_the_tails_format_leaves_no_trace_in_the_result(digits, monkeypatch):
    plain = numbers(recipe_for(digits, unfreeze="from:block4", precision="float32").run())
    decided = []

    def probe(requested, network, trial, pictures, key, reporter):
        for option in (Precision(), Precision("bfloat16", "policy")):
            seconds, outputs = trial(option)
            decided.append((requested, pictures, seconds > 0, outputs.shape))
        return Precision()

    monkeypatch.setattr(recipe, "choose_training", probe)
    probed = numbers(recipe_for(digits, unfreeze="from:block4", precision="auto").run())
    assert decided == [("auto", 80, True, (16, 10))] * 2  # 2 epochs of 40 pictures; a batch of 16
    for name in plain:
        np.testing.assert_array_equal(plain[name], probed[name], err_msg=name)


def test_a_tail_that_trains_faster_in_bfloat16_says_so_and_ships_float32(digits, monkeypatch):
    chosen = Precision("bfloat16", "policy", "3.0 × the speed of float32")
    monkeypatch.setattr(recipe, "choose_training", lambda *a: chosen)
    made = recipe_for(digits, unfreeze="from:block4", goal=always_better)
    trained = made.run()
    assert [p.precision for p in trained.phases] == ["float32", "bfloat16"]
    assert trained.notes == ["tail trained in bfloat16: 3.0 × the speed of float32"]
    assert {str(w.dtype) for w in trained.model.weights} == {"float32"}
    assert {layer.dtype_policy.name for layer in made.backbone.model.layers} == {"float32"}
    outputs = answers(trained, made.problem.samples, made.problem.val, made.views)
    np.testing.assert_allclose(outputs, trained.val_outputs, atol=1e-4)  # judged in float32


def test_recipes_share_the_compiled_heads_of_a_pool_that_starts_empty(digits):
    pool = HeadPool()
    for rate in (1e-3, 1e-2):
        replace(recipe_for(digits, learning_rate=rate), pool=pool).run()
    assert len(pool) == 1
