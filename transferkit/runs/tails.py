"""`--unfreeze` under the rule of the choice: layers that are trained start from the best linear classifier (LP-FT), and
are shipped only where they are better on validation than the frozen choice, beyond one standard error in pairs.

So what is shipped is never worse on validation than what was chosen on the frozen network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transferkit import compute, terms
from transferkit.evaluation.metrics_record import HeadCandidate, UnfrozenRecord
from transferkit.quantities import figure
from transferkit.runs import agreement
from transferkit.runs.selecting import HeadSelection
from transferkit.selection.candidate_scores import OutOfFold
from transferkit.selection.comparison import behind
from transferkit.training import adapting
from transferkit.training.recipe import Recipe


def compete(work: Recipe, frozen: HeadSelection) -> HeadSelection:
    """The better of `frozen`, which the selection of `work` came to, and of the tail that its policy trains.

    Args:
        work: the recipe; its policy says what is trained.
        frozen: what its selection came to.
    """
    before = len(work.trainer.phases)
    tail = work.tuned(frozen.start(work.problem.train), frozen.trained.features)
    if tail is None:  # no time was left, which is said
        return replace(frozen, trained=replace(frozen.trained, notes=[*frozen.trained.notes, work.notes[-1]]))
    tail = agreement.agreed(tail, work)
    answers = OutOfFold.of(np.asarray(tail.val_outputs, np.float64), frozen.judge)
    gain, error = behind(frozen.answers, answers, frozen.judge)
    better = bool(gain > error)
    if not better:
        assert tail.pretrained is not None
        compute.assign(work.backbone.model.weights, tail.pretrained)
    unfrozen = _unfrozen(work, frozen, answers, (gain, error), better)
    work.reporter.say(unfrozen.words)
    last = frozen.trained.places["last"]
    shipped = replace(tail, places={"last": last, "head": last}) if better else frozen.trained
    phases = [*frozen.trained.phases, *work.trainer.phases[before:]]
    shipped = replace(shipped, phases=phases, notes=[*shipped.notes, unfrozen.words])
    table = [one.model_copy(update={"chosen": one.chosen and not better}) for one in frozen.candidates]
    row = _candidate(answers, (gain, error), better)
    ensemble = None if better else frozen.ensemble
    return replace(
        frozen, trained=shipped, candidates=[*table, row], unfrozen=unfrozen, answers=answers, ensemble=ensemble
    )


def _candidate(tail: OutOfFold, gap: tuple[float, float], better: bool) -> HeadCandidate:
    """The tail as a row of the table."""
    return HeadCandidate(
        name="linear on tuned", features="tuned", classifier="linear", setting={}, score=tail.score, rounds=0,
        spread=None, behind_best=-gap[0], behind_best_se=gap[1], given_up=False, chosen=better,
        judged_on="validation",
    )  # fmt: skip


def _unfrozen(
    work: Recipe, frozen: HeadSelection, tail: OutOfFold, gap: tuple[float, float], better: bool
) -> UnfrozenRecord:
    """What training layers came to, with a sentence that says it."""
    metric, before = work.problem.goal.name, frozen.answers.score
    policy, how = work.settings.unfreeze, adapting.words(work.settings.adapt)
    scores = f"{figure(tail.score)}, frozen {figure(before)} (validation {terms.score(metric)})"
    came = "a clear gain" if better else "no clear gain"
    return UnfrozenRecord(
        policy=policy, metric=metric, score=tail.score, frozen=before, gain=gap[0], gain_se=gap[1], shipped=better,
        words=f"{policy}{how and f' ({how})'} {scores}: {came}",
    )  # fmt: skip
