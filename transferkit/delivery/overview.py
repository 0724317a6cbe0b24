"""A table of the runs below a folder: what each reached, with which network, and what it costs to keep."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transferkit.data.samples import shown
from transferkit.delivery.statements import network
from transferkit.errors import RunError
from transferkit.quantities import duration, figure
from transferkit.runs.layout import Layout

DEPTH = 3  # folders below the one that is named in which runs are looked for


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run. `score` is that of the goal metric on test; it and `interval` (95 %) are None where there is none.

    `seconds` is the time that the run has taken so far, `size` the bytes that its folder holds, `problem` what keeps
    its files from being read (None: nothing).
    """

    folder: str
    status: str
    backbone: str = ""
    metric: str | None = None
    score: float | None = None
    interval: tuple[float, float] | None = None
    test_pictures: int | None = None
    seconds: float | None = None
    size: int = 0
    started: str = ""
    problem: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def overview(folder: Path) -> list[RunRow]:
    """Every run in `folder` or up to `DEPTH` folders below it, the newest first.

    Args:
        folder: where to look; a run itself is a table of one.

    Raises:
        RunError: `folder` is not there, or no folder.
    """
    if not folder.is_dir():
        raise RunError(f"no folder {folder}; name the one that holds your runs (by default they go to runs/)")
    rows = [described(found) for found in _runs(folder)]
    return sorted(rows, key=lambda row: row.started, reverse=True)


def as_table(rows: list[RunRow]) -> str:
    """The rows as a table of the terminal's width; long names go on in the next line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, right in (("run", False), ("score", False), ("network", False), ("time", True), ("MB", True)):
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        spent = "" if row.seconds is None else duration(row.seconds)
        cells = (shown(row.folder), shown(_score(row)), shown(row.backbone), spent, f"{row.size / 1e6:.1f}")
        table.add_row(*map(Text, cells))
    console = Console(highlight=False, color_system=None)  # plain text: what prints it lets no escape pass
    with console.capture() as drawn:
        console.print(table)
    return drawn.get().rstrip("\n")


def _score(row: RunRow) -> str:
    if row.score is None:
        return row.status
    between = "" if row.interval is None else f" ({figure(row.interval[0])}–{figure(row.interval[1])})"
    return f"{row.metric} {figure(row.score)}{between}"


def _runs(folder: Path) -> list[Path]:
    """Folders with a run.json; nothing is looked for inside a run, and links to folders are not followed."""
    found, level = [], [folder]
    for _ in range(DEPTH + 1):
        runs = [place for place in level if (place / "run.json").is_file()]
        found += runs
        level = [below for place in level if place not in runs for below in _below(place)]
    return found


def _below(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != ".")
    except OSError:
        return []


def described(folder: Path) -> RunRow:
    """The row of the run in `folder`; what cannot be read is said in it."""
    layout, size = Layout(folder), _size(folder)
    try:
        manifest = layout.read_manifest()
        metrics = layout.read_metrics() if manifest.complete else None
    except RunError as error:
        return RunRow(folder=str(folder), status="damaged", size=size, problem=str(error))
    row = RunRow(
        folder=str(folder), status=layout.status(manifest), backbone=manifest.config.backbone, size=size,
        seconds=manifest.timings.get("total"), started=manifest.started,
    )  # fmt: skip
    if metrics is None:
        return row
    test, key = metrics.test, metrics.goal_key
    row = replace(row, backbone=network(row.backbone, metrics))
    return replace(row, metric=metrics.goal, score=test.value(key), interval=test.interval(key), test_pictures=test.n)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile: a run is being written
                continue
    return total
