"""What a run shows as progress, taken for the moments at which to look at its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benches.measuring import peak_mb
from transferkit.console import Reporter


class Noting(Reporter):
    """Notes the peak of the memory at the end of everything that shows itself."""

    def __init__(self, stages: dict[str, float], before: float) -> None:
        super().__init__(quiet=True)
        self.stages, self.before = stages, before

    @contextmanager
    def progress(self, title: str, total: int, unit: str = "pictures", done: float = 0) -> Iterator[Any]:
        with super().progress(title, total, unit, done) as advance:
            yield advance
        self.stages[title] = peak_mb() - self.before

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        with super().step(title):
            yield
        self.stages[title] = peak_mb() - self.before
