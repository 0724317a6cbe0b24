"""Figures of a finished search, from what lies in its run directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import SearchRecord
from transferkit.runs.layout import Layout
from transferkit.tuning import search_figures
from transferkit.tuning.importance import Importance
from transferkit.tuning.journal import Journal, require_sound
from transferkit.tuning.search_space.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Builders = dict[str, tuple[str, "Callable[[bool], Figure]"]]


def builders(layout: Layout, search: SearchRecord) -> Builders:
    """The figures of a finished search.

    Args:
        layout: of the run, whose journal is read.
        search: that part of metrics.json.

    Returns:
        Name → what it shows, and how it is drawn (light or dark).

    Raises:
        RunError: the journal is damaged, or is not the one that the run was finished with.
    """
    path = layout.journal
    layout.check_sealed(path)
    header, events = Journal.read(path)
    require_sound(path, events)
    try:
        space = Space.from_dict(header["space"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{shown(path)} is damaged (its first line: {shown(str(error)[:200])})") from error
    asked = {e["trial"]: e["proposal"] for e in events if e["event"] == "ask"}
    told = [e for e in events if e["event"] == "tell"]
    scores, metric, way = [e["score"] for e in told], search.metric, search.maximise
    most = max((asked[e["trial"]]["epochs"] for e in told if e["score"] is not None), default=0)
    # Only what was trained for as many epochs is compared.
    alike = [(asked[e["trial"]]["values"], e["score"]) for e in told if asked[e["trial"]]["epochs"] == most]
    tried = [(space.active(values), score) for values, score in alike]
    found: Builders = {
        "search_over_time": (
            "score of every trial in the order in which they ended, and the best so far",
            lambda dark: search_figures.over_time(scores, metric, maximise=way, dark=dark),
        ),
        "search_settings": (
            "each searched setting against the score",
            lambda dark: search_figures.against_score(space, tried, metric, maximise=way, dark=dark),
        ),
    }
    if len(space.names) > 1:
        found["search_parallel"] = (
            "one line a trial, through its settings to its score",
            lambda dark: search_figures.parallel(space, tried, metric, maximise=way, dark=dark),
        )
    if search.importance is not None:
        record = search.importance
        mattered = Importance(record.shares, record.spread, record.explained, record.trials)
        found["search_importance"] = (
            "how much each setting mattered, judged on trials that were left out",
            lambda dark: search_figures.importance_bars(mattered, dark=dark),
        )
    return found
