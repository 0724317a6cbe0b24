"""Numbers and settings as the report and the card write them. Pure text; nothing is read."""

from __future__ import annotations

from typing import Any

from transferkit.evaluation.scores import Scores, is_number
from transferkit.quantities import figure

SHARES = ("accuracy", "balanced_accuracy", "subset_accuracy", "top3_accuracy", "top5_accuracy")  # written in percent


def number(value: object, key: str = "") -> str:
    """A score as text; – where it is undefined, or no number at all in a damaged run.

    Args:
        value: the score.
        key: its name, which says how it is written.
    """
    if not is_number(value):
        return "–"
    if key in ("n", "support"):
        return f"{value:,}"
    return f"{100 * value:.1f} %" if key in SHARES else figure(float(value))


def interval(scores: Scores, key: str) -> str:
    """The 95 % interval of a score as text; empty where it has none.

    Args:
        scores: of a split.
        key: the score.
    """
    limits = scores.interval(key)
    return " to ".join(number(end, key) for end in limits) if limits else ""


def plain(value: Any) -> str:
    """A setting as a person would write it."""
    if isinstance(value, list | tuple | set):
        return ", ".join(str(part) for part in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else str(value)


def rough_duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
