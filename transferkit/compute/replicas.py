"""Several local devices under TensorFlow: every variable on each (MirroredStrategy), every batch split over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

from transferkit.compute import keras_private
from transferkit.errors import ConfigError

Step = Callable[..., tuple[Any, Any]]


def spread() -> None:
    """From now on variables are made on all local GPUs, where there are several; before any is made.

    Without GPUs several logical CPUs, which only tests set up, stand for them.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1 and not tf.distribute.has_strategy():
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        tf.distribute.experimental_set_strategy(strategy)


def count() -> int:
    """Devices that share each batch."""
    replicas: int = tf.distribute.get_strategy().num_replicas_in_sync
    return replicas


def outputs(run: Callable[..., list[Any]], inputs: Sequence[Any]) -> list[Any]:
    """Outputs of `run(*inputs)`, each device computing its part of the rows; inside a tf.function.

    Args:
        run: some rows → tensors.
        inputs: tensors of all rows.
    """
    strategy = tf.distribute.get_strategy()
    parts = strategy.run(lambda: run(*[_part(x) for x in inputs]))
    return [tf.concat(strategy.experimental_local_results(part), 0) for part in parts]


def step(one: Step, inputs: Sequence[Any], targets: Any, weights: Any) -> tuple[Any, Any]:
    """Loss and outputs of the whole batch after one step.

    Args:
        one: a device's part: inputs, targets, weights, and the number of rows of the whole batch that count, which a
            mean over them divides by → loss and outputs.
        inputs: of the whole batch.
        targets: likewise, [b, t].
        weights: likewise, [b].
    """
    strategy = tf.distribute.get_strategy()
    rows = tf.reduce_sum(tf.cast(weights > 0, tf.float32))
    value, out = strategy.run(lambda: one([_part(x) for x in inputs], _part(targets), _part(weights), rows))
    whole = tf.concat(strategy.experimental_local_results(out), 0)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None), whole


def sum_gradients_first(optimizer: Any) -> None:
    """Let an optimizer limit the gradient of the whole batch. Keras limits each device's own, then sums them up.

    Raises:
        ConfigError: it adds the gradients of several steps up, which does not go together with several devices.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.gradient_accumulation_steps:
        raise ConfigError(
            "gradients cannot be accumulated on several devices with TensorFlow; use KERAS_BACKEND=jax, or one device "
            "(CUDA_VISIBLE_DEVICES=0)"
        )

    def limited(limit: keras_private.Limit, gradients: list[Any]) -> list[Any]:
        replicas = tf.distribute.get_replica_context()
        total = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        # Keras sums what comes out of here over the devices, which hold the same by now.
        return [gradient / replicas.num_replicas_in_sync for gradient in limit(total)]

    keras_private.clip_by(inner, lambda limit: partial(limited, limit))


@contextmanager
def whole_batch_statistics(model: Any) -> Iterator[None]:
    """What is traced inside normalises by the statistics of whole batches, not of each device's part."""
    layers = [layer for layer in keras_private.all_layers(model) if getattr(layer, "synchronized", None) is False]
    layers = layers if count() > 1 else []
    try:
        for layer in layers:
            layer.synchronized = True
        yield
    finally:
        for layer in layers:  # it would be saved with the model, and only TensorFlow knows it
            layer.synchronized = False


def _part(x: Any) -> Any:
    """This device's rows of `x`: all have as many, but for the last ones."""
    context = tf.distribute.get_replica_context()
    number, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    rows = tf.shape(x)[0]
    part = x[rows * number // replicas : rows * (number + 1) // replicas]
    part.set_shape((None, *x.shape[1:]))
    return part
