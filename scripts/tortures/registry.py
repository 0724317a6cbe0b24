"""Every kind of torture, found by its module: a module of this folder with a NAME is one."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

SHARED = ("trying", "killing", "page", "registry", "shim")
# The cheap ones first; those not named here follow by name.
ORDER = ("pictures", "texts", "served", "hostile", "surroundings", "kills", "disk", "together", "changes")


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Name → module, in the order in which they are tried."""
    names = [found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.name not in SHARED]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    loaded = [importlib.import_module(f"tortures.{name}") for name in names]
    return {str(module.NAME): module for module in loaded}
