"""The kinds of a thing that a package of scripts has, each found by its module: to add one is to add a file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType


def modules(folder: Path, shared: Collection[str], order: Sequence[str]) -> list[ModuleType]:
    """The modules of a package beside this file.

    Args:
        folder: of the package.
        shared: names of modules that are no kind.
        order: names of those that come first; others follow by name.
    """
    names = [found.name for found in pkgutil.iter_modules([str(folder)]) if found.name not in shared]
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    return [importlib.import_module(f"{folder.name}.{name}") for name in names]
