"""Keras' global settings as our computations need them, whatever `keras.json` or the user's program had set.

Layers read these when they are made: pictures with their channels first, or weights in float64, would make other
networks of the same code. A verb fixes them and puts back what it found.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_LAYOUT: dict[str, object] = {"image_data_format": "channels_last", "epsilon": 1e-7}
# Keras cuts short what runs longer than these; no verb of ours may be cut short unsaid.
_LENGTHS: dict[str, object] = {"max_epochs": None, "max_steps_per_epoch": None}
_DTYPES: dict[str, object] = {"floatx": "float32", "dtype_policy": "float32"}
_imported: dict[str, object] = {}  # what the first import found


def fix(dtypes: bool = True) -> None:
    """Set what our computations need. `dtypes` False leaves number formats as the user chose them."""
    if not _imported:
        _imported.update(_now())
    _set(_LAYOUT | _LENGTHS | (_DTYPES if dtypes else {}))


@contextmanager
def restored() -> Iterator[None]:
    """Puts Keras' settings back at the end as they were before; NumPy's reaction to overflow is its default inside.

    Keras itself is not imported by this.
    """
    before = _now() if _is_imported() else None
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        try:
            yield
        finally:
            if _is_imported():
                _set(before or _imported)


def restoring(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb of the Python API that leaves Keras' settings as it found them."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with restored():
            return verb(*args, **kwargs)

    return run


def _is_imported() -> bool:
    return hasattr(sys.modules.get("keras"), "config")


def _now() -> dict[str, object]:
    import keras

    return {name: getattr(keras.config, name)() for name in (*_LAYOUT, *_LENGTHS, *_DTYPES)}


def _set(values: dict[str, object]) -> None:
    import keras

    for name, value in values.items():
        getattr(keras.config, f"set_{name}")(value)
