"""Targets as text in one cell of a table, and back: class names, several labels, numbers. Pure.

A cell holds names joined by `;`. A name that would be read otherwise (it holds `;` or quotes, begins or ends with a
blank, looks like a fraction) stands in quotes, inner quotes doubled. Several labels are told from one by a `;`, if need
be behind a single one (`red;`). Several numbers carry their names: `x=1.5;y=2.0`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transferkit.data.samples import Samples

LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LIST = re.compile(rf"[\[(]\s*(?:{_QUOTED}(?:\s*,\s*|\s+(?=['\"])|\s*(?=[\])])))*[\])]")
_PART = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?:;|$)|([^;]*)(?:;|$)')


def number(text: str) -> float | None:
    """A plain decimal number, or None: not `1_5`, `١٢`, `0x10`, `nan`, `inf`, nor what float64 cannot hold."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def parts(cell: str) -> list[tuple[str, bool]]:
    """The names of a cell without the blanks around them, and whether each stood in quotes; empty ones too."""
    if ";" not in cell and '"' not in cell:
        return [(cell.strip(), False)]
    found, at = [], 0
    while at <= len(cell):
        match = _PART.match(cell, at)
        assert match is not None  # the second form matches everything
        quoted, plain = match.groups()
        found.append((plain.strip(), False) if quoted is None else (quoted.replace('""', '"'), True))
        if not match.group().endswith(";"):
            break
        at = match.end()
    return found


@lru_cache(4096)
def names_in(cell: str) -> tuple[str, ...]:
    """The names of a cell that are not empty."""
    return tuple(name for name, _ in parts(cell) if name)


def listed_names(cell: str) -> list[str] | None:
    """The names of a cell that is a list as Python, JSON or NumPy write it (`['a', 'b']`); None: it is none."""
    cell = cell.strip()
    if not _LIST.fullmatch(cell):
        return None
    return [re.sub(r"\\(.)", r"\1", quoted[1:-1]) for quoted in re.findall(_QUOTED, cell)]


def are_amounts(values: Sequence[float | None]) -> bool:
    """Whether numbers look like amounts rather than numbers of classes: fractions, or nearly all different."""
    different = {value for value in values if value is not None}
    return any(value != int(value) for value in different) or len(different) > max(20, len(values) // 2)


def is_amount(part: str) -> bool:
    """Whether one of several parts of a cell is an amount: written with a point, or with its name (`x=2`)."""
    name, _, text = part.rpartition("=")
    return number(text) is not None and (bool(name) or "." in text)


def in_cell(name: str) -> str:
    """`name` as one part of a cell, which `parts` reads back."""
    value = number(name)
    fraction = value is not None and value != int(value)
    plain = name == name.strip() and not fraction and not any(sign in name for sign in ';"')
    plain = plain and listed_names(name) is None
    return name if plain else '"' + name.replace('"', '""') + '"'


def column(samples: Samples) -> list[str]:
    """The target of each sample as a cell; from all of them task, names and values are read back exactly."""
    cells = [_written(samples, i) for i in range(len(samples))]
    if samples.kind.form == "labels" and cells and not any(len(parts(cell)) > 1 for cell in cells):
        cells[0] += ";"
    return cells


def _written(samples: Samples, index: int) -> str:
    target = samples.targets[index]
    if samples.kind.exclusive:
        return in_cell(samples.classes[int(target)])
    if not samples.kind.numbers:
        return ";".join(in_cell(name) for name, on in zip(samples.classes, target, strict=True) if on)
    if len(samples.classes) == 1:
        return samples.label(index)
    pairs = zip(samples.classes, target, strict=True)
    return ";".join(in_cell(f"{name}={float(value)}") for name, value in pairs)


def same_target(cell: str, samples: Samples, index: int) -> bool:
    """Whether a cell, as `column` writes it, holds the target of a sample.

    Args:
        cell: its text.
        samples: the data.
        index: of the sample.
    """
    if samples.kind.numbers:
        return cell in (samples.label(index), _written(samples, index))
    return names_in(cell) == names_in(_written(samples, index))
