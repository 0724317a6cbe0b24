"""What travels together through a run, from the set-up to the last file: one object in place of eight arguments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transferkit.backbones.build import LoadedBackbone
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.data.splitting.split import Splits
from transferkit.features.extraction_engines import ExtractionEngine
from transferkit.features.row_sources import Views
from transferkit.runs.layout import Layout
from transferkit.tasks import TaskName
from transferkit.training.problem import Problem


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """One run once its data and network have proved sound. `origin` is the data as the user named it; None: arrays."""

    samples: Samples
    splits: Splits
    settings: Settings
    layout: Layout
    origin: str | None
    reporter: Reporter
    problem: Problem
    backbone: LoadedBackbone
    views: Views
    engine: ExtractionEngine | None = None  # extracts the features; None: this process

    @property
    def task(self) -> TaskName:
        """What is learnt."""
        return self.samples.kind.name

    @property
    def classes(self) -> list[str]:
        """Names of classes, labels or targets."""
        return list(self.samples.classes)

    @property
    def test(self) -> np.ndarray:
        """Row numbers of the test split."""
        return rows_of(self.splits)[2]


def rows_of(splits: Splits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of train, val and test."""
    sides = np.array(splits.assignment)
    return np.flatnonzero(sides == "train"), np.flatnonzero(sides == "val"), np.flatnonzero(sides == "test")
