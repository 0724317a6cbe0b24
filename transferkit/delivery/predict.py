"""Answers for new pictures: files, folders or a list of them, streamed through the shipped model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.decode import BUNDLE, DecodeSettings, PictureError, decode
from transferkit.data.samples import Pixels, Source, shown
from transferkit.data.threads import map_ordered
from transferkit.delivery import display
from transferkit.delivery.sources import find
from transferkit.errors import ConfigError
from transferkit.features.extract import at_once
from transferkit.files import csv_line
from transferkit.runs import model_file
from transferkit.runs.layout import Layout
from transferkit.runs.results import decide
from transferkit.runs.scoring import BATCH

__all__ = [
    "Prediction", "Predictor", "abstain_at", "as_csv", "as_json_lines", "as_table", "find", "model_of",
]  # fmt: skip

BLOCK = 4 * BATCH  # sources at most between two passes of the model


@dataclass(frozen=True)
class Prediction:
    """One picture's answer. `scores` are (name, probability or number), best first; `label` is the decision.

    `abstained`: the confidence is below the threshold that was asked for, and `label` is empty.
    """

    path: str
    label: str
    confidence: float | None
    scores: tuple[tuple[str, float], ...]
    error: str = ""
    abstained: bool = False

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values for JSON; a failed picture has its `error` and nothing else."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "label": None if self.abstained else self.label,
            "confidence": self.confidence,
            "scores": dict(self.scores[:top]),
            **({"abstained": True} if self.abstained else {}),
        }

    def _repr_html_(self) -> str:
        """For notebooks: the answer, and the best five scores."""
        if self.error:
            return display.text(f"{self.path}: {self.error}")
        said = "no answer" if self.abstained else self.label
        # Without a confidence the scores are numbers of any size: shown, not drawn.
        rows = [(n, score if self.confidence is not None else 0.0, f"{score:.4g}") for n, score in self.scores[:5]]
        return display.text(f"{self.path}: {said}") + display.bars(rows)


Stream = Iterator[Prediction]


@dataclass
class Predictor:
    """A loaded model; call `stream` as often as wanted.

    `threshold` is the confidence below which it abstains; `precision` how it computes (float32 gives the numbers that
    evaluation reported, bfloat16 is several times as fast on processors that have it).
    """

    model: Any
    facts: dict[str, Any]
    threshold: float | None = None
    precision: str = "float32"
    _settings: DecodeSettings = field(init=False)
    _forward: compute.Forward = field(init=False)
    _how: Any = field(init=False)

    def __post_init__(self) -> None:
        from transferkit.features import precision

        self._settings = DecodeSettings.from_key(self.facts["decode"])
        self._how = precision.candidates(self.precision)[0]
        self._forward = compute.forward(self.model, graph_bfloat16=self._how.how == "graph")

    @classmethod
    def of(cls, run: Path, threshold: float | None = None, precision: str = "float32") -> Predictor:
        """From a run directory or a `model.keras` file."""
        path = model_of(run)
        return cls(model_file.load(path), model_file.facts(path), threshold, precision)

    def stream(self, sources: Iterable[Source], reporter: Reporter, total: int = 0) -> Iterator[Prediction]:
        """A prediction per source, in order; unreadable ones carry their reason. Memory stays bounded.

        `sources` are pulled as they are needed. `total` is how many there are, for the progress bar (0: not known,
        unless `sources` has a length).
        """
        from transferkit.features.precision import applied

        total = len(sources) if isinstance(sources, Sized) else total
        with reporter.progress("predicting", total) as advance, applied(self.model, self._how):
            parallel = at_once(self.model)
            for predictions in map_ordered(self._answers, self._blocks(sources), parallel, parallel):
                yield from predictions
                advance(len(predictions))

    def _blocks(self, sources: Iterable[Source]) -> Iterator[list[tuple[Source, Pixels | PictureError]]]:
        """Pictures read: as many as fill one batch with readable ones, or BLOCK where few are."""
        block: list[tuple[Source, Pixels | PictureError]] = []
        readable = 0
        # Two batches ahead: with less, reading would wait for the network, and it for reading.
        for source, result in map_ordered(self._read, sources, window=2 * BATCH, bundle=BUNDLE):
            block.append((source, result))
            readable += not isinstance(result, PictureError)
            if readable == BATCH or len(block) == BLOCK:
                yield block
                block, readable = [], 0
        if block:
            yield block

    def _read(self, source: Source) -> tuple[Source, Pixels | PictureError]:
        try:
            return source, decode(source, self._settings)
        except PictureError as error:
            return source, error

    def _answers(self, block: list[tuple[Source, Pixels | PictureError]]) -> list[Prediction]:
        rows = iter(self._outputs([result for _, result in block if not isinstance(result, PictureError)]))
        return [
            self._lost(source, result) if isinstance(result, PictureError) else self._answer(source, next(rows))
            for source, result in block
        ]

    def _outputs(self, pictures: list[Pixels]) -> list[np.ndarray]:
        if not pictures:
            return []
        pixels = np.stack(pictures)
        # One shape, one trace: the last batch is filled up.
        filled = np.concatenate([pixels, np.repeat(pixels[:1], BATCH - len(pixels), axis=0)])
        return list(self._forward([filled])[0][: len(pixels)])

    def _answer(self, source: Source, row: np.ndarray) -> Prediction:
        names, task = self.facts["classes"], self.facts["task"]
        label, sure = decide(task, row, names, self.facts["thresholds"])
        pairs = [(name, float(value)) for name, value in zip(names, row, strict=True)]
        if task != "regress":
            pairs.sort(key=lambda pair: -pair[1])
        confidence = float(sure) if sure else None
        abstained = self.threshold is not None and confidence is not None and confidence < self.threshold
        return Prediction(_name(source), "" if abstained else label, confidence, tuple(pairs), abstained=abstained)

    def _lost(self, source: Source, error: PictureError) -> Prediction:
        return Prediction(_name(source), "", None, (), error.reason)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "array"


def model_of(run: Path) -> Path:
    """The model file of a finished run, or `run` itself where it is such a file. Needs no Keras."""
    if run.suffix != ".keras":
        layout = Layout(run)
        layout.complete()
        layout.check_model()
        run = layout.model
    model_file.facts(run)
    return run


def abstain_at(wanted: str, run: Path, task: str) -> float:
    """The confidence threshold of `wanted`: a number in 0…1, `run`, or `run:ACCURACY`.

    `run` takes the threshold that the run found on validation for an accuracy of 0.95. Raises ConfigError where
    there is none, with what there is.
    """
    if task == "regress":
        raise ConfigError("abstaining needs a confidence, which numbers do not have; drop --abstain")
    if wanted == "run" or wanted.startswith("run:"):
        return _threshold_of(run, wanted.partition(":")[2] or "0.95", task)
    try:
        value = float(wanted)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"--abstain {wanted}: give a confidence from 0 to 1, run, or run:ACCURACY (e.g. run:0.99)")
    return value


def _threshold_of(run: Path, accuracy: str, task: str) -> float:
    if run.suffix == ".keras":
        raise ConfigError(f"--abstain run needs the run directory, not {run} alone; give a number, e.g. --abstain 0.8")
    if task != "classify":
        raise ConfigError(f"--abstain run is for single-label runs; this one is {task}. Give a number")
    rows = {f"{row['accuracy']:g}": row["threshold"] for row in Layout(run).read_metrics().get("abstention", [])}
    found = rows.get(f"{float(accuracy):g}") if _is_number(accuracy) else None
    if found is not None:
        return float(found)
    reached = ", ".join(f"{a} (from {t:.3f})" for a, t in rows.items() if t is not None) or "none"
    raise ConfigError(
        f"--abstain: the run has no threshold for accuracy {accuracy} (validation cannot promise it, or it is reached "
        f"without abstaining); it has: {reached}. Choose one as run:ACCURACY, or give a number"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_csv(predictions: Iterable[Prediction], names: list[str], task: str, abstains: bool = False) -> Iterator[str]:
    """CSV lines as predictions.csv has them (without the true label); `abstains` adds a column `abstained` of 0/1."""
    prefix = "y_" if task == "regress" else "p_"
    more = ["abstained"] if abstains else []
    yield csv_line(["path", "predicted", "confidence", *(prefix + n for n in names), *more, "error"])
    for p in predictions:
        scores = dict(p.scores)
        numbers = [f"{scores[n]:.9g}" if n in scores else "" for n in names]
        confidence = "" if p.confidence is None else f"{p.confidence:.9g}"
        said = [str(int(p.abstained))] if abstains else []
        yield csv_line([p.path, p.label, confidence, *numbers, *said, p.error])


def as_json_lines(predictions: Iterable[Prediction], top: int | None) -> Iterator[str]:
    """One JSON object a line."""
    for p in predictions:
        yield json.dumps(p.as_dict(top), allow_nan=False)  # ASCII: it passes through every encoding


def as_table(predictions: Iterable[Prediction], top: int | None, task: str, width: int = 0) -> Iterator[str]:
    """Lines for people: path (filled up to `width`), the answer, the best `top` scores."""
    for p in predictions:
        path = f"{shown(p.path):<{width}}"
        if p.error:
            yield f"{path}  cannot be read: {p.error}"
            continue
        scores = [f"{shown(name)} {value:.7g}" if task == "regress" else f"{shown(name)} {value:.3f}"
                  for name, value in p.scores[:top]]  # fmt: skip
        # Of several labels, which apply is a decision of its own; elsewhere the first score is the answer.
        decided = f"  [{shown(p.label) or 'no label'}]" if task == "multilabel" else ""
        decided = "  (abstains)" if p.abstained else decided
        yield f"{path}{decided}  {'  '.join(scores)}"
