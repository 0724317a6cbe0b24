"""Checkpoints of timm, torchvision and DINOv2's own repository: no config of sizes, the tensors say them. No Keras.

Only families whose every detail follows from name and shapes are read; of all others the name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transferkit.backbones.foundation import timm_convnets, timm_transformers
from transferkit.backbones.foundation.architecture import Transformer
from transferkit.backbones.foundation.checkpoint_files import Tensors
from transferkit.backbones.foundation.described import Described, renamed
from transferkit.errors import BackboneError
from transferkit.text import shown

_VIT = re.compile(
    r"(vit|deit|deit3)_(tiny|small|medium|base|large|huge|giant)(_distilled)?_patch\d+(_reg\d)?(_dinov2|_\d+)(_\d+)?"
    r"|vit_(xsmall|medium|betwixt|base|large|huge|giant|gigantic)_patch\d+(_plus)?_clip(_quickgelu)?_\d+"
    r"|vit_(base|large|so400m|giantopt)_patch\d+_siglip(_gap)?_\d+"
    r"|vit_(tiny|small|small_plus|base|large|huge_plus|7b)_patch16_dinov3(_qkvb)?"
)
_SWIN = re.compile(r"swin_(tiny|small|base|large)_patch4_window\d+_\d+")
_SWIN_V2 = re.compile(r"swinv2_(tiny|small|base|large)_window\d+(to\d+)?_\d+(to\d+)?")
_CONVNEXT = re.compile(r"convnext(v2)?_[a-z]+(_\d+)?")
_RESNET = re.compile(r"resnet\d+[cdst]?|wide_resnet\d+_2")
_EFFICIENTNET = re.compile(
    r"(tf_)?efficientnet_(b\d|l2|lite\d)|(tf_)?efficientnetv2_(s|m|l|xl|b\d)|efficientnetv2_rw_[tsm]"
    r"|mobilenetv4_conv_(small|small_035|small_050|medium|large)|mobilenetv4_hybrid_(medium|medium_075|large|large_075)"
)
# Arguments in a config that make another network without a trace in its tensors.
_UNSEEN = {"act_layer", "norm_layer", "pad_type", "bn_eps", "aa_layer", "output_stride", "embed_layer", "block_fn"}
_READ = (_VIT, _SWIN, _SWIN_V2, _CONVNEXT, _RESNET, _EFFICIENTNET)


def require_read(config: Mapping[str, Any]) -> str:
    """The architecture that a timm `config.json` names. Raises BackboneError for one that is not read."""
    name = str(config["architecture"])
    if not any(pattern.fullmatch(name) for pattern in _READ):
        raise BackboneError(
            f"timm's {shown(name[:60])} is not read; read are its vit_* (with clip, siglip, dinov2, dinov3), deit*, "
            "swin_*, swinv2_*, convnext*, resnet*, efficientnet* and mobilenetv4_*, without variants that add other "
            "parts"
        )
    return name


def described(config: Mapping[str, Any], tensors: Tensors) -> Described:
    """The network of a timm `config.json`.

    Args:
        config: its content.
        tensors: of the checkpoint; their shapes are looked at.

    Raises:
        BackboneError: one that is not read, or not sound.
    """
    name, said = require_read(config), pretrained(config)
    arguments = _part(config, "model_args")
    other = sorted(_UNSEEN & set(arguments))
    if other:
        raise BackboneError(f"its config.json says model_args {shown(repr(other[0])[:60])}, which is not read")
    found = _by_name(name, tensors.shapes, arguments)
    sides = said.get("input_size")
    native = sides[-1] if isinstance(sides, list) and sides and type(sides[-1]) is int else found.native
    mean, std = (_three(said.get(key), other) for key, other in (("mean", found.mean), ("std", found.std)))
    licence = str(said.get("license") or "") or found.licence
    if found.family == "SigLIP" and str(said.get("tag")).startswith("v2_"):
        found = renamed(found, "SigLIP 2")
    return replace(found, native=native, mean=mean, std=std, licence=licence)


def _by_name(name: str, shapes: Mapping[str, tuple[int, ...]], arguments: Mapping[str, Any]) -> Described:
    if _CONVNEXT.fullmatch(name):
        return timm_convnets.convnext(shapes)
    if _SWIN.fullmatch(name) or _SWIN_V2.fullmatch(name):
        return timm_transformers.swin(shapes, arguments, name)
    if _RESNET.fullmatch(name):
        return timm_convnets.resnet(shapes)
    if _EFFICIENTNET.fullmatch(name):
        return timm_convnets.efficientnet(shapes, name)
    return timm_transformers.transformer(shapes, arguments, name)


def guessed(tensors: Tensors) -> Described | None:
    """What a checkpoint without config is, where its names leave no doubt; None for others.

    These are DINOv2 as Meta publishes it, and ResNets as torchvision does.
    """
    shapes = tensors.shapes
    if {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.conv2.weight"} <= set(shapes):
        return replace(timm_convnets.resnet(shapes), licence="BSD-3-Clause (torchvision)")
    if not {"mask_token", "pos_embed", "blocks.0.ls1.gamma", "patch_embed.proj.weight"} <= set(shapes):
        return None
    found = timm_transformers.transformer(shapes, {}, "dinov2")
    net = found.architecture
    assert isinstance(net, Transformer)
    if net.prefix == 1:
        # Their code adds 0.1 to the side for these; for those with registers it resamples with antialiasing instead.
        net = replace(net, resampling="bicubic", offset=0.1)
    return replace(found, architecture=net)


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
    """Three numbers as they are said, whatever their size."""
    good = isinstance(value, list) and len(value) == 3 and all(isinstance(v, int | float) for v in value)
    return tuple(value) if good else otherwise
