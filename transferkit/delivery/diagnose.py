"""The diagnosis of a finished run as text, with what more pictures would bring and how it stands to its baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from transferkit import tasks, terms
from transferkit.data.samples import listed
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import CurveFit, DiagnosisRecord
from transferkit.evaluation.versus import verdicts
from transferkit.runs.advice import HIDDEN, own
from transferkit.runs.layout import Layout
from transferkit.text import shown


@dataclass(frozen=True, kw_only=True)
class RunDiagnosis:
    """Of a run of one `task`: the `diagnosis` of metrics.json, `more_pictures` (what twice the training pictures would
    bring, None where unknown), `beaten_by` (baselines that are clearly better on test) and `no_clear_difference` (those
    that the model cannot be told apart from)."""

    task: str
    diagnosis: DiagnosisRecord
    more_pictures: CurveFit | None
    beaten_by: list[str]
    no_clear_difference: list[str]

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        fit = self.more_pictures
        more = None if fit is None else {"gain": fit.gain, "gain_low": fit.gain_low, "gain_high": fit.gain_high}
        return {
            "also": [], "remedies": [], **self.diagnosis.as_json(), "more_pictures": more,
            "beaten_by": self.beaten_by, "no_clear_difference": self.no_clear_difference,
        }  # fmt: skip


def diagnosis_of(layout: Layout) -> RunDiagnosis:
    """What a finished run's metrics.json says is wrong. Raises RunError where it says nothing."""
    layout.complete()
    metrics = layout.read_metrics()
    if metrics.diagnosis is None:
        raise RunError(f"{layout.folder} holds no diagnosis; make the run again")
    states = {v.name: v.state for v in verdicts(metrics, metrics.headline)}
    return RunDiagnosis(
        task=metrics.task,
        diagnosis=metrics.diagnosis,
        more_pictures=metrics.learning_curve.fit if metrics.learning_curve else None,
        beaten_by=[name for name, state in states.items() if state == "ahead"],
        no_clear_difference=[name for name, state in states.items() if state == "unclear"],
    )


def as_lines(found: RunDiagnosis) -> Iterator[str]:
    """For people."""
    said, fit = found.diagnosis, found.more_pictures
    yield f"Diagnosis  {shown(said.state)}" + (f" (also: {listed(said.also)})" if said.also else "")
    for line in said.evidence:
        yield f"           - {shown(line)}"
    if fit:
        low, high = 100 * fit.gain_low, 100 * fit.gain_high
        simplest = terms.rival("linear_probe", found.task).phrase
        score = terms.score(tasks.of(found.task).judged_by)
        yield f"More data  twice the training pictures would bring {simplest}"
        yield f"           {low:+.1f} to {high:+.1f} points of {score} (90 % range)"
    for name in found.beaten_by:
        rival = terms.rival(name, found.task).phrase
        yield f"Baseline   {rival} is better than this model, beyond chance: training lost against it"
    for name in found.no_clear_difference:
        rival = terms.rival(name, found.task).phrase
        yield f"Baseline   {rival}: no clear difference from this model on the test pictures"
    for remedy in said.remedies:
        yield f"Try        {shown(remedy.why)}:"
        yield f"           {own(remedy.command) or HIDDEN}"
