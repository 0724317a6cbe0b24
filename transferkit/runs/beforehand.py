"""What the sizes of the splits allow to be known, said before anything is trained."""

from __future__ import annotations

from transferkit import tasks
from transferkit.evaluation.intervals import wilson
from transferkit.quantities import plural

TYPICAL = 0.8  # accuracy at which the width is told; it is a little wider at lower ones
WIDE = 0.10  # half widths up to this go without saying


def coarse_test(pictures: int, task: str, folds: int, groups: int | None = None) -> str | None:
    """How little a small test split will tell about a share of right answers.

    Args:
        pictures: in it.
        task: of the run.
        folds: that are judged as well.
        groups: in it: pictures of one are alike, so that their number is the most that may be reckoned with.

    Returns:
        A sentence; None where it is enough, where nothing is tested, or where there are folds.
    """
    if tasks.of(task).headline != "right" or not pictures or folds:
        return None
    half = half_width(pictures)
    if groups and groups < pictures and half_width(groups) > WIDE:
        return (
            f"{pictures} test pictures of {plural(groups, 'group')} or films: pictures of one are alike, so that a "
            f"score will be known to between ±{100 * half:.0f} and ±{100 * half_width(groups):.0f} points; --folds 5 "
            "judges by cross-validation too"
        )
    if half <= WIDE:
        return None
    return (
        f"{pictures} test pictures: a score will be known to about ±{100 * half:.0f} points only; --folds 5 judges "
        "by cross-validation too"
    )


def half_width(pictures: int) -> float:
    """Half of the 95 % Wilson interval of an accuracy of about `TYPICAL` on so many pictures."""
    low, high = wilson(round(TYPICAL * pictures), pictures)
    return (high - low) / 2
