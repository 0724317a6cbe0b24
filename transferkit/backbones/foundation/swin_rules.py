"""A Swin's weights from a checkpoint's: of V2 the position bias is computed here, for the windows of one picture size.

V2 (Liu et al. 2021, arXiv:2111.09883) keeps no table: a small network says the bias of every distance, on a scale of
logarithms, so that it holds for windows of another side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from transferkit.backbones.foundation.architecture import Swin
from transferkit.backbones.foundation.weight_names import SwinLayout
from transferkit.backbones.foundation.weight_rules import Rule, convolution, dense, norm, projections, same

_HIDDEN = 512  # of the network of biases, in every published V2
_SHARPEST = 100.0  # the factor of cosines is cut there
_HIGHEST = 16.0  # a bias is a sigmoid times this
_FAR = 8.0  # the distance that becomes 1


def swin(a: Swin, layout: SwinLayout, size: int) -> Iterator[Rule]:
    """The rules for every weight of a Swin.

    Args:
        a: the network.
        layout: the names of its weights in the checkpoint.
        size: of the pictures, pixels a side, by which the windows' positions are counted.
    """
    w, p, biases = a.width, a.patch, (True, not a.second, True)  # V2's keys have none
    yield from convolution("stem_conv", layout.stem_conv, (w, 3, p, p))
    yield from norm("stem_norm", layout.stem_norm, w)
    for i, (stage, at) in enumerate(a.places):
        ours, theirs, pieces = f"block{i}_", layout.block.format(stage, at), layout.pieces
        if stage and not at:
            merge_norm, merge = (name.format(stage - 1, stage) for name in (layout.merge_norm, layout.merge))
            yield from norm(ours + "merge_norm", merge_norm, 2 * w if a.second else 4 * w)
            yield from dense(ours + "merge", merge, 4 * w, 2 * w, bias=False)
            w *= 2
        yield from norm(ours + "norm1", theirs + pieces["norm1"], w)
        yield from norm(ours + "norm2", theirs + pieces["norm2"], w)
        yield from projections((ours, theirs), pieces, layout.qkv, w, biases)
        yield from dense(ours + "projection", theirs + pieces["projection"], w, w)
        yield from _positions(a, layout, (ours, theirs), stage, size)
        yield from dense(ours + "expand", theirs + pieces["expand"], w, a.ratio * w)
        yield from dense(ours + "contract", theirs + pieces["contract"], a.ratio * w, w)
    yield from norm("norm", layout.norm, w)


def _positions(a: Swin, layout: SwinLayout, block: tuple[str, str], stage: int, size: int) -> Iterator[Rule]:
    (ours, theirs), heads, pieces = block, a.heads[stage], layout.pieces
    key = ours + "positions/embeddings"
    if not a.second:
        yield Rule(key, ((theirs + pieces["positions"], ((2 * a.window - 1) ** 2, heads)),), same)
        return
    head = a.width * 2**stage // heads
    yield Rule(ours + "sharpness/kernel", ((theirs + pieces["sharpness"], (heads,)),), partial(_factors, head=head))
    net, window = theirs + pieces["positions"], a.window_at(stage, size)
    sources = ((net + ".0.weight", (_HIDDEN, 2)), (net + ".0.bias", (_HIDDEN,)), (net + ".2.weight", (heads, _HIDDEN)))
    yield Rule(key, sources, partial(_biases, window=window, learned=a.learned[stage] or window))


def _factors(logarithms: np.ndarray, *, head: int) -> np.ndarray:
    """What the cosines of each head are multiplied with, for each channel of the query: (1, width, 1)."""
    factors = np.exp(np.minimum(logarithms.astype(np.float64), math.log(_SHARPEST)))
    return np.repeat(factors, head).reshape(1, -1, 1)


def _biases(inner: np.ndarray, bias: np.ndarray, outer: np.ndarray, *, window: int, learned: int) -> np.ndarray:
    """The bias of every distance in a window: ((2 · window - 1)², heads). `learned` is the window it was learned in."""
    apart = np.arange(1 - window, window) / max(learned - 1, 1) * _FAR
    scale = np.sign(apart) * np.log2(np.abs(apart) + 1) / math.log2(_FAR)
    rows, columns = np.meshgrid(scale, scale, indexing="ij")
    places = np.stack([rows, columns], axis=-1).reshape(-1, 2)
    said = np.maximum(places @ inner.T + bias, 0) @ outer.T
    biases: np.ndarray = _HIGHEST / (1 + np.exp(-said))
    return biases
