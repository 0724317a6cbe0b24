"""What went wrong, if anything: a table of small rules over curves and scores. Sources: docs/diagnosis.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy.typing as npt

from transferkit.evaluation.calibration import confidence_of
from transferkit.evaluation.diagnosis_context import ConfidentErrors, DiagnosisContext, Judged
from transferkit.evaluation.metrics_record import DiagnosisRecord, RemedyRecord
from transferkit.evaluation.rules import (
    imbalance,
    label_noise,
    leakage,
    learned_nothing,
    overfitting,
    shift,
    too_high,
    too_little_data,
    too_low,
    underfitting,
    unstable,
)
from transferkit.evaluation.symptoms import Case, Remedy, Symptom, make_case
from transferkit.quantities import plural

GOOD = "good fit"
FEW = 60  # validation pictures below which a score is not known to ±0.1, and hardly any rule can fire
CONFIDENT = 0.9  # the least confidence of an error that counts as a confident one


class Diagnosis(NamedTuple):
    """The gravest finding as `state`, `evidence` and `remedies` of all findings, other states in `also`."""

    state: str
    evidence: list[str]
    remedies: list[Remedy]
    also: list[str]

    def as_record(self) -> DiagnosisRecord:
        """For metrics.json."""
        remedies = [RemedyRecord(why=remedy.why, command=remedy.command) for remedy in self.remedies]
        return DiagnosisRecord(state=self.state, evidence=self.evidence, remedies=remedies, also=self.also)


def diagnose(history: Sequence[Mapping[str, object]], metrics: Judged, context: DiagnosisContext) -> Diagnosis:
    """Name the state of a run from its curves and scores; a small gap within noise is a good fit.

    Args:
        history: rows of history.csv (numbers or text).
        metrics: scores of each split and of the baselines, as `MetricsRecord` has them.
        context: what else is known of the run.
    """
    case = make_case(history, metrics, context)
    found = [(name, finding) for name, rule in RULES if (finding := rule(case)) is not None]
    if not found:
        return Diagnosis(GOOD if case.val is not None else "unknown", _good(case), [], [])
    evidence = [line for _, finding in found for line in finding.evidence]
    remedies: dict[str, Remedy] = {}
    for remedy in (remedy for _, finding in found for remedy in finding.remedies):
        remedies.setdefault(remedy.command, remedy)  # the gravest finding's reason for it
    also = dict.fromkeys(name for name, _ in found if name != found[0][0])  # two rules may find one state
    return Diagnosis(found[0][0], evidence, list(remedies.values()), list(also))


def confident_errors(probs: npt.ArrayLike, targets: npt.ArrayLike) -> ConfidentErrors:
    """Wrong answers of high confidence: how many there are and how many calibration allows. Northcutt et al. 2021.

    Args:
        probs: calibrated, [N, C].
        targets: int [N].
    """
    confidence, right = confidence_of(probs, targets)
    wrong = right == 0
    sure = confidence >= CONFIDENT
    return ConfidentErrors(int((sure & wrong).sum()), float((1 - confidence[sure]).sum()), int(sure.sum()))


def _good(case: Case) -> list[str]:
    if case.val is None:
        return ["there are no validation scores to judge by"]
    if case.train is None:
        n = case.metrics.val.n if case.metrics.val is not None else 0
        few = f", but {plural(n, 'validation picture')} show large faults only" if 0 < n < FEW else ""
        return [f"validation {case.named} {case.val:.3f}; no rule found anything amiss{few}"]
    noise = max(2 * case.noise, 0.005)
    where = "within noise" if abs(case.gap) <= noise else "a usual distance"
    return [f"training {case.named} {case.train:.3f} and validation {case.val:.3f} agree ({where}, ±{noise:.3f})"]


RULES: tuple[tuple[str, Callable[[Case], Symptom | None]], ...] = (
    # state, rule: the gravest first, for what comes later means little where an earlier one holds
    ("leakage suspected", leakage),
    ("test unlike training", shift),
    ("learning rate too high", too_high),
    ("unstable", unstable),
    ("learning rate too low", too_low),
    ("underfitting", learned_nothing),
    ("label noise suspected", label_noise),
    ("overfitting", overfitting),
    ("too little data", too_little_data),
    ("class imbalance hurting", imbalance),
    ("underfitting", underfitting),
)
