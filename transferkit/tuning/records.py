"""What is tried and what came of it: plain records that go to worker processes and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from transferkit.config import Settings, make
from transferkit.data.samples import Samples
from transferkit.record import JsonObject
from transferkit.tuning.search_space.dimensions import Values

Status = Literal["ok", "failed", "memory", "timeout", "killed"]
Pair = tuple[np.ndarray, np.ndarray]  # row numbers of training and validation pictures


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may take: `seconds` (it stops after the epoch in which they end), bytes of its process's memory."""

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, eq=False)
class TrialPlan:
    """Everything that is fixed before the first trial.

    While a search goes on, `samples` hold no picture of the test split, so no trial can look at one. `pairs` are the
    training and validation pictures that a trial is judged on: one pair, or one a fold. `base` are the settings that
    are not searched.
    """

    samples: Samples
    pairs: tuple[Pair, ...]
    base: Settings
    checkpoints: Path
    offline: bool = False
    cache: bool | None = None
    judged: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # see `TrialRunner.answers`

    def settings(self, values: Values, seed: int) -> Settings:
        """The settings of a trial: those of the user, with `values` in their place."""
        given = {name: getattr(self.base, name) for name in self.base.model_fields_set}
        return make({**given, **values, "seed": seed})


@dataclass(frozen=True)
class TrialTask:
    """One piece of work to be done. `id` is fit for the name of a folder. `epochs` pauses the last phase there;
    `continues` is the trial it goes on from; `title` is what people are told, by default `trial ID`."""

    id: str
    values: Values
    seed: int
    limits: TrialLimits = field(default_factory=TrialLimits)
    epochs: int | None = None
    continues: str | None = None
    title: str = ""

    @property
    def said(self) -> str:
        """What it is called where it is told of."""
        return self.title or f"trial {self.id}"


@dataclass(frozen=True)
class Outcome:
    """What came of a task. `score` is the goal metric's mean over `scores` (one a pair); `loss` likewise. `features`
    are the seconds in which features were computed or waited for, `seconds` all others, of which `training` the epochs
    would take at their median pace. `memory` is what the process holds afterwards, in bytes. `payload` is what else
    came of it: it goes from process to process, and not into a journal."""

    id: str
    status: Status
    score: float | None = None
    loss: float | None = None
    scores: tuple[float, ...] = ()
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    features: float = 0.0
    training: float = 0.0
    memory: int = 0
    note: str = ""
    error: str = ""
    payload: object = None

    def event(self) -> JsonObject:
        """As a line of the journal."""
        plain = {name: value for name, value in self.__dict__.items() if name != "payload"}
        return {**plain, "scores": list(self.scores)}

    def finite(self) -> Outcome:
        """As the journal will give it back: a score or loss that is no finite number is none."""
        score, loss = (v if v is not None and math.isfinite(v) else None for v in (self.score, self.loss))
        return replace(self, score=score, loss=loss)

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Outcome:
        """What `event` wrote."""
        known = {k: v for k, v in event.items() if k in cls.__dataclass_fields__}
        return cls(**{**known, "scores": tuple(known.get("scores", ()))})

    @property
    def spread(self) -> float | None:
        """Standard deviation over pairs; None for a single one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None
