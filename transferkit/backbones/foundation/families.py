"""What a `config.json` says of a network: its family and sizes, and where its weights lie. Opens no weights; no Keras.

Configs on the hub leave out what is the library's default, so the defaults are here, a line a family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from transferkit.backbones.foundation import convnet_layouts, weight_names
from transferkit.backbones.foundation.architecture import Activation, ConvNeXt, Resampling, Swin, Transformer
from transferkit.backbones.foundation.convolutional import ConvNet, Unit, residual
from transferkit.backbones.foundation.described import Described, of_family, renamed
from transferkit.errors import BackboneError
from transferkit.text import shown

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "quick_gelu": "quick_gelu",
    "silu": "silu", "swish": "silu",
}  # fmt: skip
LARGEST = 1 << 16  # of any number in a config: no width or side comes near
DEEPEST = 1000  # blocks, of a transformer or of a stage
_COUNTS = {0: "some", 3: "three", 4: "four"}


class Numbers:
    """A config that is asked for numbers: each is checked when it is read."""

    def __init__(self, content: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._content = {**defaults, **{name: value for name, value in content.items() if value is not None}}

    def whole(self, name: str, least: int = 1, most: int = LARGEST) -> int:
        """A whole number; of a pair of equal ones, that one. Raises BackboneError."""
        value = self._content.get(name)
        if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        if type(value) is not int or not least <= value <= most:
            span = f"{least} to {most:,}"
            raise BackboneError(f"its config says {name} = {_clipped(value)}; it must be a whole number from {span}")
        return value

    def number(self, name: str) -> float:
        """A positive number. Raises BackboneError."""
        value = self._content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise BackboneError(f"its config says {name} = {_clipped(value)}; it must be a positive number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false. Raises BackboneError."""
        value = self._content.get(name)
        if not isinstance(value, bool):
            raise BackboneError(f"its config says {name} = {_clipped(value)}; it must be true or false")
        return value

    def word(self, name: str) -> str:
        """A word. Raises BackboneError."""
        value = self._content.get(name)
        if not isinstance(value, str):
            raise BackboneError(f"its config says {name} = {_clipped(value)}; it must be a word")
        return value

    def wholes(self, name: str, count: int = 4, least: int = 1, most: int = LARGEST) -> tuple[int, ...]:
        """A list of `count` whole numbers; 0 for any number of them up to eight. Raises BackboneError."""
        value = self._content.get(name)
        lengths = (count,) if count else range(1, 9)
        if (
            not isinstance(value, list)
            or len(value) not in lengths
            or any(type(n) is not int or not least <= n <= most for n in value)
        ):
            raise BackboneError(
                f"its config says {name} = {_clipped(value)}; it must be {_COUNTS.get(count, count)} whole numbers "
                f"from {least} to {most:,}"
            )
        return tuple(value)

    def activation(self) -> Activation:
        """The activation function. Raises BackboneError for one that is not here."""
        name = str(self._content.get("hidden_act"))
        if name not in _ACTIVATIONS:
            raise BackboneError(f"its activation is {_clipped(name)}; known are {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[name]


def _clipped(value: Any) -> str:
    return shown(repr(value)[:60])


_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
         "image_size": 224, "patch_size": 16, "num_channels": 3}  # fmt: skip
_CONV = {"num_channels": 3, "patch_size": 4, "hidden_sizes": [96, 192, 384, 768], "depths": [3, 3, 9, 3],
         "hidden_act": "gelu", "image_size": 224}  # fmt: skip
_WINDOWS = {"image_size": 224, "patch_size": 4, "num_channels": 3, "embed_dim": 96, "depths": [2, 2, 6, 2],
            "num_heads": [3, 6, 12, 24], "window_size": 7, "mlp_ratio": 4.0, "qkv_bias": True, "hidden_act": "gelu",
            "use_absolute_embeddings": False, "layer_norm_eps": 1e-5}  # fmt: skip
_DINOV2 = _BASE | {"patch_size": 14, "mlp_ratio": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True,
                   "use_swiglu_ffn": False}  # fmt: skip


def _common(n: Numbers) -> dict[str, Any]:
    """What all transformers' configs say alike."""
    width, heads = n.whole("hidden_size"), n.whole("num_attention_heads")
    if width % heads:
        raise BackboneError(f"its config says {width} features in {heads} heads, which does not divide")
    if n.whole("num_channels") != 3:
        raise BackboneError("it takes pictures of another number of channels than 3")
    return {
        "width": width, "heads": heads, "depth": n.whole("num_hidden_layers", most=DEEPEST),
        "patch": n.whole("patch_size"), "epsilon": n.number("layer_norm_eps"),
    }  # fmt: skip


def _dinov2(n: Numbers, *, registers: int = 0, antialias: bool = False) -> Described:
    common = _common(n)
    hidden, gated = int(common["width"] * n.number("mlp_ratio")), n.flag("use_swiglu_ffn")
    if gated:  # two thirds, so that three matrices have the parameters of two; a multiple of 8
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    bias = n.flag("qkv_bias")
    resampling: Resampling = "bicubic_antialias" if antialias else "bicubic"
    net = Transformer(
        **common, hidden=hidden, prefix=1 + registers, activation="silu" if gated else n.activation(), gated=gated,
        layer_scale=True, biases=(bias,) * 3, grid=n.whole("image_size") // common["patch"], resampling=resampling,
    )  # fmt: skip
    layout = weight_names.HF_DINOV2_GATED if gated else weight_names.HF_DINOV2
    return of_family("DINOv2", net, layout, n.whole("image_size"))


def _dinov2_registers(n: Numbers) -> Described:
    return _dinov2(n, registers=n.whole("num_register_tokens", 0), antialias=True)


def _dinov3(n: Numbers) -> Described:
    common = _common(n)
    gated = n.flag("use_gated_mlp")
    if common["width"] // common["heads"] % 4:
        raise BackboneError("the features of a head must be a multiple of 4 for rotary positions")
    if not (n.flag("proj_bias") and n.flag("mlp_bias")):
        raise BackboneError("its dense layers have no biases; DINOv3's published networks have")
    net = Transformer(
        **common, hidden=n.whole("intermediate_size"), prefix=1 + n.whole("num_register_tokens", 0),
        activation=n.activation(), gated=gated, layer_scale=True, rotary=n.number("rope_theta"),
        biases=(n.flag("query_bias"), n.flag("key_bias"), n.flag("value_bias")),
    )  # fmt: skip
    return of_family("DINOv3", net, weight_names.HF_DINOV3, n.whole("image_size"))


def _encoder(n: Numbers, family: str, layout: weight_names.TransformerLayout, **own: Any) -> Described:
    """A ViT in the plain form: a table of positions, two dense layers in each block. `own` is what sets it apart."""
    common = _common(n)
    net = Transformer(
        **common, hidden=n.whole("intermediate_size"), activation=n.activation(),
        grid=n.whole("image_size") // common["patch"], **own,
    )  # fmt: skip
    return of_family(family, net, layout, n.whole("image_size"))


def _vit(n: Numbers, family: str = "ViT") -> Described:
    bias = n.flag("qkv_bias")
    return _encoder(n, family, weight_names.HF_VIT, prefix=2 if family == "DeiT" else 1, biases=(bias,) * 3)


def _clip(n: Numbers) -> Described:
    return _encoder(n, "CLIP", weight_names.HF_CLIP, norm_first=True)


def _siglip(n: Numbers) -> Described:
    found = _encoder(n, "SigLIP", weight_names.HF_SIGLIP, prefix=0, has_class=False)
    return replace(found, pools=n.flag("vision_use_head"))


def _siglip2(n: Numbers) -> Described:
    common, grid = _common(n), round(n.whole("num_patches") ** 0.5)
    net = Transformer(
        **common, hidden=n.whole("intermediate_size"), prefix=0, has_class=False, activation=n.activation(),
        grid=grid, resampling="bilinear_antialias",
    )  # fmt: skip
    found = of_family("SigLIP 2", net, weight_names.HF_SIGLIP, grid * common["patch"])
    return replace(found, pools=n.flag("vision_use_head"))


def _convnext(n: Numbers, family: str = "ConvNeXt") -> Described:
    widths, depths, second = n.wholes("hidden_sizes"), n.wholes("depths", most=DEEPEST), family == "ConvNeXt V2"
    if n.activation() != "gelu" or n.whole("num_channels") != 3:
        raise BackboneError("its activation or number of channels is not ConvNeXt's")
    net = ConvNeXt(widths, depths, layer_scale=not second, response_norm=second, first=n.whole("patch_size"))
    layout = weight_names.HF_DINOV3_CONVNEXT if family == "DINOv3 ConvNeXt" else weight_names.HF_CONVNEXT
    return of_family(family, net, layout, n.whole("image_size"))


def _resnet(n: Numbers) -> Described:
    kind, stem = n.word("layer_type"), n.whole("embedding_size")
    widths, depths = n.wholes("hidden_sizes"), n.wholes("depths", most=DEEPEST)
    if kind not in ("basic", "bottleneck") or n.word("hidden_act") != "relu" or n.whole("num_channels") != 3:
        raise BackboneError("its config says layers, an activation or channels that no published ResNet has")
    if n.flag("downsample_in_bottleneck") or n.flag("downsample_in_first_stage"):
        raise BackboneError("its config says strides that no published ResNet has")
    blocks, before = [], stem
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for at in range(depth):
            stride = 2 if stage and not at else 1
            shortcut = "shortcut" if stride > 1 or before != width else ""
            inner = width if kind == "basic" else width // 4
            blocks.append(residual(kind, (stage, at), (inner, width), stride, shortcut))
            before = width
    net = ConvNet((Unit("first", 7, stem, 2, "relu"),), tuple(blocks), pooled=True)
    return of_family("ResNet", net, convnet_layouts.HF_RESNET, 224)


def _swin(n: Numbers, *, second: bool = False) -> Described:
    depths, heads = n.wholes("depths", 0, most=DEEPEST), n.wholes("num_heads", 0)
    ratio = n.number("mlp_ratio")
    widths = [n.whole("embed_dim") * 2**stage for stage in range(len(depths))]
    if len(heads) != len(depths) or any(width % head for width, head in zip(widths, heads, strict=True)):
        raise BackboneError("its config says heads that do not divide the widths of its stages")
    if n.flag("use_absolute_embeddings") or not n.flag("qkv_bias") or n.activation() != "gelu" or ratio != int(ratio):
        raise BackboneError("its config says positions, biases or an activation that no published Swin has")
    if n.number("layer_norm_eps") != 1e-5 or n.whole("num_channels") != 3:
        raise BackboneError("its config says norms or channels that no published Swin has")
    learned = n.wholes("pretrained_window_sizes", 0, least=0) if second else (0,) * len(depths)
    if len(learned) != len(depths):
        raise BackboneError(f"its config says {len(learned)} pretrained_window_sizes for {len(depths)} stages")
    net = Swin(
        n.whole("embed_dim"), depths, heads, n.whole("window_size"), n.whole("patch_size"), int(ratio), second=second,
        learned=learned, penalty=200.0 if second else 100.0,  # the library adds V2's mask twice
    )  # fmt: skip
    layout = weight_names.HF_SWIN_V2 if second else weight_names.HF_SWIN
    return of_family("Swin V2" if second else "Swin", net, layout, n.whole("image_size"))


_SIGLIP = _BASE | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vision_use_head": True}
_Reader = Callable[[Numbers], Described]
# `model_type` in a config of transformers: defaults, and what reads it.
MODEL_TYPES: dict[str, tuple[dict[str, Any], _Reader]] = {
    "dinov2": (_DINOV2, _dinov2),
    "dinov2_with_registers": (_DINOV2 | {"patch_size": 16, "num_register_tokens": 4}, _dinov2_registers),
    "dinov3_vit": (
        _BASE | {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "hidden_act": "gelu",
                 "layer_norm_eps": 1e-5, "rope_theta": 100.0, "query_bias": True, "key_bias": False,
                 "value_bias": True, "proj_bias": True, "mlp_bias": True, "use_gated_mlp": False,
                 "num_register_tokens": 0}, _dinov3),
    "vit": (_BASE | {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": True}, _vit),
    "deit": (_BASE | {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "qkv_bias": True}, partial(_vit, family="DeiT")),
    "clip_vision_model": (_BASE | {"patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}, _clip),
    "siglip_vision_model": (_SIGLIP, _siglip),
    "siglip2_vision_model": (_SIGLIP | {"num_patches": 256}, _siglip2),
    "swin": (_WINDOWS, _swin),
    "swinv2": (_WINDOWS | {"pretrained_window_sizes": [0, 0, 0, 0]}, partial(_swin, second=True)),
    "resnet": (
        {"num_channels": 3, "embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3],
         "layer_type": "bottleneck", "hidden_act": "relu", "downsample_in_first_stage": False,
         "downsample_in_bottleneck": False}, _resnet),
    "convnext": (_CONV, _convnext),
    "convnextv2": (_CONV, partial(_convnext, family="ConvNeXt V2")),
    "dinov3_convnext": (_CONV, partial(_convnext, family="DINOv3 ConvNeXt")),
}  # fmt: skip
# Models of pictures and text, whose vision tower has a config of its own inside.
_TOWERS = {"clip": "clip_vision_model", "siglip": "siglip_vision_model", "siglip2": "siglip2_vision_model"}


_SIGLIP_2_WORDS = 256_000  # SigLIP 2 of one picture size has SigLIP's config; its text tower knows more words


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The settings under `name`; none where there are none. Raises BackboneError for anything else."""
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise BackboneError(f"its config.json says {name} = {_clipped(found)}; it must be a list of settings")
    return found


def described(config: Mapping[str, Any]) -> Described:
    """The network of a `config.json` of transformers. Raises BackboneError for one that is not known or not sound."""
    kind = str(config.get("model_type"))
    tower = _part(config, "vision_config") if kind in _TOWERS else config
    own = _TOWERS.get(kind, kind)
    if own not in MODEL_TYPES:
        known = ", ".join(dict.fromkeys([*MODEL_TYPES, *_TOWERS]))
        raise BackboneError(f"its config.json is of model_type {_clipped(kind)}; known are {known}")
    defaults, reader = MODEL_TYPES[own]
    found = reader(Numbers(tower, defaults))
    if kind == "siglip" and _part(config, "text_config").get("vocab_size") == _SIGLIP_2_WORDS:
        found = renamed(found, "SigLIP 2")
    net = found.architecture
    if isinstance(net, Transformer) and not net.rotary and net.grid < 1:
        raise BackboneError("its pictures are smaller than a patch")
    return found
