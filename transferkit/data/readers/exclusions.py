"""What an exclusion file says: pictures to leave out, other labels for some, and which were found to be right."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from transferkit.data.readers.encoding import read_text
from transferkit.data.readers.rows import Table, checked_list, header_of, paths_of, raw_of
from transferkit.data.samples import shown
from transferkit.errors import DataError


@dataclass(frozen=True)
class Exclusions:
    """What an exclusion file says: `paths` to leave out, `labels` by path to give instead, paths `kept` as they are."""

    paths: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


ACTIONS = ("keep", "relabel", "exclude")


def load_exclusions(path: Path) -> Exclusions:
    """Paths to leave out: one a line, unusual ones as JSON strings, `#` before comments; or a table with `path`.

    A table with a column `action` says for each path: exclude, relabel (to its `label`) or keep. Paths are relative to
    the data, wherever the file lies. Raises DataError where it cannot be read.
    """
    what = "an exclusion file with one path a line"
    try:
        text = read_text(path, what)
    except DataError as error:
        if path.is_file() and path.stat().st_size == 0:  # an audit that found nothing
            return Exclusions()
        raise DataError(f"exclusion file cannot be read: {error}") from error
    kept = "\n".join("" if line.startswith("#") else line for line in text.split("\n"))
    columns = header_of(kept)
    if "path" in columns:
        raw = raw_of(path, kept)
        return _decisions(raw) if "action" in map(str.lower, columns) else Exclusions(tuple(paths_of(raw)))
    try:
        lines = (json.loads(line) if line.startswith('"') else line for line in kept.split("\n") if line.strip())
        return Exclusions(tuple(lines))
    except json.JSONDecodeError as error:
        raise DataError(f"exclusion file {shown(path)} has a damaged quoted line: {error}") from error


def _decisions(raw: Table) -> Exclusions:
    """The rows of a table with `action`, each path once."""
    table = checked_list(raw)
    found: dict[str, dict[str, str]] = {action: {} for action in ACTIONS}
    first: dict[str, int] = {}
    column = next(name for name in table.columns if name.lower() == "action")
    for line, row in table.rows:
        action, label = row[column].strip().lower(), row.get("label", "")
        if first.setdefault(row["path"], line) != line:
            table.bad("decide again on a path", line, f"{row['path']} is also in line {first[row['path']]}")
        elif action not in found:
            table.bad(f"have an action other than {', '.join(ACTIONS)}", line, repr(action))
        elif action == "relabel" and not label.strip():
            table.bad("relabel without a label", line, row["path"])
        else:
            found[action][row["path"]] = label
    table.raise_problems()
    return Exclusions(tuple(found["exclude"]), found["relabel"], tuple(found["keep"]))
