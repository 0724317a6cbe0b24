"""Every measurement, found by its module: a module of this folder with `BARS` and a command `measure` is one."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

import click
import kinds

from benches.measuring import Bar

SHARED = ("measuring", "noting", "page", "registry", "pictures", "head_sets", "device")
# Quick ones first; those not named here follow by name.
ORDER = ("decode", "memory", "views", "head", "extraction", "precision", "features_memory", "block5", "frozen")


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Name of the measurement → its module, in the order in which `all` runs them."""
    return {str(module.measure.name): module for module in kinds.modules(Path(__file__).parent, SHARED, ORDER)}


def bars() -> dict[str, tuple[Bar, ...]]:
    """Name of the measurement → its bars."""
    return {name: module.BARS for name, module in modules().items()}


def commands() -> list[click.Command]:
    """The commands of all measurements."""
    return [module.measure for module in modules().values()]
