"""What a person decided on each picture, in one file that `--exclude-file` takes; whole after every decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transferkit import csv_files, files
from transferkit.data.readers.exclusions import ACTIONS, load_exclusions, place
from transferkit.errors import ConfigError, DataError
from transferkit.text import shown

HEADER = ("path", "action", "label")


@dataclass(frozen=True)
class Decision:
    """`action` is one of ACTIONS; `label` is the new one of a picture that is relabelled."""

    action: str
    label: str = ""


class Decisions:
    """Decisions by path, kept in the table `path`; `root` is the folder that relative paths start from.

    An existing table is gone on with; `earlier` are other exclusion files whose lines are taken over. Raises
    ConfigError for an existing file that is no such table: it is not ours to overwrite.
    """

    def __init__(self, path: Path, root: Path | None, earlier: Iterable[Path] = ()) -> None:
        self.path = path
        self.made: dict[str, Decision] = {}
        self._undo: list[dict[str, Decision | None]] = []
        self._written: bytes | None = None
        for file in (*earlier, path):
            if file != path or path.exists():
                self._take(file, root)

    def _take(self, file: Path, root: Path | None) -> None:
        if file == self.path:
            content = file.read_bytes()
            head = content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip().decode("utf-8", "replace")
            if tuple(head.split(",")) != HEADER:
                raise ConfigError(
                    f"--output {shown(file)} exists and is no file of `data clean` (its first line is not "
                    f"{','.join(HEADER)}); choose another --output"
                )
            self._written = content
        said = load_exclusions(file)
        self.made |= {place(line, root): Decision("exclude") for line in said.paths}
        self.made |= {place(line, root): Decision("relabel", label) for line, label in said.labels.items()}
        self.made |= {place(line, root): Decision("keep") for line in said.kept}

    def decide(self, decided: dict[str, Decision]) -> None:
        """Decide on pictures, and write the file. Raises DataError where somebody else has written it since."""
        before = {path: self.made.get(path) for path in decided}
        self._write({**self.made, **decided})
        self._undo.append(before)

    def undo(self) -> None:
        """Take back what was decided last in this session, if anything."""
        if self._undo:
            before = self._undo[-1]
            made = {path: before.get(path, decision) for path, decision in self.made.items()}
            self._write({path: decision for path, decision in made.items() if decision is not None})
            self._undo.pop()

    def counts(self) -> dict[str, int]:
        """How many pictures each action has."""
        found = Counter(decision.action for decision in self.made.values())
        return {action: found[action] for action in ACTIONS}

    def _write(self, made: dict[str, Decision]) -> None:
        try:
            now = self.path.read_bytes() if self.path.exists() else None
        except OSError as error:
            raise DataError(f"{shown(self.path)} cannot be read any more ({error.strerror})") from error
        if now != self._written:
            raise DataError(f"{shown(self.path)} was changed by another program; start `data clean` again to go on")
        content = "".join(f"{_row(cells)}\n" for cells in [HEADER, *((p, d.action, d.label) for p, d in made.items())])
        files.write_text(self.path, content)
        self._written, self.made = content.encode("utf-8", "surrogateescape"), made


def _row(cells: tuple[str, str, str]) -> str:
    line = csv_files.csv_line(cells)
    # A line that begins with # would be a comment.
    return f'"{cells[0]}"{line.removeprefix(cells[0])}' if line.startswith("#") else line
