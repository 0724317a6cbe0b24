"""What a cluster needs to know of work that is done in shards: its pictures, its workers, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transferkit.features.shards import Span


class ShardAnswer(Protocol):
    """What comes back of a shard, at least: the seconds it took, and the machine."""

    @property
    def seconds(self) -> float:
        """Of the worker's time."""

    @property
    def node(self) -> str:
        """The machine's name."""


A = TypeVar("A", bound=ShardAnswer)
A_co = TypeVar("A_co", bound=ShardAnswer, covariant=True)


class Worker(Protocol[A_co]):
    """What an actor is: see `ShardWork`."""

    def begin(self, threads: int) -> str:
        """Make ready, on so many threads. Returns the name of the machine; a ConfigError says why it cannot be used."""

    def run(self, shard: Any) -> A_co:
        """Do a shard."""


class ShardWork(Protocol[A_co]):
    """What is to be done with so many pictures.

    `worker` is the class of an actor, which is made of `parcel`, what travels once. `root` is the folder of the
    pictures, where they have one; `called` names the work where it fails.
    """

    @property
    def called(self) -> str:
        """The work in a word."""

    @property
    def worker(self) -> Callable[[Any], Worker[A_co]]:
        """The class of an actor."""

    @property
    def parcel(self) -> Any:
        """What an actor is made of."""

    @property
    def root(self) -> Path | None:
        """The folder of the pictures."""

    def __len__(self) -> int:
        """How many pictures."""

    def most(self) -> int:
        """Pictures that a shard may have."""

    def shard(self, span: Span) -> Any:
        """What travels of a span."""

    def name(self, number: int) -> str:
        """What a picture is called."""
