"""The JAX engine: jax.jit, whole epochs in one scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transferkit.compute import assign
from transferkit.compute.types import Arrays, Forward, InputGradient, LossFunction, Steps, flat, joined


def gpu_count() -> int:
    """Local accelerators that JAX sees."""
    return sum(device.platform != "cpu" for device in jax.devices())


def forward(model: Any, graph_bfloat16: bool = False) -> Forward:
    """See `transferkit.compute.forward`. The graph option is TensorFlow's own: there is nothing here to set."""

    @jax.jit
    def run(trainable: Any, fixed: Any, inputs: Any) -> Any:
        outputs, _ = model.stateless_call(trainable, fixed, joined(inputs), training=False)
        return [jnp.asarray(o, jnp.float32) for o in flat(outputs)]

    def call(inputs: Sequence[np.ndarray]) -> Arrays:
        trainable = [v.value for v in model.trainable_variables]
        fixed = [v.value for v in model.non_trainable_variables]
        return [np.asarray(o) for o in run(trainable, fixed, list(inputs))]

    return call


def input_gradient(model: Any) -> InputGradient:
    """See `transferkit.compute.input_gradient`."""

    def value(x: Any, weights: Any, trainable: Any, fixed: Any) -> Any:
        outputs, _ = model.stateless_call(trainable, fixed, x, training=False)
        outputs = jnp.asarray(outputs, jnp.float32)
        return jnp.sum(outputs * weights), outputs

    run = jax.jit(jax.grad(value, has_aux=True))

    def call(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        trainable = [v.value for v in model.trainable_variables]
        fixed = [v.value for v in model.non_trainable_variables]
        gradient, outputs = run(x, weights, trainable, fixed)
        return np.asarray(outputs), np.asarray(gradient)

    return call


def steps(model: Any, optimizer: Any, loss: LossFunction) -> Steps:
    """See `transferkit.compute.steps`."""

    def objective(trainable: Any, fixed: Any, batch: Any) -> Any:
        inputs, targets, weights = batch
        outputs, fixed, penalties = model.stateless_call(
            trainable, fixed, joined(inputs), training=True, return_losses=True
        )
        outputs = jnp.asarray(outputs, jnp.float32)
        value = jnp.sum(loss(targets, outputs) * weights) / jnp.maximum(jnp.sum(weights > 0), 1)
        value = value + sum(jnp.asarray(penalty, jnp.float32) for penalty in penalties)
        return optimizer.scale_loss(value), (value, outputs, fixed)

    def one(state: Any, batch: Any) -> Any:
        trainable, fixed, slots = state
        grads, (value, outputs, fixed) = jax.grad(objective, has_aux=True)(trainable, fixed, batch)
        trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
        return (trainable, fixed, slots), (value, outputs)

    @jax.jit
    def run(state: Any, batches: Any) -> Any:
        return jax.lax.scan(one, state, batches)

    def call(inputs: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
        state = tuple([v.value for v in group] for group in groups)
        state, (losses, outputs) = run(state, (list(inputs), targets, weights))
        for group, content in zip(groups, state, strict=True):
            assign(group, content)
        return float(losses.mean()), np.asarray(outputs)

    return call
