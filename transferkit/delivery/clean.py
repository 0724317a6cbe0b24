"""`data clean`: what is worth a look in a run's pictures or in a folder, and the page on which it is decided."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.console import Reporter
from transferkit.data.audit.duplicate_groups import find_copies
from transferkit.data.samples import Samples, shown
from transferkit.data.source import ScanOptions, scan
from transferkit.delivery.label_check import SHOWN, label_issues, own_samples, source_of
from transferkit.delivery.pages.cleaning import Cleaning, cards, default_output
from transferkit.delivery.pages.decisions import Decisions
from transferkit.delivery.pages.server import Server
from transferkit.errors import ConfigError
from transferkit.runs.layout import Layout

HOST = "127.0.0.1"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """The page's app, and the words for `finetune` that read the data as it was read here."""

    app: Cleaning
    command: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; paths as they are."""
        decisions = self.app.decisions
        return {
            "output": str(decisions.path),
            "cards": [card.as_dict(self.app.samples) for card in self.app.cards],
            "decided": {path: {"action": d.action, "label": d.label} for path, d in decisions.made.items()},
        }

    def said(self) -> str:
        """What was found, on one line."""
        kinds = {"label": "doubtful label", "copies": "group of copies", "look-alikes": "group of look-alikes",
                 "damaged": "damaged file"}  # fmt: skip
        counts = {words: sum(card.kind == kind for card in self.app.cards) for kind, words in kinds.items()}
        found = ", ".join(_counted(number, words) for words, number in counts.items() if number)
        return f"{_counted(len(self.app.samples), 'picture')}: {found or 'nothing to clean'}"

    def ended(self) -> str:
        """What was decided, and the command that trains on it."""
        decisions = self.app.decisions
        counts = decisions.counts()
        if not sum(counts.values()):
            return "nothing was decided, and no file written"
        words = [*self.command, "--exclude-file", shown(decisions.path)]
        return (
            f"{shown(decisions.path)}: {counts['exclude']} left out, {counts['relabel']} relabelled, "
            f"{counts['keep']} kept; no picture was changed\nTo train on the cleaned data: {shlex.join(words)}"
        )


def _counted(number: int, words: str) -> str:
    first, blank, rest = words.partition(" of ")
    return f"{number:,} {first}{'' if number == 1 else 's'}{blank}{rest}"


def prepare(
    source: str, output: Path | None, suspects: int | None, how: ScanOptions, reporter: Reporter, progress: Progress
) -> Prepared:
    """Look for doubtful labels (of a run) and copies.

    Args:
        source: data, or a run.
        output: file of the decisions; None: beside the data.
        suspects: how many doubtful labels are shown at most.
        how: what `scan` reads data with.
        reporter: is told of the progress.
        progress: told how far hashing the pictures is.

    Raises:
        ConfigError: options that have no effect.
        DataError: the data cannot be read.
    """
    given = Path(source).expanduser()
    if (given / "run.json").exists():
        return _of_run(given, output, suspects or SHOWN, how, reporter, progress)
    if suspects is not None:
        raise ConfigError("--suspects has no effect on data alone: only a run doubts labels; give a run, or drop it")
    samples = scan(source, strict=False, **how)
    app = _app(samples, [], Path(source), output, how["exclude_file"], progress)
    return Prepared(app, ("transferkit", "finetune", source, *_words(how)))


def _of_run(
    run: Path, output: Path | None, suspects: int, how: ScanOptions, reporter: Reporter, progress: Progress
) -> Prepared:
    if any(how.values()):
        raise ConfigError("a run brings its own --task and exclusions; drop them, or give its DATA instead")
    layout, (origin, its_own) = Layout(run), source_of(run)
    recorded = {picture.path: picture.sha256 for picture in layout.read_splits()}
    samples = own_samples(layout)
    same = [i for i, path in enumerate(samples.paths) if (samples.sha256 or ())[i] == recorded.get(path)]
    if len(same) < len(samples):
        reporter.warn(f"{len(samples) - len(same)} pictures have changed since the run and are not shown")
    samples = samples.select(same)
    issues = []
    if samples.kind.numbers:
        reporter.say("this run predicts numbers, whose labels are not ranked: only copies are shown")
    else:
        issues = label_issues(layout, samples, reporter)[:suspects]
    earlier = its_own["exclude_file"]
    if earlier and not Path(earlier).is_file():
        reporter.warn(f"the run's --exclude-file {shown(earlier)} is gone: what it says is not in the new file")
        earlier = None
    app = _app(samples, issues, Path(origin), output, earlier, progress)
    return Prepared(app, ("transferkit", "finetune", origin, "--config", str(run)))


def _app(
    samples: Samples, issues: list[Any], origin: Path, output: Path | None, earlier: str | os.PathLike[str] | None,
    progress: Progress,
) -> Cleaning:  # fmt: skip
    copies, faults = find_copies(samples, progress=progress)
    path = output or default_output(origin)
    decisions = Decisions(path, samples.root, [Path(earlier)] if earlier else [])
    return Cleaning(samples, cards(samples, issues, copies, faults), decisions, origin.name or str(origin))


def _words(how: ScanOptions) -> list[str]:
    found = ["--task", how["task"]] if how["task"] else []
    return (
        found
        + [word for pattern in how["exclude"] for word in ("--exclude", pattern)]
        + (["--classes", ",".join(order)] if (order := how.get("order")) else [])
        + (reading.words() if (reading := how.get("reading")) else [])
    )


def serve(prepared: Prepared, reporter: Reporter, port: int, browser: bool, ready: Callable[[str], None]) -> None:
    """Show the page to this machine until Ctrl-C; only who knows its address gets an answer.

    Args:
        prepared: what is shown.
        reporter: is told where the page fails.
        port: of this machine; 0: a free one.
        browser: whether one is opened.
        ready: is told the address.
    """
    failed: Callable[[Exception], None] = lambda error: reporter.warn(f"the page failed: {error}")  # noqa: E731
    Server(prepared.app, HOST, port, secret=True, failed=failed).run(ready, browser)
