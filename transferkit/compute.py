"""Compiled forward passes and optimizer steps on Keras' current backend: the only module that names TensorFlow or JAX.

Both engines take NumPy arrays and give NumPy arrays. Several optimizer steps run inside one compiled call, so that
small heads do not pay Python's price per step.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from transferkit.errors import ConfigError

Arrays = list[np.ndarray]
LossFunction = Callable[[Any, Any], Any]

# Graph options of TensorFlow belong to the process, and every call of a compiled function reads them. While one
# function runs with options of its own, on whatever thread, no other may run.
_OPTIONS = threading.RLock()


class Forward(Protocol):
    """`forward([x, …])` → list of outputs, float32 NumPy, inference mode."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> Arrays:
        """Compute."""


class InputGradient(Protocol):
    """`gradient(x [n, …], weights [n, t])` → (outputs [n, t], gradient of sum(outputs · weights) by x [n, …])."""

    def __call__(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute."""


class Steps(Protocol):
    """`steps(inputs [n,b,…], targets [n,b,t], weights [n,b])` → (mean loss, outputs [n,b,t]), n optimizer steps on."""

    def __call__(
        self, inputs: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Take the steps."""


def start() -> None:
    """Import Keras and its backend without the page of device discovery that TensorFlow writes to standard error.

    What was written is shown after all if the import fails.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not os.path.exists("/dev/nvidia0") and not os.path.exists("/dev/dxg"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # no GPU: do not look for its driver, and complain
    with tempfile.TemporaryFile() as hidden:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(hidden.fileno(), 2)
        try:
            import keras

            if keras.backend.backend() == "tensorflow":
                import tensorflow as tf

                tf.constant(0)  # devices are discovered at the first operation
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def backend() -> str:
    """`"tensorflow"` or `"jax"`; other backends of Keras are refused."""
    import keras

    name = str(keras.backend.backend())
    if name not in ("tensorflow", "jax"):
        raise ConfigError(f"KERAS_BACKEND={name} is not supported; use tensorflow or jax")
    return name


def forward(model: Any, graph_bfloat16: bool = False) -> Forward:
    """Compile the inference pass of `model`. Call it with one batch size only: each new shape costs a trace.

    `graph_bfloat16` turns on TensorFlow's oneDNN graph rewrite for this function alone (CPU; see `precision`).
    """
    if backend() == "tensorflow":
        return _forward_tensorflow(model, graph_bfloat16)
    return _forward_jax(model)


def steps(model: Any, optimizer: Any, loss: LossFunction) -> Steps:
    """Compile optimizer steps of `model`.

    `loss(targets [b,t], outputs [b,t]) -> [b]` is written with keras.ops. One step minimises
    `sum(loss * weights) / sum(weights > 0) + sum(model.losses)`, as `keras.Model.fit` does on a full batch;
    padding rows carry weight 0.
    """
    optimizer.build(model.trainable_variables)
    if backend() == "tensorflow":
        return _steps_tensorflow(model, optimizer, loss)
    return _steps_jax(model, optimizer, loss)


def input_gradient(model: Any) -> InputGradient:
    """Compile the gradient of `model`'s output by its one input, in inference mode. Each batch size costs a trace."""
    return _gradient_tensorflow(model) if backend() == "tensorflow" else _gradient_jax(model)


def gpu_count() -> int:
    """Local accelerators that the backend sees."""
    if backend() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    import jax

    return sum(device.platform != "cpu" for device in jax.devices())


def release() -> None:
    """Forget graphs and layer names of models that are gone, keeping the dtype policy (clear_session resets it)."""
    import keras

    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)


def values(variables: Iterable[Any]) -> Arrays:
    """Copies of the values of Keras variables, on the host."""
    # Not np.array(variable): that may be a view of the live buffer, and NumPy 2 warns of it.
    return [np.copy(np.asarray(variable.value)) for variable in variables]


def assign(variables: Sequence[Any], content: Sequence[np.ndarray]) -> None:
    """Put back what `values` gave. Raises ValueError where their numbers differ."""
    for variable, value in zip(variables, content, strict=True):
        variable.assign(value)


def _flat(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _join(inputs: Sequence[Any]) -> Any:
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _forward_tensorflow(model: Any, graph_bfloat16: bool) -> Forward:
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def run(*inputs: Any) -> Any:
        return [tf.cast(o, tf.float32) for o in _flat(model(_join(inputs), training=False))]

    def call(inputs: Sequence[np.ndarray]) -> Arrays:
        with _graph_options(graph_bfloat16):
            return [o.numpy() for o in run(*(tf.convert_to_tensor(x) for x in inputs))]

    return call


@contextmanager
def _graph_options(bfloat16: bool) -> Iterator[None]:
    """Inside: the oneDNN bfloat16 rewrite is on or off, and no other thread runs a function of this module."""
    import tensorflow as tf

    key = "auto_mixed_precision_onednn_bfloat16"
    with _OPTIONS:
        if not bfloat16:
            yield
            return
        before = tf.config.optimizer.get_experimental_options().get(key, False)
        tf.config.optimizer.set_experimental_options({key: True})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({key: before})


def _gradient_tensorflow(model: Any) -> InputGradient:
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def run(x: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.cast(model(x, training=False), tf.float32)
            value = tf.reduce_sum(outputs * weights)
        return outputs, tape.gradient(value, x)

    def call(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _graph_options(False):
            outputs, gradient = run(tf.convert_to_tensor(x), tf.convert_to_tensor(weights))
            return outputs.numpy(), gradient.numpy()

    return call


def _steps_tensorflow(model: Any, optimizer: Any, loss: LossFunction) -> Steps:
    import tensorflow as tf

    variables = model.trainable_variables

    def one(inputs: Sequence[Any], targets: Any, weights: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            outputs = tf.cast(model(_join(inputs), training=True), tf.float32)
            rows = tf.reduce_sum(tf.cast(weights > 0, tf.float32))
            value = tf.reduce_sum(loss(targets, outputs) * weights) / tf.maximum(rows, 1.0)
            if model.losses:
                value += tf.add_n([tf.cast(penalty, tf.float32) for penalty in model.losses])
            scaled = optimizer.scale_loss(value)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        return value, outputs

    def several(inputs: Sequence[Any], targets: Any, weights: Any) -> tuple[Any, Any]:
        count = tf.shape(targets)[0]

        def body(i: Any, losses: Any, outputs: Any) -> tuple[Any, Any, Any]:
            value, out = one([x[i] for x in inputs], targets[i], weights[i])
            return i + 1, losses.write(i, value), outputs.write(i, out)

        # An explicit loop: AutoGraph would read this file anew while training, and fail where there is no source.
        arrays = (tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count))
        _, losses, outputs = tf.while_loop(
            lambda i, *_: i < count, body, (tf.constant(0), *arrays), parallel_iterations=1
        )
        return tf.reduce_mean(losses.stack()), outputs.stack()

    compiled: list[Any] = []

    def call(inputs: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        tensors = [tf.convert_to_tensor(x) for x in inputs]
        batch = (tensors, tf.convert_to_tensor(targets), tf.convert_to_tensor(weights))
        with _graph_options(False):
            if not compiled:
                # The number of steps is left open, so that an epoch's last, shorter call is no new trace.
                signature = tf.nest.map_structure(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), batch)
                compiled.append(tf.function(several, input_signature=signature, autograph=False))
            value, outputs = compiled[0](*batch)
            return float(value), outputs.numpy()

    return call


def _forward_jax(model: Any) -> Forward:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def run(trainable: Any, fixed: Any, inputs: Any) -> Any:
        outputs, _ = model.stateless_call(trainable, fixed, _join(inputs), training=False)
        return [jnp.asarray(o, jnp.float32) for o in _flat(outputs)]

    def call(inputs: Sequence[np.ndarray]) -> Arrays:
        trainable = [v.value for v in model.trainable_variables]
        fixed = [v.value for v in model.non_trainable_variables]
        return [np.asarray(o) for o in run(trainable, fixed, list(inputs))]

    return call


def _gradient_jax(model: Any) -> InputGradient:
    import jax
    import jax.numpy as jnp

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


def _steps_jax(model: Any, optimizer: Any, loss: LossFunction) -> Steps:
    import jax
    import jax.numpy as jnp

    def objective(trainable: Any, fixed: Any, batch: Any) -> Any:
        inputs, targets, weights = batch
        outputs, fixed, penalties = model.stateless_call(
            trainable, fixed, _join(inputs), training=True, return_losses=True
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
