"""What is left out of data on request, and which labels are given instead: what an exclusion file says, and the rules
that readers ask about each picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from transferkit.data.containers import fragments
from transferkit.data.containers.films import film_of
from transferkit.data.readers.encoding import locate, read_text
from transferkit.data.readers.relabel import relabel
from transferkit.data.readers.rows import Table, checked_list, header_of, paths_of, raw_of
from transferkit.data.samples import Samples, listed, shown
from transferkit.errors import DataError, nearest


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


class Exclusion:
    """Says which paths are left out, and remembers which patterns matched.

    `paths` are spelt as people spell them; those that lead to a file below `root` stand for that file. `labels` are
    other labels, by such a path.
    """

    def __init__(
        self, patterns: Sequence[str] = (), paths: Iterable[str] = (), root: Path | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        self.root = root
        self.paths = {place(line, root): line for line in paths}
        self.labels = {place(line, root): (line, label) for line, label in (labels or {}).items()}
        self.corrected = 0
        self.used: set[str] = set()
        self.seen: set[str] = set()
        self.count = 0

    def relabelled(self, samples: Samples, classes: Sequence[str] | None) -> Samples:
        """`samples` with the labels that the exclusion file gives; see `relabel`."""
        if not self.labels:
            return samples
        given = {i: self.labels.get(_below(path, self.root)) for i, path in enumerate(samples.paths)}
        new = {i: found for i, found in given.items() if found is not None}
        self.used.update(line for line, _ in new.values())
        self.corrected = len(new)
        return relabel(samples, {i: label for i, (_, label) in new.items()}, classes)

    def __call__(self, path: str, label: str | None = None) -> bool:
        """True where the picture at relative `path` of class `label` is excluded."""
        if label:
            self.seen.add(label)
        if not self.patterns and not self.paths:
            return False
        names = {path, Path(path).as_posix()} | ({label} if label else set())
        hits = [p for p in self.patterns if p.rstrip("/") in names or fnmatchcase(path, _glob(p))]
        self.used.update(hits)
        listed_here = self.paths.get(_below(path, self.root)) if self.paths else None
        if listed_here is not None:
            self.used.add(listed_here)
        self.count += bool(hits) or listed_here is not None
        return bool(hits) or listed_here is not None

    def check_used(self) -> None:
        """Raise DataError for patterns that matched nothing: a misspelt exclusion would silently keep what it names."""
        unused = [p for p in self.patterns if p not in self.used]
        if unused:
            hint = nearest(unused[0], self.seen)
            raise DataError(
                f"--exclude {listed(unused)} matches no class and no picture; give a class name, a path or a "
                f"pattern such as 'rose/*'{hint}"
            )

    def notes(self) -> list[str]:
        """What was left out, and which lines of the exclusion file had no effect."""
        found = [f"{self.count} paths excluded on request"] if self.count else []
        found += [f"{self.corrected} pictures relabelled on request"] if self.corrected else []
        stale = sorted({*self.paths.values(), *(line for line, _ in self.labels.values())} - self.used)
        if stale:
            found.append(f"{len(stale)} lines of the exclusion file match no picture: {listed(stale, 3)}")
        return found


class Only(Exclusion):
    """Leaves out every path but those given."""

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__()
        self.wanted = frozenset(paths)
        # Of files with several pictures, their parts are named: the files are wanted until they are taken apart.
        parts = (film_of(path) or (fragments.parse(path) or ("",))[0] for path in self.wanted)
        self.wholes = frozenset(whole for whole in parts if whole)
        self.tops = frozenset(path.partition(os.sep)[0] for path in self.wanted)

    def __call__(self, path: str, label: str | None = None) -> bool:
        """True where `path` is none of them; a CSV's may be written as on Windows, or with blanks around it.

        Without a `label`, the folder of a split is asked about as well: it is wanted where one of them lies in it.
        """
        if label is None and path in self.tops:
            return False
        if path in self.wholes:
            return False
        return path not in self.wanted and path.strip().replace("\\", "/") not in self.wanted


def place(line: str, root: Path | None) -> str:
    """A path as people spell it in a list, as the samples spell it.

    Args:
        line: the path.
        root: of the data; None for arrays.
    """
    return _below(locate(root, line)[0] if root else line, root)


def _below(path: str, root: Path | None) -> str:
    """`path` without detours, relative where it lies below `root`."""
    path = os.path.normpath(path)
    if root is None or not os.path.isabs(path):
        return path
    return path.removeprefix(os.path.join(os.path.abspath(root), ""))


def _glob(pattern: str) -> str:
    return pattern + "*" if pattern.endswith("/") else pattern
