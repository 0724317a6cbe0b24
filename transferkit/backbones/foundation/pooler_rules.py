"""The weights of SigLIP's attention pooling from a checkpoint's: query, a weight itself, and keys become one kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from transferkit.backbones.foundation.architecture import Transformer
from transferkit.backbones.foundation.weight_names import Part, PoolerLayout
from transferkit.backbones.foundation.weight_rules import Rule, Shape, dense, norm


def pooler(a: Transformer, layout: PoolerLayout) -> Iterator[Rule]:
    """The rules for every weight of a pooler.

    Args:
        a: the architecture that has it.
        layout: what its tensors are called in the checkpoint.

    Returns:
        One rule a variable of the Keras layers.
    """
    w = a.width
    sources = [(layout.probe, (w,)), *_sources(layout.query, w), _sources(layout.key, w)[0]]
    yield Rule("pooler_scores/kernel", tuple(sources), _scores(a, layout.query, layout.key))
    for variable, source in zip(("kernel", "bias"), _sources(layout.value, w), strict=True):
        yield Rule(f"pooler_value/{variable}", (source,), lambda x: _part(x, layout.value).T)
    yield from dense("pooler_projection", layout.projection, w, w)
    yield from norm("pooler_norm2", layout.norm, w)
    yield from dense("pooler_expand", layout.expand, w, a.hidden)
    yield from dense("pooler_contract", layout.contract, a.hidden, w)


def _scores(a: Transformer, query: Part, key: Part) -> Callable[..., np.ndarray]:
    """Kernel (width, heads) that gives of a token its keys' products with the query, over the root of their length."""
    head = a.width // a.heads

    def convert(probe: np.ndarray, kernel: np.ndarray, bias: np.ndarray, keys: np.ndarray) -> np.ndarray:
        asked = _part(kernel, query).astype(np.float64) @ probe.reshape(-1) + _part(bias, query)
        by_head = _part(keys, key).reshape(a.heads, head, a.width)
        return np.asarray(np.einsum("hdw,hd->wh", by_head, asked.reshape(a.heads, head) / np.sqrt(head)))

    return convert


def _sources(part: Part, width: int) -> list[tuple[str, Shape]]:
    """The tensors that a part lies in."""
    name, _, count = part
    return [(name.format("weight"), (count * width, width)), (name.format("bias"), (count * width,))]


def _part(x: np.ndarray, part: Part) -> np.ndarray:
    _, at, count = part
    rows = len(x) // count
    return x[at * rows : (at + 1) * rows]
