"""Which classifiers are candidates, by task: a literal list to read and to add to."""

from __future__ import annotations

from collections.abc import Callable

from transferkit import tasks
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours

LINEAR = (Ridge, Discriminant, Logistic)

LEARNERS: dict[str, Callable[[], Learner]] = {
    "class mean": lambda: Discriminant("class mean", 0, shrinkages=(1.0,)),
    "discriminant": Discriminant,
    "ridge": Ridge,
    "logistic": Logistic,
    "logistic by label": lambda: Logistic(exclusive=False),
    "neighbours": NearestNeighbours,
    "kernel": KernelRidge,
}


def learners(task: str) -> list[Learner]:
    """Whatever can learn this task in one step.

    Args:
        task: its name.
    """
    return [LEARNERS[name]() for name in tasks.of(task).candidates]
