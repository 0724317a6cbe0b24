"""How a run was begun: the command, and where it was typed. What `transferkit resume RUN` goes by."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.record import RecordError
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunOptions
from transferkit.tuning.journal import Journal

BEGINS = ("finetune", "tune", "best")


@dataclass(frozen=True)
class Beginning:
    """`words` of the command line without the program's name, e.g. `["finetune", "flowers/", "--epochs", "3"]`;
    `data` is where its pictures are if that is known better, `place` the folder it was typed in. `options` are those
    that change no number and so are not among the words: `offline`, `cache`, `track`."""

    words: list[str]
    data: Path | None
    place: Path
    options: dict[str, bool | tuple[str, ...]] = field(default_factory=dict)


def beginning(layout: Layout) -> Beginning:
    """The command that began the run, from run.json, or of a search that has none yet from its journal.

    Raises:
        RunError: no run is there, or it was begun by a script, whose data or space only that script has.
    """
    journal = next((path for path in (layout.journal, layout.networks) if path.is_file()), None)
    if journal is not None:
        (command, folder, options), where = _search(journal), None
    else:
        record = layout.read_manifest()
        command, folder, where = record.command, record.working_directory, record.data.path
        options = record.options or RunOptions()
    words, place = _words(layout, command), Path(folder)
    data = None if where is None else Path(where)
    return Beginning(words, data, place if place.is_dir() else Path(), options.given())


def _search(journal: Path) -> tuple[str, str, RunOptions]:
    """Command, working directory and options of the newest start of the search in its journal."""
    _, events = Journal.read(journal)
    starts = [event for event in events if event.get("event") == "start"]
    if not starts:
        raise RunError(f"{journal} does not say how the search was begun; repeat its command with --resume")
    newest = starts[-1]
    try:
        options = RunOptions.read(newest.get("options") or {})
    except RecordError:
        options = RunOptions()
    return str(newest.get("command", "")), str(newest.get("working_directory", ".")), options


def _words(layout: Layout, command: str) -> list[str]:
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = []
    if (
        len(words) < 3
        or words[0] != "transferkit"
        or words[1] not in BEGINS
        or command.rstrip().endswith("script that made it")
    ):
        raise RunError(
            f"{shown(layout.folder)} was begun by a script, whose pictures or space only that script has; let it go on "
            f"with resume=True and output={os.fspath(layout.folder)!r}"
        )
    return words[1:]
