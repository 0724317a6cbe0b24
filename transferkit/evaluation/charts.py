"""Figures over several runs or networks: overlaid curves, and score against speed. Pure functions to Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.errors import DataError
from transferkit.evaluation.metrics_record import LearningCurve
from transferkit.evaluation.plot_style import GREEN, ORANGE, PURPLE, blank, label, style
from transferkit.evaluation.training_curves import number_column, score_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


def overlaid(
    histories: Mapping[str, Sequence[Row]], curves: Mapping[str, LearningCurve] | None = None, *, dark: bool = False
) -> Figure:
    """Validation loss and score per epoch of several runs, and their learning curves where there are any.

    Args:
        histories: rows of history.csv by run name.
        curves: `sizes` and `scores` of `learning_curve` by run name.
        dark: light on dark.

    Raises:
        DataError: there are no runs.
    """
    if not histories:
        raise DataError("no runs to draw")
    scores = {name: score_name(rows) for name, rows in histories.items()}
    panels = [("validation loss", dict.fromkeys(histories, "val_loss"))]
    if any(scores.values()):
        title = ", ".join(dict.fromkeys(s.replace("_", " ") for s in scores.values() if s))
        panels.append((f"validation {title}", {name: f"val_{s}" for name, s in scores.items() if s}))
    with style(dark) as colours:
        figure = blank(4.4 * (len(panels) + bool(curves)), 3.6)
        axes = figure.subplots(1, len(panels) + bool(curves), squeeze=False)[0]
        drawn = dict(zip(histories, _colours(len(histories), colours["blue"]), strict=True))
        for axis, (title, keys) in zip(axes, panels, strict=False):
            for name, key in keys.items():
                values = number_column(histories[name], key)
                axis.plot(np.arange(1, len(values) + 1), values, color=drawn[name], marker="o", ms=2)
            axis.set(title=title, xlabel="epoch")
        if curves:
            _learning(axes[-1], curves, drawn)
        for name, colour in drawn.items():
            axes[0].plot([], [], color=colour, label=label(name).replace("$", r"\$"))
        figure.legend(loc="outside lower center", ncols=min(4, len(drawn)), fontsize=8)
    return figure


def _learning(axis: Axes, curves: Mapping[str, LearningCurve], colours: Mapping[str, Any]) -> None:
    for name, curve in curves.items():
        axis.plot(curve.sizes, curve.scores, "o-", color=colours[name], ms=4)
    axis.set(title="simplest classifier (linear probe), by training pictures", xscale="log", xlabel="training pictures")
    ticks = sorted({size for curve in curves.values() for size in (min(curve.sizes), max(curve.sizes))})
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def _colours(count: int, blue: str) -> list[Any]:
    import matplotlib

    few = [blue, ORANGE, GREEN, PURPLE]
    return few[:count] if count <= len(few) else list(matplotlib.colormaps["viridis"](np.linspace(0, 0.95, count)))


def speed(rows: Sequence[Row], *, dark: bool = False) -> Figure:
    """Score against images a second, one mark a network (area: parameters), the Pareto front joined.

    Args:
        rows: `backbone`, `metric`, `score`, `spread`, `images_per_second`, `parameters`, `pareto`.
        dark: light on dark.

    Raises:
        DataError: there are no networks.
    """
    if not rows:
        raise DataError("no networks to draw")
    with style(dark) as colours:
        figure = blank(6.0, 4.2)
        axis = figure.subplots()
        front = sorted((r for r in rows if r["pareto"]), key=lambda r: float(r["images_per_second"]))
        axis.plot([r["images_per_second"] for r in front], [r["score"] for r in front], color=ORANGE, lw=1.2, zorder=1)
        for row in rows:
            x, y = float(row["images_per_second"]), float(row["score"])
            axis.errorbar(x, y, float(row["spread"]), color=colours["soft"], lw=0.8, zorder=2)
            area = 12 + 240 * float(np.sqrt(row["parameters"] / 1.5e8))
            axis.scatter([x], [y], s=area, color=ORANGE if row["pareto"] else colours["blue"], zorder=3, ec="none")
            axis.annotate(
                label(row["backbone"]), (x, y), xytext=(6, 5), textcoords="offset points", fontsize=8, parse_math=False
            )
        axis.set(xscale="log", xlabel="images a second, on this machine", ylabel=str(rows[0]["metric"]))
        axis.margins(x=0.25, y=0.15)
        axis.set_title("orange: none is both better and faster", fontsize=8)
    return figure
