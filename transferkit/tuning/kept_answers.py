"""Answers of networks that are done, beside the journal that says so, until the run of the winner is complete."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.files import sha256_bytes, write_bytes
from transferkit.selection import portfolio
from transferkit.selection.portfolio import NetworkAnswers
from transferkit.tuning.journal import Event, Journal


@dataclass(frozen=True)
class KeptAnswers:
    """One file a member in `folder`, under a key; `journal` has the rest, and the hash of the file."""

    folder: Path
    journal: Journal

    def keep(self, key: str, one: NetworkAnswers) -> None:
        """Write them."""
        held = portfolio.to_bytes(one)
        self.folder.mkdir(exist_ok=True)
        write_bytes(self._file(key), held)
        plain = {name: value for name, value in one.__dict__.items() if name != "answers"}
        self.journal.append({"event": "done", "key": key, **plain, "sha256": sha256_bytes(held)})

    def read(self, key: str) -> NetworkAnswers | None:
        """What was kept under `key`; None where there is nothing whole, and it is to be done, or done again."""
        events = [event for event in self.journal.events if event["event"] == "done" and event.get("key") == key]
        path = self._file(key)
        if not events or not path.is_file():
            return None
        held, plain = path.read_bytes(), content(events[-1])
        if sha256_bytes(held) != plain.pop("sha256"):
            return None
        del plain["key"]
        return portfolio.read(held, _rest(plain))

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


def _rest(plain: dict[str, Any]) -> NetworkAnswers:
    interval = plain.pop("interval")
    plain["networks"] = tuple(plain["networks"])
    return NetworkAnswers(**plain, interval=tuple(interval) if interval else None, answers=[])


def content(event: Event) -> dict[str, Any]:
    """An event without its kind."""
    return {key: value for key, value in event.items() if key != "event"}
