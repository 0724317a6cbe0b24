"""Rows of a set that no network computed."""

import numpy as np

SHAPES = [(2, 3), (4,)]  # two tensors at the cut: 10 numbers a row
SPEC = {"network": "n", "rows": "cut:3", "precision": "float32"}


def rows(count, width=10, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (count, width)).astype(np.float32)


def names(count, prefix="p"):
    return [f"{prefix}{i}" for i in range(count)]
