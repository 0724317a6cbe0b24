"""What a bar of progress says, for a terminal of any width: no word is cut, and the estimate does not jump."""

from __future__ import annotations

import time
from collections.abc import Sequence

SHORTEST_BAR, LONGEST_BAR = 10, 30
SETTLED = 1.0  # seconds of steady work before an estimate is worth saying
GAP = "  "
INDENT = "  "


class Estimate:
    """How long the rest takes, by the pace since the first piece of work was done.

    The first piece is left out: it holds what is done once (a graph is traced, caches are cold). Between two pieces the
    estimate counts down by the clock, so that it neither stands still nor jumps.
    """

    def __init__(self, total: float, done: float = 0.0) -> None:
        self.total, self.done = total, done
        self._first: tuple[float, float] | None = None
        self._last = time.monotonic()

    def advance(self, count: float) -> None:
        """`count` units more are done."""
        if not count:
            return
        self._last, self.done = time.monotonic(), self.done + count
        if self._first is None:
            self._first = self._last, self.done

    def seconds(self) -> float | None:
        """Seconds left; None where that cannot be said yet."""
        if self._first is None:
            return None
        since, done = self._last - self._first[0], self.done - self._first[1]
        if since < SETTLED or done <= 0:
            return None
        return max(0.0, (self.total - self.done) * since / done - (time.monotonic() - self._last))


def left(seconds: float | None) -> str:
    """An estimate in steps that do not flicker: `"about 25 s left"`; empty where there is none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(5, 5 * round(seconds / 5))} s left"
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes < 60 else f"about {minutes // 60} h {minutes % 60:02d} min left"


def count(done: float, total: int, unit: str) -> str:
    """`"192/465 pictures"`, or which epoch is being worked on: `"epoch 3/30"`.

    Args:
        done: of `total`, a fraction where a unit is under way.
        total: how many there are.
        unit: in the plural.
    """
    if unit == "epochs":
        return f"epoch {min(total, int(done + 1e-6) + 1)}/{total}"
    return f"{int(done + 1e-6):,}/{total:,} {unit}"


def lines(title: str, share: float, facts: Sequence[str], notes: Sequence[str], width: int, plain: bool) -> list[str]:
    """Title, bar, `facts` and `notes` on one line where `width` allows it; else the notes below, broken between them.

    Args:
        title: what is being done.
        share: how much of it is done, 0…1.
        facts: what stands behind the bar, the most important first; what does not fit is left out.
        notes: such as `"loss 0.412"`; each stays in one piece, unless it is wider than the terminal.
        width: columns of the terminal.
        plain: with characters of ASCII alone.
    """
    facts, notes = [fact for fact in facts if fact], [note for note in notes if note]
    first = _fitting(title, share, [*facts, *notes], width, plain)
    if first is not None:
        return [first]
    while facts and _fitting(title, share, facts, width, plain) is None:
        facts.pop()
    top = _fitting(title, share, facts, width, plain) or title
    return [top, *packed(notes, width)]


def packed(notes: Sequence[str], width: int) -> list[str]:
    """Notes side by side in as few lines as they need.

    Args:
        notes: texts.
        width: columns of a line.
    """
    found: list[str] = []
    for note in notes:
        if found and len(found[-1]) + len(GAP) + len(note) <= width:
            found[-1] += GAP + note
        else:
            found.append(INDENT + note)
    return found


def _fitting(title: str, share: float, behind: Sequence[str], width: int, plain: bool) -> str | None:
    """One line, the bar taking what is left; None where less than the shortest bar is."""
    rest = width - 1 - sum(len(part) + len(GAP) for part in (title, *behind))
    if rest < SHORTEST_BAR:
        return None
    return GAP.join([title, bar(share, min(rest, LONGEST_BAR), plain), *behind])


def bar(share: float, width: int, plain: bool) -> str:
    """A bar of `width` characters.

    Args:
        share: that is done, 0…1.
        width: in characters.
        plain: of ASCII alone.
    """
    done = min(width, max(0, int(share * width + 1e-6)))
    full, rest = ("#", ".") if plain else ("━", "─")
    return full * done + rest * (width - done)
