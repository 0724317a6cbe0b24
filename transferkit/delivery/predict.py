"""Answers for new pictures: files, folders or a list of them, streamed through the shipped model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.console import Reporter
from transferkit.data.decode import DecodeSettings, PictureError
from transferkit.data.folder import EXTENSIONS
from transferkit.data.samples import Source, shown
from transferkit.errors import DataError
from transferkit.files import csv_line, to_json
from transferkit.runs import model_file, scoring
from transferkit.runs.layout import Layout
from transferkit.runs.results import decide


@dataclass(frozen=True)
class Prediction:
    """One picture's answer. `scores` are (name, probability or number), best first; `label` is the decision."""

    path: str
    label: str
    confidence: float | None
    scores: tuple[tuple[str, float], ...]
    error: str = ""

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values for JSON; a failed picture has its `error` and nothing else."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "label": self.label,
            "confidence": self.confidence,
            "scores": dict(self.scores[:top]),
        }


Stream = Iterator[Prediction]


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Picture files of `paths`: files as they are, folders with all pictures below them, sorted.

    Raises DataError for paths that do not exist and folders without pictures.
    """
    found: list[Path] = []
    problems = []
    for item in map(Path, paths):
        if item.is_dir():
            inside = sorted(
                p
                for p in item.rglob("*")
                if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file()
            )
            found += inside
            problems += [] if inside else [f"{shown(item)}: no pictures in this folder"]
        elif item.exists() or item.is_symlink():
            found.append(item)
        else:
            problems.append(f"{shown(item)}: no such file or folder")
    if problems:
        raise DataError("\n".join(problems))
    return found


@dataclass
class Predictor:
    """A loaded model; call `stream` as often as wanted."""

    model: Any
    facts: dict[str, Any]
    _settings: DecodeSettings = field(init=False)

    def __post_init__(self) -> None:
        self._settings = DecodeSettings.from_key(self.facts["decode"])

    @classmethod
    def of(cls, run: Path) -> Predictor:
        """From a run directory or a `model.keras` file."""
        path = model_of(run)
        return cls(model_file.load(path), model_file.facts(path))

    def stream(self, sources: list[Source], reporter: Reporter) -> Iterator[Prediction]:
        """A prediction per source, in order; unreadable ones carry their reason. Memory stays bounded."""
        failed: dict[int, PictureError] = {}
        done = 0
        with reporter.progress("predicting", len(sources)) as advance:
            for index, row in scoring.stream(self.model, sources, self._settings, failed.__setitem__):
                for lost in range(done, index):
                    yield self._lost(sources[lost], failed.pop(lost))
                yield self._answer(sources[index], row)
                advance(index + 1 - done)
                done = index + 1
        for lost in range(done, len(sources)):
            yield self._lost(sources[lost], failed.pop(lost))

    def _answer(self, source: Source, row: np.ndarray) -> Prediction:
        names, task = self.facts["classes"], self.facts["task"]
        label, confidence = decide(task, row, names, self.facts["thresholds"])
        pairs = [(name, float(value)) for name, value in zip(names, row, strict=True)]
        if task != "regress":
            pairs.sort(key=lambda pair: -pair[1])
        return Prediction(_name(source), label, float(confidence) if confidence else None, tuple(pairs))

    def _lost(self, source: Source, error: PictureError) -> Prediction:
        return Prediction(_name(source), "", None, (), error.reason)


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "array"


def model_of(run: Path) -> Path:
    """The model file of a finished run, or `run` itself where it is such a file. Needs no Keras."""
    if run.suffix != ".keras":
        layout = Layout(run)
        layout.complete()
        run = layout.model
    model_file.facts(run)
    return run


def as_csv(predictions: Iterable[Prediction], names: list[str], task: str) -> Iterator[str]:
    """CSV lines as predictions.csv has them (without the true label)."""
    prefix = "y_" if task == "regress" else "p_"
    yield csv_line(["path", "predicted", "confidence", *(prefix + n for n in names), "error"])
    for p in predictions:
        scores = dict(p.scores)
        numbers = [f"{scores[n]:.9g}" if n in scores else "" for n in names]
        confidence = "" if p.confidence is None else f"{p.confidence:.9g}"
        yield csv_line([p.path, p.label, confidence, *numbers, p.error])


def as_json_lines(predictions: Iterable[Prediction], top: int | None) -> Iterator[str]:
    """One JSON object a line."""
    for p in predictions:
        yield to_json(p.as_dict(top))


def as_table(predictions: Iterable[Prediction], top: int | None, task: str, width: int = 0) -> Iterator[str]:
    """Lines for people: path (filled up to `width`), the answer, the best `top` scores."""
    for p in predictions:
        path = f"{shown(p.path):<{width}}"
        if p.error:
            yield f"{path}  cannot be read: {p.error}"
            continue
        scores = [f"{shown(name)} {value:.4g}" if task == "regress" else f"{shown(name)} {value:.3f}"
                  for name, value in p.scores[:top]]  # fmt: skip
        # Of several labels, which apply is a decision of its own; elsewhere the first score is the answer.
        decided = f"  [{shown(p.label) or 'no label'}]" if task == "multilabel" else ""
        yield f"{path}{decided}  {'  '.join(scores)}"
