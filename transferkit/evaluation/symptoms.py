"""What the rules of diagnosis look at: one run's curves and scores, their noise, and what they show. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from transferkit import tasks, terms
from transferkit.data.samples import shown
from transferkit.evaluation.diagnosis_context import DiagnosisContext, Judged
from transferkit.evaluation.scores import Edge, ScoreRow, Scores
from transferkit.tasks.task import Task

SURE = 0.01  # p below which a rule speaks; several rules look at one run


class Remedy(NamedTuple):
    """One thing to try: why it should help, and the command that does it."""

    why: str
    command: str


class Case(NamedTuple):
    """What every rule looks at. Scores are of the delivered model, `None` where unknown."""

    rows: list[dict[str, float]]  # of the phase that was kept; NaN where a value is missing
    train: float | None
    val: float | None
    test: float | None
    noise: float  # standard error of `train - val`
    metrics: Judged
    context: DiagnosisContext

    @property
    def gap(self) -> float:
        """Training score minus validation score; 0 where one is unknown."""
        return self.train - self.val if self.train is not None and self.val is not None else 0.0

    @property
    def task(self) -> Task:
        """The run's task."""
        return tasks.of(self.context.task)

    @property
    def named(self) -> str:
        """The score that rules go by, in words: it need not be the one that is shown first."""
        return terms.score(self.task.judged_by)

    def word(self, name: str, default: str = "") -> str:
        """A setting of the run that is a word, under the name of its option with underscores."""
        value = self.context.settings.get(name)
        return default if value is None else str(value)

    def number(self, name: str, default: float = 0.0) -> float:
        """A setting of the run that is a number; the default where it is none, or a word as `auto`."""
        value = self.context.settings.get(name)
        return value if isinstance(value, int | float) else default

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """One column of the curves, without its gaps."""
        values = np.array([row.get(name, math.nan) for row in self.rows], np.float64)
        return values[np.isfinite(values)]

    def remedy(self, why: str, options: str) -> Remedy:
        """A remedy that repeats the run with other options; one that the command has already is replaced."""
        return Remedy(why, with_options(self.context.command, options))

    def look(self, why: str, command: str, at: Literal["data", "run"]) -> Remedy:
        """A remedy that looks at the run's `data`, or at the `run` itself, with another command."""
        place = self.context.data if at == "data" else self.context.run
        return Remedy(why, f"transferkit {command} {shlex.quote(place or at.upper())}")


# What has no effect, and would be refused, beside a new value: (flag, value) → flags to drop.
DROPPED = {("--unfreeze", "none"): ("--layer-decay", "--batchnorm", "--adapt")}


def with_options(command: str, options: str) -> str:
    """`command` with `options` (each a flag and its value) in place of the same flags, or added at its end.

    Args:
        command: a command line.
        options: flags, each with its value.
    """
    words, changes = shlex.split(command), shlex.split(options)
    for flag, value in zip(changes[::2], changes[1::2], strict=True):
        if flag in words:
            words[words.index(flag) + 1] = value
        else:
            words += [flag, value]
        for other in DROPPED.get((flag, value), ()):
            if other in words:
                del words[words.index(other) : words.index(other) + 2]
    return shlex.join(words)


class Symptom(NamedTuple):
    """What a rule that fires returns."""

    evidence: list[str]
    remedies: list[Remedy]


def make_case(history: Sequence[Mapping[str, object]], metrics: Judged, context: DiagnosisContext) -> Case:
    """The kept phase and the scores of the delivered model.

    Args:
        history: rows of history.csv.
        metrics: scores of each split and of the baselines.
        context: what else is known of the run.
    """
    phases = [str(row.get("phase", "")) for row in history]
    # What was fitted in one step has no curve; those of networks that it was compared with say nothing of it.
    kept = context.phase or (phases[-1] if phases else "")
    rows = [_numbers(row) for row, phase in zip(history, phases, strict=True) if phase == kept]
    case = Case(rows, None, None, None, 0.0, metrics, context)
    train, val, test = (score_of(case, scores) for scores in (metrics.train, metrics.val, metrics.test))
    if train is None:
        # The running mean of an epoch under dropout and augmentation: too low rather than too high.
        seen = case.column(case.task.judged_by)
        train = float(seen[-1]) if len(seen) else None
    case = case._replace(train=train, val=val, test=test)
    return case._replace(noise=math.hypot(standard_error(case, "train"), standard_error(case, "val")))


def _numbers(row: Mapping[str, object]) -> dict[str, float]:
    result = {}
    for key, value in row.items():
        try:
            result[key] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue  # the phase name, or a value that was not logged
    return result


def score_of(case: Case, scores: Scores | None) -> float | None:
    """The score that rules judge by, of one split's scores; None where it is unknown.

    Args:
        case: says which score that is.
        scores: of the split; None where it has none.
    """
    return None if scores is None else scores.value(case.task.judged_by)


def standard_error(case: Case, split: Literal["train", "val", "test"]) -> float:
    """Standard error of a split's score, never 0: a perfect score of ten pictures is not certain.

    Args:
        case: the scores, and how many pictures they are of.
        split: which of them.

    Returns:
        In units of the score; 0 for a training score that is not known.
    """
    score, scores = {
        "train": (case.train, case.metrics.train),
        "val": (case.val, case.metrics.val),
        "test": (case.test, case.metrics.test),
    }[split]
    known = (scores.n if scores else 0) or (case.context.n_train if split == "train" else 0)
    if score is None or not known:
        return 0.0 if split == "train" else 0.05
    if case.task.numbers:
        return _error_of_r2(score, known)
    share = (score * known + 2) / (known + 4)  # Agresti & Coull 1998
    return math.sqrt(share * (1 - share) / (known + 4))


def _error_of_r2(r2: float, n: int) -> float:
    """Standard error of R² of `n` pictures that were not learnt from: 2 R (1 - R²) / √n (Olkin & Finn 1995).

    Its general form for 1 - MSE / variance; below 0 predictions carry nothing, and what they add is noise.
    """
    size = max(abs(r2), 1 / n)
    spread = 2 * math.sqrt(size) * max(1 - r2, 0.02) if r2 >= 0 else 2 * math.sqrt(size * (1 - r2))
    return spread / math.sqrt(n)


def rival(case: Case, name: str) -> Edge | None:
    """How much better the model is on test than a baseline, by the score that rules judge by.

    Tested in pairs where the run holds that; else from the test score's own standard error, as if the baseline had
    none.

    Args:
        case: the scores.
        name: of the baseline.

    Returns:
        The gain with its interval and p-value; None where a score is unknown.
    """
    found = case.metrics.baselines.get(name)
    value = score_of(case, found)
    if found is None or value is None or case.test is None:
        return None
    known = found.edge(case.task.judged_by)
    if known:
        return known
    gain, error = case.test - value, standard_error(case, "test")
    if name != "majority":  # which errs by chance too
        error *= math.sqrt(2)
    p = math.erfc(abs(gain) / (error * math.sqrt(2)))
    return Edge(gain, gain - 1.96 * error, gain + 1.96 * error, p)


def cut_short(case: Case) -> bool:
    """Whether the epochs ran out, rather than early stopping having decided."""
    loss, epochs = case.column("val_loss"), case.number("epochs", math.inf)
    if len(case.rows) < epochs:
        return False
    return not len(loss) or int(loss.argmin()) == len(loss) - 1


def still_improving(case: Case) -> bool:
    """Whether validation loss fell by 6 % over the last three epochs."""
    loss = case.column("val_loss")
    return len(loss) >= 4 and (loss[-4] - loss[-1]) > 0.06 * loss[-4]


def probe_ahead(case: Case) -> float | None:
    """Test score of the linear probe where the model stays behind it beyond chance, in training even; else None.

    Logistic regression on the same features is convex and trained to its end: what it can do, a head can (Alain &
    Bengio 2016).
    """
    probe, edge = score_of(case, case.metrics.baselines.get("linear_probe")), rival(case, "linear_probe")
    if probe is None or edge is None or not case.metrics.train or case.train is None:
        return None
    return probe if edge.gain < -0.05 and edge.p < SURE and case.train < probe else None


def turned_up(case: Case) -> str | None:
    """How validation loss rose after its best epoch while training loss fell; None where it did not."""
    train, val = case.column("loss"), case.column("val_loss")
    if len(val) < 4 or len(train) != len(val):
        return None
    best = int(val.argmin())
    if best == len(val) - 1 or val[-1] < 1.1 * val[best] or train[-1] >= train[best]:
        return None
    rise = f"from {val[best]:.3g} to {val[-1]:.3g}"
    return f"after epoch {best + 1} validation loss rose {rise} while training loss fell"


def weakest(case: Case) -> str:
    """The three classes with the worst recall on validation (test is not to be chosen by), and their pictures; of a
    class that was always recognised nothing says that it lacks any."""
    counts, rows = case.context.class_counts, recalls(case.metrics.val)
    known = sorted([row for row in rows if row[1] < 1], key=lambda row: row[1])[:3]
    return ", ".join(
        f"{shown(row.name)} ({100 * recall:.0f} % recognised on validation, {counts.get(row.name, '?')} for training)"
        for row, recall in known
    )


def recalls(scores: Scores | None) -> list[tuple[ScoreRow, float]]:
    """Rows of classes whose recall is known, and it."""
    rows = scores.rows if scores is not None and "per_class" in scores else []
    return [(row, recall) for row in rows if (recall := row.value("recall")) is not None]


def pooled_recall(rows: Sequence[tuple[ScoreRow, float]]) -> tuple[int, float]:
    """Pictures and recall of several classes together, of rows and their recall."""
    n = sum(row.support for row, _ in rows)
    return n, sum(recall * row.support for row, recall in rows) / n if n else 0.0


def fall_per_rate(case: Case) -> tuple[float, float]:
    """How much the loss fell for the learning rate spent, in the first and in the last third of the epochs.

    A schedule that lowers the rate flattens every curve; divided by the rate, a step too small shows.
    """
    loss, rate = case.column("loss"), case.column("learning_rate")
    if len(rate) != len(loss) or (rate <= 0).any():
        rate = np.ones(len(loss))
    third, spent = len(loss) // 3, np.cumsum(rate)
    early = (loss[0] - loss[third]) / (spent[third] - spent[0])
    late = (loss[-1 - third] - loss[-1]) / (spent[-1] - spent[-1 - third])
    return float(early), float(late)
