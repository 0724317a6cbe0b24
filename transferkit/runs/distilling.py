"""A small network taught by what a comparison chose (Hinton, Vinyals & Dean 2015): its targets are half the labels and
half the teacher's answers to the same pictures, given while these had been left out.

Answers of a teacher that has learnt the pictures would only repeat the labels; out-of-fold ones say what is uncertain.
The student is a run of its own: the better of a classifier on its frozen network and of layers that are trained, judged
once on the test pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from transferkit import tasks
from transferkit.backbones import freeze
from transferkit.config import Given, Settings
from transferkit.data.splitting.split import Splits
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.portfolio_record import DistilledRecord
from transferkit.evaluation.versus import Answers, edge
from transferkit.runs.finetune import Job
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import Manifest
from transferkit.runs.pictures import groups_at
from transferkit.runs.selecting import HeadSelection
from transferkit.runs.tables import Predictions
from transferkit.selection.candidate_scores import Floats
from transferkit.selection.ensemble import shares
from transferkit.training.problem import Problem, Trained
from transferkit.training.recipe import Recipe

SOFT = 0.5  # of a target that is the teacher's
FLATTERED = (
    "validation pictures had a part in the teacher's answers to training pictures, so that validation flatters; "
    "the test pictures had none"
)


@dataclass(kw_only=True)
class DistilledJob(Job):
    """The run of a student. `known` are the pictures that the teacher answered while they were left out, in order, and
    `soft` [n, t] the answers, as targets are encoded. `command` repeats it with its teacher."""

    known: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    soft: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    command: str = ""

    def _manifest(self) -> Manifest:
        found = super()._manifest()
        # From the beginning: what finetune's own command would finish is another run.
        found.record.kind, found.record.command = "distilled", self.command
        return found

    def _trained(self, work: Recipe, splits: Splits) -> tuple[Trained, HeadSelection | None]:
        trained, choice = super()._trained(work, splits)
        return replace(trained, notes=[*trained.notes, FLATTERED]), choice

    def _problem(self, train: np.ndarray, val: np.ndarray) -> Problem:
        found = super()._problem(train, val)
        targets = found.targets.copy()
        taught = self.soft[np.searchsorted(self.known, train)]
        targets[train] = (1 - SOFT) * targets[train] + SOFT * taught
        return replace(found, targets=targets)


def soft_targets(logits: Floats, temperature: float, task: str) -> Floats:
    """A teacher's answers as targets are encoded.

    Args:
        logits: its out-of-fold answers, float [n, t].
        temperature: its own, by which logits are divided.
        task: the name of the task.

    Returns:
        Probabilities [n, t]; standardised numbers as they are.
    """
    link = tasks.of(task).link
    return logits if link == "identity" else shares(logits / temperature, link)


def student_settings(teacher: Settings, network: str, policy: str | None, task: str) -> Settings:
    """Settings of a student: its classifier is chosen, and layers of the network may be trained from there.

    Args:
        teacher: the teacher's settings, of which all but network, policy and budget are taken.
        network: of the student.
        policy: what of it is unfrozen, on targets that are softened by the teacher alone; None: nothing.
        task: the name of the task.
    """
    dropped = ("backbone", "unfreeze", "budget")
    given: Given = {name: getattr(teacher, name) for name in teacher.model_fields_set if name not in dropped}
    given["backbone"] = network
    if policy is not None:
        given["unfreeze"] = policy
        given |= {"label_smoothing": 0.0} if tasks.of(task).smooths else {}
    return Settings(**given)


def top_of(job: Job) -> str | None:
    """The policy that trains the top of the network of `job`."""
    return freeze.top_policy(job._backbone().row)


def beside(layout: Layout, student: Layout, network: str, seed: int) -> DistilledRecord:
    """What a student came to beside its teacher, on the same test pictures.

    Args:
        layout: of the teacher's run.
        student: of the student's.
        network: the student's.
        seed: of the resampled interval.

    Returns:
        Both scores, the student's gain with its 95 % interval, and the size of its file in bytes; without scores where
        there is no test picture.
    """
    theirs, ours = layout.read_metrics(), student.read_metrics()
    key, size = ours.headline, student.model.stat().st_size
    found = DistilledRecord(network=network, run=student.folder.name, bytes=size, metric=key, words="")
    if not ours.test.n:
        return found
    teacher, taught = layout.read_predictions(), student.read_predictions()
    own, other = _answers(taught, ours), _answers(teacher, theirs)
    groups = groups_at(student, taught.paths)
    gain = edge(ours.task, key, taught.targets, own, other, list(ours.classes), seed, groups)
    found.test, found.teacher = ours.test.value(key), theirs.test.value(key)
    limits = ours.test.interval(key)
    found.test_ci95 = None if limits is None else list(limits)
    if gain is not None:
        found.gain, found.gain_ci95 = gain.gain, [gain.low, gain.high]
    return found


def _answers(rows: Predictions, metrics: MetricsRecord) -> Answers:
    return Answers(rows.outputs, None if metrics.thresholds is None else np.array(metrics.thresholds))
