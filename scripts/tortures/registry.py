"""Every kind of torture, found by its module: a module of this folder with a NAME is one."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

import kinds

SHARED = ("trying", "killing", "page", "registry", "shim")
# The cheap ones first; those not named here follow by name.
ORDER = (
    "pictures", "texts", "served", "hostile", "surroundings", "memory", "kills", "disk", "together", "changes", "load",
)  # fmt: skip


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Name → module, in the order in which they are tried."""
    return {str(module.NAME): module for module in kinds.modules(Path(__file__).parent, SHARED, ORDER)}
