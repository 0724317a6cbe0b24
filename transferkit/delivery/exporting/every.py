"""`export --format all`: every format that can be made here, each proved as by itself, and one table to choose by."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transferkit import plugins
from transferkit.console import Reporter
from transferkit.data.samples import shown
from transferkit.delivery.exporting.export import Export, export, place, target_problems
from transferkit.delivery.exporting.formats import FORMATS, Format, lookup
from transferkit.delivery.exporting.parity import ExportError
from transferkit.errors import ConfigError, RunError, raise_problems
from transferkit.runs.layout import Layout

WIDTH = 79
Status = Literal["made", "missing", "failed"]


@dataclass(frozen=True)
class FormatRow:
    """One format. `made` is None where the format cannot be made here (`missing`) or did not pass (`failed`), which
    `reason` then says."""

    format: str
    precision: str
    status: Status
    made: Export | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The format, and its precision where that is a choice."""
        known = FORMATS.get(self.format)
        return self.format if known is None else place(known, self.precision).replace("-", " ")

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        found: dict[str, object] = {"format": self.format, "precision": self.precision, "status": self.status}
        if self.made is None:
            return found | {"reason": self.reason}
        return found | {"folder": str(self.made.folder), "file": str(self.made.path), **self.made.figures}


@dataclass(frozen=True)
class Exports:
    """The rows of the table, in the order of the formats; `folder` holds a folder for each that was made."""

    folder: Path
    rows: Sequence[FormatRow]

    @property
    def passed(self) -> bool:
        """Whether something was made, and nothing failed; a format that lacks its package is no failure."""
        states = [row.status for row in self.rows]
        return "made" in states and "failed" not in states

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows) + 2
        lines = [f"{'format':<{width}}{'size':>9}  {'a picture':>9}  {'largest difference':>18}  {'same answer':>11}"]
        for row in self.rows:
            lines += _figures(row, width) if row.made else _reason(row, width)
        made = [row.made for row in self.rows if row.made]
        if made:
            first = made[0].figures
            part = "validation" if first["split"] == "val" else first["split"]
            lines.append(f"compared with the run's model on {first['n']} {part} pictures")
            lines.append(f"each is in a folder of its name in {shown(self.folder)}")
        return "\n".join(lines)


def _figures(row: FormatRow, width: int) -> list[str]:
    assert row.made is not None
    f = row.made.figures
    same = "–" if f["agreement"] is None else f"{f['agreement']:.1%}"
    size, latency = f"{f['size_bytes'] / 1e6:.2f} MB", f"{f['latency_ms']:.1f} ms"
    found = [f"{row.name:<{width}}{size:>9}  {latency:>9}  {f['largest_difference']:>18.2g}  {same:>11}"]
    return found + [f"{'':<{width}}kept although {missed}" for missed in f["missed"]]


def _reason(row: FormatRow, width: int) -> list[str]:
    said = ("not made: " if row.status == "missing" else "FAILED: ") + row.reason
    return textwrap.wrap(
        said, WIDTH, initial_indent=f"{row.name:<{width}}", subsequent_indent=" " * width, break_on_hyphens=False
    )


def export_all(
    layout: Layout, reporter: Reporter, *, quantize: str | None = None, output: Path | None = None,
    allow_mismatch: bool = False, replace: bool = False, data: Any = None,
) -> Exports:  # fmt: skip
    """Write the run's model in every format, those of plugins too, and prove each; see `export`.

    Args:
        layout: of the run.
        reporter: is told of the progress.
        quantize: the precision of the formats that have a choice.
        output: the folder in which each format gets one of its own; by default RUN/exports.
        allow_mismatch: keep a file that does not answer as the run's model does.
        replace: take the place of exports that are there already.
        data: where the run's data is now, if it moved.

    Returns:
        A row a format; one that cannot be made or does not pass says why.

    Raises:
        ConfigError, DataError, RunError: what keeps every format from being made, folders that are there among it;
            before anything is written.
    """
    rows = [*FORMATS.values(), *(Format(name, "", "") for name in plugins.names("exporters", FORMATS))]
    manifest, folder = layout.complete(), output or layout.written(layout.folder / "exports")
    lookup("litert", quantize)
    wanted = [(row, quantize if quantize in row.precisions else "float32") for row in rows]
    places = {row.name: folder / place(row, precision) for row, precision in wanted}
    problems = [p for target in places.values() for p in target_problems(target, replace, manifest.data.path)]
    raise_problems(RunError, problems)
    found = []
    for row, precision in wanted:
        asked = precision if row.quantizes and quantize in row.precisions else None
        try:
            lookup(row.name, asked)
            made = export(
                layout, row.name, reporter, quantize=asked, output=places[row.name], allow_mismatch=allow_mismatch,
                replace=replace, data=data,
            )  # fmt: skip
            found.append(FormatRow(row.name, precision, "made", made))
        except ConfigError as error:
            found.append(FormatRow(row.name, precision, "missing", reason=str(error)))
        except ExportError as error:
            first = str(error).splitlines()[0]
            found.append(FormatRow(row.name, precision, "failed", reason=first))
            reporter.say(f"{row.name}: {error}")
    return Exports(folder, found)
