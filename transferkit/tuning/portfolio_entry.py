"""From what a user asks of `best` to a comparison of networks that can begin: every problem found first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit import config
from transferkit.config import Given, Settings
from transferkit.config.values import parse_duration
from transferkit.runs import preflight
from transferkit.runs.advice import IN_PYTHON
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import repeatable
from transferkit.tuning import search_settings as how
from transferkit.tuning.entry import check_search
from transferkit.tuning.portfolio_settings import PLACE, SETTINGS
from transferkit.tuning.search_settings import SearchSettings


@dataclass(frozen=True)
class PortfolioRequest:
    """A comparison that nothing speaks against. `networks`: the first is always finished; `budget` in seconds; `place`:
    where networks are compared; `distill`: the student, empty for none."""

    base: Settings
    networks: tuple[str, ...]
    named: bool
    budget: float
    place: SearchSettings
    command: str
    distill: str = ""


def request(
    networks: Sequence[str], named: bool, budget: Any, given: Given, origin: str | None, folder: Path, resume: bool,
    offline: bool, distill: str = "", problems: Sequence[str] = (),
) -> PortfolioRequest:  # fmt: skip
    """Check all that a comparison of networks was asked for.

    Args:
        networks: to compare, in their order.
        named: whether the user named them; else they were found.
        budget: seconds, or text as `10m`.
        given: fields of Settings, and of SearchSettings those that say where networks are compared.
        origin: the path of the data; None for what is in memory.
        folder: of the run.
        resume: whether a comparison may be there already.
        offline: never fetch weights.
        distill: a network to be taught afterwards; empty for none.
        problems: those found before.

    Raises:
        ConfigError: lists every problem.
    """
    found = [*problems, *check_search(Layout(folder).networks, resume, "a comparison of networks")]
    found += preflight.inside(folder, origin)
    base, seconds, place = settle(networks, budget, distill, given, offline, found)
    command = _command(origin, base, networks if named else (), seconds, place, folder, distill)
    return PortfolioRequest(base, tuple(networks), named, seconds, place, command, distill)


def settle(
    networks: Sequence[str], budget: Any, distill: str, given: Given, offline: bool, problems: Sequence[str] = ()
) -> tuple[Settings, float, SearchSettings]:
    """The settings that all networks share, seconds, and where networks are compared; without looking at any folder.

    Args:
        networks, budget, distill, given, offline, problems: as for `request`.

    Returns:
        Settings, which name the first network; seconds; and where networks are compared, in the words of a search.

    Raises:
        ConfigError: lists every problem, `problems` among them.
    """
    found = list(problems)
    found += [
        f"'{name}' is no setting of best; it takes {', '.join((*SETTINGS, *PLACE))}"
        for name in given
        if name not in SETTINGS and name not in PLACE
    ]
    values = {name: value for name, value in given.items() if name in SETTINGS}
    asked = [{"backbone": name} for name in (*networks, *([distill] if distill else []))] or [{}]
    for named in asked:
        found += [p for p in preflight.problems({**values, **named}, offline) if p not in found]
    if values.get("views") == "auto":
        found.append("--views auto is for one run; best compares networks on the same number of views, e.g. --views 4")
    seconds = _seconds(budget, found)
    place = _place({name: value for name, value in given.items() if name in PLACE}, found)
    # Where none is named yet, any will do to check the others.
    return config.make({**values, "backbone": networks[0] if networks else "vgg16"}, found), seconds, place


def _place(given: Given, problems: list[str]) -> SearchSettings:
    place, wrong = how.make(given)
    problems += wrong
    place = place or SearchSettings()  # then there are problems
    if place.engine == "local" and place.workers > 1:
        problems.append(
            f"--workers {place.workers} has no effect with --engine local, which compares one network after the other; "
            "add --engine ray"
        )
    return place


def _seconds(budget: Any, problems: list[str]) -> float:
    try:
        seconds = float(parse_duration(budget))
    except (TypeError, ValueError):
        problems.append(f"--budget {budget} is not a duration; write 90s, 10m or 1.5h")
        return 0.0
    if not 0 < seconds < float("inf"):
        problems.append(f"--budget {budget} leaves no time; write 90s, 10m or 1.5h")
    return seconds


def _command(
    origin: str | None, base: Settings, networks: Sequence[str], seconds: float, place: SearchSettings, folder: Path,
    distill: str,
) -> str:  # fmt: skip
    """The shell command that repeats it."""
    values = {name: getattr(base, name) for name in base.model_fields_set if name != "backbone"}
    words = shlex.split(repeatable(origin, Settings(backbone=base.backbone, **values)))
    at = words.index("--backbone")
    words = ["transferkit", "best", *words[2:at], *words[at + 2 :]]
    for network in networks:
        words += ["--backbone", network]
    words += ["--distill", distill] if distill else []
    words += how.words(place)
    words += ["--budget", f"{seconds:g}", "--output", str(folder)]
    return shlex.join(words) + IN_PYTHON * (origin is None)
