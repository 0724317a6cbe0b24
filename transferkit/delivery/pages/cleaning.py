"""The cleaning page: doubtful labels and copies one after the other, to keep, relabel or leave out.

The data is only read. Every decision is in the file at once (see `decisions`). Pictures are asked for by number: no
path from outside is ever opened.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.data.audit.checks import LabelIssue
from transferkit.data.audit.duplicate_groups import Copies
from transferkit.data.images.decode import PictureError
from transferkit.data.images.thumbnail import DEEP, thumbnail
from transferkit.data.readers.exclusions import ACTIONS
from transferkit.data.readers.relabel import target
from transferkit.data.samples import Samples, shown
from transferkit.delivery.pages.decisions import Decision, Decisions
from transferkit.delivery.pages.messages import PageRequest, RequestError, Response, as_json, jpeg, page, text
from transferkit.errors import DataError

SIDE = 640  # pixels of a picture on the page
_AT_ONCE = 4  # pictures decoded together
_LARGEST = 4096  # bytes of a decision


@dataclass(frozen=True)
class Card:
    """What is looked at together: one doubtful picture, or a group of copies. `pictures` are numbers of samples."""

    kind: str
    title: str
    pictures: tuple[int, ...]
    suggested: str | None = None
    chance_right: float | None = None

    def as_dict(self, samples: Samples, readable: bool = False) -> dict[str, object]:
        """Plain values for JSON, with paths (`readable`: as they are fit to show) and labels."""
        paths = [shown(samples.paths[i]) if readable else samples.paths[i] for i in self.pictures]
        rows = [{"id": i, "path": p, "label": samples.label(i)} for i, p in zip(self.pictures, paths, strict=True)]
        issue = {} if self.chance_right is None else {"suggested": self.suggested, "chance_right": self.chance_right}
        return {"kind": self.kind, "title": self.title, **issue, "pictures": rows}


def cards(
    samples: Samples, issues: Sequence[LabelIssue], copies: Sequence[Copies], faults: dict[int, str]
) -> list[Card]:
    """Doubtful labels, the least sure first; then copies, those with different labels first; then damaged files.

    Args:
        samples: the pictures.
        issues: doubtful labels.
        copies: groups of copies and look-alikes.
        faults: row number of a damaged file → what is wrong with it.
    """
    at = {path: i for i, path in enumerate(samples.paths)}
    found = [
        Card("label", f"Chance that this label is right: {d.said}", (at[d.path],), d.suggested, d.chance_right)
        for d in issues
        if d.path in at
    ]
    for group in copies:
        what = f"The same picture {len(group.members)} times" if group.exact else f"{len(group.members)} look-alikes"
        kind = "copies" if group.exact else "look-alikes"
        found.append(Card(kind, f"{what}, with different labels" if group.torn else what, group.members))
    found += [Card("damaged", f"This file {reason}", (i,)) for i, reason in faults.items()]
    return found


class Cleaning:
    """The page's app; see `messages.App`."""

    def __init__(self, samples: Samples, found: Sequence[Card], decisions: Decisions, title: str) -> None:
        self.samples, self.cards, self.decisions, self.title = samples, list(found), decisions, title
        self._shown = {i for card in found for i in card.pictures}
        self._lock, self._decoding = threading.Lock(), threading.BoundedSemaphore(_AT_ONCE)

    def largest(self, path: str) -> int:
        """Decisions are short."""
        return _LARGEST if path in ("/decide", "/undo") else 0

    def answer(self, request: PageRequest) -> Response:
        """The page, its list, a picture, or what became of a decision."""
        if request.method == "POST":
            return self._decide(request)
        if request.path == "/":
            return page("clean.html")
        if request.path == "/list":
            return as_json(self._list())
        number = request.number("picture")
        if number is not None and number in self._shown:
            return self._picture(number)
        return text(404, "404: there is no such page")

    def _list(self) -> dict[str, object]:
        with self._lock:
            made = {
                i: {"action": d.action, "label": d.label}
                for i in sorted(self._shown)
                if (d := self.decisions.made.get(self.samples.paths[i])) is not None
            }
        found = [card.as_dict(self.samples, readable=True) for card in self.cards]
        return {
            "title": shown(self.title), "output": shown(self.decisions.path), "form": self.samples.kind.form,
            "classes": list(self.samples.classes), "cards": found, "made": made,
        }  # fmt: skip

    def _picture(self, i: int) -> Response:
        try:
            with self._decoding:
                content = thumbnail(self.samples.pinned(i), SIDE, DEEP)
        except PictureError as error:
            return text(404, f"404: this picture {error.reason}")
        return jpeg(content)

    def _decide(self, request: PageRequest) -> Response:
        try:
            with self._lock:
                if request.path == "/undo":
                    self.decisions.undo()
                else:
                    self._take(request.body)
        except DataError as error:
            return as_json({"error": str(error)}, 409)
        return as_json(self._list()["made"])

    def _take(self, body: bytes) -> None:
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError("a decision is JSON") from error
        entries = asked if isinstance(asked, list) else [asked]
        self.decisions.decide(dict(self._checked(entry) for entry in entries[: len(self._shown)]))

    def _checked(self, entry: Any) -> tuple[str, Decision]:
        """A decision as the page sends it. Raises RequestError for what no page sends, DataError for a wrong label."""
        if not isinstance(entry, dict) or entry.get("action") not in ACTIONS or type(entry.get("id")) is not int:
            raise RequestError("a decision has an id and an action")
        i, action, label = entry["id"], entry["action"], entry.get("label") or ""
        if i not in self._shown or not isinstance(label, str):
            raise RequestError("there is no such picture here")
        path = self.samples.paths[i]
        if action == "relabel":
            target(self.samples, label)
        # The label that is shown may itself be one that the file gives: to keep it is to give it again.
        same = action == "relabel" and label == self.samples.label(i)
        if action == "keep" or same:
            given = path in self.samples.relabelled
            return path, Decision("relabel", self.samples.label(i)) if given else Decision("keep")
        return path, Decision(action, label if action == "relabel" else "")


def default_output(source: Path) -> Path:
    """DATA-clean.csv in the working folder."""
    name = source.absolute()
    return Path(f"{name.stem if name.is_file() else name.name}-clean.csv")
