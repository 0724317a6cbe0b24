"""The network of a run for which none was named: that of the run to be resumed, or one chosen by the pictures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transferkit import tasks
from transferkit.api.data import Data
from transferkit.backbones.default import PHOTOGRAPHS, choose
from transferkit.config import Given
from transferkit.errors import ConfigError, DataError, RunError
from transferkit.runs import preflight
from transferkit.runs.layout import Layout


def backbone(
    data: Any, given: Given, origin: str | None, resumed: str | Path | None, offline: bool
) -> tuple[str, list[str]]:
    """Set `given["backbone"]` where it is missing.

    From then on it is a setting like any that was given: recorded, and named by the command that repeats the run.

    Args:
        data: what the verb was given.
        given: its settings; the network is put into them.
        origin: the path of the data, None for what is in memory.
        resumed: the folder of a run to be finished: its network is taken, whatever weights have come since.
        offline: whether weights may be fetched.

    Returns:
        What is to be said of the choice (empty where there was none), and problems.
    """
    if given.get("backbone") is not None:
        return "", []
    source = given.get("weights", "auto")
    if source not in ("auto", "imagenet", "pretrained", "random"):
        given["backbone"] = PHOTOGRAPHS  # so that nothing else is said of its absence
        return "", [f"--weights {source} needs --backbone: a file does not say whose weights it holds"]
    before = None if resumed is None else _before(Layout(Path(resumed)))
    if before is not None:
        given["backbone"] = before
        return f"backbone: {before}, as the run was begun with", []
    samples = None if preflight.remote(origin, offline) else _samples(data, given)  # the verb says why
    chosen = choose(samples, given, offline)
    given["backbone"] = chosen.backbone
    if samples is None:
        return "", []  # what is wrong with the data is said next
    where = "DATA" if origin is None else shlex.quote(origin)
    others = f"others: transferkit backbones recommend {where}"
    return f"backbone: {chosen.backbone}, because {chosen.reason}; {others}", []


def networks(
    named: Sequence[str], data: Any, given: Given, origin: str | None, resumed: str | Path | None, offline: bool
) -> tuple[list[str], str, list[str]]:
    """The networks that `best` compares: those that are named, else those of the run to be resumed, else those that are
    here.

    Args:
        named: networks that were named.
        data, given, origin, resumed, offline: as for `backbone`.

    Returns:
        The networks, the one that is always finished first; what is to be said of the choice; problems.
    """
    from transferkit.runs.network_scores import candidates

    if named:
        return list(dict.fromkeys(named)), "", []
    begun = None if resumed is None else _compared(Layout(Path(resumed)))
    if begun:
        return begun, f"networks: {', '.join(begun)}, as the comparison was begun with", []
    values = dict(given)
    choice, problems = backbone(data, values, origin, None, offline)
    first = values["backbone"]
    others = [
        name for name in candidates()
        if name != first and not preflight.problems({**given, "backbone": name}, offline)
    ]  # fmt: skip
    return [first, *others], choice, problems


def _compared(layout: Layout) -> list[str]:
    """The networks of a comparison that was begun, if there is one."""
    from transferkit.tuning.journal import Journal

    with suppress(RunError, OSError, KeyError, TypeError):
        return [str(name) for name in Journal.read(layout.networks)[0]["networks"]]
    return []


def _before(layout: Layout) -> str | None:
    """The network that a run or search was begun with, if there is one."""
    from transferkit.tuning.journal import Journal

    # What is damaged is refused later, with its remedy.
    with suppress(RunError, OSError, KeyError, TypeError):
        if layout.journal.exists():
            return str(Journal.read(layout.journal)[0]["settings"]["backbone"])
        return layout.read_manifest().config.backbone or None
    return None


def _samples(data: Any, given: Given) -> Any:
    """The pictures as the run will take them in, or None where they cannot be had."""
    from transferkit.data.readers.request import NAMES, Reading
    from transferkit.data.source import scan

    if isinstance(data, Data):
        return data.samples
    with suppress(DataError, ConfigError):
        left_out = {name: given[name] for name in ("exclude", "exclude_file") if given.get(name)}
        strict = not isinstance(data, str | os.PathLike)
        named = tasks.named(given.get("task") or "")
        reading = Reading.checked({name: given[name] for name in NAMES if name in given})
        how = {"order": given.get("classes"), "reading": reading, **left_out}
        return scan(data, named, strict=strict, **how)
    return None
