"""Which classifiers are candidates, by task: a literal list to read and to add to."""

from __future__ import annotations

from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours

LINEAR = (Ridge, Discriminant, Logistic)


def learners(task: str) -> list[Learner]:
    """Whatever can learn this task in one step."""
    if task == "regress":
        return [Ridge(), NearestNeighbours(), KernelRidge()]
    if task == "multilabel":
        return [Ridge(), Logistic(exclusive=False), NearestNeighbours(), KernelRidge()]
    mean = Discriminant("class mean", 0, shrinkages=(1.0,))
    return [mean, Discriminant(), Ridge(), Logistic(), NearestNeighbours(), KernelRidge()]
