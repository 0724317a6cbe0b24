"""Answers of networks that are done, beside the journal that says so, until the run of the winner is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.files import sha256_bytes, write_bytes
from transferkit.selection import network_choice
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning.journal import Event, Journal


@dataclass(frozen=True)
class KeptAnswers:
    """One file a member in `folder`; `journal` has the rest, and the hash of the file. `networks` are those of the
    comparison: files are named by their places in it, which stay what they are when more is done."""

    folder: Path
    journal: Journal
    networks: Sequence[str]

    def keep(self, one: NetworkAnswers) -> None:
        """Write them."""
        held, key = network_choice.to_bytes(one), self._key(one.member)
        self.folder.mkdir(exist_ok=True)
        write_bytes(self._file(key), held)
        plain = {name: value for name, value in one.__dict__.items() if name != "answers"}
        self.journal.append(
            {"event": "done", "key": key, **plain, **one.member.as_json(), "sha256": sha256_bytes(held)}
        )

    def read(self, member: Voter) -> NetworkAnswers | None:
        """What was kept of `member`; None where there is nothing whole, and it is to be done, or done again."""
        done = (event for event in self.journal.events if event["event"] == "done" and "networks" in event)
        events = [event for event in done if Voter.read(event) == member]
        if not events:
            return None
        plain = content(events[-1])
        path, digest = self._file(plain.pop("key")), plain.pop("sha256")
        held = path.read_bytes() if path.is_file() else b""
        return network_choice.read(held, _rest(plain)) if sha256_bytes(held) == digest else None

    def _key(self, member: Voter) -> str:
        places = [str(self.networks.index(name)) for name in member.networks]
        return "-".join(["mirrored"] * member.mirrored + ["pair"] * (len(places) > 1) + places)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


def _rest(plain: dict[str, Any]) -> NetworkAnswers:
    interval = plain.pop("interval")
    plain["networks"] = tuple(plain["networks"])
    return NetworkAnswers(**plain, interval=tuple(interval) if interval else None, answers=[])


def content(event: Event) -> dict[str, Any]:
    """An event without its kind."""
    return {key: value for key, value in event.items() if key != "event"}
