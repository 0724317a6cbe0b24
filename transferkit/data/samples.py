"""One immutable table of pictures and targets, whatever they came from. Never decodes a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from transferkit import tasks
from transferkit.data.containers import places
from transferkit.data.containers.places import unreadable_reason as unreadable_reason
from transferkit.data.threads import map_ordered
from transferkit.errors import DataError, raise_problems
from transferkit.tasks.task import Task
from transferkit.text import clipped
from transferkit.text import shown as shown  # the rooms above take it from here

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
Pixels = npt.NDArray[np.uint8]
_SHOWN = 300  # letters shown of one of several items


@dataclass(frozen=True, eq=False)
class Pinned:
    """A file or an array as it was when it was hashed; the decoder refuses it, by `name`, if it has changed."""

    source: Path | Pixels
    sha256: str
    name: str


Source = Path | bytes | Pixels | Pinned


@dataclass(frozen=True, eq=False)
class Samples:
    """N pictures with their targets.

    `paths` are relative to `root` (absolute where a CSV said so; `array[i]` for arrays, whose `root` is None).
    `task` is a name of `tasks.NAMES`. `targets`: of one class each int64 [N] (index into `classes`); of several
    labels float32 0/1 [N, C]; of numbers float64 [N, T], `classes` then names the targets. `split` and `group` hold
    what the user gave, None where nothing was given. `sha256` is None until `hashed()`. `notes` says what scanning
    ignored or found odd. `relabelled` holds, by path, the label that the data has where an exclusion file gave another.
    `ordered`: somebody has said that the classes' order is this one.
    `reader` says how the data was read: the reader's `name`, `why` it was chosen, and the options it took or found.
    """

    root: Path | None
    paths: tuple[str, ...]
    targets: npt.NDArray[Any]
    classes: tuple[str, ...]
    task: str
    split: tuple[str | None, ...]
    group: tuple[str | None, ...]
    sha256: tuple[str, ...] | None
    pixels: Sequence[Pixels] | None
    origin: str
    notes: tuple[str, ...] = ()
    relabelled: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False
    reader: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.targets) == len(self.split) == len(self.group):
            raise DataError(
                f"{len(self.paths)} paths, {len(self.targets)} targets, {len(self.split)} splits and "
                f"{len(self.group)} groups; all four need the same length"
            )

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def kind(self) -> Task:
        """The task as an object."""
        return tasks.of(self.task)

    def select(self, indices: Iterable[int] | npt.NDArray[Any]) -> Samples:
        """The samples at `indices` (integers in any order), sharing memory with these."""
        chosen = [int(i) for i in indices]
        return replace(
            self,
            paths=tuple(self.paths[i] for i in chosen),
            targets=self.targets[np.asarray(chosen, dtype=np.int64)],
            split=tuple(self.split[i] for i in chosen),
            group=tuple(self.group[i] for i in chosen),
            sha256=None if self.sha256 is None else tuple(self.sha256[i] for i in chosen),
            pixels=None if self.pixels is None else [self.pixels[i] for i in chosen],
        )

    def source(self, index: int) -> Path | Pixels:
        """What the decoder reads for sample `index`: a path, or the array itself."""
        if self.pixels is not None:
            return self.pixels[index]
        return (self.root or Path()) / self.paths[index]

    def sources(self) -> Sequence[Path | Pixels]:
        """`source(i)` for every sample, made when it is asked for: a path takes half a kilobyte."""
        return Sources(self)

    def pinned(self, index: int) -> Source:
        """`source(index)`, held to its hash where that is known: for results that are kept under hash or path."""
        source = self.source(index)
        if self.sha256 is None:
            return source
        return Pinned(source, self.sha256[index], str(source) if isinstance(source, Path) else self.paths[index])

    def hashed(self) -> Samples:
        """These samples with `sha256` filled: of file bytes, or of an array's shape and content; on threads.

        Raises: DataError naming every file that cannot be read.
        """
        if self.sha256 is not None:
            return self
        hashes: list[str] = []
        bad: list[tuple[str, str]] = []
        for path, (value, reason) in zip(self.paths, map_ordered(hash_or_reason, self.sources()), strict=True):
            hashes.append(value)
            if reason:
                bad.append((path, reason))
        raise_problems(DataError, _unreadable(bad))
        return replace(self, sha256=tuple(hashes))

    def counts(self) -> dict[str, int]:
        """Pictures of each class or label; of numbers the known values of each."""
        numbers = self.kind.counts(self.targets, len(self.classes))
        return {name: int(number) for name, number in zip(self.classes, numbers, strict=True)}

    def label(self, index: int) -> str:
        """The target of one sample as text: `rose`, `a;b` or `1.5;2.0`."""
        return self.kind.label(self.targets[index], self.classes)


@dataclass(frozen=True, eq=False)
class Sources(Sequence[Path | Pixels]):
    """What the decoder reads for each of `samples`."""

    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Path | Pixels: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path | Pixels]: ...

    def __getitem__(self, index: int | slice) -> Path | Pixels | list[Path | Pixels]:
        if isinstance(index, slice):
            return [self.samples.source(i) for i in range(*index.indices(len(self)))]
        return self.samples.source(index)


def listed(items: Sequence[object], limit: int = 10) -> str:
    """Items for a message, comma-separated and printable.

    Args:
        items: of any kind.
        limit: how many are named; of the others, how many there are.
    """
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(clipped(item, _SHOWN) for item in items[:limit]) + more


def hash_source(source: Path | Pixels) -> str:
    """Hex SHA-256 of a file's bytes, or of an array's shape and content (arrays and files never collide)."""
    if isinstance(source, np.ndarray):
        head = f"array {source.dtype.str} {source.shape}\n".encode()
        return hashlib.sha256(head + np.ascontiguousarray(source).tobytes()).hexdigest()
    return places.sha256(source)


def hash_or_reason(source: Path | Pixels) -> tuple[str, str | None]:
    """`hash_source`, and why there is none (the hash is empty then) for a file that cannot be read."""
    if not isinstance(source, np.ndarray):
        # An empty file has a hash like any other; the decoder and the audit refuse it by name.
        reason = unreadable_reason(source)
        if reason is not None and "0 bytes" not in reason:
            return "", reason
    try:
        return hash_source(source), None
    except OSError as error:
        return "", f"cannot be read ({error.strerror or error})"


def _unreadable(bad: Sequence[tuple[str, str]]) -> list[str]:
    lines = [f"{shown(path)} {reason}" for path, reason in bad]
    if len(lines) > 10:
        return [*lines[:10], f"and {len(lines) - 10} more files that cannot be read"]
    return lines
