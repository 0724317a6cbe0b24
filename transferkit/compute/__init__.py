"""Compiled forward passes and optimizer steps on Keras' current backend: the only room that names TensorFlow or JAX.

Both engines take NumPy arrays and give NumPy arrays. Several optimizer steps run inside one compiled call, so that
small heads do not pay Python's price per step.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

from transferkit import addresses, importing, native_logs
from transferkit.compute import ambient
from transferkit.compute.ambient import restoring as restoring
from transferkit.compute.optional import OF_KERAS, absent
from transferkit.compute.types import Arrays, Forward, InputGradient, LossFunction, Steps
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.signals import held_back

__all__ = [
    "Arrays", "Forward", "InputGradient", "LossFunction", "Steps", "assign", "backend", "backend_versions",
    "device_count", "forward", "gpu_count", "halving", "hold", "input_gradient", "out_of_memory", "release",
    "restoring", "start", "steps", "uncompiled", "values",
]  # fmt: skip


def start(dtypes: bool = True, reporter: Reporter | None = None) -> None:
    """Import Keras and its backend, and take all local GPUs into use. To be called before any model is built.

    TensorFlow shares batches over GPUs by a strategy that holds for all variables made later in this process. Keras'
    global settings are those of `ambient` afterwards; verbs of the API put them back (`restoring`).

    Args:
        dtypes: False leaves number formats as they are.
        reporter: is told that Keras is being started, which takes seconds the first time in a process.

    Raises:
        ConfigError: a backend that is not supported or not installed, or a `keras.json` that Keras refuses.
    """
    with held_back():
        if "keras" not in sys.modules:
            with nullcontext() if reporter is None else reporter.step("starting Keras"):
                _import_quietly()
        if backend() == "tensorflow":
            from transferkit.compute import replicas

            replicas.spread()
        ambient.fix(dtypes)
    if reporter is not None and not _told:
        _told.append(_tell_of_bound(reporter))


ROOM = 1 << 30  # bytes of addresses that training a small network takes beside the libraries (measured: 0.9 GB)
_told: list[bool] = []  # that the bound is told of once a process


def _tell_of_bound(reporter: Reporter) -> bool:
    """Warn where `ulimit -v` leaves so little that TensorFlow may crash: it does not check every allocation."""
    bound, left = addresses.bound(), addresses.left()
    if bound is None or left is None or left >= ROOM:
        return False
    reporter.warn(
        f"of the {bound / addresses.GB:.1f} GB of addresses that this process may take (ulimit -v {bound // 1024}), "
        f"{max(0, left) / addresses.GB:.1f} GB are left beside the libraries; where memory is refused to them they may "
        "crash: raise the bound, or lift it (ulimit -v unlimited) and bound the memory of a container instead"
    )
    return True


def _import_quietly() -> None:
    """Import Keras and its backend without the page of device discovery that TensorFlow writes to standard error.

    See `transferkit.native_logs`: who asked for its log by TF_CPP_MIN_LOG_LEVEL sees it.
    """
    if not os.path.exists("/dev/nvidia0") and not os.path.exists("/dev/dxg"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # no GPU: do not look for its driver, and complain
    refused: ConfigError | None = None
    # A program of the user's may want of Keras and TensorFlow what these are for.
    unused = OF_KERAS if importing.is_ours() and _chosen_backend()[0] == "tensorflow" else ()
    with native_logs.filtered():
        try:
            with absent(*unused), _uncollected():
                _import()
        except ConfigError as error:  # says it all; nothing that was logged adds to it
            refused = error
    if refused is not None:
        raise refused


@contextmanager
def _uncollected() -> Iterator[None]:
    """Inside, Python does not look for what nobody uses any more: of what a large library makes of itself that is
    nothing, and looking through it again and again takes a quarter of its import. In our own process it is not looked
    through afterwards either.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if importing.is_ours():
            gc.freeze()
        if before:
            gc.enable()


# How the system's loader says that a library does not fit into memory.
_UNMAPPED = ("failed to map segment", "annot allocate memory")
_AMPLE = 4 << 30  # bytes of addresses (`ulimit -v`) with which an import fails for other reasons


def _import() -> None:
    try:
        import keras
    # Older Keras asserts what newer ones raise.
    except (ImportError, ValueError, TypeError, AttributeError, AssertionError) as error:
        name, where = _chosen_backend()
        if _cramped(error):
            raise MemoryError(
                f"the libraries of {name} do not fit into what this process may take ({error})"
            ) from error
        if name not in ("tensorflow", "jax") or (name == "jax" and isinstance(error, ImportError)):
            raise ConfigError(
                f"Keras' backend '{name}' ({where}) cannot be imported ({error}); set KERAS_BACKEND=tensorflow"
            ) from error
        if isinstance(error, ImportError):
            raise
        raise ConfigError(
            f"Keras refuses its settings ({str(error) or type(error).__name__}): fix or remove {_keras_json()}, and "
            "look at what begins with KERAS_ in the environment"
        ) from error
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.constant(0)  # devices are discovered at the first operation


def _cramped(error: Exception) -> bool:
    """Whether an import failed for want of memory. A library that is optional to another may fail first, unnoticed, and
    then be missing from within."""
    if isinstance(error, ImportError) and any(words in str(error) for words in _UNMAPPED):
        return True
    most = addresses.bound()
    return "partially initialized module" in str(error) and most is not None and most < _AMPLE


def _keras_json() -> str:
    """The file that Keras takes its settings from."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "keras.json")


def _chosen_backend() -> tuple[str, str]:
    """The backend that Keras is told to use, and where."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "KERAS_BACKEND"
    try:
        with open(_keras_json(), encoding="utf-8") as handle:
            return str(json.load(handle).get("backend", "tensorflow")), _keras_json()
    except (OSError, ValueError, AttributeError):
        return "tensorflow", "by default"


def backend() -> str:
    """Keras' backend, `"tensorflow"` or `"jax"`.

    Raises:
        ConfigError: it is another.
    """
    import keras

    name = str(keras.backend.backend())
    if name not in ("tensorflow", "jax"):
        _, where = _chosen_backend()
        raise ConfigError(f"Keras' backend '{name}' ({where}) is not supported; set KERAS_BACKEND=tensorflow or jax")
    return name


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
            random numbers by a method `draw(batch)`: long phases of it may then be compiled whole (see `compute.xla`).

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
    # A thread needs addresses for its stack; Python says no more of it.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
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
    from keras import ops

    # A copy, since what the backend gives may be a view of the live buffer.
    return [np.copy(ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[Any], content: Sequence[np.ndarray]) -> None:
    """Put back what `values` gave. Raises ValueError where their numbers differ.

    Args:
        variables: Keras'.
        content: what `values` gave of them.

    Raises:
        ValueError: their numbers differ.
    """
    for variable, value in zip(variables, content, strict=True):
        variable.assign(value)
