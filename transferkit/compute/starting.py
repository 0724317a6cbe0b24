"""Keras and its backend taken into use: imported once, without what is not asked of them, and refused in plain words.

Neither is imported before it is wanted, since that takes seconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from transferkit import addresses, importing, native_logs
from transferkit.compute import ambient, blas
from transferkit.compute.optional import OF_KERAS, absent
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.signals import held_back


def start(dtypes: bool = True, reporter: Reporter | None = None) -> None:
    """Import Keras and its backend, and take all local GPUs into use. To be called before any model is built.

    TensorFlow shares batches over GPUs by a strategy that holds for all variables made later in this process. Keras'
    global settings are those of `ambient` afterwards; verbs of the API put them back (`restoring`).

    Args:
        dtypes: False leaves number formats as they are.
        reporter: is told that Keras is being started, which takes seconds the first time in a process.

    Raises:
        ConfigError: a backend that is not supported or not installed, or a `keras.json` that Keras refuses.
        MemoryError: its libraries, or the working memory of BLAS, do not fit under a bound on addresses.
    """
    with held_back():
        if "keras" not in sys.modules:
            with nullcontext() if reporter is None else reporter.step("starting Keras"):
                _import_quietly()
        if backend() == "tensorflow":
            from transferkit.compute import replicas

            replicas.spread()
        ambient.fix(dtypes)
    blas.claim()
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
    refused: ConfigError | MemoryError | None = None
    # A program of the user's may want of Keras and TensorFlow what these are for.
    unused = OF_KERAS if importing.is_ours() and _chosen_backend()[0] == "tensorflow" else ()
    with native_logs.filtered():
        try:
            with absent(*unused), _uncollected():
                _import()
        except (ConfigError, MemoryError) as error:  # says it all; nothing that was logged adds to it
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


_LEAST = 256 << 20  # bytes of addresses, of which no backend's libraries make do
_AMPLE = 4 << 30  # bytes of addresses (`ulimit -v`) with which an import fails for other reasons


# What Keras raises of its settings, or of a library that it misses; older ones assert what newer ones raise.
_EXPECTED = (ImportError, ValueError, TypeError, AttributeError, AssertionError)


def _import() -> None:
    try:
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.constant(0)  # devices are discovered at the first operation
    except Exception as error:
        name, where = _chosen_backend()
        if _cramped(error):
            raise MemoryError(
                f"the libraries of {name} do not fit into what this process may take ({_why(error)})"
            ) from error
        if not isinstance(error, _EXPECTED) or "keras" in sys.modules:
            raise
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


def _why(error: Exception) -> str:
    """In one line: TensorFlow's errors quote a traceback."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[0] if lines else type(error).__name__


def _cramped(error: Exception) -> bool:
    """Whether an import failed for want of memory. What failed first may have been hidden by who did not need it, so
    that something is missing, or left half imported; or Python itself had nothing left to say what it was."""
    if addresses.refused(error):
        return True
    most, left = addresses.bound(), addresses.left()
    if most is None:
        return False
    unexpected = not isinstance(error, _EXPECTED) or "partially initialized module" in str(error)
    return (unexpected and most < _AMPLE) or (left is not None and left < _LEAST)


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
    except (OSError, ValueError, AttributeError, RecursionError):
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
