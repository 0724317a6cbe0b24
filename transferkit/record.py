"""Records: what a run writes as JSON and reads again, as typed objects. One base class for all of them.

Reading is tolerant of other versions and strict about types: what an older version did not write has a default, keys
that are not known are kept as they are and written back, and a number is a number. A record that was read is written
back byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from transferkit.text import shown

SCHEMA_VERSION = 1  # of run.json and metrics.json; raised when a key changes its meaning, not when one is added
PROBLEMS_SHOWN = 5

JsonObject = dict[str, JsonValue]  # JSON whose keys are not ours to know
HistoryRow = dict[str, str | float | None]  # of history.csv: the phase, its epoch, and every number of that epoch
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]  # finite, written back as it was: 3 stays 3
Count = Annotated[int, Field(ge=0)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]  # the ends of a 95 % interval


def _differ(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names must differ")
    return names


Names = Annotated[list[str], Field(min_length=1), AfterValidator(_differ)]
SchemaVersion = Annotated[int, Field(ge=0, description="0: written before versions were recorded")]


class Record(BaseModel):
    """One JSON object. `as_json` holds what was given or read, never a default that nobody wrote."""

    # Names of ours may begin with "model_", which older pydantic warns of.
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    _keys: tuple[str, ...] = PrivateAttr(default=())  # in the order in which a file had them

    @classmethod
    def read(cls, content: object) -> Self:
        """The record of JSON content that a file held.

        Raises:
            RecordError: the content is not of this shape; its text names what is wrong, fit to print.
        """
        try:
            return cls.model_validate(content, context=_READING)
        except ValidationError as error:
            entries = error.errors(include_url=False, include_context=False, include_input=False)
            found = [_problem(entry["loc"], entry["msg"]) for entry in entries]
            more = f" and {len(found) - PROBLEMS_SHOWN} more" if len(found) > PROBLEMS_SHOWN else ""
            raise RecordError(shown("; ".join(found[:PROBLEMS_SHOWN]) + more)) from error
        except RecursionError as error:
            raise RecordError("nested too deeply") from error

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON: keys in the order of the file, or of the declaration where there was none."""
        return self.model_dump(exclude_unset=True)

    def has(self, key: str) -> bool:
        """Whether `key` was given or read, as against left at its default."""
        return key in self.model_fields_set

    def forget(self, key: str) -> None:
        """Back to its default, and not written any more."""
        setattr(self, key, type(self).model_fields[key].get_default(call_default_factory=True))
        self.model_fields_set.discard(key)

    @model_validator(mode="wrap")
    @classmethod
    def _ordered(cls, content: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        found = handler(content)
        if info.context is _READING and isinstance(content, Mapping):
            found._keys = tuple(content)
        return found

    @model_serializer(mode="wrap")
    def _as_read(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        first = {key: found[key] for key in self._keys if key in found}
        return first | found


def number_of(row: HistoryRow, column: str) -> float:
    """A number that is in every row of history.csv, such as its `loss`.

    Args:
        row: of history.csv.
        column: such as `loss`.
    """
    value = row[column]
    assert isinstance(value, int | float), column
    return value


_READING = {"reading": True}


class RecordError(ValueError):
    """JSON content is not the record that it should be."""


def _problem(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(step)[:40] for step in place)
    text = message.removeprefix("Value error, ")
    return f"{where}: {text[:1].lower()}{text[1:200]}" if where else text
