"""Compiled forward passes and optimizer steps on Keras' current backend: the only room that names TensorFlow or JAX.

Both engines take NumPy arrays and give NumPy arrays. Several optimizer steps run inside one compiled call, so that
small heads do not pay Python's price per step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

from transferkit import addresses
from transferkit.compute.ambient import restoring as restoring
from transferkit.compute.starting import backend as backend
from transferkit.compute.starting import start as start
from transferkit.compute.types import Arrays, Forward, InputGradient, LossFunction, Steps

__all__ = [
    "Arrays", "Forward", "InputGradient", "LossFunction", "Steps", "assign", "backend", "backend_versions",
    "biased", "device_count", "forward", "gpu_count", "halving", "hold", "input_gradient", "loosen", "loosens",
    "out_of_memory", "release", "restoring", "start", "steps", "uncompiled", "values",
]  # fmt: skip


def backend_versions() -> dict[str, str]:
    """Versions of the libraries that compute, by name: what numbers may change with."""
    if backend() == "tensorflow":
        import tensorflow as tf

        return {"tensorflow": str(tf.__version__)}
    return {name: version(name) for name in ("jax", "jaxlib")}


def _engine() -> ModuleType:
    """The module for Keras' backend; each imports its library, so neither may be imported sooner."""
    if backend() == "tensorflow":
        from transferkit.compute import tensorflow

        return tensorflow
    from transferkit.compute import jax

    return jax


def forward(model: Any, graph_bfloat16: bool = False) -> Forward:
    """Compile the inference pass of a model. Call it with one batch size only: each new shape costs a trace.

    Args:
        model: inputs → tensors.
        graph_bfloat16: turn on TensorFlow's oneDNN graph rewrite for this function alone (CPU; see `precision`).

    Returns:
        Inputs, and row numbers where they are tables to gather from → float32 arrays.
    """
    run: Forward = _engine().forward(model, graph_bfloat16)
    return run


def uncompiled() -> AbstractContextManager[None]:
    """Forward passes and gradients that are made inside are not compiled: for a batch or two, which takes less time
    than compiling does. Under JAX they are all the same."""
    made: AbstractContextManager[None] = _engine().uncompiled()
    return made


def steps(model: Any, optimizer: Any, loss: LossFunction, noisy: Sequence[Any] | None = None) -> Steps:
    """Compile optimizer steps of a model.

    One step minimises `sum(loss * weights) / sum(weights > 0) + sum(model.losses)`, as `keras.Model.fit` does on a full
    batch; padding rows carry weight 0.

    Args:
        model: inputs → outputs [b, t].
        optimizer: Keras'; it is built here.
        loss: targets [b, t] and outputs [b, t] → [b], written with keras.ops.
        noisy: where given (it may be empty), says that `model` is a small one on vectors, and which of its layers draw
            random numbers by a method `draw(batch, units)`: long phases of it may then be compiled whole (see
            `compute.xla`).

    Returns:
        A function that takes n steps in one call and returns their mean loss and the outputs [n, b, t].
    """
    optimizer.build(model.trainable_variables)
    run: Steps = _engine().steps(model, optimizer, loss, noisy)
    return run


def hold(arrays: Sequence[np.ndarray]) -> list[Any]:
    """Arrays as tensors of the backend, where its compiled functions can use them without copying."""
    tensors: list[Any] = _engine().hold(arrays)
    return tensors


def halving(run: Forward, say: Callable[[str], None]) -> Forward:
    """A forward pass that is taken in halves where its batch does not fit into memory.

    Args:
        run: the pass.
        say: is told once a size; it is kept to.
    """
    most, turn = [0], threading.Lock()  # rows at once that are known to fit; 0 while all did

    def call(inputs: Sequence[Any], rows: np.ndarray | None = None) -> Arrays:
        count = len(inputs[0] if rows is None else rows)
        size = min(count, most[0] or count)
        try:
            return _in_parts(run, inputs, rows, size)
        except Exception as error:
            if not out_of_memory(error) or size == 1:
                raise
        # Not inside the handler: the error holds on to what was computed.
        with turn:  # two batches may be in the network, and fail together
            if not most[0] or most[0] >= size:
                most[0] = -(-size // 2)
                say(f"out of memory with {size} pictures at once: going on with {most[0]}")
        return call(inputs, rows)

    return call


def _in_parts(run: Forward, inputs: Sequence[Any], rows: np.ndarray | None, size: int) -> Arrays:
    count = len(inputs[0] if rows is None else rows)
    if size >= count:
        return run(inputs, rows)
    starts = range(0, count, size)
    if rows is not None:
        parts = [run(inputs, rows[i : i + size]) for i in starts]
    else:
        parts = [run([x[i : i + size] for x in inputs]) for i in starts]
    return [np.concatenate(tensors) for tensors in zip(*parts, strict=True)]


def input_gradient(model: Any) -> InputGradient:
    """Compile the gradient of `model`'s output by its one input, in inference mode. Each batch size costs a trace."""
    run: InputGradient = _engine().input_gradient(model)
    return run


def gpu_count() -> int:
    """Local accelerators that the backend sees."""
    count: int = _engine().gpu_count()
    return count


# oneDNN says its status by number: 1 is `dnnl_out_of_memory`, 5 `dnnl_runtime_error`, seen under `ulimit -v` alone.
_REFUSED = ("RESOURCE_EXHAUSTED", "Status: 1, message: could not", "Status: 5, message: could not execute")


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a computation did not fit into the memory of its device or of this process."""
    if addresses.refused(error):
        return True
    # By name: TensorFlow's and JAX's classes are in modules that need not be there.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    refused = any(words in str(error) for words in _REFUSED) or "out of memory" in str(error).lower()
    return "ResourceExhaustedError" in kinds or (
        refused and bool(kinds & {"XlaRuntimeError", "JaxRuntimeError", "OpError"})
    )


def device_count() -> int:
    """Local devices over which forward passes and steps are spread: all GPUs, else one."""
    count: int = _engine().device_count()
    return count


def release() -> None:
    """Forget graphs and layer names of models that are gone, keeping the dtype policy (clear_session resets it)."""
    import keras

    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)


def values(variables: Iterable[Any]) -> Arrays:
    """Copies of the values of Keras variables, on the host."""
    found: Arrays = _engine().values(variables)
    return found


def assign(variables: Sequence[Any], content: Sequence[np.ndarray]) -> None:
    """Put back what `values` gave. Raises ValueError where their numbers differ.

    Args:
        variables: Keras'.
        content: what `values` gave of them.

    Raises:
        ValueError: their numbers differ.
    """
    _engine().assign(variables, content)


def loosens() -> bool:
    """Whether `loosen` is to be had here: on TensorFlow, where one CPU computes."""
    can: bool = _engine().loosens()
    return can


def loosen(variable: Any, shape: Sequence[int | None]) -> None:
    """Let a Keras variable hold arrays of any size along the axes that are None: what is compiled later serves all.

    Args:
        variable: Keras', not yet known to an optimizer.
        shape: of what it may hold.
    """
    _engine().loosen(variable, shape)


def biased(x: Any, bias: Any) -> Any:
    """`keras.ops.add` of a layer's bias, to the last digit, whatever length the bias may have (`loosen`).

    Args:
        x: a tensor [b, units].
        bias: a Keras variable [units].
    """
    return _engine().biased(x, bias)


def each(loss: LossFunction, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """A loss of each row, compiled once for all calls.

    Args:
        loss: targets [b, t] and outputs [b, t] → [b], written with keras.ops; one that stays, such as a module's.
        targets: float32 [n, t].
        outputs: float32 [n, t].

    Returns:
        [n].
    """
    found: np.ndarray = _engine().each(loss, targets, outputs)
    return found
