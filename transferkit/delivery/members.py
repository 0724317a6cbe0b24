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
from transferkit.config.values import film_step as step_of
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings, Intensity
from transferkit.data.samples import Pixels, listed, shown
from transferkit.delivery.tta_views import PLAIN, Look
from transferkit.errors import ConfigError, raise_problems
from transferkit.features import engine_choice
from transferkit.features.extract import at_once
from transferkit.features.passes import Passes
from transferkit.features.precision import Precision, applied, candidates
from transferkit.files import sha256_file
from transferkit.record import JsonObject
from transferkit.runs import model_file
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.pictures import reading_of
from transferkit.runs.scoring import BATCH

Named = str | os.PathLike[str]
SHAPES = (1, 8, BATCH)  # pictures at a time: an answer about one does not wait for thirty-two
ANSWERS = 1e-4  # most that answers of another engine may differ, in parts of the root mean square of a row


@dataclass
class Member:
    """A loaded model and the looks by which it sees each picture; `columns` puts its outputs into the common order.

    `file` is the SHA-256 of the model's file, by which it is remembered which engine answers fastest; without it,
    Keras does. `chosen` is the one that answers, and its format.
    """

    model: Any
    facts: ModelFacts
    precision: str = "float32"
    looks: tuple[Look, ...] = (PLAIN,)
    columns: np.ndarray | None = None
    file: str = ""
    settings: DecodeSettings = field(init=False)
    chosen: Precision = field(init=False)
    _how: Precision = field(init=False)
    _passes: dict[int, compute.Forward] = field(init=False, default_factory=dict)
    _engine: compute.Forward | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.settings = self.facts.decoding()
        self._how = self.chosen = candidates(self.precision)[0]

    def applied(self) -> AbstractContextManager[None]:
        """The context in which the model computes in its precision."""
        return applied(self.model, self._how)

    def settle(self, total: int, pixels: Pixels, reporter: Reporter, singly: bool = False) -> bool:
        """Let another engine than Keras answer `total` pictures such as uint8 [n, size, size, 3], if it is done sooner
        and answers as Keras does. One that has been compiled stays. `singly`: they come one at a time.

        Returns whether another engine answers.
        """
        if self._engine is not None or not self.file or self._how != Precision() or not engine_choice.offered():
            return self._engine is not None
        passes, rows = Passes(reporter, together=singly), total * len(self.looks)
        batch, parallel = (1, 1) if singly else (BATCH, at_once(self.model))
        key: JsonObject = {"model": self.file, **({"singly": True} if singly else {})}
        work = engine_choice.Work(
            network=self.model, pixels=lambda: pixels, batch=batch, parallel=parallel, key=key,
            compiled=lambda option: passes.of(self.model, option), lacking=lambda _: rows, allowed=ANSWERS,
        )  # fmt: skip
        chosen = engine_choice.choose(self._how, work, reporter)
        passes.keep(chosen)
        self._use(chosen, passes)
        return self._engine is not None

    def follow(self, chosen: Precision, reporter: Reporter) -> None:
        """Answer by the engine that another process has `chosen` for the same file."""
        self._use(chosen, Passes(reporter))

    def _use(self, chosen: Precision, passes: Passes) -> None:
        self.chosen = chosen
        self._engine = passes.guarded(self.model, chosen) if chosen.engine else None

    @property
    def settled(self) -> bool:
        """Whether another engine than Keras answers."""
        return self._engine is not None

    def by_look(self, pixels: Pixels) -> np.ndarray:
        """Outputs [looks, n, t] of uint8 [n ≤ BATCH, looks, size, size, 3], columns in the common order."""
        rows = np.stack([self._outputs(pixels[:, number]) for number in range(pixels.shape[1])])
        return rows if self.columns is None else rows[:, :, self.columns]

    def _outputs(self, pixels: Pixels) -> np.ndarray:
        if self._engine is not None:
            return self._engine([pixels])[0]
        # A trace for each shape: few shapes, and the batch is filled up to the next.
        shapes = SHAPES if compute.device_count() == 1 else (BATCH,)
        size = next(shape for shape in shapes if shape >= len(pixels))
        if size not in self._passes:
            self._passes[size] = compute.forward(self.model, graph_bfloat16=self._how.how == "graph")
        filled = np.concatenate([pixels, np.repeat(pixels[:1], size - len(pixels), axis=0)])
        return self._passes[size]([filled])[0][: len(pixels)]


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


def film_step(runs: Sequence[Path]) -> float | None:
    """Seconds from one picture of a film to the next, as the runs were trained; the least, where they differ.

    None where none was trained on films, or only a model's file is there.
    """
    readings = [reading_of(Layout(run).read_manifest()) for run in runs if run.suffix != ".keras"]
    steps = [step_of(reading.frames or "first") for reading in readings]
    return min((step for step in steps if step is not None), default=None)


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
        Member(model_file.load(path), facts, precision, some, own, sha256_file(path))
        for path, facts, some, own in zip(paths, every, looks, columns, strict=True)
    ]
