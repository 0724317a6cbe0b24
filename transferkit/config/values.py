"""Values of settings as people write them, on the command line and in files, before types are checked."""

from __future__ import annotations

import re
from typing import Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from transferkit import plugins
from transferkit.text import clipped

POLICY = re.compile(r"none|all|gradual|from:.+|last:[1-9][0-9]{0,8}")


def parse_duration(value: Any) -> Any:
    """Seconds of `"90s"`, `"10m"`, `"1.5h"` or a plain number of seconds; what is no text stays as it is.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", value)
    if not found:
        raise ValueError(f"'{value}' is not a duration; write 90s, 10m or 1.5h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "": 1}[found[2]]


def parse_frames(value: Any) -> Any:
    """`first`, `all` or `every:TIME`."""
    if isinstance(value, str) and value not in ("first", "all"):
        film_step(value)
    return value


def film_step(frames: str) -> float | None:
    """Seconds from one picture of a film to the next, of `every:TIME`; None for `first` and `all`.

    Raises ValueError for anything else.
    """
    if frames in ("first", "all"):
        return None
    word, _, text = frames.partition(":")
    try:
        found = float(parse_duration(text)) if word == "every" else 0.0
    except ValueError:
        found = 0.0
    if found < 0.001:
        raise ValueError(f"'{clipped(frames)}' names no frames; write first, all, or every:1s for films")
    return found


def parse_numbers(value: Any) -> Any:
    """`"256,128"` or a single number as a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int | float) else value


def parse_names(value: Any) -> Any:
    """`"low,mid,high"`, by itself or alone in a sequence, as a tuple; several texts are taken as they are."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_columns(value: Any) -> Any:
    """A single name as a tuple."""
    return (value,) if isinstance(value, str) else value


def check_policy(value: Any) -> Any:
    """A freeze policy in the field's notation.

    Raises:
        ValueError: it is none; says what may have been meant.
    """
    text = str(value).strip()
    if not POLICY.fullmatch(text):
        # A stage or a number alone says what is meant; for most words no stage has that name.
        meant = f"last:{text}" if re.fullmatch("[1-9][0-9]{0,8}", text) else f"from:{text}"
        like = re.fullmatch(r"[\w.-]{1,40}", text) and any(c.isdigit() for c in text)
        offer = f" (did you mean {meant}?)" if like else ""
        said = f"'{clipped(text)}' is no freeze policy{offer}"
        raise ValueError(f"{said}; write none, all, from:STAGE, last:N or gradual")
    return text


def offered(kind: str, builtin: tuple[str, ...]) -> AfterValidator:
    """One of the `builtin` names or a plugin's. Of plugins only the name is looked up; nothing is imported.

    Args:
        kind: of plugin, see `plugins.KINDS`.
        builtin: names of our own.
    """

    def check(value: str) -> str:
        if kind == "augmentations" and "=" in value:
            return value  # ranges of one's own, which the data room knows (`runs.preflight`)
        problem = plugins.choose(kind, value, builtin)
        if problem:
            raise PydanticCustomError("choice", "{problem}", {"problem": problem})
        return value

    return AfterValidator(check)


def shown(value: Any) -> str:
    """A value as the command line writes it, for messages."""
    if isinstance(value, tuple):
        return clipped(",".join(map(str, value)))
    return f"{value:g}" if isinstance(value, float) else clipped(value)
