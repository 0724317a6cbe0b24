"""How a run was begun: the command, and where it was typed. What `transferkit resume RUN` goes by."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import ARRAYS
from transferkit.tuning.entry import JOURNAL
from transferkit.tuning.journal import Journal

BEGINS = ("finetune", "tune")


@dataclass(frozen=True)
class Beginning:
    """`words` of the command line without the program's name, e.g. `["finetune", "flowers/", "--epochs", "3"]`;
    `data` is where its pictures are if that is known better, `place` the folder it was typed in. `options` are those
    that change no number and so are not among the words: `offline`, `cache`, `track`."""

    words: list[str]
    data: Path | None
    place: Path
    options: dict[str, Any] = field(default_factory=dict)


def beginning(layout: Layout) -> Beginning:
    """The command that began the run, from run.json, or of a search that has none yet from its journal.

    Raises:
        RunError: no run is there, or it was begun by a script, whose data or space only that script has.
    """
    journal = layout.folder / JOURNAL
    if journal.is_file():
        record, where = _search(journal), None
    else:
        record = layout.read_manifest()
        where = record["data"].get("path")
    words = _words(layout, str(record.get("command", "")))
    place = Path(str(record.get("working_directory", ".")))
    data = None if where in (None, ARRAYS) else Path(str(where))
    return Beginning(words, data, place if place.is_dir() else Path(), _options(record.get("options")))


def _options(recorded: Any) -> dict[str, Any]:
    """Those of the options that are as we write them; runs of earlier versions have none."""
    found = recorded if isinstance(recorded, dict) else {}
    kept = {name: found[name] for name in ("offline", "cache") if isinstance(found.get(name), bool)}
    track = found.get("track")
    if isinstance(track, list) and track and all(isinstance(name, str) for name in track):
        kept["track"] = tuple(track)
    return kept


def _search(journal: Path) -> dict[str, Any]:
    """The newest start of the search in its journal."""
    _, events = Journal.read(journal)
    starts = [event for event in events if event.get("event") == "start"]
    if not starts:
        raise RunError(f"{journal} does not say how the search was begun; repeat its command with --resume")
    return starts[-1]


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
