"""How counts, scores and seconds are written, wherever a person reads them."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """`"0.4 s"`, `"12 s"`, `"3 min 20 s"`, `"1 h 05 min"`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plural(count: int, noun: str) -> str:
    """`"1 picture"`, `"2,527 pictures"`, `"3 classes"`.

    Args:
        count: how many.
        noun: in the singular.
    """
    ending = "" if count == 1 else "es" if noun.endswith(("ss", "sh")) else "s"
    return f"{count:,} {noun}{ending}"


def ordinal(number: int) -> str:
    """`"1st"`, `"2nd"`, `"3rd"`, `"11th"`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def figure(value: float | None, sign: str = "") -> str:
    """A score with digits that mean something at its scale: `"0.844"`, `"1.23e-07"`, `"41.250"`, `"1,234"`.

    Args:
        value: the score; – stands for None and for what is not finite.
        sign: `"+"` where both signs are to be shown.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == 0 or 0.01 <= size < 100:
        return f"{value:{sign}.3f}"
    if 1000 <= size < 1e7:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.3g}" if size < 1 else f"{value:{sign}.4g}"
