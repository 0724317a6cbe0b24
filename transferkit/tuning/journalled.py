"""What a search and a comparison of networks have in common before their run: a split, and a journal to resume by."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.splitting.split import Splits, load_splits, save_splits, split
from transferkit.errors import ConfigError
from transferkit.record import JsonObject
from transferkit.runs.intake import Intake
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import data_digest, split_digest
from transferkit.text import shown
from transferkit.tuning.journal import Journal


@dataclass(kw_only=True)
class JournalledJob(ABC):
    """A job that chooses before a run is trained. `base` are the settings that stay, `command` repeats the job,
    `origin` is as in `runs.finetune.Job`. `WHAT` it is, in a word."""

    WHAT: ClassVar[str]

    intake: Intake
    base: Settings
    layout: Layout
    origin: str | None
    command: str
    reporter: Reporter
    offline: bool = False
    cache: bool | None = None

    def __post_init__(self) -> None:
        self.samples = self.intake.samples

    @property
    @abstractmethod
    def journal(self) -> Path:
        """Where its journal is."""

    @abstractmethod
    def _asked(self) -> JsonObject:
        """What makes this job another one than that of a journal, beside the data: to resume another is refused."""

    def _new_splits(self) -> Splits:
        return split(self.samples, self.base.split, self.base.seed, self.base.folds)

    def _splits(self) -> Splits:
        """The split of the job that was begun, or a new one, which is saved."""
        self.samples = self.samples.hashed()
        begun, saved = self.journal.exists(), self.layout.splits.exists()
        there = load_splits(self.layout.splits, self.samples, self.base.seed) if saved else None
        if begun and there is not None:
            return there
        splits = self._new_splits()
        if there is not None and split_digest(self.samples, there) != split_digest(self.samples, splits):
            raise ConfigError(
                f"{shown(self.layout.splits)} is of another {self.WHAT}, or none: with these settings the split is "
                "another one. Repeat the command as it was, or choose another --output"
            )
        save_splits(self.layout.splits, self.samples, splits)
        return splits

    def _header(self, splits: Splits) -> JsonObject:
        data: JsonObject = {"sha256": data_digest(self.samples), "split": split_digest(self.samples, splits)}
        return {**self._asked(), "data": data}

    def _is_trained(self, splits: Splits) -> bool:
        """Whether the run is whole, if not what is told of the choice. Raises ConfigError where the job that was begun
        is not this one."""
        if not self.layout.manifest.exists() or not self.layout.read_manifest().complete:
            return False
        self._opened(splits).close()
        return True

    def _opened(self, splits: Splits) -> Journal:
        return Journal.open(self.journal, self._header(splits), resume=True)

    def _begin(self, journal: Journal) -> None:
        """Note that the work begins, or goes on."""
        options = {"offline": self.offline, "cache": self.cache}
        journal.append(
            {"event": "start", "command": self.command, "working_directory": os.getcwd(), "options": options}
        )
