"""Answers as a competition wants them: the header, the ids, their order and the kind of answer of a sample file.

Every id of the sample is answered, and no other. Without a sample the columns are `id`, the file's name, and `label`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from transferkit import tasks
from transferkit.csv_files import csv_line
from transferkit.data.readers.rows import load_cells
from transferkit.data.readers.walk import is_picture
from transferkit.data.samples import listed, shown
from transferkit.delivery.predict import Prediction
from transferkit.errors import DataError
from transferkit.runs.model_facts import ModelFacts

SEPARATORS = (" ", ";", ",", "|")  # of several labels in one cell
WHAT = "the competition's sample submission, a CSV with an id and the columns to be filled"
Cells = Callable[[Prediction], list[str]]


@dataclass(frozen=True)
class Sample:
    """What a sample submission asks for: `cells` makes the columns behind the id of a picture's answer."""

    header: list[str]
    ids: list[str]
    cells: Cells
    name: str = "sample"


@dataclass
class Submission:
    """Which pictures stand for which ids, before anything is computed. `left_out` are pictures without an id."""

    sample: Sample
    pictures: list[Path]
    left_out: list[Path] = field(default_factory=list)

    def lines(self, predictions: Sequence[Prediction]) -> Iterator[str]:
        """The file's lines, for the answers to `pictures` in their order.

        Raises:
            DataError: a picture could not be read; a file without its row would be refused by the competition.
        """
        lost = [f"{shown(p.path)} {p.error}" for p in predictions if p.error]
        if lost:
            raise DataError(
                f"{len(lost)} of {len(predictions)} pictures cannot be read, so their ids have no answer, and nothing "
                f"is written: {listed(lost, 5)}"
            )
        yield csv_line(self.sample.header)
        for name, prediction in zip(self.sample.ids, predictions, strict=True):
            yield csv_line([name, *self.sample.cells(prediction)])


def plan(pictures: Sequence[Path], facts: ModelFacts, sample: Path | None) -> Submission:
    """Match pictures with the ids of a sample.

    Args:
        pictures: their paths.
        facts: what the model answers.
        sample: the file with the ids; None: the pictures' names are the ids.

    Raises:
        DataError: the sample cannot be filled: it lacks an id column, asks for other classes than the model's, or names
            ids that no picture, or more than one, stands for.
    """
    found = list(dict.fromkeys(pictures))
    if sample is None:
        names = [picture.name for picture in found]
        _refuse_twice(names, "file names", "give --sample, whose ids say which parts of the paths count")
        return Submission(Sample(*_plain(facts, names)), found)
    read = _read(sample, facts)
    of = _by_id(read, found)
    chosen = [of[name] for name in read.ids]
    taken = set(chosen)
    return Submission(read, chosen, [picture for picture in found if picture not in taken])


def _plain(facts: ModelFacts, names: list[str]) -> tuple[list[str], list[str], Cells]:
    if tasks.of(facts.task).numbers:
        return (
            ["id", *(["label"] if len(facts.classes) == 1 else facts.classes)],
            names,
            _numbers(facts.classes),
        )
    return ["id", "label"], names, lambda prediction: [prediction.label]


# ------------------------------------------------------------------------------------------------ the sample


def _read(path: Path, facts: ModelFacts) -> Sample:
    header, rows = load_cells(path, WHAT)
    if len(header) < 2:
        raise DataError(f"{shown(path)} has the column {listed(header)} alone; give {WHAT}")
    ids = [row[0] for row in rows]
    if not ids:
        raise DataError(f"{shown(path)} names no id; give {WHAT}")
    _refuse_twice(ids, f"ids in {shown(path)}", "every id may be answered once")
    cells = _cells(shown(path), header[1:], [row[1:] for row in rows], facts)
    return Sample(header, ids, cells, shown(path))


def _refuse_twice(names: Sequence[str], what: str, remedy: str) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{len(twice)} {what} occur more than once: {listed(twice, 3)}; {remedy}")


def _cells(name: str, columns: list[str], rows: list[list[str]], facts: ModelFacts) -> Cells:
    """How the columns behind the id are filled: labels, or probabilities (numbers) by class."""
    classes, task = facts.classes, tasks.of(facts.task)
    if len(columns) == 1 and task.numbers and len(classes) == 1:
        return _numbers(classes)
    if len(columns) == 1 and not task.numbers and columns[0].strip() not in classes:
        return _one_column(name, columns[0], [row[0] for row in rows], facts)
    wanted = [column.strip() for column in columns]
    other, lacking = [c for c in wanted if c not in classes], [c for c in classes if c not in wanted]
    if len(columns) == 1 and not other:  # the probability of one of the classes, all else follows
        lacking = []
    if other or lacking:
        said = [f"{text} {listed(some, 5)}" for text, some in (("it has", other), ("it lacks", lacking)) if some]
        raise DataError(
            f"the columns of {name} behind the id are not the {task.named} of the run: {', '.join(said)}; the run "
            f"answers {listed(classes)}"
        )
    return _numbers(wanted)


def _numbers(names: Sequence[str]) -> Cells:
    def cells(prediction: Prediction) -> list[str]:
        scores = dict(prediction.scores)
        return [f"{scores[name]:.9g}" for name in names]

    return cells


def _one_column(name: str, column: str, values: list[str], facts: ModelFacts) -> Cells:
    """One column that is named like no class: labels, or of two classes 0 and 1 the probability of 1."""
    classes, given = facts.classes, sorted({value.strip() for value in values} - {""})
    if tasks.of(facts.task).form == "labels":
        separator = _separator(name, column, given, classes)
        return lambda prediction: [separator.join(n for n in classes if n in _labels(prediction, classes))]
    other = [value for value in given if value not in classes]
    if not other:
        return lambda prediction: [prediction.label]
    if sorted(classes) == ["0", "1"] and all(map(_is_share, given)):
        return _numbers(["1"])
    hint = ""
    if len(classes) == 2 and all(map(_is_share, given)):
        either = " or ".join(classes)
        hint = f"; where it asks for the probability of one class, rename it to {either}, and back afterwards"
    raise DataError(
        f"the column {shown(column)} of {name} holds {listed(other, 3)}, which is none of the run's classes "
        f"({listed(classes)}); put one of them there, or leave its cells empty{hint}"
    )


def _separator(name: str, column: str, given: list[str], classes: list[str]) -> str:
    several = [value for value in given if value not in classes]
    for separator in SEPARATORS:
        if several and all(part.strip() in classes for value in several for part in value.split(separator)):
            return separator
    if several:
        raise DataError(
            f"the column {shown(column)} of {name} holds {listed(several, 2)}, which is no list of the run's labels "
            f"({listed(classes)})"
        )
    return ";" if any(" " in label for label in classes) else " "


def _labels(prediction: Prediction, classes: Sequence[str]) -> set[str]:
    from transferkit.delivery.sorting import parted

    return set(parted(prediction.label, classes))


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------ ids and pictures


def _by_id(sample: Sample, pictures: Sequence[Path]) -> dict[str, Path]:
    """The picture of every id. Ids are the last parts of paths, as many as an id has, with the suffix or without it."""
    forms = {_form(name) for name in sample.ids}
    several: dict[str, list[Path]] = {}
    for picture in pictures:
        for depth, suffix in forms:
            several.setdefault(_name(picture, depth, suffix), []).append(picture)
    keys = {name: "/".join(PurePath(name).parts) for name in sample.ids}
    of = {name: several[key][0] for name, key in keys.items() if key in several}
    lacking = [name for name in sample.ids if name not in of]
    if lacking:
        like = f" (a picture is e.g. {shown(pictures[0])})" if pictures else ""
        raise DataError(
            f"{len(lacking)} of {len(sample.ids)} ids of {sample.name} have no picture: {listed(lacking, 3)}{like}; "
            "give predict the folder that holds all of them"
        )
    unclear = [f"{name} ({listed(several[keys[name]], 2)})" for name in of if len(several[keys[name]]) > 1]
    if unclear:
        raise DataError(
            f"{len(unclear)} ids of {sample.name} stand for more than one picture: {listed(unclear, 3)}; give predict "
            "the pictures of the competition alone"
        )
    return of


def _form(name: str) -> tuple[int, bool]:
    """How many parts of a path an id has, and whether its suffix is one of them."""
    return len(PurePath(name).parts), is_picture(name)


def _name(picture: Path, depth: int, suffix: bool) -> str:
    shape = picture if suffix else picture.with_suffix("") if is_picture(picture.name) else picture
    return "/".join(shape.parts[-depth:]) if depth else ""
