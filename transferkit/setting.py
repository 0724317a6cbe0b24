"""What is known of a setting beside its type, declared once next to it (`config.declarations`, `search_settings`).

Options and their help, the config template, the Python signatures and docstrings, the list of what can be searched and
the tables of the documentation are all made from these declarations. Imports nothing heavy.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Group = Literal["data", "network", "head", "augmentation", "training", "judging", "search", "output"]
Kind = Literal["float", "int", "flag", "word"]
GROUPS: dict[str, str] = {
    "data": "Data",
    "network": "Network",
    "head": "Head",
    "augmentation": "Augmentation",
    "training": "Training",
    "judging": "Judging",
    "search": "Search",
    "output": "Output and running",
}


@dataclass(frozen=True)
class Setting:
    """The declaration that stands in a field's `Annotated[…]`.

    Args:
        help: its first sentence is what the short help shows; the rest says more.
        group: where it stands in `--help`, one of `GROUPS`.
        metavar: what stands for its value; by default the type's own choices.
        default: what happens by default, where the default value itself does not say it.
        common: one of the most used, which the short help shows.
        searched: `tune` can search over it; how follows from its type.
        features: a new value needs new features, the costly part of a trial (only where `searched`).
        takes: further types that Python callers may pass, as source text (`"PathLike[str]"`).
    """

    help: str
    group: Group
    metavar: str = ""
    default: str = ""
    common: bool = False
    searched: bool = False
    features: bool = False
    takes: str = ""


@dataclass(frozen=True)
class Declared:
    """A setting as declared: its name in Python, what is said of it, its default and what its type tells."""

    name: str
    said: Setting
    default: Any  # None where there is none
    types: tuple[type, ...]  # of its value; of the items of a tuple
    choices: tuple[str, ...]  # words that its type names, as "frozen", "train"
    limits: dict[str, float]  # what its type bounds a number by: "ge", "gt", "le", "lt"
    many: bool  # whether its value is a tuple
    optional: bool  # whether None is a value: the recipe's own choice

    @property
    def option(self) -> str:
        """`"--learning-rate"`."""
        return "--" + self.name.replace("_", "-")

    @property
    def brief(self) -> str:
        """The first sentence of its help."""
        first, dot, _ = self.said.help.partition(". ")
        return first + dot.strip()

    @property
    def metavar(self) -> str:
        """What stands for its value: `"X|auto"`, `"frozen|train"`."""
        return self.said.metavar or "|".join(self.choices)

    @property
    def effective(self) -> str:
        """What happens by default, in words or as a value."""
        return self.said.default or spelled(self.default)

    @property
    def bounds(self) -> str:
        """Its limits in words: `"above 0, at most 10"`; empty where there are none."""
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        return ", ".join(f"{word} {self.limits[sign]:.10g}" for sign, word in words.items() if sign in self.limits)

    @property
    def is_flag(self) -> bool:
        """Whether it is on or off."""
        return self.types == (bool,)

    @property
    def kind(self) -> Kind:
        """How its values are searched: as numbers, whole numbers, on and off, or words."""
        if self.is_flag:
            return "flag"
        return "float" if float in self.types else "int" if int in self.types else "word"


def spelled(value: Any) -> str:
    """A default as the command line writes it: `0.7,0.15,0.15`, `on`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(spelled, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def declared(model: type[BaseModel]) -> dict[str, Declared]:
    """Every setting of `model` by name, in the order of its fields. Raises TypeError for a field without `Setting`."""
    return {name: _declared(name, field) for name, field in model.model_fields.items()}


def _declared(name: str, field: FieldInfo) -> Declared:
    said = next((item for item in field.metadata if isinstance(item, Setting)), None)
    if said is None:
        raise TypeError(f"the field {name} has no Setting(...) in its annotation: help and group are missing")
    leaves = list(_leaves(field.annotation))
    return Declared(
        name,
        said,
        None if field.is_required() else field.default,
        tuple(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, type) and leaf is not type(None))),
        tuple(leaf for leaf in leaves if isinstance(leaf, str)),
        dict(_limits(field.metadata)) | dict(_limits_in(field.annotation)),
        tuple in _origins(field.annotation),
        type(None) in leaves,
    )


def _leaves(annotation: Any) -> Iterator[Any]:
    """Types and literal words at the ends of an annotation."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from get_args(annotation)
    elif origin is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif origin is not None:
        for inner in get_args(annotation):
            yield from _leaves(inner)
    elif annotation is not Ellipsis:
        yield annotation


def _limits(metadata: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """Bounds of numbers among what stands beside a type."""
    for item in metadata:
        yield from _limits(getattr(item, "metadata", ()))  # of a Field inside a union
        for sign in ("ge", "gt", "le", "lt"):
            if (limit := getattr(item, sign, None)) is not None:
                yield sign, limit


def _limits_in(annotation: Any) -> Iterator[tuple[str, float]]:
    if get_origin(annotation) is Annotated:
        yield from _limits(annotation.__metadata__)
    for inner in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from _limits_in(inner)


def _origins(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    yield origin
    for inner in get_args(annotation) if origin in (Annotated, Union, types.UnionType) else ():
        yield from _origins(inner)
