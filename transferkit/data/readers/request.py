"""How data is to be read, as far as it was said: columns, names, boxes. What a reader does not use is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from transferkit.config.values import parse_frames
from transferkit.errors import ConfigError, raise_problems
from transferkit.text import clipped

_USUAL = {"frames": "first", "class_level": "top"}  # what goes without saying
LEVELS = ("top", "leaf", "path")  # of nested folders, which is the class
Excluded = Callable[[str, str | None], bool]


@dataclass(frozen=True)
class Reading:
    """Options of `scan`; each stands for the setting of the same name (`config.Settings`), and is False if not given.

    Args:
        reader: name of the reader, instead of the one that knows the data best.
        image_column, label_column, group_column, split_column: columns of a table; several label columns are several
            labels, or numbers.
        path_template: how a path is made of a row (`"train/{id}.jpg"`).
        label_delimiter: what stands between several labels in one cell.
        classes: file of codes and the names that stand for them.
        crop_boxes: take each box of an export as a picture of its own.
        class_level: which of nested folders is the class: the first (`"top"`), the last (`"leaf"`), or all, joined by
            `/` (`"path"`).
        frames: `"all"` takes each page of a file as a picture of its own, `"every:1s"` those of films; see `frames`.
    """

    reader: str = ""
    image_column: str = ""
    label_column: tuple[str, ...] = ()
    group_column: str = ""
    split_column: str = ""
    path_template: str = ""
    label_delimiter: str = ""
    classes: str = ""
    crop_boxes: bool = False
    frames: str = ""
    class_level: str = ""

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self.given())

    @property
    def films(self) -> bool:
        """Whether films are read."""
        return self.frames.startswith("every:")

    def given(self) -> dict[str, Any]:
        """What was said, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    def words(self) -> list[str]:
        """What was said, as words of a command line."""
        found: list[str] = []
        for name, value in self.given().items():
            option = "--" + name.replace("_", "-")
            for item in value if isinstance(value, tuple) else (value,):
                found += [option] if item is True else [option, str(item)]
        return found

    def unused(self, uses: Sequence[str], reader: str) -> None:
        """Refuse what the reader called `reader`, which takes `uses`, would ignore. Raises ConfigError."""
        left = [name for name in self.given() if name not in uses and name not in ("reader", "frames")]
        raise_problems(
            ConfigError,
            [f"--{name.replace('_', '-')} has no effect on what the reader '{reader}' reads; drop it" for name in left],
        )

    def only(self, uses: Sequence[str]) -> Reading:
        """Without what a reader that takes `uses` ignores."""
        return Reading(**{name: value for name, value in self.given().items() if name in (*uses, "frames")})

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Reading:
        """Keywords as `ReadingOptions` has them. Raises ConfigError for others."""
        unknown = [name for name in given if name not in NAMES]
        if unknown:
            raise ConfigError(f"{unknown[0]!r} does not say how data is read; there are {', '.join(NAMES)}")
        values = dict(given)
        raise_problems(ConfigError, _wrong(values))
        values = {name: value for name, value in values.items() if value != _USUAL.get(name)}
        if isinstance(values.get("label_column"), str):
            values["label_column"] = (values["label_column"],)
        return cls.of(values)

    @classmethod
    def of(cls, config: Mapping[str, Any] | Any) -> Reading:
        """That of the settings of a run, as an object or as its run.json has them."""
        values = config if isinstance(config, Mapping) else {f.name: getattr(config, f.name, None) for f in fields(cls)}
        found: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if values.get(f.name)}
        found["classes"] = names_file(found.get("classes"))
        found = {name: value for name, value in found.items() if value != _USUAL.get(name)}
        if "label_column" in found:
            found["label_column"] = tuple(found["label_column"])
        return cls(**found)


def _wrong(values: Mapping[str, Any]) -> list[str]:
    """What is no value of its option: no reader asks again."""
    found = []
    try:
        if not isinstance(values.get("frames") or "", str):
            raise ValueError(
                f"{clipped(repr(values['frames']))} names no frames; write first, all, or every:1s for films"
            )
        parse_frames(values.get("frames") or "first")
    except ValueError as error:
        found.append(f"--frames {error}")
    if (values.get("class_level") or "top") not in LEVELS:
        found.append(f"--class-level {values['class_level']!r}: choose from {', '.join(LEVELS)}")
    return found


def names_file(classes: Any) -> str:
    """The file of names that the setting `classes` means: one name alone, for several are classes in their order."""
    if isinstance(classes, list | tuple):
        return str(classes[0]) if len(classes) == 1 else ""
    return "" if not classes or "," in str(classes) else str(classes)


class ReadingOptions(TypedDict, total=False):
    """The options of `Reading` as keywords."""

    reader: str
    image_column: str
    label_column: str | Sequence[str]
    group_column: str
    split_column: str
    path_template: str
    label_delimiter: str
    crop_boxes: bool
    frames: str
    class_level: str


NAMES = tuple(field.name for field in fields(Reading))


@dataclass(frozen=True)
class Request:
    """What a reader is asked for, beside the source itself.

    `excluded(path, label)` is True for what is to be left out; `classes` are those of a finished run; `strict` False
    keeps what cannot be opened.
    """

    task: str | None
    excluded: Excluded
    classes: Sequence[str] | None = None
    strict: bool = True
    reading: Reading = Reading()

    def with_reading(self, reading: Reading) -> Request:
        """The same with other options."""
        return replace(self, reading=reading)
