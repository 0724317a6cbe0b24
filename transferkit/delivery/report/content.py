"""What a report and a card can show: plain data, filled from a run directory. Every part may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt


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
    task: str  # classify | multilabel | regress
    classes: list[str]
    created: str
    version: str
    goal: str  # the score to show first; the task's default where missing
    metrics: Mapping[str, Any]  # as metrics.json: val, test, baselines, diagnosis
    counts: Mapping[str, int]  # pictures of each split
    summary: Sequence[str]  # what was done, one sentence a step
    history: Sequence[Mapping[str, Any]]
    kept: int | None  # the row of the history whose weights were kept
    reliability: Sequence[Mapping[str, Any]]  # of calibration.reliability, on test
    regression: Mapping[str, Any]  # targets and predictions [N, T]
    learning_curve: Mapping[str, Any]  # sizes, scores, fit (of learning_curve_fit)
    learning_rate_range: Mapping[str, Any]  # curve, chosen
    search_figures: Mapping[str, Any]  # of tuning.gallery.builders
    errors: Sequence[Example]
    confident: Sequence[Example]
    uncertain: Sequence[Example]
    findings: Sequence[str]  # of the data audit
    settings: Mapping[str, Any]  # as they were in effect
    given: Sequence[str]  # those that were not left at their defaults
    steps: Sequence[Mapping[str, str]]  # what to do next: `why` and the `command`
    timings: Mapping[str, float]  # seconds of each stage
    command: str
    environment: Mapping[str, Any]
    # for the card alone
    places: Sequence[str]  # folders of this machine, which are nobody else's business
    backbone: str
    weights: str
    weights_licence: str
    license: str
    data_name: str
    input_size: Sequence[int]
    resize: str  # how pictures of another shape are brought to it: stretch | crop | letterbox
