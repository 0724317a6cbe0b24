"""The diagnosis of a finished run as text, with what more pictures would bring and how it stands to its baselines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transferkit import tasks
from transferkit.data.samples import listed
from transferkit.delivery import statements
from transferkit.errors import RunError
from transferkit.evaluation.versus import verdicts
from transferkit.runs.advice import HIDDEN, own
from transferkit.runs.layout import Layout
from transferkit.text import shown


def diagnosis_of(layout: Layout) -> dict[str, Any]:
    """`state`, `also`, `evidence` and `remedies` of metrics.json, `more_pictures` (gain from twice the training
    pictures with its 90 % range, None where unknown), `beaten_by` (baselines that are clearly better on test) and
    `no_clear_difference` (those that the model cannot be told apart from)."""
    layout.complete()
    metrics = layout.read_metrics()
    if not metrics.get("diagnosis"):
        raise RunError(f"{layout.folder} holds no diagnosis; make the run anew")
    fit = (metrics.get("learning_curve") or {}).get("fit")
    more = None if fit is None else {key: fit[key] for key in ("gain", "gain_low", "gain_high")}
    states = {v.name: v.state for v in verdicts(metrics, tasks.of(metrics["task"]).default_metric)}
    empty: dict[str, Any] = {"also": [], "remedies": []}
    return {
        **empty,
        **metrics["diagnosis"],
        "more_pictures": more,
        "beaten_by": [name for name, state in states.items() if state == "ahead"],
        "no_clear_difference": [name for name, state in states.items() if state == "unclear"],
    }


def as_lines(found: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield f"Diagnosis  {shown(found['state'])}" + (f" (also: {listed(found['also'])})" if found["also"] else "")
    for line in found["evidence"]:
        yield f"           - {shown(line)}"
    if found["more_pictures"]:
        low, high = (100 * found["more_pictures"][key] for key in ("gain_low", "gain_high"))
        yield f"More data  twice the training pictures would bring {low:+.1f} to {high:+.1f} points (90 % range)"
    for name in found["beaten_by"]:
        yield f"Baseline   {statements.rival(name)} is better than this model, beyond chance: training lost against it"
    for name in found["no_clear_difference"]:
        yield f"Baseline   {statements.rival(name)}: no clear difference from this model on the test pictures"
    for remedy in found["remedies"]:
        yield f"Try        {shown(remedy['why'])}:"
        yield f"           {own(remedy['command']) or HIDDEN}"
