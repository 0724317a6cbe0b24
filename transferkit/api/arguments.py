"""Arguments of the verbs that are no settings (`quiet`, `resume`, `cache`, `output`) are of the types that they say."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

from transferkit import importing
from transferkit.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

PATH = (str, os.PathLike)
TYPES: dict[str, tuple[Any, ...]] = {
    "bool": (bool,), "int": (Integral,), "str": (str,), "str | Path": PATH, "str | os.PathLike[str]": PATH,
    "str | Path | Run": PATH,
}  # fmt: skip
WORDS: dict[tuple[Any, ...], str] = {
    (bool,): "True or False", (Integral,): "a whole number", (str,): "text", PATH: "a path",
}  # fmt: skip
REMEDIES = {"cache": "the folder of the cache is that of the variable TRANSFERKIT_CACHE"}


def checked(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb of the Python API that refuses arguments of other types than its signature says, all of them at once.

    Args:
        verb: whose annotations are text; what is not among `TYPES` is looked at by the verb itself.
    """
    signature = inspect.signature(verb)

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        problems = [_problem(signature.parameters[name], value) for name, value in given.items()]
        if any(problems):
            raise ConfigError("\n".join(filter(None, problems)))
        try:
            return verb(*args, **kwargs)
        finally:
            _let_go()

    return run


def _let_go() -> None:
    """End the processes that drew views: a notebook goes on, and has no more use for them."""
    drawing = sys.modules.get("transferkit.data.augmentation.processes")
    if drawing is not None and not importing.is_ours():
        drawing.end()


def _problem(parameter: inspect.Parameter, value: Any) -> str:
    """What is wrong with an argument; empty where nothing is."""
    kind = str(parameter.annotation)
    optional = kind.endswith(" | None")
    types = TYPES.get(kind.removesuffix(" | None"))
    if types is None or (optional and value is None):
        return ""
    values = value if parameter.kind is parameter.VAR_POSITIONAL else (value,)
    odd = [one for one in values if not isinstance(one, types) or (isinstance(one, bool) and bool not in types)]
    if not odd:
        return ""
    value = odd[0]
    words = WORDS[types] + (" or None" if optional else "")
    remedy = REMEDIES.get(parameter.name)
    return f"{parameter.name}={value!r}: must be {words}{f'; {remedy}' if remedy else ''}"
