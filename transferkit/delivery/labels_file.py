"""The table that a person fills in: what is labelled, what is to be labelled next, and what is kept for testing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transferkit.csv_files import write_csv
from transferkit.data.containers.places import exists
from transferkit.data.readers.cells import column
from transferkit.data.readers.encoding import locate
from transferkit.data.readers.rows import load_cells
from transferkit.data.samples import Samples, shown
from transferkit.errors import DataError

COLUMNS = ("path", "label", "split", "group", "why")
TEST = "test"


@dataclass(frozen=True)
class LabelRow:
    """One picture by its whole path; `label` as its cell is written, empty while nobody has said."""

    path: str
    label: str = ""
    split: str = ""
    group: str = ""
    why: str = ""

    @property
    def tested(self) -> bool:
        """Whether it is kept for testing."""
        return self.split == TEST


@dataclass
class LabelsFile:
    """Rows in their order, by path."""

    path: Path
    rows: dict[str, LabelRow] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> LabelsFile:
        """What is there; empty where there is no file yet. Raises DataError for a table of another kind."""
        found = cls(path)
        if not path.exists():
            return found
        header, rows = load_cells(path, "the table that `transferkit label` wrote, or another name for --output")
        names = [name.lower() for name in header]
        lacking = [name for name in ("path", "label") if name not in names]
        if lacking:
            raise DataError(
                f"--output {shown(path)} is a table without the column {' and '.join(lacking)}; choose another name"
            )
        for cells in rows:
            of = dict(zip(names, cells, strict=True))
            place = os.path.abspath(path.parent / locate(path.parent, of["path"])[0])
            found.rows[place] = LabelRow(place, *(of.get(name, "").strip() for name in COLUMNS[1:]))
        return found

    def add(self, rows: Iterable[LabelRow]) -> None:
        """Rows behind the others; a picture that has one keeps it."""
        for row in rows:
            self.rows.setdefault(row.path, row)

    @property
    def labelled(self) -> list[LabelRow]:
        """Those with a label that are not kept for testing."""
        return [row for row in self.rows.values() if row.label and not row.tested]

    @property
    def waiting(self) -> list[LabelRow]:
        """Those that still have no label and are not kept for testing."""
        return [row for row in self.rows.values() if not row.label and not row.tested]

    @property
    def tested(self) -> list[LabelRow]:
        """Those that are kept for testing."""
        return [row for row in self.rows.values() if row.tested]

    def there(self) -> list[LabelRow]:
        """All whose picture is there."""
        return [row for row in self.rows.values() if exists(row.path)]

    def write(self) -> None:
        """Write all of it: paths below the file's folder are relative to it."""
        inside = os.path.join(os.path.abspath(self.path.parent), "")
        used = [name for name in COLUMNS if name != "group" or any(row.group for row in self.rows.values())]
        places = ("path", "group")  # a group may be a file of several pictures
        cells = ([getattr(row, name).removeprefix(inside if name in places else "") for name in used]
                 for row in self.rows.values())  # fmt: skip
        write_csv(self.path, used, cells)


def of_samples(samples: Samples, tested: Sequence[bool]) -> Iterator[LabelRow]:
    """Rows of labelled pictures.

    Args:
        samples: the pictures, with labels.
        tested: of each, whether it is kept for testing.
    """
    for source, cell, test, group in zip(samples.sources(), column(samples), tested, samples.group, strict=True):
        yield LabelRow(os.path.abspath(str(source)), cell, TEST if test else "", group or "")
