"""One exception family. Every message says what was given, what is allowed and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from transferkit.text import shown
from transferkit.wording import spoken


class TransferKitError(Exception):
    """Base of every error that transferkit raises on purpose. `exit_code` is what the CLI ends with."""

    exit_code = 2

    def __str__(self) -> str:
        return spoken(super().__str__())


class ConfigError(TransferKitError, ValueError):
    """Settings that are invalid or contradict each other."""


class DataError(TransferKitError, ValueError):
    """Pictures, labels or splits that cannot be used."""


class BackboneError(TransferKitError, ValueError):
    """An unknown backbone, stage or picture size."""


class WeightsError(TransferKitError, OSError):
    """Weights that are absent, damaged or cannot be fetched."""


class RunError(TransferKitError, OSError):
    """A run directory that exists, is missing or is damaged."""


class StorageError(TransferKitError, OSError):
    """The disk, the cache or a lock refuses. What was stored before stays valid."""

    exit_code = 1


class TrainingError(TransferKitError, RuntimeError):
    """Training cannot go on (for example, the loss is no longer a number)."""

    exit_code = 1


def raise_problems(kind: type[TransferKitError], problems: Iterable[str]) -> None:
    """Raise `kind` with every problem listed at once; do nothing where there are none.

    Args:
        kind: class of the error.
        problems: one text each; the same text twice is one problem.
    """
    found = list(dict.fromkeys(problems))
    if len(found) == 1:
        raise kind(found[0])
    if found:
        raise kind(f"{len(found)} problems:\n" + "\n".join(f"  - {p}" for p in found))


def nearest(word: str, options: Iterable[str]) -> str:
    """`"; nearest: 'vgg16', 'vgg19'"`, or the empty string where nothing is near.

    Args:
        word: what was given; of a value of another type, as Python callers may give it, its text.
        options: what there is.
    """
    near = get_close_matches(str(word).lower(), list(options), n=3, cutoff=0.5)
    return "; nearest: " + ", ".join(f"'{shown(n)}'" for n in near) if near else ""
