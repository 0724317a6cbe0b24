"""Checkpoints of timm and of DINOv2's own repository: no config of sizes, so the tensors' shapes say them. No Keras.

Only families whose every detail follows from name and shapes are read; heads are as wide as in the papers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transferkit.backbones.foundation import layouts
from transferkit.backbones.foundation.architecture import ConvNeXt, Transformer
from transferkit.backbones.foundation.checkpoint import Tensors
from transferkit.backbones.foundation.families import Described, of_family
from transferkit.errors import BackboneError
from transferkit.text import shown

_VIT = re.compile(
    r"(vit|deit|deit3)_(tiny|small|medium|base|large|huge|giant)(_distilled)?_patch\d+(_reg\d)?(_dinov2|_\d+)(_\d+)?"
)
_CONVNEXT = re.compile(r"convnext(v2)?_[a-z]+(_\d+)?")
_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1536: 24}


def require_read(config: Mapping[str, Any]) -> str:
    """The architecture that a timm `config.json` names. Raises BackboneError for one that is not read."""
    name = str(config["architecture"])
    if not (_VIT.fullmatch(name) or _CONVNEXT.fullmatch(name)):
        raise BackboneError(
            f"timm's {shown(name[:60])} is not read; read are its vit_*, deit*, convnext_* and convnextv2_*. Of CLIP, "
            "SigLIP, DINOv3 and others take the folder in transformers' form"
        )
    return name


def described(config: Mapping[str, Any], tensors: Tensors) -> Described:
    """The network of a timm `config.json`. Raises BackboneError for one that is not read or not sound."""
    name, shapes = require_read(config), tensors.shapes
    arguments, said = _part(config, "model_args"), pretrained(config)
    found = _convnext(shapes) if _CONVNEXT.fullmatch(name) else _transformer(shapes, arguments, "dinov2" in name)
    sides = said.get("input_size")
    native = sides[-1] if isinstance(sides, list) and sides and type(sides[-1]) is int else found.native
    mean, std = (_three(said.get(key), other) for key, other in (("mean", found.mean), ("std", found.std)))
    licence = str(said.get("license") or "") or found.licence
    return replace(found, native=native, mean=mean, std=std, licence=licence)


def guessed(tensors: Tensors) -> Described | None:
    """What a checkpoint without config is, where its names leave no doubt: DINOv2 as Meta publishes it; else None."""
    shapes = tensors.shapes
    if not {"mask_token", "pos_embed", "blocks.0.ls1.gamma", "patch_embed.proj.weight"} <= set(shapes):
        return None
    found = _transformer(shapes, {}, True)
    net = found.architecture
    assert isinstance(net, Transformer)
    if net.prefix == 1:
        # Their code adds 0.1 to the side for these; for those with registers it resamples with antialiasing instead.
        net = replace(net, resampling="bicubic", offset=0.1)
    return replace(found, architecture=net)


def _transformer(shapes: Mapping[str, tuple[int, ...]], arguments: Mapping[str, Any], dinov2: bool) -> Described:
    try:
        width, _, patch, other = shapes["patch_embed.proj.weight"]
        positions = shapes["pos_embed"][1]
        depth = sum(re.fullmatch(r"blocks\.\d+\.norm1\.weight", name) is not None for name in shapes)
        meta = "blocks.0.mlp.w12.weight" in shapes
        inner = shapes["blocks.0.mlp.w12.weight" if meta else "blocks.0.mlp.fc1.weight"][0]
        hidden = shapes["blocks.0.mlp.w3.weight" if meta else "blocks.0.mlp.fc2.weight"][1]
    except (KeyError, ValueError, IndexError) as error:
        raise BackboneError(f"it lacks what every vision transformer of timm has ({shown(str(error)[:60])})") from error
    if patch != other or "norm.weight" not in shapes:
        raise BackboneError("its patches are not square, or it ends without a norm of its tokens (fc_norm)")
    own = [shapes[name][1] for name in layouts.TIMM_VIT.tokens if len(shapes.get(name, ())) == 3]
    grid = int(positions**0.5)
    heads = arguments.get("num_heads", _HEADS.get(width))
    if type(heads) is not int or heads < 1 or width % heads:
        raise BackboneError(
            f"the number of heads for {width} features is not known; config.json may say it: model_args"
        )
    gated = hidden * 2 == inner
    net = Transformer(
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        patch=patch,
        prefix=sum(own),
        has_class="cls_token" in shapes,
        activation="silu" if gated else "gelu",
        gated=gated,
        layer_scale="blocks.0.ls1.gamma" in shapes,
        biases=("blocks.0.attn.qkv.bias" in shapes,) * 3,
        grid=grid,
        resampling="bicubic_antialias",
    )
    layout = layouts.META_DINOV2_GATED if meta else layouts.TIMM_VIT
    return of_family("DINOv2" if dinov2 else "ViT", net, layout, grid * patch)


def _convnext(shapes: Mapping[str, tuple[int, ...]]) -> Described:
    depths, widths = [], []
    for stage in range(4):
        names = [name for name in shapes if re.fullmatch(rf"stages\.{stage}\.blocks\.\d+\.conv_dw\.weight", name)]
        depths.append(len(names))
        widths += [shapes[names[0]][0]] if names else []
    if 0 in depths or "stem.0.weight" not in shapes:
        raise BackboneError("it lacks what every ConvNeXt of timm has")
    second = "stages.0.blocks.0.mlp.grn.weight" in shapes
    net = ConvNeXt(
        tuple(widths), tuple(depths), layer_scale="stages.0.blocks.0.gamma" in shapes, response_norm=second,
        first=shapes["stem.0.weight"][-1],
    )  # fmt: skip
    found = of_family("ConvNeXt V2" if second else "ConvNeXt", net, layouts.TIMM_CONVNEXT, 224)
    return replace(found, licence="not stated with the weights")


def pretrained(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a config says of pictures: under `pretrained_cfg`, in timm's oldest files beside all else."""
    return _part(config, "pretrained_cfg") or config


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The settings under `name`; none where there are none. Raises BackboneError for anything else."""
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise BackboneError(f"its config.json says {name} = {shown(repr(found)[:60])}; it must be a list of settings")
    return found


def _three(value: Any, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    good = isinstance(value, list) and len(value) == 3 and all(isinstance(v, int | float) for v in value)
    return tuple(float(v) for v in value) if good else otherwise
