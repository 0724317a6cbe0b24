"""From what a user asks of `tune` to a search that can begin: every problem found first, all told at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit import config
from transferkit.config import Given, Settings
from transferkit.errors import ConfigError, raise_problems
from transferkit.runs import preflight
from transferkit.runs.advice import IN_PYTHON
from transferkit.runs.directory import check_new
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import repeatable
from transferkit.tuning import search_settings as how
from transferkit.tuning.search_settings import SearchSettings
from transferkit.tuning.search_space import space as spaces
from transferkit.tuning.search_space.dimensions import Dimension
from transferkit.tuning.search_space.space import Space

AUTO = "--head auto chooses by itself; tune searches over settings of a head that is trained: use mlp or linear"
VIEWS = "--views auto is for one run; a search compares numbers, e.g. --search views=0,2,4,8"
FIRST = {"splits.csv"}  # what a search writes before its journal
SpaceLike = Space | str | Path | Callable[..., Any]


@dataclass(frozen=True)
class SearchRequest:
    """A search that nothing speaks against: settings that stay, settings that are searched, and how."""

    base: Settings
    space: Space
    search: SearchSettings
    command: str


def request(
    backbone: str | Sequence[str] | None, searched: Sequence[str] | Mapping[str, Any], space: SpaceLike | None,
    given: Given, *, origin: str | None, folder: Path, resume: bool, offline: bool, problems: Sequence[str] = (),
) -> SearchRequest:  # fmt: skip
    """Check all that a search was asked for.

    Args:
        backbone: one network, or several to search over; None where the settings name it.
        searched: settings and their values, as `--search` takes them.
        space: a space, its file, or a function of Keras Tuner's hyperparameters, instead of `searched`.
        given: fields of Settings and of SearchSettings.
        origin: the path of the data; None for what is in memory.
        folder: of the run.
        resume: whether a search may be there already.
        offline: never fetch weights.
        problems: those found before.

    Raises:
        ConfigError: lists every problem.
    """
    found = [*problems, *check_search(Layout(folder).journal, resume), *preflight.inside(folder, origin)]
    base, chosen, search, texts = settle(backbone, searched, space, given, offline, found)
    networks = [backbone] if isinstance(backbone, str) else list(backbone or ())
    return SearchRequest(base, chosen, search, _command(origin, base, search, texts, space, networks, folder))


def of_a_choice(values: Given) -> list[str]:
    """What `values` hold that belongs to the choice of a classifier, which a search does not make."""
    found = [
        f"--{name.replace('_', '-')} is for the choice of a classifier, which tune does not make; drop it"
        for name in ("max_latency", "max_size", "unlabeled")
        if values.get(name) is not None
    ]
    if values.get("head") == "auto":
        found.insert(0, AUTO)
    if values.get("views") == "auto":
        found.append(VIEWS)
    return found


def settle(
    backbone: str | Sequence[str] | None, searched: Sequence[str] | Mapping[str, Any], space: SpaceLike | None,
    given: Given, offline: bool, problems: Sequence[str],
) -> tuple[Settings, Space, SearchSettings, list[str]]:  # fmt: skip
    """Settings that stay, the space, and how to search it; without looking at any folder.

    Args:
        backbone, searched, space, given, offline, problems: as for `request`.

    Returns:
        Settings, space, search settings, and `searched` as texts.

    Raises:
        ConfigError: lists every problem, `problems` among them.
    """
    found = list(problems)
    networks = [backbone] if isinstance(backbone, str) else list(backbone or ())
    search_values = {k: given[k] for k in given if k in how.NAMES}
    values = {k: v for k, v in given.items() if k not in how.NAMES}
    if networks:
        values["backbone"] = networks[0]
    search, wrong = how.make(search_values)
    found += wrong
    for named in [{"backbone": network} for network in networks] or [{}]:
        found += preflight.problems({**values, **named}, offline)
    texts = [f"{k}={_text(v)}" for k, v in searched.items()] if isinstance(searched, Mapping) else list(searched)
    if texts and space is not None:
        found.append("--search and --space are both given; put all into one of them")
    found += of_a_choice(values)
    base = config.make(values, found)
    assert search is not None
    chosen = _with_networks(_space(texts, space, base), networks)
    refused = {"head": AUTO, "views": VIEWS}
    auto = [refused[d.name] for d in chosen.dimensions if d.name in refused and "auto" in d.values]
    raise_problems(ConfigError, [*auto, *spaces.check(chosen, base), *how.space_problems(search, chosen)])
    return base, chosen, search, texts


def _space(texts: list[str], space: SpaceLike | None, base: Settings) -> Space:
    if isinstance(space, Space):
        return space
    if isinstance(space, str | Path):
        return spaces.load_space(space)
    if space is not None:
        return spaces.from_function(space)
    return spaces.parse_search(texts) if texts else spaces.default_space(base)


def _with_networks(space: Space, networks: list[str]) -> Space:
    """Several backbones are searched over like any setting."""
    if len(networks) < 2 or "backbone" in space.names:
        return space
    return Space((Dimension("backbone", "choice", tuple(networks)), *space.dimensions))


def check_search(journal: Path, resume: bool, what: str = "a search") -> list[str]:
    """Problems of writing a search into a folder. As with `finetune`, `resume` begins one where there is nothing yet.

    Args:
        journal: its journal, in that folder.
        resume: whether it may be there already.
        what: it is, with its article.
    """
    folder = journal.parent
    if journal.exists():
        if resume:
            return []
        return [f"--output {folder} holds {what}; choose another folder, or add --resume to go on with it"]
    problems = check_new(folder, resume=False)
    if problems and folder.is_dir() and {entry.name for entry in folder.iterdir() if entry.name[0] != "."} == FIRST:
        # Killed before the journal's first line.
        how_on = f"--output {folder} may hold the beginning of {what}; add --resume to go on, or choose another folder"
        return [] if resume else [how_on]
    if problems and resume and folder.is_dir():
        return [f"--output {folder} holds no {what.removeprefix('a ')} that could be resumed (no {journal.name})"]
    return problems


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _command(
    origin: str | None, base: Settings, search: SearchSettings, texts: list[str], space: SpaceLike | None,
    networks: list[str], folder: Path,
) -> str:  # fmt: skip
    """The shell command that repeats the search; of a space made in Python, what comes nearest to it."""
    words = shlex.split(repeatable(origin, base))
    words[1] = "tune"
    for network in networks[1:]:
        words += ["--backbone", network]
    for text in texts:
        words += ["--search", text]
    if isinstance(space, str | Path):
        words += ["--space", str(space)]
    words += how.words(search)
    made_in_python = origin is None or isinstance(space, Space) or callable(space)
    return shlex.join([*words, "--output", str(folder)]) + (IN_PYTHON * made_in_python)
