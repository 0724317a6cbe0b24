"""Figures of a finished search, from what lies in its run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit import text
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import ImportanceRecord
from transferkit.record import JsonObject
from transferkit.tuning import search_figures
from transferkit.tuning.importance import Importance
from transferkit.tuning.journal import Journal, require_sound
from transferkit.tuning.search_space.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELDS = {"shares", "spread", "explained", "trials"}  # of `Importance`
Builders = dict[str, tuple[str, "Callable[[bool], Figure]"]]


def content(path: Path, metric: str, maximise: bool, mattered: ImportanceRecord | None) -> JsonObject:
    """What the figures of a search show, as plain values.

    Args:
        path: of its journal.
        metric: its goal.
        maximise: whether that is better when it is higher.
        mattered: how much each setting mattered, if that can be said.

    Raises:
        RunError: the journal is damaged.
    """
    header, events = Journal.read(path)
    require_sound(path, events)
    try:
        Space.from_dict(header["space"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{text.shown(path)} is damaged (its first line: {text.shown(str(error)[:200])})") from error
    asked = {e["trial"]: e["proposal"] for e in events if e["event"] == "ask"}
    told = [e for e in events if e["event"] == "tell"]
    most = max((asked[e["trial"]]["epochs"] for e in told if e["score"] is not None), default=0)
    # Only what was trained for as many epochs is compared.
    alike = [[asked[e["trial"]]["values"], e["score"]] for e in told if asked[e["trial"]]["epochs"] == most]
    return {
        "space": header["space"], "metric": metric, "maximise": maximise, "scores": [e["score"] for e in told],
        "tried": alike, "mattered": None if mattered is None else mattered.model_dump(include=FIELDS),
    }  # fmt: skip


def builders(shown: Mapping[str, Any]) -> Builders:
    """The figures of a search.

    Args:
        shown: what `content` gave.

    Returns:
        Name → what it shows, and how it is drawn (light or dark).
    """
    space, metric, way = Space.from_dict(shown["space"]), shown["metric"], shown["maximise"]
    tried = [(space.active(values), score) for values, score in shown["tried"]]
    found: Builders = {
        "search_over_time": (
            "score of every trial in the order in which they ended, and the best so far",
            lambda dark: search_figures.over_time(shown["scores"], metric, maximise=way, dark=dark),
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
    if shown["mattered"] is not None:
        mattered = Importance(**shown["mattered"])
        found["search_importance"] = (
            "how much each setting mattered, judged on trials that were left out",
            lambda dark: search_figures.importance_bars(mattered, dark=dark),
        )
    return found
