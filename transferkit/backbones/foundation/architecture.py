"""What a network is made of, as plain data: read from a checkpoint's own words, never from its values. No Keras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from transferkit.backbones.foundation.convolutional import ConvNet, Shapes

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu"]
Resampling = Literal["bicubic", "bicubic_corners", "bicubic_antialias", "bilinear_antialias"]


@dataclass(frozen=True)
class Transformer:
    """A vision transformer: patches → tokens → blocks → norm.

    `prefix` counts the tokens before the patches: the class token (`has_class`), a distillation token, registers.
    Of these only the class token leaves the network. `grid` is the side of the stored position table, in patches; 0
    where positions are `rotary` (then the base of its angles). `offset` is added to the new side where the table is
    resampled: DINOv2's own code does, and its published numbers hold with it. With `pooler` the network ends with the
    attention pooling that SigLIP was trained with, and gives a vector.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    prefix: int = 1
    has_class: bool = True
    activation: Activation = "gelu"
    gated: bool = False
    epsilon: float = 1e-6
    layer_scale: bool = False
    norm_first: bool = False  # a norm right after the embedding: CLIP's
    biases: tuple[bool, bool, bool] = (True, True, True)  # of query, key, value
    grid: int = 0
    rotary: float = 0.0
    resampling: Resampling = "bicubic"
    offset: float = 0.0
    pooler: bool = False

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Stages as in a catalog row: (name, marker of the first layer)."""
        blocks = ((f"block{i}", f"block{i}_norm1") for i in range(self.depth))
        return (("stem", ""), *blocks, *([("pooler", "pooler_scores")] if self.pooler else []))

    @property
    def step(self) -> int:
        """Pixels that a side must be a multiple of."""
        return self.patch

    @property
    def minimum(self) -> int:
        """The least side in pixels: one patch."""
        return self.patch

    def tokens(self, size: int) -> int:
        """Tokens that the blocks compute for a picture of `size` pixels a side."""
        return self.prefix + (size // self.patch) ** 2

    def shapes(self, size: int) -> Shapes:
        """Shape of every weight, by "layer/variable", for pictures of `size` pixels a side."""
        w, h = self.width, self.hidden
        found: Shapes = {
            "embedding/kernel": (3 * self.patch**2, w),
            "embedding/bias": (self.tokens(size), w),
            **(_norm("embedding_norm", w) if self.norm_first else {}),
        }
        for i in range(self.depth):
            block = f"block{i}_"
            found |= _norm(block + "norm1", w)
            for name, bias in zip(("query", "key", "value"), self.biases, strict=True):
                found |= _dense(block + name, w, w, bias=bias)
            found |= _dense(block + "projection", w, w)
            found |= {block + "scale1/kernel": (1, w, 1)} if self.layer_scale else {}
            found |= _norm(block + "norm2", w)
            found |= _dense(block + "gate", w, h) if self.gated else {}
            found |= _dense(block + "expand", w, h) | _dense(block + "contract", h, w)
            found |= {block + "scale2/kernel": (1, w, 1)} if self.layer_scale else {}
        found |= _norm("norm", w)
        if self.pooler:
            found |= {"pooler_scores/kernel": (w, self.heads)}
            found |= _dense("pooler_value", w, w) | _dense("pooler_projection", w, w) | _norm("pooler_norm2", w)
            found |= _dense("pooler_expand", w, h) | _dense("pooler_contract", h, w)
        return found


@dataclass(frozen=True)
class ConvNeXt:
    """A ConvNeXt: stem → blocks in four stages, a downsampling before each but the first → the last map.

    `response_norm` is V2's global response normalisation, `layer_scale` V1's factors.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    epsilon: float = 1e-6
    layer_scale: bool = True
    response_norm: bool = False
    first: int = 4  # side and stride of the stem's convolution
    step: int = field(default=1, init=False)  # any side will do
    minimum: int = field(default=32, init=False)  # four halvings and the stem

    @property
    def blocks(self) -> tuple[tuple[int, bool], ...]:
        """Width of each block, and whether a downsampling comes before it."""
        pairs = enumerate(zip(self.widths, self.depths, strict=True))
        return tuple((width, stage > 0 and at == 0) for stage, (width, depth) in pairs for at in range(depth))

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Stages as in a catalog row: (name, marker of the first layer)."""
        firsts = (f"block{i}_down_norm" if down else f"block{i}_depthwise" for i, (_, down) in enumerate(self.blocks))
        return (("stem", ""), *((f"block{i}", marker) for i, marker in enumerate(firsts)))

    def shapes(self, size: int) -> Shapes:
        """Shape of every weight, by "layer/variable"; pictures of any size have the same."""
        w = self.widths[0]
        found: Shapes = {"stem_conv/kernel": (self.first, self.first, 3, w), "stem_conv/bias": (w,)} | _norm(
            "stem_norm", w
        )
        for i, (width, down) in enumerate(self.blocks):
            block = f"block{i}_"
            if down:
                found |= _norm(block + "down_norm", w)
                found |= {block + "down_conv/kernel": (2, 2, w, width), block + "down_conv/bias": (width,)}
            w = width
            found |= {block + "depthwise/kernel": (7, 7, w, 1), block + "depthwise/bias": (w,)}
            found |= _norm(block + "norm", w) | _dense(block + "expand", w, 4 * w)
            if self.response_norm:
                found |= {block + "response/kernel": (1, 1, 4 * w, 1), block + "response/bias": (4 * w,)}
            found |= _dense(block + "contract", 4 * w, w)
            found |= {block + "scale/kernel": (1, 1, w, 1)} if self.layer_scale else {}
        return found


@dataclass(frozen=True)
class Swin:
    """A Swin: patches → blocks of windowed attention in stages, neighbours merged between them → norm → a map.

    `second` is V2: norms after attention and dense layers in place of before, cosines with a learned factor in place of
    products, and a position bias for windows of any side; `learned` is the side it was learned with in each stage, 0
    where that is the window itself. `penalty` is taken from the score of two places that only the shift brought into
    one window. Where windows do not divide the map, transformers pads it before the shift (`pads_first`), timm after.
    """

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int = 4
    ratio: int = 4
    epsilon: float = 1e-5
    second: bool = False
    learned: tuple[int, ...] = ()
    penalty: float = 100.0
    pads_first: bool = True

    def window_at(self, stage: int, size: int) -> int:
        """Side of a window in `stage` for pictures of `size` pixels a side: V2's is never larger than the map."""
        return min(self.window, size // self.patch // 2**stage) if self.second else self.window

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Stage of each block, and its place in it."""
        return tuple((stage, at) for stage, depth in enumerate(self.depths) for at in range(depth))

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Stages as in a catalog row: (name, marker of the first layer)."""
        firsts = ("merge_pairs" if stage and not at else "norm1" for stage, at in self.places)
        return (("stem", ""), *((f"block{i}", f"block{i}_{first}") for i, first in enumerate(firsts)))

    @property
    def step(self) -> int:
        """Pixels that a side must be a multiple of."""
        return int(self.patch * 2 ** (len(self.depths) - 1))

    @property
    def minimum(self) -> int:
        """Pixels below which a window would be larger than the last stage's map; of V2, that map a single place."""
        return self.step * (2 if self.second else self.window)

    def shapes(self, size: int) -> Shapes:
        """Shape of every weight, by "layer/variable", for pictures of `size` pixels a side."""
        w = self.width
        found: Shapes = {"stem_conv/kernel": (self.patch, self.patch, 3, w), "stem_conv/bias": (w,)}
        found |= _norm("stem_norm", w)
        for i, (stage, at) in enumerate(self.places):
            block = f"block{i}_"
            if stage and not at:
                found |= _norm(block + "merge_norm", 2 * w if self.second else 4 * w)
                found |= _dense(block + "merge", 4 * w, 2 * w, bias=False)
                w *= 2
            found |= _norm(block + "norm1", w) | _norm(block + "norm2", w)
            for name in ("query", "key", "value", "projection"):
                found |= _dense(block + name, w, w, bias=not (self.second and name == "key"))
            found |= {block + "sharpness/kernel": (1, w, 1)} if self.second else {}
            distances = (2 * self.window_at(stage, size) - 1) ** 2
            found[block + "positions/embeddings"] = (distances, self.heads[stage])
            found |= _dense(block + "expand", w, self.ratio * w) | _dense(block + "contract", self.ratio * w, w)
        return found | _norm("norm", w)


Architecture = Transformer | ConvNeXt | Swin | ConvNet


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


def _dense(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    return {f"{name}/kernel": (inputs, outputs)} | ({f"{name}/bias": (outputs,)} if bias else {})
