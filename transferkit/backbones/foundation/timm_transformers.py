"""Vision transformers and Swins of timm, and DINOv2 of its own repository: their tensors say their sizes. No Keras."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transferkit.backbones.foundation import weight_names
from transferkit.backbones.foundation.architecture import Activation, Swin, Transformer
from transferkit.backbones.foundation.described import Described, of_family
from transferkit.errors import BackboneError
from transferkit.text import shown

Sizes = Mapping[str, tuple[int, ...]]
# Heads by width, as in the papers; then where a family has others.
_HEADS = {192: 3, 256: 4, 384: 6, 512: 8, 640: 10, 768: 12, 896: 14, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1536: 24,
          1664: 16}  # fmt: skip
_OTHER_HEADS = {"SigLIP": {1536: 16}, "DINOv3": {1280: 20, 4096: 32}}
# The tanh form of GELU: only these of timm's SigLIPs say it, whatever they were trained with.
_TANH = re.compile(r"vit_(\w+_patch32|so400m_patch16|giantopt_patch16|large_patch16)_siglip(_gap)?_(\d+)")
_SWIN_V2 = re.compile(r"swinv2_[a-z]+_window(\d+)(?:to(\d+))?_\w+")
_LEARNED = (12, 12, 12, 6)  # windows of the networks whose bias was learned with others


def transformer(shapes: Sizes, arguments: Mapping[str, Any], name: str) -> Described:
    """A vision transformer by its tensors.

    Args:
        shapes: of the checkpoint's tensors, by name.
        arguments: of timm's model, as its config has them.
        name: timm's, which says family and activation.

    Raises:
        BackboneError: the tensors are not those of such a network.
    """
    family = _family(name)
    try:
        width, _, patch, other = shapes["patch_embed.proj.weight"]
        positions = shapes["pos_embed"][1] if family != "DINOv3" else 0
        depth = sum(re.fullmatch(r"blocks\.\d+\.norm1\.weight", name) is not None for name in shapes)
        hidden, gated = _hidden(shapes)
    except (KeyError, ValueError, IndexError) as error:
        raise BackboneError(f"it lacks what every vision transformer of timm has ({shown(str(error)[:60])})") from error
    if patch != other or patch < 1 or "norm.weight" not in shapes:
        raise BackboneError("its patches are not square, or it ends without a norm of its tokens (fc_norm)")
    registers = 4 if family == "DINOv3" else int((re.search(r"_reg(\d)", name) or "00")[1])
    if registers and shapes.get("reg_token", ())[1:2] != (registers,):
        raise BackboneError(f"it lacks the {registers} registers (reg_token) that {name} has")
    own = [shapes[name][1] for name in weight_names.TIMM_VIT.tokens if len(shapes.get(name, ())) == 3]
    grid = int(positions**0.5)
    net = Transformer(
        width=width,
        depth=depth,
        heads=_heads(family, width, arguments),
        hidden=hidden,
        patch=patch,
        prefix=1 + registers if family == "DINOv3" else sum(own),
        has_class="cls_token" in shapes,
        activation="silu" if gated else _activation(name),
        gated=gated,
        epsilon=1e-5 if family in ("CLIP", "DINOv3") else 1e-6,
        layer_scale=not {"blocks.0.ls1.gamma", "blocks.0.gamma_1"}.isdisjoint(shapes),
        norm_first="norm_pre.weight" in shapes,
        biases=_biases(shapes, family),
        grid=grid,
        rotary=100.0 if family == "DINOv3" else 0.0,
        resampling="bicubic_antialias",
    )
    found = of_family(family, net, _layout(shapes, family), grid * patch or 256)
    return replace(found, pools=math.prod(shapes.get("attn_pool.latent", ())) == width)


def swin(shapes: Sizes, arguments: Mapping[str, Any], name: str) -> Described:
    """A Swin or Swin V2 by its tensors.

    Args:
        shapes: of the checkpoint's tensors, by name.
        arguments: of timm's model, as its config has them: `window_size`, `pretrained_window_sizes`.
        name: timm's, which says the picture size, and windows that the arguments leave out.

    Raises:
        BackboneError: the tensors are not those of such a network.
    """
    second, windows = "swinv2" in name, _SWIN_V2.fullmatch(name)
    layout = weight_names.TIMM_SWIN_V2 if second else weight_names.TIMM_SWIN
    if "layers.0.downsample.norm.weight" in shapes:  # as Microsoft keeps them: at the end of the stage before
        layout = replace(layout, merge_norm="layers.{0}.downsample.norm", merge="layers.{0}.downsample.reduction")
    found = [re.fullmatch(r"layers\.(\d+)\.blocks\.\d+\.norm1\.weight", name) for name in shapes]
    stages = [int(match[1]) for match in found if match]
    depths = tuple(stages.count(stage) for stage in range(max(stages, default=-1) + 1))
    try:
        width, _, patch, _ = shapes["patch_embed.proj.weight"]
        first = [f"layers.{stage}.blocks.0." for stage in range(len(depths))]
        table = "attn.logit_scale" if second else "attn.relative_position_bias_table"
        heads = tuple(shapes[block + table][0 if second else 1] for block in first)
        side = int(shapes[first[0] + table][0] ** 0.5)
        hidden = shapes["layers.0.blocks.0.mlp.fc1.weight"][0]
    except (KeyError, ValueError, IndexError) as error:
        raise BackboneError(f"it lacks what every Swin of timm has ({shown(str(error)[:60])})") from error
    if not all((width, patch, *heads)) or any(width * 2**s % h for s, h in enumerate(heads)):
        raise BackboneError("its heads do not divide the widths of its stages")
    learned = (0,) * len(depths)
    if windows is not None:
        learned = arguments.get("pretrained_window_sizes") or (_LEARNED[: len(depths)] if windows[2] else learned)
    window = arguments.get("window_size") or (int(windows[2] or windows[1]) if windows else (side + 1) // 2)
    if type(window) is not int or not 0 < window < 1000 or not _wholes(learned, len(depths)):
        raise BackboneError("its windows are not square, or not the same in all stages")
    net = Swin(
        width, depths, heads, window, patch, hidden // width, second=second, learned=tuple(learned), pads_first=False
    )
    native = int(name.rpartition("_")[2].rpartition("to")[2])
    return of_family("Swin V2" if second else "Swin", net, layout, native)


def _wholes(value: Any, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(type(n) is int and n >= 0 for n in value)


def _family(name: str) -> str:
    for mark, family in (("dinov2", "DINOv2"), ("dinov3", "DINOv3"), ("_clip_", "CLIP"), ("siglip", "SigLIP")):
        if mark in name:
            return family
    return "ViT"


def _activation(name: str) -> Activation:
    tanh = _TANH.fullmatch(name)
    if tanh and ("large" not in tanh[1] or tanh[3] == "512"):
        return "gelu_tanh"
    return "quick_gelu" if "quickgelu" in name else "gelu"


def _hidden(shapes: Sizes) -> tuple[int, bool]:
    """Width between a block's dense layers, and whether they are gated."""
    block = "blocks.0.mlp."
    if block + "fc1_g.weight" in shapes:  # gate and expansion apart
        return shapes[block + "fc1_g.weight"][0], True
    meta = block + "w12.weight" in shapes
    inner = shapes[block + ("w12.weight" if meta else "fc1.weight")][0]
    hidden = shapes[block + ("w3.weight" if meta else "fc2.weight")][1]
    return hidden, hidden * 2 == inner


def _biases(shapes: Sizes, family: str) -> tuple[bool, bool, bool]:
    """Of query, key and value: only DINOv3 is published in several forms."""
    if "blocks.0.attn.q_bias" in shapes:
        return (True, False, True)
    return (family != "DINOv3" or "blocks.0.attn.qkv.bias" in shapes,) * 3


def _layout(shapes: Sizes, family: str) -> weight_names.TransformerLayout:
    if family == "DINOv3":
        return weight_names.TIMM_DINOV3_GATED if "blocks.0.mlp.fc1_g.weight" in shapes else weight_names.TIMM_DINOV3
    return weight_names.META_DINOV2_GATED if "blocks.0.mlp.w12.weight" in shapes else weight_names.TIMM_VIT


def _heads(family: str, width: int, arguments: Mapping[str, Any]) -> int:
    heads = arguments.get("num_heads", {**_HEADS, **_OTHER_HEADS.get(family, {})}.get(width))
    if type(heads) is not int or heads < 1 or width % heads:
        raise BackboneError(
            f"the number of heads for {width} features is not known; config.json may say it: model_args"
        )
    return heads
