"""How a run was begun: the command, and where it was typed. What `transferkit resume RUN` goes by."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from transferkit import synonyms
from transferkit.config import gone
from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.record import JsonObject, RecordError
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
        (command, folder, options), where, given = _search(journal), None, None
    else:
        record = layout.read_manifest()
        command, folder, where = record.command, record.working_directory, record.data.path
        options, given = record.options or RunOptions(), gone.given(record.config.as_json(), record.given)
    words, place = _without_gone(_words(layout, command), given), Path(folder)
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


def _without_gone(words: list[str], given: JsonObject | None) -> list[str]:
    """The words of a command without options that are no more.

    Args:
        words: as they were typed.
        given: the settings of the run that it began, by `gone.given`; None where that is not known, as of a search.

    Raises:
        RunError: an option said something else than what is always done now, or may have changed what a search tries.
    """
    found, rest, names = list[str](), iter(words), {"--" + name.replace("_", "-"): name for name in gone.GONE}
    for word in rest:
        option, joined, value = word.partition("=")
        if option not in names:
            found.append(word)
            continue
        name, value = names[option], value if joined else next(rest, "")
        if given is None or value.removesuffix(".0") != str(gone.GONE[name]).removesuffix(".0"):
            raise RunError(
                f"this was begun with {option} {shown(value)}, no setting any more: {synonyms.answer(name, words[0])}. "
                "Begin it again in another --output"
            )
    # Where only such an option asked for a head that is trained, that has to be said in its place.
    said = any(word.partition("=")[0] == "--head" for word in found)
    if found != words and given is not None and "head" in given and not said:
        found += ["--head", str(given["head"])]
    return found
