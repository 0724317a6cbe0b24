"""Does the network that is shipped answer as it did when validation judged it? Asked of a few pictures before anything
is calibrated; where it does not, validation is answered again by the network itself (a classifier that was chosen has
learnt validation pictures, so that it is chosen again on features in float32: `runs.selecting`).

Heads and tails learn from features that may have been computed in a lower precision; what is shipped computes in
float32, from pixels, in Keras. Features of another engine were computed in float32 too, and have to agree closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from transferkit.features.precision import Precision
from transferkit.features.row_sources import Views
from transferkit.runs import scoring
from transferkit.runs.results import answer
from transferkit.training.problem import PhaseReport, Problem, Trained
from transferkit.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

SAMPLED = 32  # validation pictures
TOLERANCE = 0.02  # of a probability, or of a standard deviation of a target: far below what validation can tell
BY_ENGINE = 1e-4  # … where another engine than TensorFlow gave the features


def tolerance(features: Precision, phases: Sequence[PhaseReport]) -> float:
    """The largest gap that is none.

    Args:
        features: how they were computed.
        phases: what was trained on them.
    """
    exact = all(phase.precision == "float32" for phase in phases)
    return BY_ENGINE if features.engine and exact else TOLERANCE


def agreed(trained: Trained, work: Recipe) -> Trained:
    """`trained`, which `work` came to, with validation outputs that are the shipped network's own, within what its
    features' arithmetic allows (`tolerance`).

    Args:
        trained: what training came to.
        work: what it was trained by: its pictures, features and reporter.
    """
    problem, views, reporter = work.problem, work.views, work.reporter
    places = sampled(problem)
    found = gap(trained.model, trained.val_outputs[places], problem, views)
    if found <= tolerance(work.frozen.precision, trained.phases):
        return trained
    work.frozen.refuse_engine(trained.features, refusal(found))
    note = f"{said(found, problem)}: validation was answered again by it, and is calibrated and scored by these answers"
    reporter.warn(note)
    samples = problem.samples.select(problem.val)
    own = scoring.predictions(trained.model, samples, views.decode, reporter, "scoring the validation pictures")
    return replace(trained, val_outputs=own, notes=[*trained.notes, note])


def sampled(problem: Problem) -> np.ndarray:
    """Positions among the validation pictures of those that are asked about."""
    return np.unique(np.linspace(0, len(problem.val) - 1, SAMPLED).astype(int))


def gap(
    model: keras.Model, expected: np.ndarray, problem: Problem, views: Views, left_out: np.ndarray | None = None
) -> float:
    """The largest difference between what the shipped model says of the `sampled` validation pictures and what was
    expected: of probabilities, or of standardised numbers.

    Args:
        model: uint8 pictures → outputs.
        expected: outputs [n, t].
        problem: the validation pictures.
        views: how they are decoded.
        left_out: where `model` has learnt these pictures it is sure of them, which hides differences: outputs [n, t] of
            such as had not; what counts is what the differences would make of those.
    """
    pictures = problem.val[sampled(problem)]
    pixels = views.pixels(problem.samples, pictures)
    # Called as it is: compiling it for so few pictures would take longer.
    found = np.asarray(model(pixels, training=False))
    if left_out is not None:
        found, expected = left_out + (found - expected), left_out
    if problem.units is not None:
        return float(np.abs(found - expected).max())
    task = problem.samples.task
    return float(np.abs(answer(task, found, 1.0, None) - answer(task, expected, 1.0, None)).max())


def said(found: float, problem: Problem) -> str:
    """A gap that is too large in words.

    Args:
        found: the gap.
        problem: says in which unit it is.
    """
    unit = "standard deviations of the target" if problem.units is not None else "of probability"
    return (
        f"the shipped network, which computes in float32, answered up to {found:.2g} {unit} otherwise than in training "
        f"({len(sampled(problem))} validation pictures were compared)"
    )


def refusal(found: float) -> str:
    """Why an engine is not asked again, whose features led to a gap."""
    return f"the shipped network answered up to {found:.1e} otherwise than on its features"
