"""Whose answers are given: one run's model, or those of several runs whose answers are averaged (an ensemble).

The members of an ensemble answer the same question: the same task, and the same classes in whatever order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute, tasks
from transferkit.data.images.decode import DecodeSettings, Intensity
from transferkit.data.samples import Pixels, listed, shown
from transferkit.delivery.tta_views import PLAIN, Look
from transferkit.errors import ConfigError, raise_problems
from transferkit.runs import model_file
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.scoring import BATCH

Named = str | os.PathLike[str]


@dataclass
class Member:
    """A loaded model and the looks by which it sees each picture; `columns` puts its outputs into the common order."""

    model: Any
    facts: ModelFacts
    precision: str = "float32"
    looks: tuple[Look, ...] = (PLAIN,)
    columns: np.ndarray | None = None
    settings: DecodeSettings = field(init=False)
    _forward: compute.Forward = field(init=False)
    _how: Any = field(init=False)

    def __post_init__(self) -> None:
        from transferkit.features import precision

        self.settings = self.facts.decoding()
        self._how = precision.candidates(self.precision)[0]
        self._forward = compute.forward(self.model, graph_bfloat16=self._how.how == "graph")

    def applied(self) -> AbstractContextManager[None]:
        """The context in which the model computes in its precision."""
        from transferkit.features.precision import applied

        return applied(self.model, self._how)

    def by_look(self, pixels: Pixels) -> np.ndarray:
        """Outputs [looks, n, t] of uint8 [n ≤ BATCH, looks, size, size, 3], columns in the common order."""
        found = []
        for number in range(pixels.shape[1]):
            one = pixels[:, number]
            # One shape, one trace: the last batch is filled up.
            filled = np.concatenate([one, np.repeat(one[:1], BATCH - len(one), axis=0)])
            found.append(self._forward([filled])[0][: len(one)])
        rows = np.stack(found)
        return rows if self.columns is None else rows[:, :, self.columns]


def named(run: Named | Sequence[Named]) -> list[Path]:
    """The runs (or model files) of `runs/a`, of `runs/a,runs/b`, or of a list of paths.

    A path that exists is one run, whatever commas are in its name. Raises ConfigError where a name is missing or given
    twice.
    """
    if isinstance(run, str | os.PathLike):
        text = os.fspath(run)
        parts = [text] if "," not in text or os.path.lexists(text) else [part.strip() for part in text.split(",")]
    else:
        parts = [os.fspath(item) for item in run]
    if not parts or not all(parts):
        raise ConfigError(f"RUN {shown(','.join(parts))!r} names no run between two commas; give e.g. runs/a,runs/b")
    twice = sorted({part for part in parts if sum(_same(part, other) for other in parts) > 1})
    if twice:
        raise ConfigError(f"RUN names {listed(twice)} more than once; an ensemble needs different runs")
    return [Path(part) for part in parts]


def _same(a: str, b: str) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)


def model_of(run: Path) -> Path:
    """The model file of a finished run, proved by its hash, or `run` itself where it is such a file. Needs no Keras."""
    if run.suffix != ".keras":
        layout = Layout(run)
        layout.complete()
        layout.check_model()
        run = layout.model
    return run


def common(runs: Sequence[Path]) -> ModelFacts:
    """The facts by which the members of an ensemble answer together, those of the first where they may differ.

    Of several labels, the threshold of each is the mean of the members' (0.5 where a run has none). Raises ConfigError
    where tasks or classes differ.
    """
    every = [model_file.facts(model_of(run)) for run in runs]
    raise_problems(
        ConfigError, (p for r, f in zip(runs[1:], every[1:], strict=True) for p in _unlike(runs[0], every[0], r, f))
    )
    first = every[0]
    if len(every) == 1 or all(facts.thresholds is None for facts in every):
        return first
    limits = [np.array(facts.thresholds or [0.5] * len(first.classes)) for facts in every]
    ordered = [limit[order(facts, first)] for limit, facts in zip(limits, every, strict=True)]
    return first.model_copy(update={"thresholds": np.mean(ordered, axis=0).tolist()})


def intensity(runs: Sequence[Path]) -> Intensity:
    """How the models of `runs` want grey of more than 8 bits scaled. Raises ConfigError where they differ."""
    found = sorted({model_file.facts(model_of(run)).decode.intensity for run in runs})
    if len(found) > 1:
        raise ConfigError(
            f"the runs scale grey pictures of more than 8 bits by {' and '.join(found)} (--intensity), so that an "
            "image object cannot be read for all of them; give its file"
        )
    return found[0]


def order(facts: ModelFacts, first: ModelFacts) -> np.ndarray:
    """Where the classes of `first` stand in the outputs of a model with `facts`: int [t].

    Args:
        facts: of a model.
        first: of the one whose order counts.
    """
    at = {name: number for number, name in enumerate(facts.classes)}
    return np.array([at[name] for name in first.classes], np.int64)


def _unlike(run: Path, facts: ModelFacts, other: Path, others: ModelFacts) -> list[str]:
    """Why two runs cannot answer together, in words."""
    if facts.task != others.task:
        return [
            f"{shown(run)} and {shown(other)} cannot answer together: their tasks are {facts.task} and "
            f"{others.task}; an ensemble needs runs of one task"
        ]
    here, there = set(facts.classes), set(others.classes)
    if here == there:
        return []
    what = tasks.of(facts.task).named
    only = [f"only {shown(r)} has {listed(sorted(m))}" for r, m in ((run, here - there), (other, there - here)) if m]
    return [
        f"{shown(run)} and {shown(other)} cannot answer together: their {what} differ ({'; '.join(only)}); an ensemble "
        f"needs runs of the same {what}, in any order"
    ]


def load(runs: Sequence[Path], precision: str, looks: Sequence[tuple[Look, ...]]) -> list[Member]:
    """The models of runs, each with its looks.

    Args:
        runs: which `common` has found to be alike.
        precision: in which they answer.
        looks: of each.
    """
    paths = [model_of(run) for run in runs]
    every = [model_file.facts(path) for path in paths]
    columns = [order(facts, every[0]) if facts.classes != every[0].classes else None for facts in every]
    return [
        Member(model_file.load(path), facts, precision, some, own)
        for path, facts, some, own in zip(paths, every, looks, columns, strict=True)
    ]
