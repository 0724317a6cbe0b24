"""What the sizes of the splits allow to be known, said before anything is trained."""

from __future__ import annotations

from transferkit import tasks
from transferkit.config import Settings
from transferkit.config.declarations import OF_HEADS, TRAINED
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import Splits
from transferkit.data.splitting.units import groups_of
from transferkit.evaluation.intervals import wilson
from transferkit.quantities import plural

TYPICAL = 0.8  # accuracy at which the width is told; it is a little wider at lower ones
WIDE = 0.10  # half widths up to this go without saying


def said(settings: Settings, samples: Samples, splits: Splits) -> list[str]:
    """All that is to be said before a run, in sentences.

    Args:
        settings: of the run.
        samples: the pictures.
        splits: of them.
    """
    test = samples.select(splits.indices("test"))
    found = (coarse_test(len(test), samples.task, settings.folds, groups_of(test)), trained_head(settings))
    return [sentence for sentence in found if sentence is not None]


def coarse_test(pictures: int, task: str, folds: int, groups: int | None = None) -> str | None:
    """How little a small test split will tell about a share of right answers.

    Args:
        pictures: in it.
        task: of the run.
        folds: that are judged as well.
        groups: in it: pictures of one are alike, so that their number is the most that may be reckoned with; None
            where none belong together.

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


def trained_head(settings: Settings) -> str | None:
    """That options of training, and which, have a head trained where a classifier would be chosen; None without any.

    Args:
        settings: of the run.
    """
    if settings.head != "auto" or settings.chooses_head:
        return None
    names = TRAINED if settings.unfreeze == "none" else OF_HEADS
    asked = [name for name in names if name in settings.model_fields_set]
    flags = ", ".join("--" + name.replace("_", "-") for name in asked)
    return (
        f"a neural network is trained as the classifier, because {flags} {'says' if len(asked) == 1 else 'say'} how; "
        "with --head auto the best of many kinds is chosen by cross-validation"
    )


def half_width(pictures: int) -> float:
    """Half of the 95 % Wilson interval of an accuracy of about `TYPICAL` on so many pictures."""
    low, high = wilson(round(TYPICAL * pictures), pictures)
    return (high - low) / 2
