"""Libraries that others import wherever they find them, to do more than is asked of them here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What imports of Keras, TensorFlow and Keras Tuner try: for figures, for notebooks, and to convert what others made. A
# second of four, where all are installed.
OF_KERAS = ("IPython", "jax", "matplotlib", "pandas")


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Inside, modules of these names are not to be found; those that are imported already are.

    Other threads are not to import them meanwhile.

    Args:
        names: of modules; an import of them is to be one that may fail.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # which Python takes for "there is none"
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
