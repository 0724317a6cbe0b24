"""Signatures and docstrings that list every setting: at run time, and as the source of `api.keywords` for editors.

Both are made of the declarations in `config.declarations` and `tuning.search_settings`. `scripts/keywords` writes the
module; a test holds the two equal.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from transferkit.config import Settings
from transferkit.setting import Declared, declared
from transferkit.tuning.portfolio_settings import PLACE, SETTINGS, place_settings
from transferkit.tuning.search_settings import SearchSettings
from transferkit.wording import in_python

F = TypeVar("F", bound=Callable[..., Any])
WIDTH = 100  # columns of docstrings
HEAD = '''\
"""The keywords of the verbs that make a run, for editors and type checkers. Made by scripts/keywords: do not edit."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict
'''


def settings(search: bool = False, only: Sequence[str] | None = None) -> dict[str, Declared]:
    """The settings that a verb takes as keywords: all but the backbone, which is taken by position.

    Args:
        search: those of a search among them, as `tune` takes them.
        only: names of some settings, as `best` takes them: of a run, and of where networks are compared; None: all.

    Returns:
        Name → declaration, in the order of the help.
    """
    own = declared(SearchSettings) if search else {}
    if only is not None:
        return {name: s for name, s in {**declared(Settings), **place_settings()}.items() if name in only}
    return {**own, **{n: s for n, s in declared(Settings).items() if n != "backbone" and n not in own}}


def annotation(setting: Declared) -> str:
    """The type of what Python callers may pass, as source."""
    one = [kind.__name__ for kind in setting.types]
    if setting.choices:
        one.append(f"Literal[{', '.join(map(repr, setting.choices))}]")
    many = [f"Sequence[{' | '.join(one)}]"] if setting.many else one
    return " | ".join([*many, *([setting.said.takes] if setting.said.takes else []), *["None"] * setting.optional])


def source() -> str:
    """The text of `transferkit/api/keywords.py`."""
    searching = {name: s for name, s in declared(SearchSettings).items() if name not in Settings.model_fields}
    return "\n".join([
        HEAD,
        *_class("FinetuneSettings", "TypedDict", "What `finetune` takes as keywords; every one may be left out.",
                settings()), "",
        *_class("BestSettings", "TypedDict", "What `best` takes as keywords; every one may be left out.",
                settings(only=(*SETTINGS, *PLACE))), "",
        *_class("TuneSettings", "FinetuneSettings", "What `tune` takes as keywords: those of a run, and of a search.",
                searching),
    ])  # fmt: skip


def _class(name: str, base: str, says: str, rows: dict[str, Declared]) -> list[str]:
    lines = ["", f"class {name}({base}, total=False):", f'    """{says}"""', ""]
    for key, setting in rows.items():
        lines += [f"    {key}: {annotation(setting)}", f'    """{_meaning(setting)}"""']
    return [*lines, ""]


def _meaning(setting: Declared) -> str:
    """Its help in Python's words, with what happens by default."""
    return f"{in_python(setting.said.help)} [default: {setting.said.default or repr(setting.default)}]"


def listing(search: bool = False, only: Sequence[str] | None = None) -> Callable[[F], F]:
    """A decorator: a verb's `**settings` become keywords with defaults in its signature, and lines of its docstring.

    Args:
        search: see `settings`.
        only: see `settings`.
    """
    rows = settings(search, only)

    def decorate(verb: F) -> F:
        plain = inspect.signature(verb)
        fixed = [p for p in plain.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=s.default, annotation=annotation(s))
            for name, s in rows.items()
        ]
        verb.__signature__ = plain.replace(parameters=[*fixed, *more])  # type: ignore[attr-defined]
        verb.__doc__ = "\n".join([inspect.cleandoc(verb.__doc__ or ""), "", "Settings:", *map(_line, rows.values())])
        return verb

    return decorate


def _line(setting: Declared) -> str:
    text = f"{setting.name}: {_meaning(setting)}"
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )
