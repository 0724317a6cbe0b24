"""`--unfreeze` under the rule of the choice: layers that are trained start from the best linear classifier (LP-FT), and
are shipped only where they are better on validation than the frozen choice, beyond one standard error in pairs.

So what is shipped is never worse on validation than what was chosen on the frozen network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from transferkit import compute, terms
from transferkit.console import figure
from transferkit.runs import agreement
from transferkit.runs.selecting import Selection
from transferkit.selection.choice import OutOfFold, behind
from transferkit.training.recipe import Recipe


def compete(work: Recipe, frozen: Selection) -> Selection:
    """The better of `frozen`, which the selection of `work` came to, and of the tail that its policy trains."""
    before = len(work.trainer.phases)
    tail = work.tuned(frozen.start(work.problem.train), frozen.trained.features)
    if tail is None:  # no time was left, which is said
        return replace(frozen, trained=replace(frozen.trained, notes=[*frozen.trained.notes, work.notes[-1]]))
    tail = agreement.agreed(tail, work.problem, work.views, work.reporter)
    answers = OutOfFold.of(np.asarray(tail.val_outputs, np.float64), frozen.judge)
    gain, error = behind(frozen.answers, answers, frozen.judge)
    better = bool(gain > error)
    if not better:
        assert tail.pretrained is not None
        compute.assign(work.backbone.model.weights, tail.pretrained)
    content = _content(work, frozen, answers, (gain, error), better)
    words = content["unfrozen"]["words"]
    work.reporter.say(words)
    last = frozen.trained.places["last"]
    shipped = replace(tail, places={"last": last, "head": last}) if better else frozen.trained
    phases = [*frozen.trained.phases, *work.trainer.phases[before:]]
    shipped = replace(shipped, phases=phases, notes=[*shipped.notes, words])
    return replace(frozen, trained=shipped, content=content, answers=answers)


def _content(
    work: Recipe, frozen: Selection, tail: OutOfFold, gap: tuple[float, float], better: bool
) -> dict[str, Any]:  # fmt: skip
    """The entries of metrics.json, the tail among them."""
    row = {
        "name": "linear on tuned", "features": "tuned", "classifier": "linear", "setting": {}, "score": tail.score,
        "rounds": 0, "spread": None, "behind_best": -gap[0], "behind_best_se": gap[1], "given_up": False,
        "chosen": better, "judged_on": "validation",
    }  # fmt: skip
    table = [{**one, "chosen": one["chosen"] and not better} for one in frozen.content["candidates"]]
    unfrozen = {
        "policy": work.settings.unfreeze, "metric": work.problem.goal.name, "score": tail.score,
        "frozen": frozen.answers.score, "gain": gap[0], "gain_se": gap[1], "shipped": better,
    }  # fmt: skip
    unfrozen["words"] = _said(unfrozen)
    return {**frozen.content, "candidates": [*table, row], "unfrozen": unfrozen}


def _said(unfrozen: dict[str, Any]) -> str:
    """What training layers came to, in a sentence."""
    name = terms.score(unfrozen["metric"])
    scores = f"{name} {figure(unfrozen['score'])}, the frozen network {figure(unfrozen['frozen'])}"
    came = (
        "better by more than one standard error, so it is kept"
        if unfrozen["shipped"]
        else "no gain beyond one standard error, so the frozen network is kept"
    )
    return f"Training {unfrozen['policy']} gave {scores} (validation): {came}"
