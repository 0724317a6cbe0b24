"""Answers as lines of text: CSV, JSON, and a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from transferkit import tasks
from transferkit.csv_files import csv_line
from transferkit.data.samples import shown
from transferkit.delivery.predict import Prediction


def as_csv(predictions: Iterable[Prediction], names: list[str], task: str, abstains: bool = False) -> Iterator[str]:
    """CSV lines as predictions.csv has them (without the true label).

    Args:
        predictions: one a picture.
        names: of the classes.
        task: of the run.
        abstains: adds a column `abstained` of 0/1.
    """
    prefix = tasks.of(task).prefix
    more = ["abstained"] if abstains else []
    yield csv_line(["path", "predicted", "confidence", *(prefix + n for n in names), *more, "error"])
    for p in predictions:
        scores = dict(p.scores)
        numbers = [f"{scores[n]:.9g}" if n in scores else "" for n in names]
        confidence = "" if p.confidence is None else f"{p.confidence:.9g}"
        said = [str(int(p.abstained))] if abstains else []
        yield csv_line([p.path, p.label, confidence, *numbers, *said, p.error])


def as_json_lines(predictions: Iterable[Prediction], top: int | None) -> Iterator[str]:
    """One JSON object a line.

    Args:
        predictions: one a picture.
        top: how many scores are given; None: all.
    """
    for p in predictions:
        yield json.dumps(p.as_dict(top), allow_nan=False)  # ASCII: it passes through every encoding


def as_table(predictions: Iterable[Prediction], top: int | None, task: str, width: int = 0) -> Iterator[str]:
    """Lines for people: path, the answer, the best scores.

    Args:
        predictions: one a picture.
        top: how many scores are given; None: all.
        task: of the run.
        width: to which paths are filled up.
    """
    about = tasks.of(task)
    for p in predictions:
        path = f"{shown(p.path):<{width}}"
        if p.error:
            yield f"{path}  cannot be read: {p.error}"
            continue
        scores = [f"{shown(name)} {value:.7g}" if about.numbers else f"{shown(name)} {value:.3f}"
                  for name, value in p.scores[:top]]  # fmt: skip
        # Of several labels, which apply is a decision of its own; elsewhere the first score is the answer.
        decided = f"  [{shown(p.label) or 'no label'}]" if not about.top_is_answer else ""
        decided = "  (abstains)" if p.abstained else decided
        yield f"{path}{decided}  {'  '.join(scores)}"
