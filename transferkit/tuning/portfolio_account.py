"""What a comparison of networks came to: the entry of metrics.json, and the sentences said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transferkit import tasks, terms
from transferkit.config import Settings
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.portfolio_record import (
    ComparedNetwork,
    LeftOutNetwork,
    PortfolioRecord,
    RefinedRecord,
    StepRecord,
    TogetherRecord,
)
from transferkit.quantities import duration, figure, plural
from transferkit.record import Number
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.expectation import expected
from transferkit.selection.member import Voter, networks
from transferkit.selection.network_choice import NetworkAnswers, NetworkChoice
from transferkit.text import shown
from transferkit.tuning import portfolio_forecast

OVER = "no layers were trained: the time was over before they could be"


@dataclass(frozen=True)
class FirstLook:
    """What a network promises: a probe's score over folds of few pictures, its spread, and pictures a second."""

    network: str
    metric: str
    score: float
    spread: float
    speed: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a comparison did: `found`, networks that were compared, the first one first; `looks` at networks before;
    `left_out`, what was not compared, and `waiting`, what of it lacked time, with the seconds it would have taken;
    `made` of the networks and `untried`, some of it for lack of time where `late`; what was `chosen`, and the `members`
    that were trained, named by the network `first`; `single`, why what was better was not; `unfreeze`, the layers
    that were to be trained, "none" for none, and `tail`, why."""

    found: Sequence[NetworkAnswers]
    looks: Sequence[FirstLook]
    left_out: Sequence[LeftOutNetwork]
    waiting: Mapping[str, float | None]
    made: Sequence[NetworkAnswers]
    untried: Sequence[str]
    late: bool
    chosen: NetworkChoice
    members: Mapping[Voter, float]
    first: str
    single: str
    unfreeze: str
    tail: str
    judge: Judge

    @property
    def every(self) -> list[NetworkAnswers]:
        """The networks and what was made of them."""
        return [*self.found, *self.made]

    def shipped(self, metrics: MetricsRecord) -> dict[Voter, float]:
        """The members with their shares; a tail that won is of one network."""
        return dict(self.members) if metrics.ensemble else {Voter((self.first,)): 1.0}


def content(story: Story, base: Settings, task: str, metrics: MetricsRecord) -> PortfolioRecord:
    """The entry `portfolio` of metrics.json; its `words` are for people, one line each.

    Args:
        story: what was done.
        base: the settings that all networks share.
        task: of the pictures.
        metrics: metrics.json of the run that was trained.
    """
    chosen, shipped = story.chosen, story.shipped(metrics)
    over = story.unfreeze != "none" and metrics.unfrozen is None  # the choice once more took the time of the tail
    tuned = len(story.members) > 1 and metrics.unfrozen is not None and metrics.unfrozen.shipped
    alone = [one.own.score for one in story.every if one.member in shipped]
    result = PortfolioRecord(
        metric=_metric(base.metric, task), score=chosen.score, ci95=_ends(chosen.interval),
        winner_alone=alone[0] if len(alone) == 1 else chosen.apparent, networks=_networks(story, shipped),
        left_out=list(story.left_out), refined=_refined(story, shipped), untried=list(story.untried),
        steps=_steps(story, base.seed), tail=OVER if over else story.tail, words=[],
    )  # fmt: skip
    several = chosen.ensemble
    if several is not None:
        together = TogetherRecord(
            gain=several.gain, gain_se=several.error, alone=several.answers.score, shipped=len(shipped) > 1,
            single=story.single or ("training layers was better still" if tuned else ""),
        )  # fmt: skip
        together.words = _together(together)
        result.together = together
        result.winner_alone = several.answers.score if len(shipped) > 1 else result.winner_alone
    result.forecast = portfolio_forecast.record(
        story.found, {look.network: (look.metric, look.score) for look in story.looks}, story.waiting,
        story.late or over, result.metric, result.steps[-1].best if story.judge.maximise else None,
    )  # fmt: skip
    result.words = _words(result)
    if any(row.chosen and row.judged_on == "validation" and row.classifier == "mlp" for row in metrics.candidates):
        result.words.append("on validation a neural network was better still than the classifier chosen: it is shipped")
    return result


def _networks(story: Story, shipped: Mapping[Voter, float]) -> list[ComparedNetwork]:
    cheap = {look.network: look for look in story.looks}
    used = networks(shipped)
    rows = []
    for place, (one, (gain, error)) in enumerate(zip(story.found, story.chosen.gains, strict=True)):
        look = cheap.get(one.network)
        share = shipped.get(Voter((one.network,)))
        rows.append(ComparedNetwork(
            network=one.network, classifier=one.classifier, features=one.features, parameters=one.parameters,
            score=one.score, ci95=_ends(one.interval), alone=one.own.score, seconds=round(one.seconds, 2),
            gain=gain if place else None, gain_se=error if place else None,
            look=None if look is None else look.score, look_spread=None if look is None else look.spread,
            chosen=one.network in used, share=share if len(shipped) > 1 else None,
        ))  # fmt: skip
    return rows


def _refined(story: Story, shipped: Mapping[Voter, float]) -> list[RefinedRecord]:
    rows = []
    for one, (gain, error) in zip(story.made, story.chosen.refined, strict=True):
        row = RefinedRecord(
            kind="mirrored" if one.mirrored else "concatenated", networks=list(one.member.networks),
            classifier=one.classifier, features=one.features, score=one.score, gain=gain, gain_se=error,
            validated=gain > error, shipped=one.member in shipped, seconds=round(one.seconds, 2),
        )  # fmt: skip
        row.words = _refinement(row, shipped.get(one.member))
        rows.append(row)
    return rows


def _refinement(row: RefinedRecord, share: float | None) -> str:
    """What was made of a network or two, and whether that is kept."""
    what = f"{row.networks[0]} also on mirror images"
    if row.kind == "concatenated":
        what = f"features of {' and '.join(row.networks)} side by side: {terms.candidate(row.classifier, row.features)}"
    other = "without them" if row.kind == "mirrored" else "the better of them"
    came = f"{figure(row.gain, '+')} ± {figure(row.gain_se)} against {other}"
    kept = "" if row.validated else "; no gain beyond one standard error"
    kept = kept if share is None else f"; {100 * share:.0f} % of the answer" if share < 1 else "; chosen"
    return f"{what}, {figure(row.score)}, {duration(row.seconds)}; {came}{kept}"


def _steps(story: Story, seed: int) -> list[StepRecord]:
    """What was tried, in the order of time, with the score to expect of it and the best so far."""
    tried = [(str(one.member), one.score, one.seconds) for one in story.every]
    several = story.chosen.ensemble
    if several is not None:
        tried.append(("answers averaged", expected([several.answers], story.judge, seed)[0], 0.0))
    rows, best = list[StepRecord](), tried[0][1]
    for what, score, seconds in tried:
        best = max((best, score), key=story.judge.signed)
        rows.append(StepRecord(what=what, score=score, best=best, seconds=round(seconds, 2)))
    return rows


def _ends(interval: tuple[float, float] | None) -> list[Number] | None:
    return None if interval is None else list(interval)


def _metric(metric: str, task: str) -> str:
    return tasks.of(task).default_metric if metric == "auto" else metric


def said(one: NetworkAnswers, metric: str, task: str) -> str:
    """A network that is done, in a line.

    Args:
        one: what was chosen on it.
        metric: as it was asked for; "auto" is the task's own.
        task: the name of the task.
    """
    what = terms.candidate(one.classifier, one.features)
    return f"{shown(one.network)}: {what}, {terms.score(_metric(metric, task))} {_scored(one.score, one.interval)}"


def _scored(score: float, interval: Sequence[float] | None) -> str:
    return figure(score) + (f" ({figure(interval[0])} to {figure(interval[1])})" if interval else "")


def _words(content: PortfolioRecord) -> list[str]:
    rows = content.networks
    lines = []
    used = {name for made in content.refined if made.shipped for name in made.networks}
    for row in sorted(rows, key=lambda row: not row.chosen):
        what = terms.candidate(row.classifier, row.features)
        against = f" ± {figure(row.gain_se)} against {rows[0].network}"
        gain = "" if row.gain is None else f"; {figure(row.gain, '+')}{against}"
        kept = "; chosen" if row.chosen and len(rows) > 1 and row.network not in used else ""
        kept = kept if row.share is None else f"; {100 * row.share:.0f} % of the answer"
        lines.append(f"{row.network}: {what}, {_scored(row.score, row.ci95)}, {duration(row.seconds)}{gain}{kept}")
    lines += [f"{row.network}: left out, {row.why}" for row in content.left_out]
    lines += [row.words for row in content.refined] + [f"not tried: {what}" for what in content.untried]
    lines += [content.together.words] if content.together else []
    lines += [content.tail] if content.tail else []
    if len(rows) > 1:
        scored = f"{terms.score(content.metric)} {_scored(content.score, content.ci95)}"
        lines.append(f"expected of choosing so among {plural(len(rows), 'network')}: {scored}")
    return lines + ([content.forecast.words] if content.forecast else [])


def _together(several: TogetherRecord) -> str:
    """What averaging the answers of networks came to."""
    gain = f"{figure(several.gain, '+')} ± {figure(several.gain_se)} against the best of them"
    if several.shipped:
        return f"their answers averaged: {gain}, so they are shipped together, in one file"
    why = several.single or "no gain beyond one standard error"
    return f"their answers averaged: {gain}; not taken ({why})"
