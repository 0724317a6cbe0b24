"""A network that needs no Keras, and rows of it."""

import numpy as np

from transferkit.console import Reporter
from transferkit.features import store
from transferkit.features.row_sources import FORWARD_BATCH

QUIET = Reporter(quiet=True)
SHAPES = [(3,), (2, 2)]


class Network:
    """Stands in for the frozen part: sums that tell pictures apart; remembers what it was given."""

    def __init__(self):
        self.calls = 0
        self.rows = 0
        self.die_at = None

    def __call__(self, inputs):
        (x,) = inputs
        assert x.shape[0] == FORWARD_BATCH, "every call has the one compiled shape"
        self.calls += 1
        if self.calls == self.die_at:
            raise KeyboardInterrupt
        self.rows += int(x.reshape(len(x), -1).any(1).sum())
        flat = x.astype(np.float32)
        return [flat.mean((1, 2)), flat[:, ::16, ::16, 0]]


def opened(kind="cut"):
    return store.open_set({"rows": kind}, SHAPES)


def wanted_of(samples, count=2):
    return {i: range(count + 1) for i in range(len(samples))}


def everything(source, samples, count=2):
    pictures = np.repeat(np.arange(len(samples)), count + 1)
    return source.take(pictures, np.tile(np.arange(count + 1), len(samples)))
