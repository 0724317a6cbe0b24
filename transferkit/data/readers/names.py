"""A file of codes and the names of classes that stand for them (`--classes`), as Kaggle, ImageNet and YOLO have it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.rows import load_cells
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError

_WHAT = "a table of codes and names, a JSON file of them, or a text file with one name a line"
_CODE = re.compile(r"(\d+|n\d{8})[\s:,]+(\S.*)")
_NAMES = ("name", "class_name", "classname", "class name", "category", "description", "label_name", "display_name")


def load_names(path: Path) -> dict[str, str]:
    """The name of each code. Raises DataError where the file cannot be read, or says one code twice."""
    kind = path.suffix.lower()
    if kind == ".json":
        pairs = _from_json(path)
    elif kind in (".csv", ".tsv"):
        pairs = _from_table(path)
    else:
        pairs = _from_lines([line.strip() for line in read_text(path, _WHAT).split("\n") if line.strip()])
    found: dict[str, str] = {}
    for code, name in pairs:
        if found.setdefault(code, name) != name:
            raise DataError(f"{shown(path)} gives the code '{shown(code)}' two names: {listed([found[code], name])}")
    if not found or not all(found.values()):
        raise DataError(f"{shown(path)} holds {'a code without a name' if found else 'no names'}; give {_WHAT}")
    return found


def _from_json(path: Path) -> list[tuple[str, str]]:
    try:
        content: Any = json.loads(read_text(path, _WHAT))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is no JSON ({error}); give {_WHAT}") from error
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        raise DataError(f"{shown(path)} holds neither an object nor a list; give {_WHAT}")
    # Keras' imagenet_class_index.json has ["n01440764", "tench"].
    values = [(str(code), value[-1] if isinstance(value, list) and value else value) for code, value in content.items()]
    odd = [code for code, value in values if not isinstance(value, str)]
    if odd and all(isinstance(value, int) for _, value in values):  # Keras' class_indices: name → number
        return [(str(value), code) for code, value in values]
    if odd:
        raise DataError(f"{shown(path)}: the names of {listed(odd, 3)} are no texts; give {_WHAT}")
    return [(code, str(value).strip()) for code, value in values]


def _from_table(path: Path) -> list[tuple[str, str]]:
    header, rows = load_cells(path, _WHAT)
    if re.fullmatch(r"\d+|n\d{8}", header[0].strip()):  # a table without a header
        rows = [header, *rows]
        header = ["" for _ in header]
    if len(header) == 1:
        return [(str(number), row[0].strip()) for number, row in enumerate(rows)]
    named = [i for i, column in enumerate(header) if column.strip().lower() in _NAMES]
    at = named[0] if named else 1
    code = 0 if at != 0 else 1
    return [(row[code].strip(), row[at].strip()) for row in rows]


def _from_lines(lines: list[str]) -> list[tuple[str, str]]:
    coded = [_CODE.fullmatch(line) for line in lines]
    if all(coded):
        return [(match[1], match[2].strip()) for match in coded if match]
    return [(str(number), line) for number, line in enumerate(lines)]
