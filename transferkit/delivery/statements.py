"""What is said of a run, in sentences that summary, report, card and diagnosis share. Text from metrics.json alone.

A sentence that ranks rests on a test; where that shows nothing it says "no clear difference".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transferkit import terms
from transferkit.console import figure, ordinal
from transferkit.evaluation.versus import Verdict, verdicts

FLATTERS = "the best of several looks better than it is"


def rival(name: str, task: str = "classify") -> str:
    """A baseline's key in words, inside a sentence."""
    return terms.rival(name, task).phrase


def remark(verdict: Verdict) -> str:
    """What stands behind a baseline's score; empty where the model is clearly better."""
    how = "" if verdict.p is None else f" ({_p(verdict.p)})"
    return {
        "ahead": f"better: the training lost against it{how}",
        "unclear": f"no clear difference{how}",
        "behind": "",
    }[verdict.state]


def _task(metrics: Mapping[str, Any]) -> str:
    return str(metrics.get("task", "classify"))


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"


def winner(metrics: Mapping[str, Any], key: str) -> str | None:
    """The best baseline that is clearly better than the model, if there is one."""
    ahead = [v for v in verdicts(metrics, key) if v.state == "ahead"]
    if not ahead:
        return None
    own = metrics["test"][key]
    best = max(ahead, key=lambda v: abs(v.value - own))
    how = "" if best.p is None else f"; {_p(best.p)}, in pairs on the same pictures"
    return (
        f"a baseline wins: {rival(best.name, _task(metrics))} is better than this model "
        f"({figure(best.value)} against {figure(own)}{how})"
    )


def alike(metrics: Mapping[str, Any], key: str) -> str | None:
    """The baselines from which the model cannot be told apart, if there are any."""
    names = [rival(v.name, _task(metrics)) for v in verdicts(metrics, key) if v.state == "unclear"]
    return f"no clear difference from {' or '.join(names)} on these pictures" if names else None


def looks(metrics: Mapping[str, Any]) -> str | None:
    """How often the test pictures had been scored before; None where that is not known (runs of earlier versions)."""
    uses = metrics.get("test_uses") or {}
    if not uses.get("run"):
        return uses.get("note")
    if uses["run"] == 1:
        return uses.get("note") or "never used before"
    return f"{ordinal(uses['run'])} run scored on these pictures: {FLATTERS}"


def calibrated(metrics: Mapping[str, Any]) -> str | None:
    """Said where calibration made the test pictures' calibration error larger."""
    test = metrics.get("test") or {}
    after, before = test.get("ece"), test.get("ece_uncalibrated")
    if after is None or before is None or after <= before or metrics.get("temperature") == 1.0:
        return None
    edge = metrics.get("calibration") or {}
    sure = edge.get("p") is not None and edge["p"] < 0.05 and edge["gain"] < 0
    chance = "beyond chance" if sure else "with no clear difference in loss" if edge else ""
    return (
        f"calibration on validation made the calibration error on test larger: {figure(after)} instead of "
        f"{figure(before)}{', ' + chance if chance else ''}"
    )


def abstaining(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each promised accuracy that test did not reach."""
    for row in metrics.get("abstention") or []:
        reached, wanted = row.get("test_accuracy"), row["accuracy"]
        if row.get("threshold") is None or reached is None or reached >= wanted:
            continue
        between = row.get("test_accuracy_ci95")
        interval = f", 95 % interval {100 * between[0]:.1f} to {100 * between[1]:.1f} %" if between else ""
        missed = "missed beyond chance" if between and between[1] < wanted else "no clear difference from the promise"
        yield (
            f"answers above confidence {row['threshold']:.3f} were to be right in {100 * wanted:.0f} % and were in "
            f"{100 * reached:.1f} % on test{interval}" + (f": {missed}" if between else "")
        )
