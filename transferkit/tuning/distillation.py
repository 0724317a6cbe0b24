"""The student of a comparison: a small network, taught by the out-of-fold answers of what was chosen, as a run beside
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from transferkit import terms
from transferkit.data.splitting.split import Splits, save_splits
from transferkit.evaluation import calibration
from transferkit.evaluation.portfolio_record import DistilledRecord
from transferkit.quantities import figure
from transferkit.runs import distilling
from transferkit.runs.distilling import DistilledJob
from transferkit.runs.finetune import Job
from transferkit.runs.layout import Layout
from transferkit.selection.candidate_scores import Floats
from transferkit.selection.ensemble import together
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.text import shown

FOLDER = "student"  # in the run of the teacher


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """`job` is one of the student's network in the folder of the teacher; `members` of `every` are the teacher, with
    their shares; `command` repeats all of it."""

    job: Job
    splits: Splits
    every: Sequence[NetworkAnswers]
    members: Mapping[Voter, float]
    command: str

    @property
    def layout(self) -> Layout:
        """Where the student is."""
        return Layout(self.job.layout.folder / FOLDER)

    def run(self) -> DistilledRecord:
        """Train and judge the student, or finish it, and compare it with its teacher."""
        network, student = self.job.settings.backbone, self._student()
        self.job.reporter.heading(f"teaching {shown(network)}, the student")
        student.run()
        found = distilling.beside(self.job.layout, self.layout, network, self.job.settings.seed)
        found.words = _said(found)
        return found

    def _student(self) -> DistilledJob:
        job, layout, samples = self.job, self.layout, self.job.samples.hashed()
        layout.folder.mkdir(exist_ok=True)
        if not layout.splits.exists():
            save_splits(layout.splits, samples, self.splits)
        known = np.flatnonzero(np.array(self.splits.assignment) != "test")
        logits, temperature = self._answers(), 1.0
        if samples.kind.calibrated:
            temperature = calibration.fit_temperature(logits, samples.targets[known], samples.task)
        settings = distilling.student_settings(
            job.settings, job.settings.backbone, distilling.top_of(job), samples.task
        )
        given = {field.name: getattr(job, field.name) for field in fields(job)}
        return DistilledJob(
            **{**given, "intake": replace(job.intake, samples=samples), "settings": settings, "layout": layout},
            known=known, soft=distilling.soft_targets(logits, temperature, samples.task), command=self.command,
        )  # fmt: skip

    def _answers(self) -> Floats:
        """Of the teacher to training and validation pictures, in their order, each while it was left out."""
        found = {one.member: one.own.mean_logits for one in self.every}
        shares = list(self.members.values())
        return together([found[member] for member in self.members], shares, self.job.samples.task)


def _said(found: DistilledRecord) -> str:
    """The student beside its teacher, in a line."""
    what = f"student {found.network} ({found.bytes / 1e6:.1f} MB, in {found.run}/)"
    if found.test is None:
        return f"{what}: there are no test pictures to judge it by"
    between = ""
    if found.test_ci95 is not None:
        between = f" ({figure(found.test_ci95[0])} to {figure(found.test_ci95[1])})"
    teacher = f"its teacher {figure(found.teacher)}"
    said = f"{what}: {terms.score(found.metric)} {figure(found.test)}{between} on test, {teacher}"
    if found.gain is None or found.gain_ci95 is None:
        return said
    low, high = (figure(limit, "+") for limit in found.gain_ci95)
    return f"{said}; {figure(found.gain, '+')} ({low} to {high}) against it, in pairs"
