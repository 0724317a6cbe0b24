"""Figures over several runs or networks: overlaid curves, and score against speed. Pure functions to Figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.errors import DataError
from transferkit.evaluation.canvas import GREEN, ORANGE, PURPLE, blank, label, style
from transferkit.evaluation.figures import number_column, score_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


def overlaid(
    histories: Mapping[str, Sequence[Row]], curves: Mapping[str, Row] | None = None, *, dark: bool = False
) -> Figure:
    """Validation loss and score per epoch of several runs, and their learning curves where there are any.

    `histories`: rows of history.csv by run name. `curves`: `sizes` and `scores` of `learning_curve` by run name.
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


def _learning(axis: Axes, curves: Mapping[str, Row], colours: Mapping[str, Any]) -> None:
    for name, curve in curves.items():
        axis.plot(curve["sizes"], curve["scores"], "o-", color=colours[name], ms=4)
    axis.set(title="linear probe, by training pictures", xscale="log", xlabel="training pictures")
    ticks = sorted({size for curve in curves.values() for size in (min(curve["sizes"]), max(curve["sizes"]))})
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def _colours(count: int, blue: str) -> list[Any]:
    import matplotlib

    few = [blue, ORANGE, GREEN, PURPLE]
    return few[:count] if count <= len(few) else list(matplotlib.colormaps["viridis"](np.linspace(0, 0.95, count)))
