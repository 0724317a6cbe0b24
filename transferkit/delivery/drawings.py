"""The figures of a run, each built and laid out once: SVG for the page, its dark twin, and PNG for the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transferkit.delivery.content import ReportContent
from transferkit.evaluation import canvas, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 25  # classes above which a PNG is smaller than an SVG of all those marks


@dataclass
class Drawing:
    """One figure. `build(dark)` makes it; `recoloured` if its dark twin differs in the colours of the paper alone."""

    alt: str
    build: Callable[[bool], Figure]
    recoloured: bool
    vector: bool
    wide: bool

    @cached_property
    def figure(self) -> Figure:
        """The light figure."""
        return self.build(False)

    def png(self) -> bytes:
        """For a folder of figures."""
        return canvas.encode(self.figure)

    def addresses(self) -> tuple[str, str]:
        """`data:` addresses of the light and the dark figure, for the page."""
        kind: Any = "svg" if self.vector else "png"
        light = canvas.encode(self.figure, kind)
        # Building and laying out a figure costs ten times what exchanging five colours does.
        dark = canvas.darkened(light) if self.vector and self.recoloured else canvas.encode(self.build(True), kind)
        return canvas.address(light, kind), canvas.address(dark, kind)


def drawings(content: ReportContent, task: str) -> dict[str, Drawing]:
    """Every figure that `content` has the numbers for, by name."""
    metrics: Mapping[str, Any] = content.get("metrics") or {}
    test, names = metrics.get("test") or {}, list(content.get("classes") or [])
    curve, sweep = content.get("learning_curve"), content.get("learning_rate_range")
    pairs = content.get("regression")
    # given, words for those who cannot see it, how it is built
    wanted: dict[str, tuple[Any, str, Callable[[bool], Figure]]] = {
        "curves": (content.get("history"), "loss and score by epoch",
                   lambda dark: figures.curves(content["history"], dark=dark)),
        "confusion": (test.get("confusion") and names, "confusion matrix; the counts are in metrics.json",
                      lambda dark: figures.confusion(test["confusion"], names, dark=dark)),
        "per_class": (task != "regress" and _has_f1(test), "F1 of each class; the numbers are below",
                      lambda dark: figures.per_class(test["per_class"], dark=dark)),
        "reliability": (content.get("reliability"), "accuracy against confidence",
                        lambda dark: figures.reliability(content["reliability"], dark=dark)),
        "regression": (pairs, "predicted against true values",
                       lambda dark: figures.regression(**dict(pairs or {}), names=names, dark=dark)),
        "learning_curve": (curve, "score against the number of training pictures",
                           lambda dark: figures.learning_curve(**dict(curve or {}), dark=dark)),
        "learning_rate_range": (sweep, "loss against learning rate",
                                lambda dark: figures.learning_rate_range(**dict(sweep or {}), dark=dark)),
    }  # fmt: skip
    many = len(names) > MANY or bool(pairs)
    found = {
        key: Drawing(alt, build, recoloured=key != "confusion", vector=not many, wide=key == "curves" or many)
        for key, (given, alt, build) in wanted.items()
        if given
    }
    for key, (alt, build) in (content.get("search_figures") or {}).items():
        found[key] = Drawing(alt, build, recoloured=False, vector=True, wide=key != "search_importance")
    return found


def _has_f1(test: Mapping[str, Any]) -> bool:
    return any(row.get("f1") is not None for row in test.get("per_class") or [])
