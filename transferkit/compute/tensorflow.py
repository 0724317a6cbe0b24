"""The TensorFlow engine: tf.function, whole epochs in one while loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transferkit.compute import keras_private, replicas, xla
from transferkit.compute.fused import Update, update_of
from transferkit.compute.types import Arrays, Forward, InputGradient, LossFunction, Steps, flat, joined, rate_variable

LARGE = 16 << 20  # bytes of an array of which a copy is worth sparing
ALIGNMENT = 64  # bytes


def _others(record: logging.LogRecord) -> bool:
    """Not the advice on retracing, which takes one function for each of many networks for one that is traced again."""
    message = record.getMessage()
    return "triggered tf.function retracing" not in message or "<locals>" not in message


tf.get_logger().addFilter(_others)


def gpu_count() -> int:
    """Local GPUs that TensorFlow sees."""
    return len(tf.config.list_physical_devices("GPU"))


def device_count() -> int:
    """Devices that batches are split over."""
    return replicas.count()


_uncompiled: ContextVar[bool] = ContextVar("uncompiled", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """See `transferkit.compute.uncompiled`."""
    before = _uncompiled.set(True)
    try:
        yield
    finally:
        _uncompiled.reset(before)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, compiled at its first call; as it is where that is not wanted, and devices do not share
    its work."""
    if _uncompiled.get() and replicas.count() == 1:
        return function
    compiled: Callable[..., Any] = tf.function(function, autograph=False, reduce_retracing=True)
    return compiled


def forward(model: Any, graph_bfloat16: bool) -> Forward:
    """See `transferkit.compute.forward`.

    Args:
        model, graph_bfloat16: as there.
    """

    def whole(*inputs: Any) -> list[Any]:
        return [tf.cast(o, tf.float32) for o in flat(model(joined(inputs), training=False))]

    def spread(*inputs: Any) -> list[Any]:
        return whole(*inputs) if replicas.count() == 1 else replicas.outputs(whole, inputs)

    run = _compiled(spread)
    picking: list[Any] = []

    def call(inputs: Sequence[Any], rows: np.ndarray | None = None) -> Arrays:
        tensors = [tf.convert_to_tensor(x) for x in inputs]
        with _graph_options(graph_bfloat16):
            if rows is None:
                return [o.numpy() for o in run(*tensors)]
            if not picking:
                signature = [_open(x, 1) for x in (*tensors, rows)]
                pick = lambda *x: spread(*(tf.gather(t, x[-1]) for t in x[:-1]))  # noqa: E731
                picking.append(tf.function(pick, input_signature=signature, autograph=False))
            return [o.numpy() for o in picking[0](*tensors, tf.convert_to_tensor(rows))]

    return call


class _GraphOptions:
    """Inside `with _graph_options(bfloat16)` the oneDNN bfloat16 rewrite is on or off, whatever other threads do.

    TensorFlow's graph options belong to the process, and every call of a compiled function reads them. So functions
    of one option may run at the same time, and those of the other wait their turn.
    """

    KEY = "auto_mixed_precision_onednn_bfloat16"

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running, self._waiting = {False: 0, True: 0}, {False: 0, True: 0}
        self._before = False

    @contextmanager
    def __call__(self, bfloat16: bool) -> Iterator[None]:
        self._enter(bfloat16)
        try:
            yield
        finally:
            self._leave(bfloat16)

    def _enter(self, own: bool) -> None:
        with self._changed:
            self._waiting[own] += 1
            # Nobody joins those who run while the others wait, or these might wait for ever.
            try:
                self._changed.wait_for(
                    lambda: not self._running[not own] and not (self._running[own] and self._waiting[not own])
                )
            finally:  # an interrupt may come here
                self._waiting[own] -= 1
            if own and not self._running[own]:
                self._before = tf.config.optimizer.get_experimental_options().get(self.KEY, False)
                tf.config.optimizer.set_experimental_options({self.KEY: True})
            self._running[own] += 1

    def _leave(self, own: bool) -> None:
        with self._changed:
            self._running[own] -= 1
            if own and not self._running[own]:
                tf.config.optimizer.set_experimental_options({self.KEY: self._before})
            self._changed.notify_all()


_graph_options = _GraphOptions()


def input_gradient(model: Any) -> InputGradient:
    """See `transferkit.compute.input_gradient`."""

    def whole(x: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.cast(model(x, training=False), tf.float32)
            value = tf.reduce_sum(outputs * weights)
        return outputs, tape.gradient(value, x)

    run = _compiled(whole)

    def call(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _graph_options(False):
            outputs, gradient = run(tf.convert_to_tensor(x), tf.convert_to_tensor(weights))
            return outputs.numpy(), gradient.numpy()

    return call


def hold(arrays: Sequence[np.ndarray]) -> list[Any]:
    """See `transferkit.compute.hold`."""
    spared = [x.nbytes >= LARGE and x.dtype.kind in "fiu" and not gpu_count() for x in arrays]
    return [_held(x) if spare else tf.convert_to_tensor(x) for x, spare in zip(arrays, spared, strict=True)]


def _held(x: np.ndarray) -> Any:
    """A copy of `x` as a tensor: of what does not lie as Eigen wants it, `convert_to_tensor` makes two."""
    space = np.empty(x.nbytes + ALIGNMENT, np.uint8)
    start = -space.ctypes.data % ALIGNMENT
    own = space[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    own[...] = x
    return tf.experimental.dlpack.from_dlpack(own.__dlpack__())


def values(variables: Iterable[Any]) -> Arrays:
    """See `transferkit.compute.values`."""
    if replicas.count() > 1:
        return [np.copy(variable.numpy()) for variable in variables]
    return [np.asarray(_read(variable.value)) for variable in variables]


def _read(own: Any) -> Any:
    """A copy of what TensorFlow's own variable holds, by the kernel alone. In every epoch of a head all are read and
    written several times, which by way of Keras takes longer than the steps."""
    return tf.raw_ops.ReadVariableOp(resource=own.handle, dtype=own.dtype).numpy()


def assign(variables: Sequence[Any], content: Sequence[np.ndarray]) -> None:
    """See `transferkit.compute.assign`.

    Args:
        variables, content: as there.
    """
    alone = replicas.count() == 1
    for variable, value in zip(variables, content, strict=True):
        own = variable.value
        as_it_is = own.dtype == getattr(value, "dtype", None) and own.shape.is_compatible_with(np.shape(value))
        if alone and as_it_is:
            tf.raw_ops.AssignVariableOp(resource=own.handle, value=tf.convert_to_tensor(value))
        else:
            variable.assign(value)  # converts, or says what does not fit


def loosens() -> bool:
    """See `transferkit.compute.loosens`."""
    return not gpu_count() and replicas.count() == 1


def loosen(variable: Any, shape: Sequence[int | None]) -> None:
    """See `transferkit.compute.loosen`.

    Args:
        variable, shape: as there.
    """
    own = tf.Variable(variable.value, trainable=variable.trainable, name=variable.name, shape=shape)
    keras_private.loosen(variable, own)


def biased(x: Any, bias: Any) -> Any:
    """See `transferkit.compute.biased`.

    Args:
        x, bias: as there.
    """
    # Keras asks for this kernel, whose gradient sums in another order than that of a sum, where it sees the length.
    return tf.nn.bias_add(x, bias) if bias.value.shape[0] is None else keras.ops.add(x, bias)


@cache
def _each(loss: LossFunction) -> Callable[..., Any]:
    signature = [tf.TensorSpec((None, None), tf.float32)] * 2
    compiled: Callable[..., Any] = tf.function(loss, input_signature=signature, autograph=False)
    return compiled


def each(loss: LossFunction, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """See `transferkit.compute.each`.

    Args:
        loss, targets, outputs: as there.
    """
    with _graph_options(False):
        found: np.ndarray = _each(loss)(tf.convert_to_tensor(targets), tf.convert_to_tensor(outputs)).numpy()
    return found


def steps(model: Any, optimizer: Any, loss: LossFunction, noisy: Sequence[Any] | None = None) -> Steps:
    """See `transferkit.compute.steps`.

    Args:
        model, optimizer, loss, noisy: as there.
    """
    variables = model.trainable_variables
    apply: Update = lambda gradients: optimizer.apply(gradients, variables)  # noqa: E731
    update = None if replicas.count() > 1 else update_of(optimizer, variables)
    if replicas.count() > 1:
        replicas.sum_gradients_first(optimizer)
        noisy = None  # one program is for one device
    rate_of = rate_variable(optimizer)

    def one(update: Update, inputs: Sequence[Any], targets: Any, weights: Any, rows: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            outputs = tf.cast(model(joined(inputs), training=True), tf.float32)
            value = tf.reduce_sum(loss(targets, outputs) * weights) / tf.maximum(rows, 1.0)
            if model.losses:  # each device adds its share
                value += tf.add_n([tf.cast(penalty, tf.float32) for penalty in model.losses]) / replicas.count()
            scaled = optimizer.scale_loss(value)
        update(tape.gradient(scaled, variables))
        return value, outputs

    def step(update: Update, inputs: Sequence[Any], now: dict[str, tf.Tensor]) -> tuple[Any, Any]:
        targets, weights = now["targets"], now["weights"]
        if "rates" in now:
            rate_of.assign(now["rates"])
        if replicas.count() > 1:
            return replicas.step(partial(one, update), inputs, targets, weights)
        return one(update, inputs, targets, weights, tf.reduce_sum(tf.cast(weights > 0, tf.float32)))

    short = _Looped(partial(step, update or apply), model)
    update_long = None if noisy is None else update_of(optimizer, variables, xla.limited)
    long = None if noisy is None else xla.Program(partial(step, update_long or apply), noisy)

    def size() -> int:  # of now: see `loosen`
        return sum(int(tf.size(v.value)) for v in variables)

    def call(
        inputs: Sequence[Any], targets: np.ndarray, weights: np.ndarray,
        rates: np.ndarray | None = None, rows: np.ndarray | None = None, planned: int = 0, wait: bool = True,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        given = {"targets": targets, "weights": weights, "rates": rates, "rows": rows}
        batches = {name: content for name, content in given.items() if content is not None}
        pays = long is not None and rows is not None and xla.pays(planned, rows.shape[1], size)
        with _graph_options(False):
            run = long if long is not None and pays else short
            losses, outputs = run([tf.convert_to_tensor(x) for x in inputs], batches)
        return float(losses.mean()), outputs

    return call


class _Looped:
    """`run(inputs, batches)` → (losses [n], outputs [n, b, t]) of the n steps in `batches`, taken in one while loop."""

    def __init__(self, step: xla.Step, model: Any) -> None:
        self._step, self._model = step, model
        self._compiled: dict[Any, Any] = {}

    def __call__(self, inputs: Sequence[Any], batches: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tensors = {name: tf.convert_to_tensor(content) for name, content in batches.items()}
        form = tuple(batches)
        if form not in self._compiled:
            axes = 1 + ("rows" in form)
            signature = [[_open(x, 1) for x in inputs], {name: _open(x, axes) for name, x in tensors.items()}]
            self._compiled[form] = tf.function(self._several, input_signature=signature, autograph=False)
            with replicas.whole_batch_statistics(self._model):
                self._compiled[form].get_concrete_function(inputs, tensors)
        losses, outputs = self._compiled[form](inputs, tensors)
        return losses.numpy(), outputs.numpy()

    def _several(self, inputs: Sequence[Any], batches: dict[str, tf.Tensor]) -> tuple[Any, Any]:
        count = tf.shape(batches["targets"])[0]

        def body(i: Any, losses: Any, outputs: Any) -> tuple[Any, Any, Any]:
            now = {name: content[i] for name, content in batches.items()}
            batch = [tf.gather(x, now["rows"]) for x in inputs] if "rows" in now else [x[i] for x in inputs]
            value, out = self._step(batch, now)
            return i + 1, losses.write(i, value), outputs.write(i, out)

        # An explicit loop: AutoGraph would read this file again while training, and fail where there is no source.
        arrays = (tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count))
        _, losses, outputs = tf.while_loop(
            lambda i, *_: i < count, body, (tf.constant(0), *arrays), parallel_iterations=1
        )
        return losses.stack(), outputs.stack()


def _open(x: Any, axes: int) -> Any:
    """The signature of `x` with its first axes left open: an epoch's last, shorter call is then no new trace.

    Where rows are gathered inside, the batch size is open too, so that trials of any batch size share a trace.
    """
    axes = min(axes, len(x.shape))
    return tf.TensorSpec((*[None] * axes, *x.shape[axes:]), x.dtype)
