"""What a task has to say for itself: its targets, losses, answers, scores and words. NumPy; Keras where it is asked.

Shapes: N pictures, C classes (labels, targets), t outputs of the network. *Targets* are as `Samples` hold them: class
numbers int64 [N], 0/1 float32 [N, C] or numbers float64 [N, C]. *Encoded* targets float32 [N, t] are what losses see.
*Logits* [N, t] come from the network; *answers* [N, C] are what the shipped model gives: probabilities, or numbers in
the user's units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from transferkit.errors import DataError
from transferkit.file_windows import release
from transferkit.tasks import TaskName

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Strata = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # pairs: a picture's number, and a stratum it is in
Units = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # mean and deviation [C] of numbers
AT_ONCE = 1 << 20  # answers (pictures times classes) that are worked on at once
TINY = 1e-7  # the same floor that Keras puts under a probability before it takes the logarithm


def parts(answers: Array) -> Iterator[slice]:
    """The rows of a table of answers [N, C], some at a time: of many pictures and classes each copy of all is large.
    Of a table in a file, what was read of it goes back to the system behind each part. Of no rows there is one part.

    Args:
        answers: the table.
    """
    step = max(1, AT_ONCE // max(1, answers.shape[1]))
    for start in range(0, max(1, len(answers)), step):
        yield slice(start, start + step)
        release(answers)


def of_targets(answers: Array, targets: Array) -> Array:
    """What each picture's own class was answered with [N].

    Args:
        answers: [N, C].
        targets: int [N].
    """
    found = np.empty(len(targets), answers.dtype)
    for part in parts(answers):
        some = answers[part]
        found[part] = some[np.arange(len(some)), targets[part]]
    return found


class Task(ABC):
    """One kind of question. What a subclass leaves as it is here is right for most; what it must say has no default."""

    name: TaskName

    # ---- targets
    form: Literal["class", "labels", "numbers"]  # how text and arrays are read: one class, several labels, numbers
    ordered = False  # whether the order of the classes means something, and so has to be known

    # ---- training
    losses: Mapping[str, str]  # `--loss` → the function's name in `training.losses.FUNCTIONS`; the first is the default
    smooths = True  # whether label smoothing has a meaning
    candidates: Sequence[str]  # what `--head auto` tries, by the names of `selection.candidates.LEARNERS`
    link: Literal["softmax", "sigmoid", "identity"]  # from logits to what is averaged where several networks answer
    share_shift = 0.0  # what is taken from a classifier's shares (0 to 1), so that their scaled rest are logits

    # ---- decision
    has_thresholds = False  # whether each output has a threshold of its own, chosen on validation
    abstains = False  # whether the run looks for confidences from which answers are right as often as promised
    top_is_answer = True  # whether the output of the highest score is the answer

    # ---- scores
    metrics: Sequence[str]  # what `--metric` may be, names of `evaluation.metric_registry.GOALS`
    default_metric: str  # of them, what a run aims at, and what is shown first
    faultless: tuple[str, float]  # the score that says whether every answer is right, and what it then is
    judged_by: str  # the score that diagnosis goes by: more is better, 1 is perfect
    shown_first: Sequence[str]  # scores that the report shows unasked
    hub_metrics: Sequence[str]  # scores in the card's header
    headline: Literal["right", "labels", "off"]  # what the first sentence counts: right answers, labels, or distance
    unit = ""  # of that distance, behind the number
    safe_metric = "loss"  # to be advised where another says nothing

    # ---- words
    kind: str  # "image classification"
    output: str  # one output: "class"
    outputs: str  # several: "classes"
    named: str = "classes"  # what messages call all names of outputs together
    does: str  # one sentence on what the model does
    majority: tuple[str, str]  # the answer that ignores the picture: in a table, and inside a sentence
    ignorant: str  # the same beside a verdict
    tta_measure = "log loss"
    keras_loss: str  # of a plain Keras loop with `build_head`
    keras_metric: str
    card_answer: str  # Python that prints the answer from `scores` [C] and `classes`

    @property
    def numbers(self) -> bool:
        """Whether answers are numbers in the user's units, not probabilities: no confidence, nothing to calibrate."""
        return self.form == "numbers"

    @property
    def exclusive(self) -> bool:
        """Whether a picture has exactly one class: targets are class numbers."""
        return self.form == "class"

    @property
    def plain_classes(self) -> bool:
        """Whether a picture has exactly one class, and the order of classes means nothing."""
        return self.exclusive and not self.ordered

    @property
    def calibrated(self) -> bool:
        """Whether a temperature makes its confidences mean what they say."""
        return not self.numbers

    @property
    def default_loss(self) -> str:
        """The loss where the user leaves the choice."""
        return next(iter(self.losses))

    @property
    def prefix(self) -> str:
        """Of the columns of outputs in predictions.csv."""
        return "y_" if self.numbers else "p_"

    @property
    def output_name(self) -> str:
        """What an exported function calls its answer."""
        return "values" if self.numbers else "probabilities"

    # ---- targets

    @abstractmethod
    def counts(self, targets: Array, classes: int) -> Array:
        """Pictures of each class or label, or known values of each number: [C]."""

    @abstractmethod
    def label(self, target: Any, classes: Sequence[str]) -> str:
        """One picture's target as text: `rose`, `a;b` or `1.5;2.0`."""

    @abstractmethod
    def strata(self, targets: Array) -> Strata:
        """The groups whose shares a split keeps: which picture is in which."""

    def columns(self, targets: Array, classes: int) -> Array:
        """Targets as a table [N, C]: one-hot, 0/1 or the numbers."""
        return targets.reshape(len(targets), -1)

    def arranged(self, names: Sequence[str], order: Sequence[str] | None) -> tuple[str, ...] | None:
        """All classes in their order, by what is given as `order` or by their names; None where it is not known.

        Raises DataError for an `order` that does not fit the names, or has no meaning here.
        """
        if order is not None:
            raise DataError(f"--classes gives classes an order, which --task {self.name} does not use; drop it")
        return None

    def unordered(self, names: Sequence[str]) -> str:
        """What is to be said where the order has to be known and is not."""
        raise NotImplementedError(self.name)

    # ---- training

    def logits(self, classes: int) -> int:
        """Width of the network's output."""
        return classes

    @abstractmethod
    def encoded(self, targets: Array, classes: int, train: Array) -> tuple[npt.NDArray[np.float32], Units | None]:
        """What the loss sees [N, t], and the units of numbers by the training pictures `train` (row numbers)."""

    def smoothed(self, encoded: npt.NDArray[np.float32], amount: float) -> npt.NDArray[np.float32]:
        """Encoded targets with label smoothing: of yes-or-no answers, each by itself."""
        return np.asarray(encoded * (1 - amount) + amount / 2, np.float32)

    def hits(self, logits: Array, encoded: Array) -> Array | None:
        """Which answers in training are right, bool […]; None where that has no meaning."""
        return None

    @abstractmethod
    def sure(self, targets: Array, classes: int) -> Floats:
        """Logits [N, t] of a network that is right and sure of it; their negatives are wrong."""

    def guessing(self, classes: int) -> float | None:
        """The training loss of mere guessing, in nats; None where it depends on the numbers."""
        return float(np.log(2))

    # ---- answers

    @abstractmethod
    def answers(self, logits: Array, temperature: float, units: Units | None) -> Floats:
        """Answers [N, C] of logits, as the shipped model gives them."""

    @abstractmethod
    def output_layers(self, temperature: float, units: Units | None) -> list[Callable[[Any], Any]]:
        """The same as Keras layers (or functions of Keras operations), first to last."""

    def likelihood(self, logits: Array, targets: Array, temperature: float) -> float:
        """Mean negative log-likelihood in nats at `temperature`, from logits: what calibration lowers."""
        raise NotImplementedError(self.name)

    def decide(self, answers: Array) -> npt.NDArray[np.int64]:
        """Number of the class that is answered [N], of answers [N, C]."""
        table = np.asarray(answers)
        if table.size <= AT_ONCE or table.ndim != 2:
            return np.asarray(table.argmax(axis=-1), np.int64)
        return np.concatenate([np.asarray(table[part].argmax(axis=-1), np.int64) for part in parts(table)])

    def decide_logits(self, logits: Array) -> npt.NDArray[np.int64]:
        """The same of logits."""
        return self.decide(self.answers(logits, 1.0, None))

    def words(self, row: Array, classes: Sequence[str], thresholds: Sequence[float] | None) -> tuple[str, str]:
        """The answer in words and its confidence (empty: none), of one row of answers [C]."""
        best = int(self.decide(row))
        return classes[best], f"{row[best]:.9g}"

    @abstractmethod
    def constant(self, targets: Array, classes: int) -> Floats:
        """The best answer [C] that ignores the picture, from the targets of training."""

    # ---- scores

    def scores(self, targets: Array, answers: Floats) -> dict[str, float | None]:
        """Scores of its own, beside those that every task of its form has (see `evaluation.metrics`)."""
        return {}

    def per_picture(self, key: str, targets: Array, answers: Floats) -> Floats | None:
        """What each picture [N] adds to the score `key`, up to a constant; None where that is no mean over pictures."""
        return None

    def gains(self, key: str, targets: Array, answers: Floats, units: Units | None) -> Floats | None:
        """What each picture [N] speaks for a candidate by the score `key`, more is better; None as above."""
        return None

    @abstractmethod
    def surprise(self, targets: Array, answers: Array) -> Floats:
        """How far off each answer is [N]: log loss, or distance in deviations of the targets."""

    @abstractmethod
    def agreement(self, reference: Array, outputs: Array, thresholds: Array | None, tie: float) -> float | None:
        """Share of pictures that two models answer alike (None: numbers); what is closer than `tie` may differ."""
