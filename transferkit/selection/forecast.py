"""What more time would probably bring: by how well cheap looks at networks foretold what these came to.

Of networks that were compared both are known, the score of the look and the score to expect in the end. Their
difference, with its spread, makes a prediction of each network that was looked at and left out: a new draw from a
normal distribution of unknown mean and deviation (Student's t). No prediction is made of what was not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3  # networks that were compared: two differences have one degree of freedom, and say next to nothing
DRAWS = 20_000


@dataclass(frozen=True)
class Waiting:
    """A network that there was no time for: the score of the look at it, and the seconds it would take."""

    network: str
    look: float
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What the best score would gain from these networks: the median, the 95 % interval, and the `chance` of any."""

    networks: tuple[str, ...]
    gain: float
    interval: tuple[float, float]
    chance: float


def within(waiting: Sequence[Waiting], seconds: float) -> list[Waiting]:
    """The networks that are done within a time, the most promising first, as a comparison takes them.

    Args:
        waiting: networks with the score of the look at them.
        seconds: there are.
    """
    found: list[Waiting] = []
    for one in sorted(waiting, key=lambda one: -one.look):
        if one.seconds <= seconds:
            found.append(one)
            seconds -= one.seconds
    return found


def forecast(
    known: Sequence[tuple[float, float]], waiting: Sequence[Waiting], best: float, ceiling: float, seed: int = 0
) -> Forecast | None:
    """The gain of the best score from comparing `waiting` too.

    Args:
        known: (look, score) of each network that was compared; more is better in both.
        waiting: networks that would be compared.
        best: the best score so far.
        ceiling: the best score there is.
        seed: of the draws.

    Returns:
        None where fewer than three networks were compared, or nothing waits: nothing supports a figure then.
    """
    if len(known) < FEWEST or not waiting:
        return None
    table = np.asarray(known, np.float64)
    apart = table[:, 1] - table[:, 0]
    k, rng = len(apart), np.random.default_rng(seed)
    # What is not known of mean and deviation is drawn once for all networks, what is particular to each, for each.
    deviation = apart.std(ddof=1) * np.sqrt((k - 1) / rng.chisquare(k - 1, DRAWS))
    middle = apart.mean() + deviation / np.sqrt(k) * rng.normal(size=DRAWS)
    looks = np.array([one.look for one in waiting])
    scores = looks + middle[:, None] + deviation[:, None] * rng.normal(size=(DRAWS, len(looks)))
    gains = np.maximum(np.minimum(scores.max(1), ceiling) - best, 0.0)
    low, middle_gain, high = (float(v) for v in np.quantile(gains, [0.025, 0.5, 0.975]))
    return Forecast(
        tuple(one.network for one in waiting), middle_gain, (low, high), float((gains > 0).mean())
    )  # fmt: skip
