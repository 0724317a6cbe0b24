"""What `tune` is told beside the settings of a run: how to search, with what means, how sure to be."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from transferkit.config import Given, must_be
from transferkit.config.values import parse_duration
from transferkit.errors import ConfigError, nearest
from transferkit.setting import Setting
from transferkit.tuning.search_space.space import Space

Algorithm = Literal["grid", "random", "bayesian", "hyperband"]
MANY = 10  # trials from which a model of the scores pays (see docs/search.md)
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def parse_bytes(value: Any) -> Any:
    """Bytes of `"4GB"`, `"500M"` or a plain number, in powers of 1000; what is no text stays as it is.

    Raises:
        ValueError: the text is no size.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", value.lower())
    if not found:
        raise ValueError(f"'{value}' is not a size; write 4GB or 500MB")
    return int(float(found[1]) * UNITS[found[2]])


class SearchSettings(BaseModel):
    """How to search. Times in seconds, memory in bytes. Immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # fmt: off
    algorithm: Annotated[Literal["auto", Algorithm], Setting(
        "grid, random, bayesian or hyperband. auto takes grid where it fits into the trials, else bayesian, or random "
        "for few.",
        "search", "NAME", common=True)] = "auto"
    trials: Annotated[int, Field(ge=1, le=100_000), Setting(
        "How many settings to try. Grid tries all.",
        "search", "N", common=True)] = 20
    workers: Annotated[int, Field(ge=1, le=10_000), Setting(
        "Trials at a time. Each in a process of its own.",
        "search", "N", common=True)] = 1
    engine: Annotated[Literal["local", "ray"], Setting(
        "Where trials run. On this machine, or on a Ray cluster.",
        "search")] = "local"
    address: Annotated[str | None, Setting(
        "The Ray cluster.",
        "search", "auto|ray://HOST:PORT", default="one on this machine")] = None
    trial_cpus: Annotated[Annotated[float, Field(gt=0)] | None, Setting(
        "CPUs of a trial on Ray.",
        "search", "X", default="1; on this machine its cores / workers")] = None
    trial_gpus: Annotated[Annotated[float, Field(ge=0)] | None, Setting(
        "GPUs of a trial on Ray.",
        "search", "X", default="0")] = None
    budget: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(parse_duration), Setting(
        "Begin no trial after 30m, 2h or such. Counted again with --resume.",
        "search", "TIME", default="none", common=True, takes="str")] = None
    trial_budget: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(parse_duration), Setting(
        "End a trial after the epoch in which this time is over.",
        "search", "TIME", default="none", takes="str")] = None
    trial_memory: Annotated[Annotated[int, Field(ge=100_000_000)] | None, BeforeValidator(parse_bytes), Setting(
        "Fail a trial whose process takes more (4GB, 500MB).",
        "search", "SIZE", default="85 % of the machine's", takes="str")] = None
    finalists: Annotated[int, Field(ge=1, le=100), Setting(
        "How many of the best are trained with more seeds.",
        "search", "N")] = 3
    seeds: Annotated[int, Field(ge=1, le=100), Setting(
        "Seeds of each finalist and of the default settings. The fresh ones decide.",
        "search", "N")] = 3
    # fmt: on


NAMES = tuple(SearchSettings.model_fields)


def words(settings: SearchSettings) -> list[str]:
    """The options that give what is set."""
    found = list[str]()
    for name, value in settings.model_dump(exclude_unset=True, exclude_none=True).items():
        found += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return found


def make(values: Given) -> tuple[SearchSettings | None, list[str]]:
    """The settings, or every problem."""
    try:
        settings = SearchSettings(**values)
    except ValidationError as error:
        return None, [_explain(item) for item in error.errors()]
    return settings, contradictions(settings)


def contradictions(s: SearchSettings) -> list[str]:
    """Settings that cannot take effect together, or not on Ray."""
    problems = []
    if s.engine == "ray":
        from transferkit.compute import ray_cluster  # which `--help` has no use for

        try:
            ray_cluster.require_installed()
        except ConfigError as error:
            problems.append(str(error))
    for name in ("address", "trial_cpus", "trial_gpus"):
        if getattr(s, name) is not None and s.engine != "ray":
            problems.append(f"--{name.replace('_', '-')} has no effect with --engine {s.engine}; add --engine ray")
    for flag, value in (("--trial-cpus", s.trial_cpus), ("--trial-gpus", s.trial_gpus)):
        if value is not None and value > 1 and value != int(value):
            problems.append(f"{flag} {value:g}: above 1, Ray takes whole numbers only; use {int(value)}")
    if "finalists" in s.model_fields_set and s.seeds == 1 and s.finalists > 1:
        problems.append(f"--finalists {s.finalists} has no effect with --seeds 1: nothing is trained again")
    return problems


def space_problems(s: SearchSettings, space: Space) -> list[str]:
    """Settings of a search that have no effect on this space.

    Args:
        s: the settings.
        space: what is searched.
    """
    if algorithm(s, space) == "grid" and "trials" in s.model_fields_set and s.algorithm == "grid":
        size = space.grid_size()
        if size != s.trials:
            return [f"--trials {s.trials} has no effect with --algorithm grid, which runs all {size} combinations"]
    return []


def algorithm(s: SearchSettings, space: Space) -> Algorithm:
    """The algorithm that was named; else grid where it fits into the trials, Bayesian where they are many, or random.

    Args:
        s: the settings.
        space: what is searched.
    """
    if s.algorithm != "auto":
        return s.algorithm
    size = space.size()
    if size is not None and size <= s.trials:
        return "grid"
    return "bayesian" if s.trials >= MANY else "random"


def _explain(item: Any) -> str:
    field = str(item["loc"][0]) if item["loc"] else ""
    flag = "--" + field.replace("_", "-")
    if item["type"] == "extra_forbidden":
        return f"unknown setting '{field}'{nearest(field, NAMES)}"
    return f"{flag} {item['input']}: {must_be(item)}"
