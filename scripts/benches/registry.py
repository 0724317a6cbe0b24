"""Every measurement, found by its module: a module of this folder with `BARS` and a command `measure` is one."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import click

from benches.measuring import Bar

SHARED = ("measuring", "page", "registry", "pictures", "head_sets")
# Quick ones first; those not named here follow by name.
ORDER = ("decode", "memory", "views", "head", "extraction", "precision", "features_memory", "block5", "frozen")


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Name of the measurement → its module, in the order in which `all` runs them."""
    names = [found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.name not in SHARED]
    names.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    loaded = [importlib.import_module(f"benches.{name}") for name in names]
    return {str(module.measure.name): module for module in loaded}


def bars() -> dict[str, tuple[Bar, ...]]:
    """Name of the measurement → its bars."""
    return {name: module.BARS for name, module in modules().items()}


def commands() -> list[click.Command]:
    """The commands of all measurements."""
    return [module.measure for module in modules().values()]
