"""Numbers to pictures: every figure a pure function to a matplotlib Figure. No pyplot, no window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transferkit import terms
from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import CurveFit
from transferkit.evaluation.plot_style import GREEN, ORANGE, blank, label, style
from transferkit.evaluation.scores import ScoreRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
NAMED = 120  # classes whose names can still be written beside a matrix


# ---------------------------------------------------------------------------------------------- training


def curves(
    history: Sequence[Row], *, kept: int | None = None, loss_unit: str = "", only: str | None = None, dark: bool = False
) -> Figure:
    """Loss, score and learning rate per epoch, phases one after another, the epoch that was kept marked.

    Args:
        history: rows with `phase`, `epoch`, `loss`, `val_loss`, a score and its `val_` twin, `learning_rate`;
            numbers or their text (as read from history.csv). What is missing is left out.
        kept: the row whose weights were kept; without it the lowest validation loss is marked.
        loss_unit: what the loss is, on its axis.
        only: one of `curve_panels`, to draw it alone.
        dark: for a dark page.
    """
    panels = [only] if only else curve_panels(history)
    with style(dark) as colours:
        figure = blank(4.2 * len(panels), 3.1)
        for axis, key in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            if key == "learning_rate":
                _rates(axis, history, colours)
            else:
                _curve(axis, history, key, kept, colours)
                axis.set_ylabel(loss_unit if key == "loss" else "")
    return figure


def curve_panels(history: Sequence[Row]) -> list[str]:
    """The columns of `history` that `curves` has a panel for."""
    if not history:
        raise DataError("the history is empty; nothing was trained")
    metric, rates = score_name(history), number_column(history, "learning_rate")
    finite = rates[np.isfinite(rates)]
    changes = len(finite) > 0 and np.ptp(finite) > 0
    return ["loss", *([metric] if metric else []), *(["learning_rate"] if changes else [])]


def _rates(axis: Axes, history: Sequence[Row], colours: dict[str, str]) -> None:
    rates = number_column(history, "learning_rate")
    axis.plot(np.arange(1, len(rates) + 1), rates, color=GREEN)
    axis.set(title="learning rate", yscale="log", xlabel="epoch", ylabel="per step (logarithmic)")
    _phases(axis, history, colours)


def _curve(axis: Axes, history: Sequence[Row], key: str, kept: int | None, colours: dict[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    steps = np.arange(1, len(history) + 1)
    dots = "o" if len(steps) < 3 else None  # a line of one point would not be seen
    for name, colour, text in ((key, ORANGE, "training"), (f"val_{key}", colours["blue"], "validation")):
        values = number_column(history, name)
        if np.isfinite(values).any():
            axis.plot(steps, values, color=colour, label=text, marker=dots, ms=4)
            if name.startswith("val_"):
                _mark(axis, steps, values, kept, name, colour)
    axis.set(title=key.replace("_", " "), xlabel="epoch")
    if key.endswith("accuracy"):
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.margins(y=0.12)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _phases(axis, history, colours)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def _mark(axis: Axes, steps: Any, values: Any, kept: int | None, name: str, colour: str) -> None:
    """A dot where the kept epoch is, or at the lowest validation loss where that is not known."""
    if kept is not None and kept < len(values):
        axis.plot(steps[kept], values[kept], "o", color=colour, ms=7, label=f"kept: epoch {steps[kept]}")
    elif name == "val_loss":
        best = int(np.nanargmin(values))
        axis.plot(steps[best], values[best], "o", color=colour, ms=7, label="lowest validation loss")


def _phases(axis: Axes, history: Sequence[Row], colours: dict[str, str]) -> None:
    axis.set_xlim(0.5, len(history) + 0.5)
    names = [str(row.get("phase", "")) for row in history]
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    for start in starts if len(starts) > 1 else []:
        if start:
            axis.axvline(start + 0.5, color=colours["soft"], lw=0.8, ls=":")
        axis.annotate(
            label(terms.phase(names[start]), 24), (start + 0.6, 1.0), xycoords=("data", "axes fraction"), fontsize=7,
            va="top", xytext=(1, -1), textcoords="offset points", color=colours["soft"], parse_math=False,
        )  # fmt: skip


def score_name(history: Sequence[Row]) -> str | None:
    """The first column that has a `val_` twin and is not the loss; `accuracy` before others."""
    keys = [key for row in history for key in row]
    found = [k for k in dict.fromkeys(keys) if k != "loss" and f"val_{k}" in keys]
    found = found or [k[4:] for k in dict.fromkeys(keys) if k.startswith("val_") and k != "val_loss"]
    return "accuracy" if "accuracy" in found else (found[0] if found else None)


def number_column(history: Sequence[Row], key: str) -> npt.NDArray[np.float64]:
    """The numbers of one column of the rows; NaN where there is none.

    Args:
        history: rows of numbers or their text.
        key: the column.

    Returns:
        float64 [rows].
    """

    def number(value: Any) -> float:
        return float("nan") if value is None or value == "" else float(value)

    return np.array([number(row.get(key)) for row in history], np.float64)


# ---------------------------------------------------------------------------------------------- quality


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
    """Bars of the F1 of each class with 95 % intervals where known, the worst first.

    Args:
        rows: of the scores by class.
        dark: light on dark.

    Raises:
        DataError: no class has a defined F1.
    """
    known = sorted(((f1, row) for row in rows if (f1 := row.value("f1")) is not None), key=lambda pair: pair[0])
    if not known:
        raise DataError("no class has a defined F1")
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
        axis.axvline(float(values.mean()), color=ORANGE, lw=1.2)
        axis.annotate("mean", (float(values.mean()), 1), xycoords=("data", "axes fraction"), color=ORANGE,
                      xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
        axis.set(xlim=(0, 1.0), ylim=(-0.7, len(known) - 0.3), xlabel="F1; in brackets: test pictures")
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


# ---------------------------------------------------------------------------------------------- choices


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


def learning_rate_range(
    rates: Sequence[float], found: Sequence[float | None], chosen: float, *, dark: bool = False
) -> Figure:
    """Loss at rising learning rates, the chosen rate marked.

    Args:
        rates: of the steps.
        found: the loss of each; None: not finite.
        chosen: the rate that was taken.
        dark: light on dark.

    Raises:
        DataError: no loss is finite.
    """
    losses = np.array(found, np.float64)
    if not np.isfinite(losses).any():
        raise DataError("the learning-rate sweep has no finite loss")
    with style(dark) as colours:
        figure = blank(5.2, 3.1)
        axis = figure.subplots()
        axis.plot(rates, losses, color=colours["blue"])
        finite = losses[np.isfinite(losses)]
        # The sweep ends in an explosion that would flatten everything of interest.
        room = max(
            1e-9,
            float(np.median(finite) - finite.min()),
            float(finite[0] - finite.min()),
        )
        axis.set_ylim(float(finite.min() - 0.1 * room), float(finite.min() + 2.2 * room))
        axis.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axis.axvline(chosen, color=ORANGE, label=f"chosen {chosen:.2g}")
        axis.legend(fontsize=8)
    return figure
