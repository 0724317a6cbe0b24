"""Does the network that is shipped answer as it did when validation judged it? Asked of a few pictures before anything
is calibrated; where it does not, validation is answered anew by the network itself.

Heads and tails learn from features that may have been computed in a lower precision; what is shipped computes in
float32, from pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from transferkit.console import Reporter
from transferkit.features.extract import Views
from transferkit.runs import scoring
from transferkit.runs.results import answer
from transferkit.training.problem import Problem, Trained

SAMPLED = 32  # validation pictures
TOLERANCE = 0.02  # of a probability, or of a standard deviation of a target: far below what validation can tell


def agreed(trained: Trained, problem: Problem, views: Views, reporter: Reporter) -> Trained:
    """`trained`, with validation outputs that are the shipped network's own, within `TOLERANCE`."""
    places = np.unique(np.linspace(0, len(problem.val) - 1, SAMPLED).astype(int))
    pixels = np.concatenate([views.pixels(problem.samples, int(i), [0]) for i in problem.val[places]])
    # Called as it is: compiling it for so few pictures would take longer.
    outputs: Any = trained.model(pixels, training=False)
    gap = _gap(np.asarray(outputs), trained.val_outputs[places], problem)
    if gap <= TOLERANCE:
        return trained
    unit = "standard deviations of the target" if problem.units is not None else "of probability"
    note = (
        f"the shipped network, which computes in float32, answered up to {gap:.3f} {unit} otherwise than in training "
        f"({len(places)} validation pictures were compared): validation was answered anew by it, and is calibrated and "
        "scored by these answers"
    )
    reporter.warn(note)
    samples = problem.samples.select(problem.val)
    own = scoring.predictions(trained.model, samples, views.decode, reporter, "scoring the validation pictures")
    return replace(trained, val_outputs=own, notes=[*trained.notes, note])


def _gap(found: np.ndarray, expected: np.ndarray, problem: Problem) -> float:
    """The largest difference of two sets of outputs [n, t]: of probabilities, or of standardised numbers."""
    if problem.units is not None:
        return float(np.abs(found - expected).max())
    task = problem.samples.task
    return float(np.abs(answer(task, found, 1.0, None) - answer(task, expected, 1.0, None)).max())
