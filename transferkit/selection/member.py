"""Whose answers are combined: a network, one that sees pictures and their mirror images, or the features of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Voter:
    """One of those that answer together.

    `networks`: one, or two whose features lie side by side under one classifier. `mirrored`: the answers to a picture
    and to its mirror image are averaged.
    """

    networks: tuple[str, ...]
    mirrored: bool = False

    def __str__(self) -> str:
        what = " with ".join(self.networks)
        return f"{what}, also on mirror images" if self.mirrored else what

    @property
    def plain(self) -> bool:
        """Whether it is one network that looks once: a run like any other."""
        return len(self.networks) == 1 and not self.mirrored

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return {"networks": list(self.networks), "mirrored": self.mirrored}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Voter:
        """What `as_json` gave."""
        return cls(tuple(map(str, values["networks"])), bool(values["mirrored"]))


def networks(members: Iterable[Voter]) -> list[str]:
    """Every network of these, each once."""
    return list(dict.fromkeys(name for member in members for name in member.networks))
