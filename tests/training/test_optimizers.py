import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.training import optimizers
from transferkit.training.losses import cross_entropy, squared


def network():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(5, name="low", kernel_initializer=keras.initializers.HeNormal(0))(inputs)
    x = keras.layers.Dense(5, name="middle", kernel_initializer=keras.initializers.HeNormal(1))(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="top", kernel_initializer=keras.initializers.HeNormal(2))(x))


def batch(steps=1):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (steps, 6, 4)).astype(np.float32)
    return [x], np.eye(2, dtype=np.float32)[rng.integers(0, 2, (steps, 6))], np.ones((steps, 6), np.float32)


def moved(optimizer, steps=1):
    model = network()
    before = {
        v.path: a for v, a in zip(model.trainable_variables, compute.values(model.trainable_variables), strict=True)
    }
    compute.steps(model, optimizer, cross_entropy)(*batch(steps))
    after = compute.values(model.trainable_variables)
    return {v.path: a - before[v.path] for v, a in zip(model.trainable_variables, after, strict=True)}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_factors_scale_the_first_step_of_every_optimizer(name):
    """Also Adam's, which would divide a scaled gradient's factor out again."""
    plain = moved(optimizers.build(name, 0.01, weight_decay=0.1))
    factors = {"low/kernel": 0.25, "low/bias": 0.25, "middle/kernel": 0.5}
    scaled = moved(optimizers.build(name, 0.01, weight_decay=0.1, rates=factors))
    assert set(plain) == set(scaled)
    for path, step in plain.items():
        assert np.abs(step).max() > 1e-5
        np.testing.assert_allclose(scaled[path], step * factors.get(path, 1.0), rtol=2e-3, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_factors_of_one_change_nothing(name):
    plain = moved(optimizers.build(name, 0.01, weight_decay=0.1), 4)
    scaled = moved(optimizers.build(name, 0.01, weight_decay=0.1, rates={"low/kernel": 1.0}), 4)
    for path, step in plain.items():
        np.testing.assert_allclose(scaled[path], step, atol=1e-7)


def test_weight_decay_alone_shrinks_each_layer_at_its_own_rate():
    inputs = keras.Input((4,))
    low = keras.layers.Dense(3, name="low", kernel_initializer="ones", use_bias=False)
    model = keras.Model(
        inputs, keras.layers.Dense(2, name="top", kernel_initializer="ones", use_bias=False)(low(inputs))
    )
    optimizer = optimizers.build("adamw", 0.1, weight_decay=0.5, rates={"low/kernel": 0.1})
    step = compute.steps(model, optimizer, squared)
    step([np.zeros((1, 2, 4), np.float32)], np.zeros((1, 2, 2), np.float32), np.ones((1, 2), np.float32))  # no gradient
    lower, top = compute.values(model.trainable_variables)
    np.testing.assert_allclose(lower, 1 - 0.1 * 0.1 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(top, 1 - 0.1 * 0.5, rtol=1e-6)


def test_layer_rates_fall_with_depth():
    rates = optimizers.layer_rates(network(), {"low": 4.0, "middle": 1.0}, 0.7)
    assert rates == {
        "low/kernel": 0.7**4, "low/bias": 0.7**4, "middle/kernel": 0.7, "middle/bias": 0.7,
    }  # fmt: skip


def test_frozen_layers_have_no_rate():
    model = network()
    model.get_layer("low").trainable = False
    assert set(optimizers.layer_rates(model, {"low": 4.0, "middle": 1.0}, 0.7)) == {"middle/kernel", "middle/bias"}


def test_the_average_is_that_of_the_weights():
    model, span = network(), 4
    optimizer = optimizers.build("sgd", 0.1, average_steps=span)
    step = compute.steps(model, optimizer, cross_entropy)
    average = None
    for number in range(6):
        inputs, targets, weights = batch(6)
        step([inputs[0][number : number + 1]], targets[number : number + 1], weights[number : number + 1])
        now = compute.values(model.trainable_variables)
        # The first step sets it; from then on 1/span of the way to the newest weights.
        average = now if average is None else [a + (n - a) / span for a, n in zip(average, now, strict=True)]
    keeper = optimizers.averaging(optimizer)
    keeper.finalize_variable_values(model.trainable_variables)
    for ours, theirs in zip(average, compute.values(model.trainable_variables), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_no_average_unless_asked_for():
    assert optimizers.averaging(optimizers.build("adamw", 0.1)) is None


def test_a_loss_scale_changes_no_step_and_keeps_the_average():
    plain = moved(optimizers.build("adamw", 0.01, average_steps=4, rates={"low/kernel": 0.5}), 3)
    wrapped = optimizers.build("adamw", 0.01, average_steps=4, rates={"low/kernel": 0.5}, loss_scale=True)
    scaled = moved(wrapped, 3)
    assert isinstance(wrapped, keras.optimizers.LossScaleOptimizer)
    assert optimizers.averaging(wrapped) is wrapped.inner_optimizer
    for path, step in plain.items():
        np.testing.assert_allclose(scaled[path], step, atol=1e-5)


def test_one_bad_batch_does_not_throw_the_weights_away():
    model = network()
    before = compute.values(model.trainable_variables)
    inputs, targets, weights = batch()
    compute.steps(model, optimizers.build("sgd", 0.1), cross_entropy)([inputs[0] * 1e6], targets, weights)
    length = np.sqrt(
        sum(((a - b) ** 2).sum() for a, b in zip(before, compute.values(model.trainable_variables), strict=True))
    )
    np.testing.assert_allclose(length, 0.1 * optimizers.CLIP_NORM, rtol=1e-3)
