"""What a recipe would compute and how long that takes: measured on a few real pictures, without training or storing.

Nothing is written but what probes remember of this machine (see `features.precision`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.cut import operations_of
from transferkit.config import Settings
from transferkit.data.samples import Samples
from transferkit.data.threads import map_ordered
from transferkit.features.extract import at_once
from transferkit.features.number_formats import row_bytes
from transferkit.features.precision import Precision, applied
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import FORWARD_BATCH, row_names
from transferkit.features.store import listed_rows
from transferkit.training import models, planning
from transferkit.training.phase import Phase

if TYPE_CHECKING:
    import keras

    from transferkit.training.recipe import Recipe

MEASURED = 32  # pictures that are decoded


@dataclass(frozen=True)
class RowCount:
    """One kind of rows: how many there will be, how many the cache has, and the bytes that the others take."""

    label: str
    rows: int
    cached: int
    bytes: int


@dataclass(frozen=True)
class PhaseOutlook:
    """One phase: what it trains, and the most steps it takes, each of `step` seconds (measured in float32)."""

    name: str
    parameters: int
    frozen_parameters: int
    first_trained: str
    epochs: int
    steps: int
    step: float
    decoding: float = 0.0  # seconds of reading pictures again each epoch, where nothing below is frozen

    @property
    def seconds(self) -> float:
        """The whole phase, if it is not ended early."""
        return self.steps * self.step + self.decoding


@dataclass(frozen=True)
class Outlook:
    """`decode` are seconds of one picture with all its views, `forward` of one view's way through the frozen part,
    `trace` of the first pass; `features` of all that the cache lacks."""

    pictures: int
    decode: float
    forward: float
    trace: float
    features: float
    precision: str
    stored: list[RowCount] = field(default_factory=list)
    phases: list[PhaseOutlook] = field(default_factory=list)


@dataclass
class RandomRows:
    """Random rows in the place of activations: what a step costs does not depend on the numbers in it."""

    shapes: list[tuple[int, ...]]
    scale: float = 1.0
    for_gpu: bool = False

    def take(self, pictures: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """See `features.row_sources.Source`."""
        rng = np.random.default_rng(0)
        return [self.scale * rng.random((len(pictures), *shape), np.float32) for shape in self.shapes]


def outlook(work: Recipe) -> Outlook:
    """Measure what a recipe would do, on up to 32 pictures.

    Args:
        work: is not run. Its backbone's layers are left frozen, the weights as they came.

    Returns:
        Pictures, rows and bytes that are counted, seconds that are measured.
    """
    frozen, samples, wanted = work.frozen, work.problem.samples, work.wanted()
    model = work.backbone.model
    freeze.freeze_at(model, len(operations_of(model)))
    chooses = work.settings.chooses_head
    pooled = frozen.tapped()[1] if chooses else frozen.pooled()
    if chooses:  # the chosen classifier is fitted on validation pictures too
        wanted |= {int(i): range(work.settings.choice_views + 1) for i in work.problem.val}
    kinds = planning.kinds(frozen, work.settings, pooled)
    frozen.choose_precision(pooled, samples, wanted)
    names = row_names(work.views, samples, wanted)
    cached = [listed_rows(frozen.spec(kind), names if work.cache is not False else ()) for kind in kinds]
    lacking = sum(any(name not in here for here in cached) for name in names)
    run = frozen.together(kinds)
    decode, some = _decoding(work, samples)
    forward, trace = _forward(work, run, some)
    pictures = lacking / max(1, len(names)) * len(wanted)
    reading, computing = pictures * decode, lacking * forward
    # Threads read while an accelerator computes; on a CPU both share its cores.
    seconds = max(reading, computing) if compute.gpu_count() else reading + computing
    stored = [
        RowCount(kind.label, len(names), len(here), (len(names) - len(here)) * row_bytes(kind.width))
        for kind, here in zip(kinds, cached, strict=True)
    ]
    return Outlook(
        min(MEASURED, len(wanted)), decode, forward, trace, seconds + (trace if lacking else 0.0),
        frozen.precision.name, stored, _phases(work, pooled, decode),
    )  # fmt: skip


def _decoding(work: Recipe, samples: Samples) -> tuple[float, np.ndarray]:
    """Seconds of a training picture with all its views, on all threads; and the clean pictures."""
    train = work.problem.train
    some = train[np.linspace(0, len(train) - 1, min(MEASURED, len(train))).astype(int)]
    started = time.perf_counter()
    drawn = work.views.pixels(samples, some[:, None], range(work.views.count + 1))
    return (time.perf_counter() - started) / len(some), drawn[:, 0]


def _forward(work: Recipe, model: keras.Model, some: np.ndarray) -> tuple[float, float]:
    """Seconds of one row through the frozen part, as extraction runs it; and of the first pass."""
    batch, parallel = np.resize(some, (FORWARD_BATCH, *some.shape[1:])), at_once(model)
    with applied(model, work.frozen.precision):
        run = work.frozen.compiled(model)
        started = time.perf_counter()
        run([batch])
        traced = time.perf_counter() - started
        started = time.perf_counter()
        list(map_ordered(lambda pixels: run([pixels]), [batch] * parallel, threads=parallel, window=parallel))
        seconds = (time.perf_counter() - started) / (parallel * FORWARD_BATCH)
    return seconds, max(0.0, traced - FORWARD_BATCH * seconds)


def _phases(work: Recipe, pooled: Rows, decode: float) -> list[PhaseOutlook]:
    s, backbone, steps = work.settings, work.backbone, work.steps
    source = RandomRows(pooled.shapes)
    body = _body(work, pooled, s)
    head = _phase(work, work.head_phase("head"), body, source, "", 1 + len(work.folds))
    found = [head]
    if steps and pooled.taps is not None:  # tails begin with a linear classifier on what they put out
        body = _body(work, work.frozen.pooled(), s.model_copy(update={"head": "linear"}))
    for policy in steps:
        first = work.first(policy)
        parts, below = work.frozen.at(first)
        name = operations_of(backbone.model)[first].name if first else ""
        above = (
            RandomRows(below.shapes) if below is not None else RandomRows([(backbone.size, backbone.size, 3)], 255.0)
        )
        trainee, adapted = models.tail(backbone, first, parts, below, body, s)
        phase = replace(planning.tail_phase(policy, len(steps), work.rate, backbone, s, adapted), name=policy)
        again = 0.0 if below is not None else decode / (work.views.count + 1) * len(work.problem.train) * phase.epochs
        found.append(_phase(work, phase, trainee, above, name, 1, again))
        freeze.freeze_at(backbone.model, len(operations_of(backbone.model)))
    return found


def _body(work: Recipe, rows: Rows, settings: Settings) -> keras.Model:
    some = RandomRows(rows.shapes).take(np.arange(FORWARD_BATCH), np.zeros(FORWARD_BATCH, int))[0]
    return models.head(some, rows.label, work.problem.outputs, settings)


def _phase(
    work: Recipe, phase: Phase, model: keras.Model, source: Any, first: str, times: int, decoding: float = 0.0
) -> PhaseOutlook:
    seconds, _ = work.trainer.trial(phase, model, source)(Precision())
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    total = sum(int(np.prod(w.shape)) for w in work.backbone.model.weights)
    frozen = total - freeze.describe(work.backbone.model)["trainable"]
    steps = -(-len(work.problem.train) // work.trainer.batch_size) * phase.epochs * times
    return PhaseOutlook(phase.name, trained, frozen, first, phase.epochs, steps, seconds, decoding)
