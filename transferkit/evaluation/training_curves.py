"""Curves of a training as figures: losses, scores and learning rates by epoch, and the learning-rate finder's sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from transferkit import terms
from transferkit.errors import DataError
from transferkit.evaluation.plot_style import GREEN, ORANGE, blank, label, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


def curves(
    history: Sequence[Row], *, kept: int | None = None, loss_unit: str = "", only: str | None = None, dark: bool = False
) -> Figure:
    """Loss, score and learning rate per epoch, phases one after another, the epoch that was kept marked.

    Args:
        history: rows with `phase`, `epoch`, `loss`, `val_loss`, a score and its `val_` counterpart, `learning_rate`;
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
    """The columns of a history that `curves` has a panel for.

    Args:
        history: rows of history.csv.

    Raises:
        DataError: it is empty.
    """
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
    """The first column that has a `val_` counterpart and is not the loss; `accuracy` before others."""
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
