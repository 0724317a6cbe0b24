"""What one searched setting may be: its kind, its values, when it is active. Pure Python: never imports Keras."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from transferkit.config import Settings
from transferkit.record import JsonObject
from transferkit.setting import declared

Kind = Literal["float", "int", "choice"]
Value = bool | int | float | str | tuple[int, ...]  # of one searched setting, as Settings takes it
Values = dict[str, Value]  # of a trial, by setting

_ALL = declared(Settings)
SEARCHABLE = tuple(name for name, setting in _ALL.items() if setting.said.searched)
FLOATS, INTS, FLAGS = (
    tuple(name for name in SEARCHABLE if _ALL[name].kind == kind) for kind in ("float", "int", "flag")
)
# A new value of one of these needs new features, the costly part: they vary slowest.
OUTER = tuple(name for name in SEARCHABLE if _ALL[name].said.features)
TRUE, FALSE = ("true", "on", "yes"), ("false", "off", "no")
EXACT = 6  # significant digits of a sampled number: what is shown is what was trained with


@dataclass(frozen=True)
class Dimension:
    """One setting to search: a choice of `values`, or a range of numbers from `low` to `high`, both included.

    `step` divides the range: added on a linear scale, multiplied on a `log` one (2 doubles). `when` names a parent
    and the parent's values for which this setting is active at all; elsewhere it stands at its base value.
    """

    name: str
    kind: Kind
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None

    def count(self) -> int | None:
        """How many values it has; None where they are continuous."""
        if self.kind == "choice":
            return len(self.values)
        low, high = self.range()
        if self.step is not None and self.log:
            return int(math.log(high / low, self.step) + 1e-8) + 1
        if self.step is not None:
            return int((high - low) / self.step + 1e-8) + 1
        return None if self.kind == "float" else int(high) - int(low) + 1

    def points(self, resolution: int | None = None) -> list[Any]:
        """Every value, or `resolution` evenly spread over a range that has more (both ends among them).

        Raises ValueError for a continuous range without a resolution.
        """
        if self.kind == "choice":
            return list(self.values)
        low, high = self.range()
        count = self.count()
        if self.step is not None and count is not None:
            grown = [low * self.step**i if self.log else low + i * self.step for i in range(count)]
            return list(dict.fromkeys(self.read(value) for value in grown))
        if resolution is None and count is not None:
            return list(range(int(low), int(high) + 1))
        if resolution is None:
            raise ValueError(f"{self.name} is continuous: it has no list of values")
        spread = [self._between(low, high, i / (resolution - 1) if resolution > 1 else 0.5) for i in range(resolution)]
        return list(dict.fromkeys(self.read(value) for value in spread))

    def _between(self, low: float, high: float, share: float) -> float:
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        return round(value) if self.kind == "int" else value

    def range(self) -> tuple[float, float]:
        """Both ends of a range of numbers. Raises ValueError for a list of values."""
        if self.low is None or self.high is None:
            raise ValueError(f"{self.name} has no range")
        return self.low, self.high

    def token(self, value: Any) -> Any:
        """`value` as Keras Tuner takes it: all choices of one kind, lists of widths as text."""
        if self.kind == "choice":
            return self.tokens()[self.values.index(value)]
        return value[0] if isinstance(value, tuple) else value

    def tokens(self) -> list[Any]:
        """All choices in one type: as they are where possible, as text (`256x128`) elsewhere."""
        plain = [v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in self.values]
        alike = len({type(v) for v in plain}) == 1 and isinstance(plain[0], (bool, int, float, str))
        return plain if alike else [spelled(v) for v in self.values]

    def read(self, raw: Any) -> Any:
        """The setting's value from a token, a value, or either after JSON; numbers with six digits, in range.

        Raises ValueError for what is none of the choices.
        """
        if self.kind != "choice":
            return self._number(raw[0] if isinstance(raw, list | tuple) else raw)
        given = tuple(raw) if isinstance(raw, list) else raw
        for token, value in zip(self.tokens(), self.values, strict=True):
            if given in (value, token):
                return value
        raise ValueError(f"{self.name} {spelled(given)} is none of {', '.join(map(spelled, self.values))}")

    def _number(self, raw: Any) -> Any:
        low, high = self.range()
        value = min(max(float(f"{float(raw):.{EXACT}g}"), low), high)
        if self.kind == "float":
            return value
        return (round(value),) if self.name == "head_width" else round(value)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is active beside these `values` of the settings before it."""
        return self.when is None or (self.when[0] in values and values[self.when[0]] in self.when[1])

    def as_dict(self) -> JsonObject:
        """What JSON can hold; `from_dict` reads it."""
        found: JsonObject = {"name": self.name, "kind": self.kind}
        if self.kind == "choice":
            found["values"] = [list(v) if isinstance(v, tuple) else v for v in self.values]
        else:
            found |= {"low": self.low, "high": self.high, "step": self.step, "log": self.log}
        if self.when:
            found["when"] = [self.when[0], [list(v) if isinstance(v, tuple) else v for v in self.when[1]]]
        return found

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Dimension:
        """Inverse of `as_dict`."""
        fields = dict(stored)
        when = fields.pop("when", None)
        values = _tuples(fields.pop("values", ()))
        return cls(**fields, values=values, when=(when[0], _tuples(when[1])) if when else None)

    def __str__(self) -> str:
        """As `--search` takes it."""
        if self.kind == "choice":
            text = ",".join(spelled(v) for v in self.values)
        else:
            step = "" if self.step is None else f":{self.step:g}"
            text = f"{self.low:g}:{self.high:g}{':log' if self.log else ''}{step}"
        condition = f" if {self.when[0]}={','.join(map(spelled, self.when[1]))}" if self.when else ""
        return f"{self.name}={text}{condition}"


def _tuples(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(tuple(v) if isinstance(v, list | tuple) else v for v in values)


def spelled(value: Any) -> str:
    """A value as text that `parse` reads back: `256x128`, `true`, `0.001`."""
    if isinstance(value, tuple | list):
        return "x".join(str(part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse(name: str, text: Any) -> Any:
    """One value of a setting, from text or a file's own types.

    Args:
        name: of the setting.
        text: the value.

    Returns:
        The value, or what was given where it cannot be read: whether it is allowed is for the settings' validation to
        say.
    """
    if name == "head_width":
        return _widths(text)
    if not isinstance(text, str):
        return float(text) if name in FLOATS and isinstance(text, int) and not isinstance(text, bool) else text
    word = text.strip()
    if name in FLAGS:
        return True if word.lower() in TRUE else False if word.lower() in FALSE else word
    if name in FLOATS or name in INTS:
        return number(name, word)
    return word


def number(name: str, word: str) -> Any:
    """A number, as a setting wants it.

    Args:
        name: of the setting.
        word: the number as text.

    Returns:
        A float or an int; the word itself where it is none.
    """
    try:
        value = float(word)
    except ValueError:
        return word
    return int(value) if name in INTS and value.is_integer() else value


def _widths(text: Any) -> Any:
    if isinstance(text, str):
        parts = [number("head_width", part) for part in text.replace(",", "x").split("x")]
        return tuple(parts)
    return tuple(text) if isinstance(text, list | tuple) else (text,)
