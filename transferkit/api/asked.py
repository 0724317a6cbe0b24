"""What every verb that makes a run is given: data and settings, read, and what is wrong with them so far."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.api import plain
from transferkit.api.data import Data
from transferkit.config import Given
from transferkit.console import Reporter
from transferkit.data.samples import shown
from transferkit.data.source import origin_of
from transferkit.errors import ConfigError, raise_problems
from transferkit.runs import preflight
from transferkit.runs.directory import free_name
from transferkit.storage import ready_cache

READ_FIRST: tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...] = (
    (("unlabeled", "exclude_file"), (str,), "a path"),
    (("exclude", "label_column"), (str, list, tuple), "text, or a list of texts"),
)
PathOrName = str | os.PathLike[str]


@dataclass
class Asked:
    """`data` as the verb goes on with it, `given` the settings as text and numbers, `origin` where the data is, or None
    for arrays. `announced`: whether it was said that the data is read."""

    data: Any
    given: Given
    origin: str | None
    problems: list[str]
    announced: bool = False

    @property
    def source(self) -> Any:
        """What `take_in` takes."""
        return self.data.samples if isinstance(self.data, Data) else self.data

    def announce(self, reporter: Reporter) -> None:
        """Say once what is read: before pictures are looked at, yet after a wrong option is refused."""
        if not self.announced:
            reporter.say(f"reading {shown(self.origin or 'arrays')}")
        self.announced = True

    def begin(self, reporter: Reporter, choice: str, cache: bool | None) -> None:
        """Nothing speaks against it: say what is read and which network was chosen, and have the cache ready."""
        self.announce(reporter)
        if choice:
            reporter.say(choice)
        if cache is not False:
            ready_cache(reporter.warn)

    def folder(self, output: str | Path | None, network: str, suffix: str = "") -> Path:
        """`output`, or a new folder `runs/DATA-NETWORK`."""
        if output is not None:
            return Path(output)
        name = Path(network).stem if network.endswith(".keras") else network
        return free_name(Path("runs"), _named(self.origin, name) + suffix)


def asked(
    data: Any, backbone: Any, settings: Mapping[str, Any], output: str | Path | None, *, resume: bool, offline: bool,
    resumed: str, callbacks: Any = None,
) -> Asked:  # fmt: skip
    """Read what a verb was given.

    Args:
        data: what `load_data` reads, or its result.
        backbone: a network, or several; None where none is named (or it is among `settings`).
        settings: the other keywords.
        output: the run directory, where it is named.
        resume: whether what is in `output` is gone on with.
        offline: whether the network is forbidden.
        resumed: what `output` is to be where there is something to resume, in words.
        callbacks: those that `finetune` was given.

    Returns:
        What was asked for; its `problems` are not raised yet.

    Raises:
        ConfigError: settings by which data is read are of another type.
    """
    given = _plain(settings if backbone is None else {"backbone": backbone, **settings})
    raise_problems(ConfigError, _unread(given))
    problems = plain.problems(data, given, callbacks)
    data = plain.data(data, given)
    problems += _adopt(data, given) if isinstance(data, Data) else []
    origin = data.origin if isinstance(data, Data) else origin_of(data)
    for place in (origin, given.get("unlabeled")):
        problems += preflight.remote(place, offline)
    if resume and output is None:
        problems.append(f"--resume needs --output: the run directory {resumed}")
    return Asked(data, given, origin, problems)


def _unread(given: Given) -> Iterator[str]:
    """What is wrong with the types of settings that are looked at before all are validated."""
    for names, types, words in READ_FIRST:
        for name in names:
            if given.get(name) is not None and not isinstance(given[name], types):
                yield f"{name}={given[name]!r}: must be {words}"


def _plain(settings: Mapping[str, Any]) -> Given:
    """Paths may come as pathlib objects; settings hold text."""

    def text(value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    several = settings.get("backbone")
    networks = {"backbone": list(map(text, several))} if isinstance(several, list | tuple) else {}
    return {name: text(value) for name, value in settings.items()} | networks


def _adopt(data: Data, settings: Given) -> list[str]:
    """Take split and seed of `load_data` into `settings`; problems where the verb was given others."""
    problems = []
    for name, value in (("split", data.split), ("seed", data.seed)):
        if value is not None and settings.setdefault(name, value) != value:
            problems.append(f"{name}={settings[name]} contradicts load_data, which was given {name}={value}; drop one")
    return problems


def _named(origin: str | None, what: str) -> str:
    """`DATA-what`, fit for the name of a folder."""
    data = Path("arrays") if origin is None else Path(origin).resolve()
    words = [data.name if data.is_dir() else data.stem, what]
    return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in word) for word in words)
