"""Numbers to pictures: every figure a pure function to a matplotlib Figure. No pyplot, no window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import CurveFit
from transferkit.evaluation.plot_style import ORANGE, blank, label, style
from transferkit.evaluation.scores import ScoreRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
NAMED = 120  # classes whose names can still be written beside a matrix


def confusion(matrix: npt.ArrayLike, classes: Sequence[str], *, dark: bool = False) -> Figure:
    """Confusion counts [C, C], rows true; shade is the share of the row, counts written up to 25 classes.

    Args:
        matrix: counts [C, C].
        classes: their names.
        dark: light on dark.

    Raises:
        DataError: the shape does not fit the names.
    """
    from matplotlib.colors import PowerNorm

    counts = np.asarray(matrix, np.float64)
    if counts.shape != (len(classes), len(classes)):
        raise DataError(f"confusion counts {counts.shape} do not fit {len(classes)} classes")
    # The root of the share is the shade: a confusion of 2 % should be seen.
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(2.2 + 0.42 * len(classes), 3.4, 13.0))
    font = float(np.clip(170 / len(classes), 4.5, 9))
    with style(dark):
        figure = blank(size + 0.9, size)
        axis = figure.subplots()
        axis.grid(visible=False)
        image = axis.imshow(share, cmap="cividis" if dark else "Blues", norm=PowerNorm(0.5, 0, 1))
        named = len(classes) <= NAMED
        names = [label(name, 20 if len(classes) <= 25 else 14) for name in classes] if named else []
        ticks = np.arange(len(names))
        many = len(names) > 6
        turned = {"rotation": 90} if many else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axis.set_xticks(ticks, names, parse_math=False, fontsize=font, **turned)
        axis.set_yticks(ticks, names, parse_math=False, fontsize=font)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set(xlabel="predicted", ylabel="true")
        if len(classes) <= 25:
            _write_counts(axis, counts, share, font, dark)
        bar = figure.colorbar(image, ax=axis, shrink=0.7, pad=0.02)
        bar.set_label("share of the true class", fontsize=8)
        bar.outline.set_visible(False)
    return figure


def _write_counts(
    axis: Axes, counts: npt.NDArray[np.float64], share: npt.NDArray[np.float64], font: float, dark: bool
) -> None:
    for i, j in zip(*np.nonzero(counts), strict=True):
        bright = share[i, j] > 0.3
        colour = ("#000000" if bright else "#ffffff") if dark else ("#ffffff" if bright else "#1b1f24")
        axis.text(float(j), float(i), f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=font)


def reliability(bins: Sequence[Row], *, dark: bool = False) -> Figure:
    """Reliability diagram of `calibration.reliability` bins, with the number of predictions in each below.

    Args:
        bins: of `calibration.reliability`.
        dark: light on dark.

    Raises:
        DataError: all bins are empty.
    """
    rows = [row for row in bins if row["count"]]
    if not rows:
        raise DataError("the reliability bins are empty; score some predictions first")
    total = sum(row["count"] for row in rows)
    error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total
    with style(dark) as colours:
        figure = blank(4.2, 4.2)
        top, low = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        width = 1 / len(bins)
        edges = [row["lower"] for row in rows]
        top.bar(edges, [row["accuracy"] for row in rows], width, align="edge", color=colours["blue"],
                ec=colours["paper"], label="what came true")  # fmt: skip
        for row in rows:
            top.plot(
                [row["lower"] + 0.08 * width, row["upper"] - 0.08 * width],
                [row["confidence"]] * 2,
                color=ORANGE,
            )
        top.plot([], [], color=ORANGE, label="what was claimed")
        top.plot([0, 1], [0, 1], color=colours["soft"], lw=0.9, ls="--")
        top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=f"calibration error {error:.3f}")
        figure.legend(*top.get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower center")
        low.bar(edges, [row["count"] / total for row in rows], width, align="edge", color=colours["soft"],
                ec=colours["paper"])  # fmt: skip
        low.set(xlabel="confidence", ylabel="share")
    return figure


def per_class(rows: Sequence[ScoreRow], *, dark: bool = False) -> Figure:
    """Bars of the F1 of each class with 95 % intervals where known, the worst first; of many classes the worst alone.

    Args:
        rows: of the scores by class.
        dark: light on dark.

    Raises:
        DataError: no class has a defined F1.
    """
    known = sorted(((f1, row) for row in rows if (f1 := row.value("f1")) is not None), key=lambda pair: pair[0])
    if not known:
        raise DataError("no class has a defined F1")
    mean, every = float(np.mean([f1 for f1, _ in known])), len(known)
    known = known[:NAMED]
    font = float(np.clip(260 / len(known), 5, 9))
    with style(dark) as colours:
        figure = blank(5.2, float(np.clip(0.9 + 0.27 * len(known), 1.6, 13)))
        axis = figure.subplots()
        values = np.array([f1 for f1, _ in known])
        places = np.arange(len(known))[::-1]
        axis.barh(places, values, 0.72, color=colours["blue"])
        for place, (_, row) in zip(places, known, strict=True):
            if limits := row.interval("f1"):
                axis.plot(limits, [place, place], color=colours["ink"], lw=1.2, marker="|", ms=5)
        names = [f"{label(row.name)} ({row.support})" for _, row in known]
        axis.set_yticks(places, names, parse_math=False, fontsize=font)
        if len(known) <= 40:
            for place, value in zip(places, values, strict=True):
                # At the start of the bar, where no whisker is.
                where, colour = (0.01, colours["paper"]) if value > 0.15 else (value + 0.01, colours["ink"])
                axis.text(where, place, f"{value:.2f}", va="center", fontsize=font, ha="left", color=colour)
        axis.axvline(mean, color=ORANGE, lw=1.2)
        axis.annotate("mean", (mean, 1), xycoords=("data", "axes fraction"), color=ORANGE,
                      xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
        more = "" if every == len(known) else f"; the lowest {len(known)} of {every:,}"
        axis.set(xlim=(0, 1.0), ylim=(-0.7, len(known) - 0.3), xlabel=f"F1; in brackets: test pictures{more}")
        axis.grid(visible=False, axis="y")
    return figure


def regression(
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    names: Sequence[str],
    *,
    only: int | None = None,
    dark: bool = False,
) -> Figure:
    """Predicted against true values, one panel a target.

    Args:
        targets: [N, T], in the user's units.
        predictions: likewise.
        names: of the targets.
        only: the number of the only one that is drawn; None: the first six.
        dark: light on dark.
    """
    true, guess = (np.asarray(a, np.float64).reshape(len(np.asarray(a)), -1)[:, :6] for a in (targets, predictions))
    drawn = range(true.shape[1]) if only is None else [only]
    columns = min(3, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    with style(dark) as colours:
        figure = blank(3.7 * columns, 3.5 * rows)
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for axis in axes[len(drawn) :]:
            axis.set_axis_off()
        for axis, t in zip(axes, drawn, strict=False):
            low, high = min(true[:, t].min(), guess[:, t].min()), max(true[:, t].max(), guess[:, t].max())
            axis.plot([low, high], [low, high], color=colours["soft"], ls="--", lw=0.9, label="exact")
            axis.plot(true[:, t], guess[:, t], "o", ms=4, alpha=0.6, mew=0, color=colours["blue"], label="test picture")
            axis.set(xlabel="true", ylabel="predicted")
            axis.set_title(label(names[t]), parse_math=False)
            axis.legend(fontsize=8)
    return figure


def learning_curve(
    sizes: Sequence[float],
    scores: Sequence[float],
    fit: CurveFit | None = None,
    metric: str = "score",
    *,
    dark: bool = False,
) -> Figure:
    """Score against training pictures.

    Args:
        sizes: numbers of training pictures.
        scores: one a size.
        fit: by `extrapolation.learning_curve_fit`, drawn where it is given.
        metric: the score's name.
        dark: light on dark.
    """
    with style(dark) as colours:
        figure = blank(5.2, 3.3)
        axis = figure.subplots()
        if fit and fit.curve:
            points = np.array([(p.n, p.score, p.low, p.high) for p in fit.curve], np.float64)
            x, middle, low, high = points.T
            axis.fill_between(x, low, high, color=ORANGE, alpha=0.2, lw=0, label="90 % of resampled fits")
            axis.plot(x, middle, color=ORANGE, ls="--", label="power law")
        axis.plot(sizes, scores, "o", color=colours["blue"], label="measured")
        axis.set(xscale="log", xlabel="training pictures", ylabel=f"{metric} on validation")
        ends = [*sizes, 2 * max(sizes), 4 * max(sizes)] if fit else list(sizes)
        ticks = sorted(set(ends if len(ends) <= 9 else [min(ends), max(sizes), max(ends)]))
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.legend(fontsize=8, loc="lower right")
    return figure
