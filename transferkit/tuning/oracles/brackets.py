"""Hyperband's brackets, counted in advance: how many trials each rung has and for how many epochs. Pure Python."""

from __future__ import annotations

import math

FACTOR = 3  # of this many trials, one goes on to the next rung


def plan(max_epochs: int, most: float) -> list[list[tuple[int, int]]]:
    """The brackets of Hyperband (Li et al. 2018), in the sizes of Keras Tuner.

    Args:
        max_epochs: of a trial in the last rung.
        most: epochs that all brackets may cost; the first is in the list whatever it costs.

    Returns:
        For each bracket, trials and total epochs of every rung.
    """
    deepest, epochs = 0, float(max_epochs)
    while epochs / FACTOR >= 1:
        epochs, deepest = epochs / FACTOR, deepest + 1
    last = math.ceil(1 + math.log(max_epochs, FACTOR))
    found, spent = list[list[tuple[int, int]]](), 0.0
    while True:
        depth = deepest - len(found) % (deepest + 1)  # cyclic: from many cheap starts to few full ones
        end = last / (depth + 1)
        rungs = [
            (math.ceil(end * FACTOR ** (depth - rung)), math.ceil(max_epochs / FACTOR ** (depth - rung)))
            for rung in range(depth + 1)
        ]
        spent += cost(rungs)
        if found and spent > most:
            return found
        found.append(rungs)


def cost(rungs: list[tuple[int, int]]) -> int:
    """Epochs that one bracket takes: a promoted trial goes on from where it was."""
    before = [0, *(epochs for _, epochs in rungs)]
    return sum(trials * (epochs - start) for (trials, epochs), start in zip(rungs, before, strict=False))
