"""What ten minutes more would probably bring, said with its evidence; or, in a sentence, that nothing supports a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transferkit.console import duration, figure, plural
from transferkit.evaluation.metrics_record import ForecastRecord
from transferkit.selection.candidate_scores import Judge
from transferkit.selection.forecast import FEWEST, Waiting, forecast, within
from transferkit.selection.portfolio import NetworkAnswers
from transferkit.text import shown

SECONDS = 600.0
BOUNDED = ("accuracy", "map", "r2")  # by what networks are looked at: the best is 1


def record(
    found: Sequence[NetworkAnswers], looks: Mapping[str, tuple[str, float]], waiting: Mapping[str, float | None],
    untried: Sequence[str], metric: str, judge: Judge,
) -> ForecastRecord:  # fmt: skip
    """The forecast of a comparison.

    Args:
        found: networks that were compared.
        looks: by network, the metric and the score of the look at it.
        waiting: networks that lacked time, with the seconds they would have taken; None where they were not looked at.
        untried: what was not made of the networks.
        metric: the goal's name.
        judge: the goal.
    """
    known = [
        Waiting(name, looks[name][1], needed)
        for name, needed in waiting.items()
        if needed is not None and name in looks
    ]
    soon = within(known, SECONDS)
    of = ForecastRecord(seconds=SECONDS, networks=[one.network for one in soon], compared=len(found), words="")
    pairs = [(looks[one.network][1], one.score) for one in found if one.network in looks]
    alike = judge.maximise and {name for name, _ in looks.values()} == {metric} and metric in BOUNDED
    made = forecast(pairs, soon, max(one.score for one in found), 1.0) if alike else None
    more = duration(SECONDS)
    if made is not None:
        of.gain, of.ci95, of.chance = made.gain, list(made.interval), made.chance
        of.words = _figure(of, more)
    elif not waiting:
        of.words = _nothing_left(untried, more)
    else:
        of.words = f"what {more} more would bring is not known: {_why(len(waiting), len(known), soon, pairs, alike)}"
    return of


def _figure(of: ForecastRecord, more: str) -> str:
    assert of.gain is not None
    assert of.ci95 is not None
    assert of.chance is not None
    low, high = of.ci95
    return (
        f"{more} more would probably bring {figure(of.gain, '+')} ({figure(low, '+')} to {figure(high, '+')}), and a "
        f"better network with a chance of {100 * of.chance:.0f} %: {', '.join(map(shown, of.networks))}, judged by how "
        f"the looks at {plural(of.compared, 'network')} foretold their scores"
    )


def _nothing_left(untried: Sequence[str], more: str) -> str:
    if untried:
        return (
            f"what {more} more would bring is not known: they would go to what was not tried, of which nothing is known"
        )
    return f"{more} more would bring nothing: all networks that are here were compared"


def _why(left: int, looked: int, soon: Sequence[Waiting], pairs: Sequence[tuple[float, float]], alike: bool) -> str:
    what = plural(left, "network")
    if not looked:
        return f"{what} left out, none of which was looked at"
    if not soon:
        return f"of {what} left out none would be done by then"
    if not alike:
        return f"{what} left out were looked at by another score than the goal"
    return (
        f"{what} left out, and {len(pairs)} compared; it takes {FEWEST} to tell how far a look foretells what a network "
        "comes to"
    )
