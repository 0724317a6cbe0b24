"""The figures of a run, each built and laid out once: SVG for the page, its dark form, and PNG for the folder.

What they show is plain values, known before the run is done: another process may draw them meanwhile (`beside`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from transferkit import tasks, terms
from transferkit.delivery.report.content import ReportContent
from transferkit.evaluation import figures, plot_style, training_curves
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Scores
from transferkit.files import parse_json, to_json
from transferkit.record import HistoryRow, JsonObject
from transferkit.runs.run_record import RatePoint
from transferkit.tuning import gallery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pairs = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
BY_THE_PAGE = {"per_class"}  # which the page draws by itself, and only the folder has
MANY = 25  # classes above which a PNG is smaller than an SVG of all those marks


@dataclass
class Drawing:
    """One figure. `build(dark)` makes it; `recoloured` if its dark form differs in the colours of the paper alone.

    `panels` build its parts one by one, for a page that sets them side by side or, on a phone, below each other.
    """

    alt: str
    build: Callable[[bool], Figure]
    recoloured: bool
    vector: bool
    wide: bool = False
    panels: Sequence[Callable[[bool], Figure]] = ()

    @cached_property
    def figure(self) -> Figure:
        """The light figure."""
        return self.build(False)

    def png(self) -> bytes:
        """For a folder of figures."""
        return plot_style.encode(self.figure)

    def addresses(self) -> list[tuple[str, str]]:
        """`data:` addresses of the light and the dark figure, for the page: a pair for each panel."""
        if len(self.panels) > 1:
            return [self._pair(build(False), build) for build in self.panels]
        return [self._pair(self.figure, self.build)]

    def _pair(self, figure: Figure, build: Callable[[bool], Figure]) -> tuple[str, str]:
        kind: Any = "svg" if self.vector else "png"
        light = plot_style.encode(figure, kind)
        # Building and laying out a figure costs ten times what exchanging five colours does.
        dark = plot_style.darkened(light) if self.vector and self.recoloured else plot_style.encode(build(True), kind)
        return plot_style.address(light, kind), plot_style.address(dark, kind)


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn elsewhere; see `Drawing`."""

    alt: str
    wide: bool
    encoded: bytes
    pairs: list[tuple[str, str]]

    def png(self) -> bytes:
        """For a folder of figures."""
        return self.encoded

    def addresses(self) -> list[tuple[str, str]]:
        """For the page."""
        return self.pairs


def facts_of_training(content: ReportContent) -> str:
    """What the figures of a training show, as JSON: the same text for the same figures."""
    metrics, sweep = content["metrics"], content.get("learning_rate_range")
    learnt = metrics.learning_curve
    return to_json({
        "metrics": _named(metrics) | {"test": {"n": 0}, "learning_curve": None if learnt is None else learnt.as_json()},
        "history": [*content.get("history", ())], "kept": content.get("kept"),
        "settings": {"loss": str((content.get("settings") or {}).get("loss", ""))},
        "learning_rate_range": None if sweep is None else [[point.as_json() for point in sweep[0]], sweep[1]],
    })  # fmt: skip


def facts_of_test(content: ReportContent) -> str:
    """What the figures of the test pictures show, as JSON: the same text for the same figures."""
    pairs = content.get("regression")
    return to_json(
        {
            "metrics": _named(content["metrics"]) | {"test": content["metrics"].test},
            "confusion": content["confusion"].tolist() if "confusion" in content else None,
            "reliability": [*content.get("reliability", ())],
            "regression": None if pairs is None else [np.asarray(one).tolist() for one in pairs],
        }
    )


def _named(metrics: MetricsRecord) -> JsonObject:
    return {"task": metrics.task, "classes": [*metrics.classes], "goal": metrics.goal, "baselines": {}}


def from_facts(facts: str) -> dict[str, Drawing]:
    """The figures of a text of what they show (`facts_of_training`, `facts_of_test`, `facts_of_search`)."""
    found = parse_json(facts.encode())
    if "search" in found:
        return _of_search(found["search"])
    content = ReportContent(metrics=MetricsRecord.read(found["metrics"]))
    if "history" in found:
        content["history"], content["kept"], content["settings"] = found["history"], found["kept"], found["settings"]
    if found.get("reliability"):
        content["reliability"] = found["reliability"]
    if found.get("confusion") is not None:
        content["confusion"] = np.array(found["confusion"], np.int64)
    if found.get("regression") is not None:
        targets, outputs = (np.array(one, np.float64) for one in found["regression"])
        content["regression"] = targets, outputs
    if found.get("learning_rate_range") is not None:
        points, chosen = found["learning_rate_range"]
        content["learning_rate_range"] = [RatePoint.read(point) for point in points], chosen
    return _of_run(content)


def facts_of_search(shown: JsonObject) -> str:
    """What the figures of a search show (`tuning.gallery.content`), as JSON."""
    return to_json({"search": shown})


def drawings(content: ReportContent) -> dict[str, Drawing]:
    """Every figure that `content` has the numbers for, by name."""
    search = content.get("search")
    return _of_run(content) | ({} if search is None else _of_search(search))


def _of_search(shown: JsonObject) -> dict[str, Drawing]:
    return {
        key: Drawing(alt, build, recoloured=False, vector=True, wide=key != "search_importance")
        for key, (alt, build) in gallery.builders(shown).items()
    }


def _of_run(content: ReportContent) -> dict[str, Drawing]:
    metrics = content["metrics"]
    test, names, curve = metrics.test, metrics.classes, metrics.learning_curve
    pairs, sweep = content.get("regression"), content.get("learning_rate_range")
    matrix = content["confusion"] if "confusion" in content else np.array(test.confusion, np.int64)
    where = "predictions.csv" if "confusion" in content else "metrics.json"
    # given, words for those who cannot see it, how it is built
    wanted: dict[str, tuple[Any, str, Callable[[bool], Figure]]] = {
        "curves": (content.get("history"), "loss and score by epoch",
                   lambda dark: training_curves.curves(content["history"], **_curves(content), dark=dark)),
        "confusion": (matrix.size, f"confusion matrix; the counts are in {where}",
                      lambda dark: figures.confusion(matrix, names, dark=dark)),
        "per_class": (not tasks.of(metrics.task).numbers and _has_f1(test), "F1 of each class; the numbers are below",
                      lambda dark: figures.per_class(test.rows, dark=dark)),
        "reliability": (content.get("reliability"), "accuracy against confidence",
                        lambda dark: figures.reliability(content["reliability"], dark=dark)),
        "regression": (pairs, "predicted against true values",
                       lambda dark: figures.regression(*content["regression"], names=names, dark=dark)),
        "learning_curve": (curve, "score against the number of training pictures",
                           lambda dark: _learning_curve(metrics, dark)),
        "learning_rate_range": (sweep, "loss against learning rate",
                                lambda dark: _learning_rates(content["learning_rate_range"], dark)),
    }  # fmt: skip
    crowded = {"confusion", "per_class"} if len(names) > MANY else {"regression"}  # of very many marks
    return {
        key: Drawing(alt, build, recoloured=key != "confusion", vector=key not in crowded, panels=_panels(key, content))
        for key, (given, alt, build) in wanted.items()
        if given
    }


def _has_f1(test: Scores) -> bool:
    return any(row.value("f1") is not None for row in test.rows)


def _learning_curve(metrics: MetricsRecord, dark: bool) -> Figure:
    curve = metrics.learning_curve
    assert curve is not None
    return figures.learning_curve(curve.sizes, curve.scores, curve.fit, terms.score(curve.metric), dark=dark)


def _learning_rates(sweep: tuple[Sequence[RatePoint], float], dark: bool) -> Figure:
    points, chosen = sweep
    rates, losses = [point.learning_rate for point in points], [point.loss for point in points]
    return training_curves.learning_rate_range(rates, losses, chosen, dark=dark)


class _CurveOptions(TypedDict):
    """Arguments of `training_curves.curves` beside the history."""

    kept: int | None
    loss_unit: str


def _curves(content: ReportContent) -> _CurveOptions:
    losses = {"crossentropy": "cross-entropy, nats", "squared": "squared error", "absolute": "absolute error",
              "huber": "Huber loss"}  # fmt: skip
    named = str((content.get("settings") or {}).get("loss", "")).split(" ")[0]
    return {"kept": content.get("kept"), "loss_unit": losses.get(named, "")}


def _panels(key: str, content: ReportContent) -> list[Callable[[bool], Figure]]:
    """The parts of a figure that can stand by themselves."""
    if key == "curves":
        history, how = content["history"], _curves(content)
        return [partial(_only_curve, history, how, name) for name in training_curves.curve_panels(history)]
    if key == "regression":
        names, pairs = content["metrics"].classes, content["regression"]
        return [partial(_only_target, pairs, names, t) for t in range(min(6, len(names)))]
    return []


def _only_curve(history: Sequence[HistoryRow], how: _CurveOptions, name: str, dark: bool) -> Figure:
    return training_curves.curves(history, **how, only=name, dark=dark)


def _only_target(pairs: Pairs, names: list[str], target: int, dark: bool) -> Figure:
    return figures.regression(*pairs, names=names, only=target, dark=dark)
