"""What a report and a card can show: data filled from a run directory. All but metrics.json may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Required, TypedDict

import numpy as np
import numpy.typing as npt

from transferkit.evaluation.calibration import ReliabilityBin
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.record import HistoryRow, JsonObject
from transferkit.runs.run_record import RatePoint


class Example(TypedDict, total=False):
    """One test picture and what the model made of it. Pictures are uint8 [H, W, 3]."""

    path: str
    label: str | None
    predicted: str
    confidence: float | None
    picture: npt.NDArray[np.uint8] | None
    overlay: npt.NDArray[np.uint8] | None  # Grad-CAM over the picture


class ReportContent(TypedDict, total=False):
    """Everything a report or a card can show. What is missing leaves its section out."""

    title: str
    created: str
    version: str
    metrics: Required[MetricsRecord]
    counts: Mapping[str, int]  # pictures of each split
    summary: Sequence[str]  # what was done, one sentence a step
    history: Sequence[HistoryRow]
    kept: int | None  # the row of the history whose weights were kept
    confusion: npt.NDArray[np.int64]  # counts [C, C] on test, where there are too many for metrics.json
    reliability: Sequence[ReliabilityBin]  # of calibration.reliability, on test
    regression: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # targets and predictions [N, T]
    learning_rate_range: tuple[Sequence[RatePoint], float]  # the finder's points, and the rate it chose
    search: JsonObject  # of `tuning.gallery.content`
    errors: Sequence[Example]
    confident: Sequence[Example]
    uncertain: Sequence[Example]
    findings: Sequence[str]  # of the data audit
    settings: Mapping[str, object]  # as they were in effect
    given: Sequence[str]  # those that were not left at their defaults
    steps: Sequence[Mapping[str, str]]  # what to do next: `why` and the `command`
    timings: Mapping[str, float]  # seconds of each stage
    command: str
    environment: Mapping[str, object]
    # for the card alone
    places: Sequence[str]  # folders of this machine, which are nobody else's business
    backbone: str
    weights: str
    weights_licence: str
    license: str
    data_name: str
    input_size: Sequence[int]
    intensity: str  # how grey of more than 8 bits is scaled: full | percentile
    resize: str  # how pictures of another shape are brought to it: stretch | crop | letterbox
