"""What a comparison of networks came to: the entry of metrics.json, and the sentences said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transferkit import tasks, terms
from transferkit.console import duration, figure, plural
from transferkit.evaluation.metrics_record import (
    ComparedNetwork,
    LeftOutNetwork,
    MetricsRecord,
    PortfolioRecord,
    TogetherRecord,
)
from transferkit.record import Number
from transferkit.selection.portfolio import NetworkAnswers, NetworkChoice
from transferkit.text import shown


@dataclass(frozen=True)
class Look:
    """What a network promises: a probe's score over folds of few pictures, its spread, and pictures a second."""

    network: str
    metric: str
    score: float
    spread: float
    speed: float


def content(
    found: Sequence[NetworkAnswers], chosen: NetworkChoice, looks: Sequence[Look], left_out: list[LeftOutNetwork],
    metric: str, task: str, metrics: MetricsRecord, single: str,
) -> PortfolioRecord:  # fmt: skip
    """The entry `portfolio` of metrics.json; its `words` are for people, one line each.

    Args:
        found: the networks that were compared, the first one first.
        chosen: what was chosen.
        looks: at networks, before.
        left_out: what was not compared.
        metric: the goal's name, or "auto".
        task: of the pictures.
        metrics: metrics.json of the run that was trained.
        single: why several networks are not shipped together, though they were better.
    """
    cheap = {look.network: look for look in looks}
    members = {row.network: row.weight for row in metrics.ensemble.members} if metrics.ensemble else {}
    rows = []
    for place, (one, (gain, error)) in enumerate(zip(found, chosen.gains, strict=True)):
        look = cheap.get(one.network)
        rows.append(ComparedNetwork(
            network=one.network, classifier=one.classifier, features=one.features, parameters=one.parameters,
            score=one.score, ci95=_ends(one.interval), alone=one.own.score, seconds=round(one.seconds, 2),
            gain=gain if place else None, gain_se=error if place else None,
            look=None if look is None else look.score, look_spread=None if look is None else look.spread,
            chosen=one.network in members if members else place == chosen.winner, share=members.get(one.network),
        ))  # fmt: skip
    result = PortfolioRecord(
        metric=_metric(metric, task), score=chosen.score, ci95=_ends(chosen.interval), winner_alone=chosen.apparent,
        networks=rows, left_out=left_out, words=[],
    )  # fmt: skip
    several = chosen.ensemble
    if several is not None:
        alone = several.answers.score
        result.together = TogetherRecord(
            gain=several.gain, gain_se=several.error, alone=alone, shipped=bool(members), single=single,
        )  # fmt: skip
        result.together.words = _together(result.together)
        result.winner_alone = alone if members else chosen.apparent
    result.words = _words(result)
    if any(row.chosen and row.judged_on for row in metrics.candidates):
        result.words.append("on validation a neural network was better still than the classifier chosen: it is shipped")
    return result


def _ends(interval: tuple[float, float] | None) -> list[Number] | None:
    return None if interval is None else list(interval)


def _metric(metric: str, task: str) -> str:
    return tasks.of(task).default_metric if metric == "auto" else metric


def said(one: NetworkAnswers, metric: str, task: str) -> str:
    """A network that is done, in a line."""
    what = terms.candidate(one.classifier, one.features)
    return f"{shown(one.network)}: {what}, {terms.score(_metric(metric, task))} {_scored(one.score, one.interval)}"


def _scored(score: float, interval: Sequence[float] | None) -> str:
    return figure(score) + (f" ({figure(interval[0])} to {figure(interval[1])})" if interval else "")


def _words(content: PortfolioRecord) -> list[str]:
    rows = content.networks
    lines = []
    for row in sorted(rows, key=lambda row: not row.chosen):
        what = terms.candidate(row.classifier, row.features)
        against = f" ± {figure(row.gain_se)} against {rows[0].network}"
        gain = "" if row.gain is None else f"; {figure(row.gain, '+')}{against}"
        kept = "; chosen" if row.chosen and len(rows) > 1 else ""
        kept = kept if row.share is None else f"; {100 * row.share:.0f} % of the answer"
        lines.append(f"{row.network}: {what}, {_scored(row.score, row.ci95)}, {duration(row.seconds)}{gain}{kept}")
    lines += [f"{row.network}: left out, {row.why}" for row in content.left_out]
    lines += [content.together.words] if content.together else []
    if len(rows) > 1:
        scored = f"{terms.score(content.metric)} {_scored(content.score, content.ci95)}"
        lines.append(f"expected of choosing so among {plural(len(rows), 'network')}: {scored}")
    return lines


def _together(several: TogetherRecord) -> str:
    """What averaging the answers of networks came to."""
    gain = f"{figure(several.gain, '+')} ± {figure(several.gain_se)} against the best of them"
    if several.shipped:
        return f"their answers averaged: {gain}, so they are shipped together, in one file"
    why = several.single or "no gain beyond one standard error"
    return f"their answers averaged: {gain}; one network is shipped ({why})"
