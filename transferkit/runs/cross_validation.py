"""What candidates are judged by in a run: its folds, its goal on some pictures, and room for the answers."""

from __future__ import annotations

import numpy as np

from transferkit.data.splitting.split import Splits, rounds_of_folds
from transferkit.data.splitting.units import group_codes_of
from transferkit.errors import DataError
from transferkit.evaluation import metric_registry
from transferkit.features.working_arrays import free_on_disk
from transferkit.runs.tapped_rows import TappedRows, most_in_memory, size_of
from transferkit.selection import choice as choosing
from transferkit.selection import screening
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.candidates import learners
from transferkit.training.problem import Problem
from transferkit.training.recipe import Recipe

FOLDS, ROUNDS = 5, 2
SETTINGS = 3.5  # of a candidate on the average, each with answers of its own


def rounds_of(work: Recipe, splits: Splits, rows: TappedRows) -> list[list[np.ndarray]]:
    """The rounds of folds by which a run chooses, as places in its rows.

    Args:
        work: the recipe.
        splits: which part each picture belongs to.
        rows: those of training and validation pictures.
    """
    drawn = rounds_of_folds(work.problem.samples, splits, work.settings.folds or FOLDS, ROUNDS)
    return [[rows.places(fold) for fold in folds] for folds in drawn]


def judge_of(problem: Problem, metric: str, rows: np.ndarray) -> Judge:
    """The goal of a run on some pictures.

    Args:
        problem: the pictures and their targets.
        metric: of the run.
        rows: numbers of the pictures, int [n].
    """
    samples = problem.samples
    goal = metric_registry.goal(metric, samples.task)
    groups = group_codes_of(samples.select(rows)) if any(samples.group) else None
    return Judge(samples.task, samples.targets[rows], tuple(samples.classes), goal, problem.units, groups)


def require_room(work: Recipe) -> None:
    """Raise DataError where the out-of-fold answers of candidates, pictures times classes each, would take more than a
    part of the machine's memory; where features lie on disk, and answers with them, more than is free there."""
    problem = work.problem
    taps, kind = work.frozen.tapped()
    candidates = len(choosing.sets(taps.sets(), learners(problem.samples.task)))
    pictures = len(np.union1d(problem.train, problem.val))
    needed = int(8 * screening.answers(pictures, problem.outputs, candidates) * problem.outputs * SETTINGS)
    features = size_of(kind.width, pictures, work.settings.choice_views + 1)
    where, most = "memory", most_in_memory()
    if features > most:
        where, most = "disk", max(0, free_on_disk() - features)  # which come first
    if needed > most:
        raise DataError(
            f"{candidates} candidates' answers for {pictures:,} pictures and {problem.outputs:,} "
            f"{problem.samples.kind.outputs} would take {needed / 1e9:.1f} GB, and {most / 1e9:.1f} GB of {where} are "
            "given to them"
        )
