"""Figures of a finished search, from what lies in its run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transferkit.runs.layout import Layout
from transferkit.tuning import figures
from transferkit.tuning.importance import importance
from transferkit.tuning.journal import Journal
from transferkit.tuning.results import SearchFiles
from transferkit.tuning.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = {
    "search_over_time": "Score of every trial in the order in which they ended, and the best so far.",
    "search_settings": "Each searched setting against the score.",
    "search_parallel": "One line a trial, through its settings to its score; the best is drawn thickest.",
    "search_importance": "How much each setting mattered, judged on trials that were left out.",
}


def drawn(layout: Layout, search: Mapping[str, Any], *, dark: bool = False) -> dict[str, Figure]:
    """Name → figure, in the order in which a reader wants them. `search` is that part of metrics.json."""
    header, events = Journal.read(SearchFiles(layout).journal)
    space = Space.from_dict(header["space"])
    asked = {e["trial"]: e["proposal"] for e in events if e["event"] == "ask"}
    told = [e for e in events if e["event"] == "tell"]
    metric, maximise = str(search["metric"]), bool(search["maximise"])
    most = max((asked[e["trial"]]["epochs"] for e in told if e["score"] is not None), default=0)
    alike = [(asked[e["trial"]]["values"], e["score"]) for e in told if asked[e["trial"]]["epochs"] == most]
    tried = [(space.active(values), score) for values, score in alike]
    found = {"search_over_time": figures.over_time([e["score"] for e in told], metric, maximise=maximise, dark=dark)}
    found["search_settings"] = figures.against_score(space, tried, metric, maximise=maximise, dark=dark)
    if len(space.names) > 1:
        found["search_parallel"] = figures.parallel(space, tried, metric, maximise=maximise, dark=dark)
    mattered = importance(space, tried, int(header["settings"]["seed"]))
    if mattered is not None:
        found["search_importance"] = figures.importance_bars(mattered, dark=dark)
    return found
