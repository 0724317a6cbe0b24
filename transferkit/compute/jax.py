"""The JAX engine: jax.jit, whole epochs in one scan, batches split over all local devices.

Over several devices every batch is split and every variable is on each of them, laid out by keras.distribution; XLA
puts the sums over devices in, so losses, gradients and BatchNorm see whole batches. Its `DataParallel` itself holds for
a whole process and splits every batch over all devices, where here the batch's size decides over how many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from transferkit.compute import keras_private
from transferkit.compute.types import Arrays, Forward, InputGradient, LossFunction, Steps, flat, joined, rate_variable


def _others(record: logging.LogRecord) -> bool:
    """Not that fused attention does not suit: Keras then takes the plain one, and tells of each with a traceback."""
    return "Failed to apply cudnn implementation" not in record.getMessage()


logging.getLogger("absl").addFilter(_others)


def gpu_count() -> int:
    """Local accelerators that JAX sees."""
    return sum(device.platform != "cpu" for device in jax.devices())


def device_count() -> int:
    """Devices that batches are split over, where their size allows it."""
    return len(keras.distribution.list_devices())


@cache
def _mesh(batch: int) -> Any:
    """A keras DeviceMesh of as many devices as a batch of this size is split over evenly; None where that is one."""
    devices = keras.distribution.list_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
    return None if count == 1 else keras.distribution.DeviceMesh((count,), ["batch"], devices[:count])


def _placed(mesh: Any, content: Any, axis: int | None = None) -> Any:
    """Arrays on all devices of `mesh`: split along `axis`, or whole on each where it is None."""
    if mesh is None:
        return content

    def place(x: Any) -> Any:
        axes = [None if number != axis else "batch" for number in range(np.ndim(x))]
        return keras.distribution.distribute_tensor(x, keras.distribution.TensorLayout(axes, mesh))

    return jax.tree.map(place, content)


def forward(model: Any, graph_bfloat16: bool = False) -> Forward:
    """See `transferkit.compute.forward`. The graph option is TensorFlow's own: there is nothing here to set.

    Args:
        model: inputs → tensors.
        graph_bfloat16: ignored here.
    """
    variables = model.variables  # once: Keras walks all layers for them, 5 ms in a ResNet50

    @jax.jit
    def run(content: Any, inputs: Any, rows: Any) -> Any:
        if rows is not None:
            inputs = [x[rows] for x in inputs]
        with keras.StatelessScope(state_mapping=list(zip(variables, content, strict=True))):
            outputs = model(joined(inputs), training=False)
        return [jnp.asarray(o, jnp.float32) for o in flat(outputs)]

    def call(inputs: Sequence[Any], rows: np.ndarray | None = None) -> Arrays:
        mesh = _mesh(len(inputs[0] if rows is None else rows))
        weights = _placed(mesh, [v.value for v in variables])
        content = _placed(mesh, list(inputs), 0 if rows is None else None)
        return [np.asarray(o) for o in run(weights, content, _placed(mesh, rows, 0))]

    return call


@contextmanager
def uncompiled() -> Iterator[None]:
    """Nothing: JAX compiles each operation by itself where the whole is not, which takes longer."""
    yield


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


def hold(arrays: Sequence[np.ndarray]) -> list[Any]:
    """See `transferkit.compute.hold`."""
    return [jnp.asarray(x) for x in arrays]


def values(variables: Iterable[Any]) -> Arrays:
    """See `transferkit.compute.values`."""
    return [np.array(variable.value) for variable in variables]


def assign(variables: Sequence[Any], content: Sequence[np.ndarray]) -> None:
    """See `transferkit.compute.assign`.

    Args:
        variables, content: as there.
    """
    for variable, value in zip(variables, content, strict=True):
        variable.assign(value)


def loosens() -> bool:
    """See `transferkit.compute.loosens`: XLA compiles for one size."""
    return False


def biased(x: Any, bias: Any) -> Any:
    """See `transferkit.compute.biased`.

    Args:
        x, bias: as there.
    """
    return keras.ops.add(x, bias)


def each(loss: LossFunction, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """See `transferkit.compute.each`. Not compiled, which might change the last digits.

    Args:
        loss, targets, outputs: as there.
    """
    return np.asarray(loss(jnp.asarray(targets), jnp.asarray(outputs)))


def steps(model: Any, optimizer: Any, loss: LossFunction, noisy: Sequence[Any] | None = None) -> Steps:
    """See `transferkit.compute.steps`.

    Args:
        model, optimizer, loss, noisy: as there; `noisy` is ignored here.
    """
    groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    rate_of = rate_variable(optimizer)
    rate_at = next((i for i, v in enumerate(optimizer.variables) if v is rate_of), None)

    def objective(trainable: Any, fixed: Any, batch: Any) -> Any:
        inputs, targets, weights = batch
        outputs, fixed, penalties = model.stateless_call(
            trainable, fixed, joined(inputs), training=True, return_losses=True
        )
        outputs = jnp.asarray(outputs, jnp.float32)
        value = jnp.sum(loss(targets, outputs) * weights) / jnp.maximum(jnp.sum(weights > 0), 1)
        value = value + sum(jnp.asarray(penalty, jnp.float32) for penalty in penalties)
        return optimizer.scale_loss(value), (value, outputs, fixed)

    def one(resident: Any, state: Any, batch: Any) -> Any:
        trainable, fixed, slots = state
        inputs, targets, weights, rate, rows = batch
        if rate is not None:
            slots = [rate if i == rate_at else slot for i, slot in enumerate(slots)]
        if rows is not None:
            inputs = [x[rows] for x in resident]
        grads, (value, outputs, fixed) = jax.grad(objective, has_aux=True)(trainable, fixed, (inputs, targets, weights))
        trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
        return (trainable, fixed, slots), (value, outputs)

    @jax.jit
    def run(state: Any, resident: Any, batches: Any, count: Any) -> Any:
        step = partial(one, resident)
        return jax.lax.scan(step, state, batches) if count is None else _first(count, step, state, batches)

    most = 0  # steps that a call on batches of its own has taken

    def call(
        inputs: Sequence[Any], targets: np.ndarray, weights: np.ndarray,
        rates: np.ndarray | None = None, rows: np.ndarray | None = None, planned: int = 0, wait: bool = True,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        nonlocal most
        count, mesh = len(targets), _mesh(targets.shape[1])
        resident, stacked = (None, list(inputs)) if rows is None else (list(inputs), None)
        if rows is None:
            most = max(most, count)
            stacked, targets, weights, rates = _lengthened((stacked, targets, weights, rates), most)
        state = _placed(mesh, tuple([v.value for v in group] for group in groups))
        resident, rates = _placed(mesh, resident), _placed(mesh, rates)
        stacked, targets, weights, rows = (_placed(mesh, x, 1) for x in (stacked, targets, weights, rows))
        told = None if resident is not None or most == 1 else count  # of one step, a loop would be the longer program
        state, (losses, outputs) = run(state, resident, (stacked, targets, weights, rates, rows), told)
        for group, content in zip(groups, _placed(mesh, state), strict=True):
            for variable, array in zip(group, content, strict=True):
                keras_private.put(variable, array)
        if count < len(losses):
            losses, outputs = losses[:count], outputs[:count]
        value = losses.mean()
        return (float(value), np.asarray(outputs)) if wait else (value, outputs)

    return call


def _first(count: Any, step: Any, state: Any, batches: Any) -> Any:
    """As `jax.lax.scan`, of the first `count` of `batches`, which the program is told as it runs: an epoch's last,
    shorter call is then no other program, where that of a network takes up to a minute to compile."""

    def body(number: Any, so_far: Any) -> Any:
        state, found = so_far
        state, made = step(state, jax.tree.map(lambda x: x[number], batches))
        return state, jax.tree.map(lambda x, new: x.at[number].set(new), found, made)

    targets = batches[1]
    found = jnp.zeros(len(targets), jnp.float32), jnp.zeros(targets.shape, jnp.float32)
    return jax.lax.fori_loop(0, count, body, (state, found))


def _lengthened(content: Any, length: int) -> Any:
    """Arrays [n, …] with zeros up to `length`."""

    def longer(x: Any) -> Any:
        lacking = length - len(x)
        return jnp.concatenate([x, jnp.zeros((lacking, *x.shape[1:]), x.dtype)]) if lacking else x

    return jax.tree.map(longer, content)
