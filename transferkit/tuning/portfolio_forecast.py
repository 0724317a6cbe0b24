"""What ten minutes more would probably bring, said with its evidence; or that nothing supports a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transferkit.evaluation.portfolio_record import ForecastRecord
from transferkit.quantities import figure, plural
from transferkit.selection.forecast import FEWEST, Waiting, forecast, within
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.text import shown

SECONDS, MORE = 600.0, "ten minutes more"
BOUNDED = ("accuracy", "map", "r2")  # by what networks are looked at: the best is 1


def record(
    found: Sequence[NetworkAnswers], looks: Mapping[str, tuple[str, float]], waiting: Mapping[str, float | None],
    late: bool, metric: str, best: float | None,
) -> ForecastRecord:  # fmt: skip
    """The forecast of a comparison.

    Args:
        found: networks that were compared.
        looks: by network, the metric and the score of the look at it.
        waiting: networks that lacked time, with the seconds they would have taken; None where they were not looked at.
        late: whether something that is made of networks lacked time.
        metric: the goal's name.
        best: the best score to expect so far; None where less is better.
    """
    known = [
        Waiting(name, looks[name][1], needed)
        for name, needed in waiting.items()
        if needed is not None and name in looks
    ]
    soon = within(known, SECONDS)
    of = ForecastRecord(seconds=SECONDS, networks=[one.network for one in soon], compared=len(found), words="")
    pairs = [(looks[one.network][1], one.score) for one in found if one.network in looks]
    alike = best is not None and {name for name, _ in looks.values()} == {metric} and metric in BOUNDED
    made = forecast(pairs, soon, best, 1.0) if alike and best is not None else None
    if made is not None:
        of.gain, of.ci95, of.chance = made.gain, list(made.interval), made.chance
        of.words = _figure(of)
    elif not waiting:
        of.words = _nothing_left(late)
    else:
        of.words = f"what {MORE} would bring is not known: {_why(len(waiting), len(known), soon, pairs, alike)}"
    return of


def _figure(of: ForecastRecord) -> str:
    assert of.gain is not None
    assert of.ci95 is not None
    assert of.chance is not None
    low, high = of.ci95
    chance = min(max(round(100 * of.chance), 1), 99)  # nothing is certain
    return (
        f"{MORE} would probably bring {figure(of.gain, '+')} ({figure(low, '+')} to {figure(high, '+')}), and a "
        f"better network with a chance of about {chance} %: {', '.join(map(shown, of.networks))}, judged by how "
        f"the looks at {plural(of.compared, 'network')} foretold their scores"
    )


def _nothing_left(late: bool) -> str:
    if late:
        return f"what {MORE} would bring is not known: they would go to what was not tried"
    return f"{MORE} would bring nothing: there is nothing left to try with these networks"


def _why(left: int, looked: int, soon: Sequence[Waiting], pairs: Sequence[tuple[float, float]], alike: bool) -> str:
    what = plural(left, "network")
    if not looked:
        return f"{what} left out, none of which was looked at"
    if not soon:
        return f"of {what} left out none would be done by then"
    if not alike:
        return f"{what} left out were looked at by another score than the goal"
    return (
        f"{what} left out, and {len(pairs)} compared; it takes {FEWEST} to tell how far a look at a network foretells "
        "its score"
    )
