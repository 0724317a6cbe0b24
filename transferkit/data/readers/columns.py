"""Which column of a table says what: as asked for, by usual names, or by looking which cells lead to pictures.

Guessed is only what can be meant in one way; every guess is said and kept in the run.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferkit.data.containers.bucket import is_address
from transferkit.data.readers.cells import number
from transferkit.data.readers.finder import Finder
from transferkit.data.readers.layouts import split_name
from transferkit.data.readers.request import Reading
from transferkit.data.readers.rows import undivided
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError, nearest

LOOKED_AT = 20  # rows, for a guess
MOST = 0.75  # of them that lead to pictures, where not all do
_IMAGES = ("image", "img", "picture", "photo", "file", "filename", "file_name", "image_path", "filepath", "image_id")
LABELS = ("label", "labels", "class", "class_name", "classname", "category", "target", "y")
_SPLITS = ("split", "subset", "set", "partition", "data set", "dataset")
_GROUPS = re.compile(r"(patient|subject|person|user|author|observer|scene|sequence|video|lesion|site)(_?id)?s?", re.I)

Cells = dict[str, str]


@dataclass
class Mapping:
    """What the columns of a table were found to be: names of columns, or empty."""

    image: str = ""
    template: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""
    group: str = ""
    said: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """As it is kept in a run; empty where nothing was other than usual."""
        usual = (self.image, self.template, self.labels) == ("path", "", ("label",))
        if usual and self.split in ("", "split") and self.group in ("", "group"):
            return {}
        found = {
            "image_column": self.image, "path_template": self.template, "label_column": list(self.labels),
            "split_column": self.split, "group_column": self.group, "said": list(self.said),
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}


def mapped(path: Path, columns: Sequence[str], rows: Sequence[Cells], reading: Reading, finder: Finder) -> Mapping:
    """What the columns of a table are.

    Args:
        path: of the table, for errors.
        columns: their names.
        rows: its first ones, to look at.
        reading: what was said of them.
        finder: of pictures, from where paths begin.

    Returns:
        Which column is the picture, the labels, the split and the group, and what is to be said of it.

    Raises:
        DataError: with the candidates, where none or several would do.
    """
    name = shown(path)
    asked = [("image", reading.image_column), ("group", reading.group_column), ("split", reading.split_column)]
    asked += [("label", column) for column in reading.label_column]
    for what, column in asked:
        if column and column not in columns:
            hint = nearest(column, columns)
            raise DataError(
                f"{name} has no column '{shown(column)}' (--{what}-column); its columns are: {listed(columns)}{hint}"
            )
    found = Mapping(split=reading.split_column, group=reading.group_column or ("group" if "group" in columns else ""))
    _say_image(found, path, columns, rows, reading, finder)
    if not found.split:
        found.split = _split(columns, rows, found)
    found.labels = reading.label_column or _labels(name, columns, rows, found)
    if not found.group:
        found.said += together([c for c in columns if c not in (found.image, *found.labels)])
    return found


def hold_words(columns: Sequence[str], rows: Sequence[Cells]) -> bool:
    """Whether one of the columns holds words alone: by itself it is no target, but may name the classes.

    Args:
        columns: those that may be targets.
        rows: the first ones of the table; empty cells are passed over.
    """
    cells = ([row[column] for row in rows if row[column].strip()] for column in columns)
    return any(found and all(number(cell) is None for cell in found) for found in cells)


def together(columns: Sequence[str]) -> list[str]:
    """What is said of the first of these columns that is called as groups are; nothing where none is.

    Args:
        columns: names of those that are neither picture nor label.
    """
    found = [c for c in columns if _GROUPS.fullmatch(c)]
    return [
        f"column '{shown(c)}' may say what belongs together: --group-column {shown(c)} keeps it in one split"
        for c in found[:1]
    ]


def _say_image(
    found: Mapping, path: Path, columns: Sequence[str], rows: Sequence[Cells], reading: Reading, finder: Finder
) -> None:
    if reading.path_template:
        found.template = reading.path_template
        _check_template(path, columns, found.template)
    elif reading.image_column or "path" in columns:
        found.image = reading.image_column or "path"
        if reading.image_column and rows and not any(finder.find(row[found.image]) for row in rows):
            ways = _by_table(path, _ways(found.image, rows, finder, MOST))
            if len(ways) > 1:
                raise DataError(_ambiguous(path, ways))
            found.template = ways[0] if ways else ""
            found.said += [f"pictures are found as {shown(way)}" for way in ways]
    else:
        others = {"label", "split", "group", reading.group_column, reading.split_column, *reading.label_column}
        named = [column for column in columns if column not in others]
        # Where a picture or two are missing, they are to be named, and not the column.
        for share in (1.0, MOST):
            ways = [way for column in named for way in _ways(column, rows, finder, share)]
            if ways:
                break
        ways = _by_table(path, _usual(ways) or ways)
        if not ways:
            web = [column for column in named if rows and all(is_address(row[column].strip()) for row in rows)]
            if web:
                raise DataError(
                    f"{shown(path)}: column '{shown(web[0])}' holds addresses on the web, which are not read; fetch "
                    "the pictures, and put the names of the files into a column"
                )
            if undivided(columns):
                raise DataError(f"{shown(path)} has the column {listed(columns)} alone{undivided(columns)}")
            raise DataError(
                f"{shown(path)} has no column 'path'{nearest('path', columns)}, and no column whose cells lead to "
                f"pictures below {shown(finder.root)}; say which names the picture with --image-column, or how its "
                f"path is made with --path-template 'folder/{{{shown(columns[0]) if columns else 'id'}}}.jpg'; its "
                f"columns are: {listed(columns) or 'none'}"
            )
        if len(ways) > 1:
            raise DataError(_ambiguous(path, ways))
        plain = re.fullmatch(r"\{(.+)\}", ways[0])
        found.image, found.template = (plain[1], "") if plain else (fields(ways[0])[0], ways[0])
        first = filled(found.template, {c: c for c in columns}) if found.template else found.image
        if found.image.lower() not in _IMAGES and finder.find(first):  # it would be lost, taken for names
            raise DataError(
                f"{shown(path)}: its first line should name the columns, but it holds a picture ({shown(first)}); put "
                "a line such as `path,label` above it"
            )
        found.said.append(f"pictures: column '{shown(found.image)}'" + ("" if plain else f", as {shown(ways[0])}"))


def _usual(ways: list[str]) -> list[str]:
    """The way by the one column that is called as a picture's is."""
    usual = {way: name for way in ways for name in fields(way) if name.lower() in _IMAGES}
    return list(usual) if len(set(usual.values())) == 1 else []


def _by_table(path: Path, ways: list[str]) -> list[str]:
    """Of several ways the one into a folder named like the table (`train.csv`, `train_images/`), if there is one."""
    stem = path.stem.lower()
    near = [way for way in ways if os.path.dirname(way).lower().startswith(stem)]
    return near if len(near) == 1 else ways


def _ambiguous(path: Path, ways: Sequence[str]) -> str:
    return (
        f"{shown(path)}: pictures are found in several ways: {listed(ways)}; say which is meant, as "
        f"--path-template '{shown(ways[0])}'"
    )


def _check_template(path: Path, columns: Sequence[str], template: str) -> None:
    try:
        names = fields(template)
    except ValueError as error:
        raise DataError(
            f"--path-template '{shown(template)}' cannot be read ({error}); write train/{{id}}.jpg"
        ) from error
    unknown = [name for name in names if name not in columns]
    if unknown or not names:
        what = f"no column '{shown(unknown[0])}'" if unknown else "nothing in braces"
        raise DataError(
            f"--path-template '{shown(template)}': there is {what} in {shown(path)}; its columns are: {listed(columns)}"
            + (nearest(unknown[0], columns) if unknown else "")
        )


def fields(template: str) -> list[str]:
    """The columns that a template names, none of an empty one.

    Only whole ones: no attribute or index of anything is looked up. Raises ValueError for braces that are open.
    """
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def filled(template: str, row: Cells) -> str:
    """The path that a template makes of a row.

    Args:
        template: text with names of columns in braces, as `train/{id}.jpg`.
        row: cells by column; blanks around them do not count.
    """
    pieces = string.Formatter().parse(template)
    return "".join(text + (row[name].strip() if name is not None else "") for text, name, _, _ in pieces)


def _ways(column: str, rows: Sequence[Cells], finder: Finder, share: float = 1.0) -> list[str]:
    """Templates by which the first rows, or that share of them, lead to pictures."""
    values = [row[column].strip() for row in rows]
    if not values or not all(values) or len(set(values)) == 1 < len(values):
        return []

    def leads(prefix: str) -> bool:
        lost = 0
        for value in values:
            lost += finder.find(prefix + value) is None
            if lost > (1 - share) * len(values):
                return False
        return True

    if leads(""):
        return [f"{{{column}}}"]
    if any(len(value) > 255 or "\n" in value for value in values):
        return []
    prefixes = [f"{folder}/" for folder in finder.folders()]
    return [f"{prefix}{{{column}}}" for prefix in prefixes if leads(prefix)]


def _split(columns: Sequence[str], rows: Sequence[Cells], found: Mapping) -> str:
    if "split" in columns:
        return "split"
    for column in columns:
        values = {row[column].strip() for row in rows} - {""}
        if column.lower() in _SPLITS and values and all(map(split_name, values)):
            found.said.append(f"split: column '{shown(column)}'")
            return column
    return ""


def _labels(name: str, columns: Sequence[str], rows: Sequence[Cells], found: Mapping) -> tuple[str, ...]:
    if "label" in columns:
        return ("label",)
    if any(column.startswith("label_") for column in columns):
        return ()
    rest = [c for c in columns if c and c not in (found.image, found.split, found.group, *fields(found.template))]
    if "path" in columns and found.image == "path" and not found.template and not hold_words(rest, rows):
        return ()  # every other column is a target
    named = [c for c in rest if c.lower() in LABELS]
    # Whose picture it is, by a number of a patient, is no class of it.
    plain = [c for c in rest if not (_GROUPS.fullmatch(c) and c.lower().endswith("id"))]
    chosen = next((some for some in (rest, plain, named) if len(some) == 1), None) or _marks(rest, rows)
    if not chosen:
        what = f"may be meant: {listed(rest)}" if rest else "is left beside the picture's"
        raise DataError(
            f"{name}: no column is called 'label', and several {what}; say which with --label-column (repeat it for "
            "several)" if rest else f"{name}: no column {what}; it needs one with the label"
        )  # fmt: skip
    found.said.append(f"label: column {', '.join(repr(shown(c)) for c in chosen[:5])}{' …' if len(chosen) > 5 else ''}")
    return tuple(chosen)


def _marks(columns: Sequence[str], rows: Sequence[Cells]) -> list[str]:
    """All columns, where each holds nothing but 0 and 1: one for each label."""
    whole = (
        len(columns) > 1 and rows and all(row[c].strip() in ("0", "1", "0.0", "1.0") for row in rows for c in columns)
    )
    return list(columns) if whole else []
