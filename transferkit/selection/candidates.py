"""Which classifiers are candidates, by task: a literal list to read and to add to."""

from __future__ import annotations

from collections.abc import Callable

from transferkit import tasks
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours

LINEAR = (Ridge, Discriminant, Logistic)
HOLDS_ALL = (NearestNeighbours,)  # every picture, in memory and in what is shipped


LEARNERS: dict[str, Callable[[], Learner]] = {
    "class mean": lambda: Discriminant("class mean", 0, shrinkages=(1.0,)),
    "discriminant": Discriminant,
    "ridge": Ridge,
    "logistic": Logistic,
    "logistic by label": lambda: Logistic(exclusive=False),
    "neighbours": NearestNeighbours,
    "kernel": KernelRidge,
}


def learners(task: str, on_disk: bool = False) -> list[Learner]:
    """Whatever can learn this task in one step.

    Args:
        task: its name.
        on_disk: whether rows are on disk; who would hold all of them is left out.
    """
    found = [LEARNERS[name]() for name in tasks.of(task).candidates]
    return [one for one in found if not (on_disk and isinstance(one, HOLDS_ALL))]
