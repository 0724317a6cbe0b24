"""Scores of one model on one set of pictures: a table from name to number, with readers that know the types.

Names are open, for metrics of plugins are among them, and so scores are a dictionary: in files, in what Python callers
get and in templates. Code of the package reads them by the methods here, which never give an untyped value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self, TypeGuard

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

TABLES = ("per_class", "per_label", "per_target")
ROW_NAMES = ("class", "label", "target")
CI95 = "_ci95"  # what the key of a score's 95 % interval ends with
MANY = 100  # classes above which the confusion matrix, with its square of them, gives way to its largest cells
MOST_CONFUSED = 500  # of these
LARGEST_INTEGER = 2**63  # what other programs can hold


class Edge(NamedTuple):
    """How much better one scores than the other, positive whatever the score's direction, with its 95 % interval and
    the two-sided p-value under no difference."""

    gain: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Confusion:
    """So many pictures of the class `true` were called `predicted`."""

    true: str
    predicted: str
    count: int


class Scores(dict[str, object]):
    """Scores by name; `{name}_ci95` holds a 95 % interval, `per_class` or `per_target` a table, `confusion` counts.

    Of more than `MANY` classes there is no `confusion`, but `confused`: the mistakes made most often.
    """

    def value(self, name: str) -> float | None:
        """The score called `name`; None where it is undefined or was not computed."""
        found = self.get(name)
        return found if is_number(found) else None

    def interval(self, name: str) -> tuple[float, float] | None:
        """The ends of the 95 % interval of a score; None where it has none."""
        found = self.get(name + CI95)
        return (found[0], found[1]) if isinstance(found, list) and len(found) == 2 else None

    def numbers(self) -> Iterator[tuple[str, float | None]]:
        """Every score of the whole and its value, None where it is undefined; no count, interval or table."""
        return (
            (k, v) for k, v in self.items() if (v is None or is_number(v)) and k not in ("n", "groups", "groups_drawn")
        )

    @property
    def n(self) -> int:
        """How many pictures were scored."""
        found = self.get("n")
        return found if isinstance(found, int) else 0

    @property
    def groups(self) -> int:
        """Of how many groups or films the pictures are; as many as pictures where none belong together."""
        found = self.get("groups")
        return found if isinstance(found, int) else self.n

    @property
    def by_groups(self) -> bool:
        """Whether intervals were found by drawing groups; earlier versions drew pictures all the same."""
        return "groups_drawn" in self

    @property
    def confusion(self) -> list[list[int]]:
        """Counts [C, C], rows true; empty where there are none."""
        found = self.get("confusion")
        return found if isinstance(found, list) else []

    @property
    def confused(self) -> list[Confusion]:
        """The mistakes made most often, of many classes; empty where `confusion` has all."""
        found = self.get("confused")
        return [Confusion(**row) for row in found] if isinstance(found, list) else []

    def bounded(self, classes: Sequence[str]) -> None:
        """Let `confused` take the place of `confusion`, where there are many `classes`."""
        if len(classes) <= MANY or not self.confusion:
            return
        cells = (
            (count, i, j) for i, row in enumerate(self.confusion) for j, count in enumerate(row) if count and i != j
        )
        most = sorted(cells, key=lambda cell: -cell[0])[:MOST_CONFUSED]
        del self["confusion"]
        self["confused"] = [asdict(Confusion(classes[i], classes[j], count)) for count, i, j in most]

    @property
    def rows(self) -> list[ScoreRow]:
        """The table by class or by target; empty where there is none. Rows of new scores may be changed in place."""
        found = next((table for name in TABLES if isinstance(table := self.get(name), list) and table), [])
        return [row if isinstance(row, ScoreRow) else ScoreRow(row) for row in found]

    @classmethod
    def checked(cls, found: object) -> Self:
        """Scores of JSON content. Raises ValueError where a score is no number, or a table has another shape."""
        if not isinstance(found, dict):
            raise ValueError("scores must be an object")
        for key, value in found.items():
            _check(key, value)
        return cls(found)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = core_schema.plain_serializer_function_ser_schema(lambda scores: scores)
        return core_schema.no_info_plain_validator_function(cls.checked, serialization=plain)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        table = {"type": ["array", "null"], "items": {"type": "object"}}
        interval = {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        counts = {"type": ["array", "null"], "items": {"type": "array", "items": {"type": "integer"}}}
        pair = {"true": {"type": "string"}, "predicted": {"type": "string"}, "count": {"type": "integer"}}
        pairs = {"type": "array", "items": {"type": "object", "properties": pair, "required": list(pair)}}
        count = {"type": "integer", "minimum": 0}
        own = {"n": count, "groups": count, "groups_drawn": count, "confusion": counts, "confused": pairs}
        return {
            "type": "object",
            "description": "Scores by name; null where a score is undefined.",
            "properties": own | dict.fromkeys(TABLES, table),
            "patternProperties": {f"{CI95}$": interval},
            "additionalProperties": {"type": ["number", "null", "object", "array"]},
        }


class ScoreRow(Scores):
    """Scores of one class, label or target."""

    @property
    def name(self) -> str:
        """Of the class, label or target."""
        return next((str(self[key]) for key in ROW_NAMES if key in self), "?")

    @property
    def support(self) -> int:
        """Pictures of the class."""
        found = self.get("support")
        return found if isinstance(found, int) else 0


class CountedScores(Scores):
    """Scores that say of how many pictures they are."""

    @classmethod
    def checked(cls, found: object) -> Self:
        """As `Scores.checked`; `n` must be there."""
        scores = super().checked(found)
        n = scores.get("n")
        _require(isinstance(n, int) and not isinstance(n, bool) and n >= 0, "n", "a number of pictures")
        return scores


class BaselineScores(Scores):
    """Scores of a baseline, and how much better the model is than it on the same pictures, by score."""

    def edge(self, name: str) -> Edge | None:
        """How much better the model is by the score `name`; None where they were not compared in pairs."""
        found = self.get("against")
        row = found.get(name) if isinstance(found, dict) else None
        return Edge(**{key: float(row[key]) for key in Edge._fields}) if row else None

    @classmethod
    def checked(cls, found: object) -> Self:
        """As `Scores.checked`; edges must hold their four numbers."""
        scores = super().checked(found)
        against = scores.get("against") or {}
        _require(isinstance(against, dict), "against", "an object")
        for name, row in against.items() if isinstance(against, dict) else ():
            whole = not row or (isinstance(row, dict) and all(is_number(row.get(key)) for key in Edge._fields))
            _require(whole, f"against.{name}", f"an object of the numbers {', '.join(Edge._fields)}")
        return scores


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number that other programs can hold; a truth value is none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_INTEGER


# ---------------------------------------------------------------------------------------------- checks


def _check(key: str, value: object, in_table: bool = False) -> None:
    if key in TABLES and not in_table:
        _check_table(key, value)
    elif key.endswith(CI95):
        pair = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
        _require(value is None or pair, key, "two numbers")
    elif key == "confusion" and value is not None:
        _check_matrix(value)
    elif key == "confused":
        _check_pairs(value)
    elif key in ROW_NAMES:
        _require(isinstance(value, str), key, "a name")
    elif key not in TABLES and not isinstance(value, dict | list):
        _require(value is None or is_number(value), key, "a number")


def _check_table(key: str, value: object) -> None:
    rows: Any = value or ()
    _require(isinstance(value, list | None) and all(isinstance(row, dict) for row in rows), key, "a list of rows")
    for row in rows:
        for name, cell in row.items():
            _check(name, cell, in_table=True)
        if not any(isinstance(row.get(name), str) for name in ROW_NAMES):
            raise ValueError(f"{key} has a row without a name")


def _check_matrix(value: object) -> None:
    square = isinstance(value, list) and all(isinstance(row, list) and len(row) == len(value) for row in value)
    rows: Any = value if square else [[None]]
    _require(all(is_number(cell) for row in rows for cell in row), "confusion", "a square table of numbers")


def _check_pairs(value: object) -> None:
    kinds = {"true": str, "predicted": str, "count": int}
    whole = isinstance(value, list) and all(
        isinstance(row, dict) and row.keys() == kinds.keys() and all(isinstance(row[k], t) for k, t in kinds.items())
        for row in value
    )
    _require(whole, "confused", "a list of true and predicted classes and counts")


def _require(holds: bool, key: str, what: str) -> None:
    if not holds:
        raise ValueError(f"{key} must be {what}")
