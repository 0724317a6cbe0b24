"""Figures of a search: score over time, parallel coordinates, importance, each setting against score. Pure functions.

`trials` are pairs of values and score in the order they ended; a score of None is a failed trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit.errors import DataError
from transferkit.evaluation.plot_style import GREEN, ORANGE, blank, label, style
from transferkit.tuning.importance import Importance, Tried
from transferkit.tuning.search_space.dimensions import spelled
from transferkit.tuning.search_space.space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OFF = -0.12  # where a setting that was not active is drawn, below its axis


def _harmless(text: Any, longest: int = 24) -> str:
    """Text without control characters that matplotlib will not take for a formula."""
    return label(str(text), longest).replace("$", r"\$")


def over_time(
    scores: Sequence[float | None], metric: str, *, maximise: bool = True, seconds: Sequence[float] | None = None,
    dark: bool = False,
) -> Figure:  # fmt: skip
    """Score of every trial in the order they ended, and the best so far; failed ones as crosses at the foot.

    Args:
        scores: of the trials; None: failed.
        metric: what they are called on the axis.
        maximise: whether greater is better.
        seconds: since the search began, one a trial: the axis is time then.
        dark: for a dark page.

    Raises:
        DataError: there is no trial.
    """
    if not scores:
        raise DataError("no trials to draw")
    places = np.arange(1, len(scores) + 1, dtype=float) if seconds is None else np.asarray(seconds, float)
    values = np.array([np.nan if s is None else s for s in scores], float)
    good = np.isfinite(values)
    with style(dark) as colours:
        figure = blank(6.0, 3.3)
        axis = figure.subplots()
        if good.any():
            axis.plot(places[good], values[good], "o", ms=4, color=colours["blue"], label="trial")
            best = (np.fmax if maximise else np.fmin).accumulate(values)
            axis.step(places, best, where="post", color=ORANGE, label="best so far")
        if not good.all():
            low = np.zeros(int((~good).sum()))
            axis.plot(
                places[~good], low + 0.02, "x", ms=5, color=colours["soft"], label="failed",
                transform=axis.get_xaxis_transform(),
            )  # fmt: skip
        axis.set(xlabel="trial" if seconds is None else "seconds since the start", ylabel=_harmless(metric))
        axis.margins(x=0.05, y=0.12)
        if seconds is None:
            from matplotlib.ticker import MaxNLocator

            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.legend(fontsize=8, loc="lower right" if maximise else "upper right")
    return figure


# ---------------------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class _Scale:
    """Where values of one setting lie on an axis from 0 to 1, and what is written there."""

    name: str
    choices: tuple[str, ...]  # empty: a range of numbers
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: Any) -> float:
        if value is None:
            return OFF
        if self.choices:
            return self._even(self.choices.index(spelled(_tuple(value))))
        number, low, high = (float(_first(v)) for v in (value, self.low, self.high))
        if self.log:
            number, low, high = math.log(number), math.log(low), math.log(high)
        return (number - low) / (high - low)

    def _even(self, index: int) -> float:
        return index / (len(self.choices) - 1) if len(self.choices) > 1 else 0.5

    def ticks(self) -> tuple[list[float], list[str]]:
        if self.choices:
            shown = range(0, len(self.choices), math.ceil(len(self.choices) / 12))
            return [self._even(i) for i in shown], [_harmless(self.choices[i], 14) for i in shown]
        numbers = [self.low, *self._between(), self.high]
        return [self.place(v) for v in numbers], [f"{v:.4g}" for v in numbers]

    def _between(self) -> list[float]:
        """Round numbers inside the range: powers of ten on a log scale, quarters on a linear one."""
        if not self.log:
            return [self.low + share * (self.high - self.low) for share in (0.25, 0.5, 0.75)]
        tens = [10.0**power for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)]
        return [ten for ten in tens if self.low < ten < self.high and 0.12 < self.place(ten) < 0.88]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def _scales(space: Space) -> list[_Scale]:
    found = []
    for name in space.names:
        mine = [d for d in space.dimensions if d.name == name]
        if all(d.kind != "choice" for d in mine):
            ends = [d.range() for d in mine]
            low, high = min(low for low, _ in ends), max(high for _, high in ends)
            found.append(_Scale(name, (), low, high, all(d.log for d in mine)))
        else:
            values = [v for d in mine for v in (d.values if d.kind == "choice" else d.points(5))]
            found.append(_Scale(name, tuple(dict.fromkeys(spelled(v) for v in values))))
    return found


def _scored(trials: Sequence[Tried]) -> list[tuple[Mapping[str, Any], float]]:
    found = [(values, float(score)) for values, score in trials if score is not None and math.isfinite(score)]
    if not found:
        raise DataError("no trial has a score; nothing can be drawn")
    return found


def parallel(
    space: Space, trials: Sequence[Tried], metric: str, *, maximise: bool = True, dark: bool = False
) -> Figure:
    """One line a scored trial through all its settings to its score; the best drawn last and thickest.

    Args:
        space: the settings; one that was not active is passed below its axis.
        trials: values and score of each (None: failed).
        metric: what scores are called on the axis.
        maximise: whether greater is better.
        dark: for a dark page.

    Raises:
        DataError: no trial has a score.
    """
    import matplotlib

    scored, scales = _scored(trials), _scales(space)
    values = np.array([score for _, score in scored])
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    good = shares if maximise else 1 - shares
    with style(dark) as colours:
        figure = blank(max(5.0, 1.5 * (len(scales) + 1)), 3.8)
        axis = figure.subplots()
        shades = matplotlib.colormaps["viridis" if dark else "viridis_r"]
        for rank, i in enumerate(order := np.argsort(good, kind="stable")):
            heights = [*(scale.place(scored[i][0].get(scale.name)) for scale in scales), shares[i]]
            best = rank == len(order) - 1
            colour = ORANGE if best else shades(0.1 + 0.85 * good[i])
            axis.plot(range(len(heights)), heights, color=colour, lw=2.6 if best else 1.0, alpha=1 if best else 0.6)
        for place, scale in enumerate(scales):
            heights, texts = scale.ticks()
            off = any(values.get(scale.name) is None for values, _ in scored)
            _upright(axis, place, [*heights, OFF] if off else heights, [*texts, "off"] if off else texts, colours)
        _upright(axis, len(scales), [0.0, 0.5, 1.0], [f"{v:.4g}" for v in (low, (low + high) / 2, high)]
                 if high > low else ["", f"{low:.4g}", ""], colours)  # fmt: skip
        names = [*(scale.name for scale in scales), metric]
        axis.set_xticks(range(len(names)), [_harmless(name.replace("_", " ")) for name in names])
        axis.set(yticks=[], xlim=(-0.3, len(scales) + 0.6), ylim=(OFF - 0.06, 1.06))
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    return figure


def _upright(axis: Axes, place: int, heights: Sequence[float], texts: Sequence[str], colours: dict[str, str]) -> None:
    axis.axvline(place, color=colours["soft"], lw=0.8, zorder=0)
    behind = {"boxstyle": "square,pad=0.1", "fc": colours["paper"], "ec": "none", "alpha": 0.7}
    for height, text in zip(heights, texts, strict=True):
        axis.annotate(
            text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=7, va="center",
            color=colours["ink"], bbox=behind,
        )  # fmt: skip


def importance_bars(found: Importance, *, dark: bool = False) -> Figure:
    """Share of each setting in what the trials explain, with its spread; says so where they explain nothing.

    Args:
        found: of `importance`.
        dark: for a dark page.
    """
    names = list(found.shares)[::-1]
    with style(dark) as colours:
        figure = blank(5.4, max(1.8, 0.9 + 0.32 * len(names)))
        axis = figure.subplots()
        shares = [found.shares[name] for name in names]
        colour = colours["blue"] if found.reliable else colours["soft"]
        spread = [[min(s, found.spread[n]) for s, n in zip(shares, names, strict=True)],
                  [found.spread[n] for n in names]]  # fmt: skip
        axis.barh(
            range(len(names)), shares, 0.7, color=colour, xerr=spread, error_kw={"ecolor": colours["ink"], "lw": 1}
        )
        axis.set_yticks(range(len(names)), [_harmless(name.replace("_", " ")) for name in names])
        axis.set_xlim(0, max(1e-9, 1.05 * max(s + e for s, e in zip(shares, spread[1], strict=True))))
        said = "" if found.reliable else ": too little to go by"
        axis.set(xlabel="share of what the settings explain")
        axis.set_title(f"{found.trials} trials explain {max(0.0, found.explained):.0%} of the score{said}", fontsize=8)
        axis.grid(visible=False, axis="y")
    return figure


def against_score(
    space: Space, trials: Sequence[Tried], metric: str, *, maximise: bool = True, dark: bool = False
) -> Figure:
    """One panel a setting: its value against the score of every scored trial, the best one marked.

    Choices lie side by side with their mean as a bar.

    Args:
        space, trials, metric, maximise, dark: as for `parallel`.

    Raises:
        DataError: no trial has a score.
    """
    scored, scales = _scored(trials), _scales(space)
    sign = 1 if maximise else -1
    best = max(range(len(scored)), key=lambda i: (sign * scored[i][1], i))  # of equals the last, as in `parallel`
    columns = min(3, len(scales))
    rows = math.ceil(len(scales) / columns)
    with style(dark) as colours:
        figure = blank(3.1 * columns + 0.4, 2.5 * rows + 0.2)
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axis, scale in zip(axes, scales, strict=False):
            _panel(axis, scale, scored, best, colours)
        for axis in axes[len(scales) :]:
            axis.set_axis_off()
        for axis in axes[::columns]:
            axis.set_ylabel(_harmless(metric))
    return figure


def _panel(
    axis: Axes, scale: _Scale, scored: Sequence[tuple[Mapping[str, Any], float]], best: int, colours: dict[str, str]
) -> None:
    active = [(scale.place(values[scale.name]), score, i) for i, (values, score) in enumerate(scored)
              if values.get(scale.name) is not None]  # fmt: skip
    if scale.choices:
        width = min(0.1, 0.3 / max(1, len(scale.choices) - 1))
        for place in sorted({x for x, _, _ in active}):
            mean = float(np.mean([score for x, score, _ in active if x == place]))
            axis.plot([place - width, place + width], [mean, mean], color=GREEN, lw=2)
    axis.plot([x for x, _, _ in active], [y for _, y, _ in active], "o", ms=4, alpha=0.7, mew=0, color=colours["blue"])
    axis.plot([x for x, _, i in active if i == best], [y for _, y, i in active if i == best], "o", ms=7, color=ORANGE)
    places, texts = scale.ticks()
    turned = sum(map(len, texts)) > 26
    axis.set_xticks(places, texts, fontsize=7, rotation=30 if turned else 0, ha="right" if turned else "center")
    axis.set_title(_harmless(scale.name.replace("_", " ")), fontsize=9)
    axis.set_xlim(-0.12, 1.12)
    axis.margins(y=0.12)
