"""Search spaces as people write them: `--search` options and TOML files. Every problem is collected."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transferkit import synonyms
from transferkit.errors import ConfigError, nearest
from transferkit.files import settings_text
from transferkit.text import clipped
from transferkit.tuning.search_space.dimensions import FLOATS, INTS, SEARCHABLE, Dimension, parse, spelled

EXAMPLE = "learning_rate=1e-4:1e-2:log, batch_size=16,32,64 or mixup=0.1:0.4 if augment=light,medium"
FIELDS = ("values", "low", "high", "step", "log", "when")
Read = tuple[list[Dimension], list[str]]


class _UnreadableError(ValueError):
    """What is wrong with one entry, in words."""


def read_texts(texts: Sequence[str]) -> Read:
    """Dimensions of `--search` options, and the problems of those that cannot be read."""
    found, problems = list[Dimension](), list[str]()
    for text in texts:
        try:
            found.append(_entry(text))
        except _UnreadableError as problem:
            problems.append(f"--search {text}: {problem}")
    return found, problems or ([] if texts else [f"nothing to search; write e.g. --search {EXAMPLE.split(',')[0]}"])


def _entry(text: str) -> Dimension:
    body, *condition = re.split(r"\s+if\s+", text.strip(), maxsplit=1)
    name, equals, values = body.partition("=")
    if not equals:
        raise _UnreadableError(f"is no NAME=VALUES; write e.g. {EXAMPLE}")
    return _compact(_known(name), values, _condition(condition[0]) if condition else None)


def _known(name: str) -> str:
    word = name.strip().lstrip("-").replace("-", "_")
    ours = synonyms.OPTIONS.get(word.lower().replace("_", "-"), "").replace("-", "_")
    if word not in SEARCHABLE and ours in SEARCHABLE:  # another tool's word for it, understood as among options
        return ours
    if word not in SEARCHABLE:
        near = nearest(word, SEARCHABLE) or f"; searchable are {', '.join(SEARCHABLE)}"
        raise _UnreadableError(f"'{word}' cannot be searched{near}")
    return word


def _condition(text: str) -> tuple[str, tuple[Any, ...]]:
    name, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise _UnreadableError(f"the condition '{text}' is no PARENT=A,B")
    parent = _known(name)
    return parent, tuple(parse(parent, part) for part in values.split(","))


def _compact(name: str, text: str, when: tuple[str, tuple[Any, ...]] | None) -> Dimension:
    """`LOW:HIGH[:log][:STEP]` of a number, or `A,B,C`. Colons in words (from:block5) are part of the word."""
    if name in (*FLOATS, *INTS) and ":" in text:
        low, high, *more = (part.strip() for part in text.split(":"))
        log = "log" in more
        steps = [part for part in more if part != "log"]
        if len(steps) > 1 or len(more) - log - len(steps):
            raise _UnreadableError(f"'{text}' is no range; write LOW:HIGH, LOW:HIGH:log or LOW:HIGH:STEP")
        return _range(name, low, high, steps[0] if steps else None, log, when)
    parts = text.split(",")
    if not text.strip() or not all(part.strip() for part in parts):
        raise _UnreadableError("an empty value; write e.g. " + EXAMPLE)
    return Dimension(name, "choice", _distinct(name, [parse(name, part) for part in parts]), when=when)


def _distinct(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    twice = [v for i, v in enumerate(values) if v in values[:i]]
    if twice:
        raise _UnreadableError(f"{name} has {spelled(twice[0])} twice; name every value once")
    return tuple(values)


def _range(name: str, low: Any, high: Any, step: Any, log: bool, when: tuple[str, tuple[Any, ...]] | None) -> Dimension:
    """A range whose ends and step are numbers that fit one another."""
    if name not in (*FLOATS, *INTS):
        raise _UnreadableError(f"{name} is no number and has no range; list its values")
    whole = name in INTS
    numbers = {"low": low, "high": high} | ({} if step is None else {"step": step})
    for what, text in numbers.items():
        numbers[what] = _finite(what, text)
        if whole and not numbers[what].is_integer():
            raise _UnreadableError(f"{what} {text} is not whole, as {name} must be")
    start, end, size = numbers["low"], numbers["high"], numbers.get("step")
    if start >= end:
        raise _UnreadableError(f"the range {start:g}:{end:g} is empty; the low end comes first")
    if log and start <= 0:
        raise _UnreadableError(
            f"a log range starts above 0, not at {start:g}; begin higher, e.g. {end / 100:g}, or drop log"
        )
    if size is not None and (size <= 1 if log else size <= 0):
        raise _UnreadableError(
            f"the step {size:g} must be above {1 if log else 0} (a log range multiplies by its step)"
        )
    if size is not None and (start * size > end if log else start + size > end):
        raise _UnreadableError(
            f"the step {size:g} leaves a single value between {start:g} and {end:g}; take a smaller one"
        )
    return Dimension(name, "int" if whole else "float", low=start, high=end, step=size, log=log, when=when)


def _finite(what: str, text: Any) -> float:
    try:
        value = math.nan if isinstance(text, bool) else float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise _UnreadableError(f"{what} {text} is no number")
    return value


# ------------------------------------------------------------------------------------------------- files


def read_file(path: Path) -> Read:
    """Dimensions of a TOML file, and every problem. Raises ConfigError where it is none."""
    if path.suffix.lower() in (".yaml", ".yml"):
        raise ConfigError(f"--space {path} is YAML; a search space is written in TOML, as docs/search.md shows")
    text = settings_text(path, "--space")
    try:
        content = _toml(path, text)
    except RecursionError as error:
        raise ConfigError(f"--space {path} is nested too deeply; a setting has values, or a table of them") from error
    if not content:
        raise ConfigError(f"--space {path} names no setting; write e.g. batch_size = [16, 32, 64]")
    found, problems = list[Dimension](), list[str]()
    for name, value in content.items():
        # A setting with several ranges, each under its own condition, is a list of tables.
        several = isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
        for item in value if several else [value]:
            try:
                found.append(_item(_known(str(name)), item))
            except _UnreadableError as problem:
                problems.append(clipped(f"{name}: {problem}", 1000))
    return found, problems


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a number of thousands of digits, too
        raise ConfigError(f"--space {path} is not valid TOML: {clipped(error)}") from error


def _item(name: str, value: Any) -> Dimension:
    if isinstance(value, str):
        body, *condition = re.split(r"\s+if\s+", value.strip(), maxsplit=1)
        return _compact(name, body, _condition(condition[0]) if condition else None)
    if not isinstance(value, Mapping):
        return _listed(name, value, None)
    unknown = [f"'{key}'{nearest(str(key), FIELDS)}" for key in value if key not in FIELDS]
    if unknown:
        raise _UnreadableError(f"unknown {', '.join(unknown)}; a setting has {', '.join(FIELDS)}")
    when = _table_condition(value["when"]) if "when" in value else None
    ranged = {"low", "high", "step", "log"} & set(value)
    if ("values" in value) == bool(ranged):
        raise _UnreadableError("give either values, or low and high")
    if "values" in value:
        return _listed(name, value["values"], when)
    if not isinstance(value.get("log", False), bool):
        raise _UnreadableError(f"log is true or false, not {value['log']}")
    if absent := {"low", "high"} - set(value):
        raise _UnreadableError(f"{' and '.join(sorted(absent))} is missing")
    return _range(name, value["low"], value["high"], value.get("step"), value.get("log", False), when)


def _listed(name: str, values: Any, when: tuple[str, tuple[Any, ...]] | None) -> Dimension:
    if not isinstance(values, list):
        values = [values]
    if not values:
        raise _UnreadableError("an empty list")
    return Dimension(name, "choice", _distinct(name, [_value(name, v) for v in values]), when=when)


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Mapping) or (isinstance(value, list) and name != "head_width"):
        raise _UnreadableError(f"{value} is no value of {name}")
    return parse(name, value)


def _table_condition(when: Any) -> tuple[str, tuple[Any, ...]]:
    if isinstance(when, str):
        return _condition(when)
    if not isinstance(when, Mapping) or len(when) != 1:
        raise _UnreadableError(f"when is one parent and its values, e.g. {{ augment = ['light'] }}, not {when}")
    [(name, values)] = when.items()
    parent, listed = _known(str(name)), values if isinstance(values, list) else [values]
    if not listed:
        raise _UnreadableError(f"the condition on {parent} names no value")
    return parent, tuple(_value(parent, value) for value in listed)
