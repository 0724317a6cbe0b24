"""KerasHub's configs and weights in the words of transformers and torchvision, so that their tables serve. No Keras.

A preset's config.json names a class of KerasHub with its arguments. Position tables of other picture sizes are made
as the original networks do it; KerasHub resamples otherwise (TensorFlow's cubic).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transferkit.backbones.foundation import families, weight_names
from transferkit.backbones.foundation.convnet_layouts import RESNET, RESNET_DEEP, ConvNetLayout
from transferkit.backbones.foundation.convolutional import Block, ConvNet, Unit, residual
from transferkit.backbones.foundation.described import Described, of_family
from transferkit.backbones.foundation.families import DEEPEST, Numbers
from transferkit.errors import BackboneError
from transferkit.text import shown

_VISION = "layers/sig_lip_vision_encoder/layers/"
# Beginnings of what no picture tower needs: text, numbers of positions.
UNUSED = ("layers/sig_lip_text_encoder/", "layers/sig_lip_head/", _VISION + "sig_lip_vision_embedding/vars/")


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor lies in the file, and how its axes are turned: `kind` is one of `kerashub`'s turns."""

    path: str
    kind: str


def is_preset(config: Mapping[str, Any] | None) -> bool:
    """Whether a `config.json` is KerasHub's."""
    return config is not None and str(config.get("registered_name", "")).startswith("keras_hub>")


def described(config: Mapping[str, Any]) -> Described:
    """The network of a preset's config. Raises BackboneError for one that is not read or not sound."""
    name, arguments = _class(config)
    if name == "ResNetBackbone":
        return of_family("ResNet", *_resnet(arguments), 224)
    found = families.described(_READERS[name][0](Numbers(arguments, {})))
    return replace(found, layout=weight_names.KERASHUB_SIGLIP) if name == "SigLIPBackbone" else found


def _class(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """KerasHub's class, and its arguments; of a model of pictures and text those of the pictures' part."""
    name, arguments = str(config.get("class_name")), config.get("config")
    if name == "SigLIPBackbone" and isinstance(arguments, dict):
        tower = arguments.get("vision_encoder")
        arguments = tower.get("config") if isinstance(tower, dict) else None
    if name not in _READERS and name != "ResNetBackbone":
        known = ", ".join(["ResNetBackbone", *_READERS])
        raise BackboneError(f"KerasHub's {shown(name[:60])} is not read; read are {known}")
    if not isinstance(arguments, dict):
        raise BackboneError("its config.json says no settings of the network")
    return name, arguments


def sources(config: Mapping[str, Any]) -> Iterator[tuple[str, TensorSource]]:
    """Where each tensor lies, by the name that `described` speaks of. Raises BackboneError."""
    name, arguments = _class(config)
    if name == "ResNetBackbone":
        return _resnet_sources(*_resnet(arguments))
    return _READERS[name][1](Numbers(arguments, {}))


def _vit(n: Numbers) -> dict[str, Any]:
    if not (n.flag("use_class_token") and n.flag("use_mlp_bias")):
        raise BackboneError("its config says no class token or no biases, which no published ViT of KerasHub lacks")
    return {
        "model_type": "vit", "hidden_size": n.whole("hidden_dim"), "num_hidden_layers": _depth(n),
        "num_attention_heads": n.whole("num_heads"), "intermediate_size": n.whole("mlp_dim"),
        "layer_norm_eps": n.number("layer_norm_epsilon"), "qkv_bias": n.flag("use_mha_bias"),
        "image_size": _side(n), "patch_size": n.whole("patch_size"),
    }  # fmt: skip


def _vit_sources(n: Numbers) -> Iterator[tuple[str, TensorSource]]:
    first, encoder = "layers/vi_t_patching_and_embedding/", "layers/vi_t_encoder/"
    yield "embeddings.cls_token", TensorSource(first + "vars/0", "same")
    yield from _pair("embeddings.patch_embeddings.projection", first + "patch_embedding", "conv")
    yield "embeddings.position_embeddings", TensorSource(first + "position_embedding/vars/0", "same")
    for i in range(_depth(n)):
        theirs, ours = f"{encoder}encoder_layers/vi_t_encoder_block{_number(i)}/", f"encoder.layer.{i}."
        yield from _pair(ours + "layernorm_before", theirs + "layer_norm_1", "same")
        yield from _attention(ours + "attention.attention.{}", ours + "attention.output.dense", theirs + "mha/")
        yield from _pair(ours + "layernorm_after", theirs + "layer_norm_2", "same")
        yield from _pair(ours + "intermediate.dense", theirs + "mlp/dense_1", "into")
        yield from _pair(ours + "output.dense", theirs + "mlp/dense_2", "into")
    yield from _pair("layernorm", encoder + "layer_norm", "same")


def _dinov2(n: Numbers) -> dict[str, Any]:
    gated, registers = n.flag("use_swiglu_ffn"), n.whole("num_register_tokens", 0)
    width, hidden = n.whole("hidden_dim"), n.whole("intermediate_dim")
    return {
        "model_type": "dinov2_with_registers" if registers or n.flag("antialias_in_interpolation") else "dinov2",
        "num_register_tokens": registers, "hidden_size": width, "num_hidden_layers": _depth(n),
        "num_attention_heads": n.whole("num_heads"), "mlp_ratio": hidden / width, "use_swiglu_ffn": gated,
        "patch_size": n.whole("patch_size"), "image_size": _side(n, "position_embedding_shape"),
    }  # fmt: skip


def _dinov2_sources(n: Numbers) -> Iterator[tuple[str, TensorSource]]:
    first, encoder = "layers/dinov2_embedding/", "layers/dinov2_encoder/"
    masked, registers = int(n.flag("use_mask_token")), n.whole("num_register_tokens", 0) > 0
    yield "embeddings.cls_token", TensorSource(first + "vars/0", "same")
    if masked:
        yield "embeddings.mask_token", TensorSource(first + "vars/1", "same")
    if registers:
        yield "embeddings.register_tokens", TensorSource(f"{first}vars/{1 + masked}", "same")
    # Then a table made of the next for one picture size, which is left out; what does not train comes last.
    resampled = 1 + masked + int(registers)
    yield "embeddings.mask_token_resampled", TensorSource(f"{first}vars/{resampled}", "same")
    yield "embeddings.position_embeddings", TensorSource(f"{first}vars/{resampled + 1}", "same")
    yield from _pair("embeddings.patch_embeddings.projection", first + "patch_embeddings/projection", "conv")
    for i in range(_depth(n)):
        theirs, ours = f"{encoder}layers/dinov2_layer{_number(i)}/", f"encoder.layer.{i}."
        yield from _attention(
            ours + "attention.attention.{}", ours + "attention.output.dense", theirs + "attention/attention/"
        )
        for name in ("norm1", "norm2"):
            yield from _pair(ours + name, theirs + name, "same")
        for name in ("layer_scale1", "layer_scale2"):
            yield f"{ours}{name}.lambda1", TensorSource(f"{theirs}{name}/vars/0", "same")
        for name in ("weights_in", "weights_out") if n.flag("use_swiglu_ffn") else ("fc1", "fc2"):
            yield from _pair(f"{ours}mlp.{name}", f"{theirs}mlp/{name}", "into")
    yield from _pair("layernorm", "layers/layer_normalization", "same")


def _dinov3(n: Numbers) -> dict[str, Any]:
    return {
        "model_type": "dinov3_vit", "hidden_size": n.whole("hidden_dim"), "num_hidden_layers": _depth(n),
        "num_attention_heads": n.whole("num_heads"), "intermediate_size": n.whole("intermediate_dim"),
        "layer_norm_eps": n.number("layer_norm_eps"), "rope_theta": n.number("rope_theta"),
        "num_register_tokens": n.whole("num_register_tokens", 0), "use_gated_mlp": n.flag("use_gated_mlp"),
        "hidden_act": n.word("hidden_activation"), "query_bias": n.flag("use_query_bias"),
        "key_bias": n.flag("use_key_bias"), "value_bias": n.flag("use_value_bias"),
        "proj_bias": n.flag("use_proj_bias"), "mlp_bias": n.flag("use_mlp_bias"), "image_size": _side(n),
        "patch_size": n.whole("patch_size"),
    }  # fmt: skip


def _dinov3_sources(n: Numbers) -> Iterator[tuple[str, TensorSource]]:
    first, encoder = "layers/dinov3_embedding/", "layers/dinov3_encoder/"
    masked = int(n.flag("use_mask_token"))
    yield "embeddings.cls_token", TensorSource(first + "vars/0", "same")
    if masked:
        yield "embeddings.mask_token", TensorSource(first + "vars/1", "same")
    yield "embeddings.register_tokens", TensorSource(f"{first}vars/{1 + masked}", "same")
    yield from _pair("embeddings.patch_embeddings", first + "patch_embeddings/projection", "conv")
    for i in range(_depth(n)):
        theirs, ours = f"{encoder}layers/dinov3_layer{_number(i)}/", f"layer.{i}."
        for name, kept in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output")):
            yield from _pair(f"{ours}attention.{name}_proj", f"{theirs}attention/{kept}_dense", "into")
        for name in ("norm1", "norm2"):
            yield from _pair(ours + name, theirs + name, "same")
        for name in ("layer_scale1", "layer_scale2"):
            yield f"{ours}{name}.lambda1", TensorSource(f"{theirs}{name}/vars/0", "same")
        for name in ("gate_proj", "up_proj", "down_proj"):
            yield from _pair(f"{ours}mlp.{name}", f"{theirs}mlp/{name}", "into")
    yield from _pair("norm", "layers/layer_normalization", "same")


def _siglip(n: Numbers) -> dict[str, Any]:
    activation = n.word("intermediate_activation")
    if activation != "gelu_approximate":
        raise BackboneError(f"its activation is {shown(repr(activation)[:60])}, not SigLIP's")
    return {
        "model_type": "siglip_vision_model", "hidden_size": n.whole("hidden_dim"),
        "num_hidden_layers": _depth(n), "num_attention_heads": n.whole("num_heads"),
        "intermediate_size": n.whole("intermediate_dim"), "layer_norm_eps": n.number("layer_norm_epsilon"),
        "patch_size": n.whole("patch_size"), "image_size": _side(n),
    }  # fmt: skip


def _siglip_sources(n: Numbers) -> Iterator[tuple[str, TensorSource]]:
    tower = _VISION
    yield from _pair("embeddings.patch_embedding", tower + "sig_lip_vision_embedding/patch_embedding", "conv")
    place = tower + "sig_lip_vision_embedding/position_embedding/vars/0"
    yield "embeddings.position_embedding.weight", TensorSource(place, "same")
    for i in range(_depth(n)):
        theirs, ours = f"{tower}sig_lip_encoder_layer{_number(i)}/", f"encoder.layers.{i}."
        yield from _attention(
            ours + "self_attn.{}_proj", ours + "self_attn.out_proj", theirs + "self_attn/", short=True
        )
        for name in ("layer_norm1", "layer_norm2"):
            yield from _pair(ours + name, theirs + name, "same")
        for name in ("fc1", "fc2"):
            yield from _pair(f"{ours}mlp.{name}", f"{theirs}mlp/{name}", "into")
    yield from _pair("post_layernorm", tower + "layer_normalization", "same")
    pooling = tower + "sig_lip_multi_head_attention_pooling/"
    yield "head.probe", TensorSource(pooling + "vars/0", "same")
    yield from _attention("head.attention.{}_proj", "head.attention.out_proj", pooling + "attention/", short=True)
    yield from _pair("head.layernorm", pooling + "layer_norm", "same")
    for name in ("fc1", "fc2"):
        yield from _pair(f"head.mlp.{name}", f"{pooling}mlp/{name}", "into")


# Class of KerasHub: its config in the words of transformers, and where its tensors lie.
_READERS: dict[
    str, tuple[Callable[[Numbers], dict[str, Any]], Callable[[Numbers], Iterator[tuple[str, TensorSource]]]]
] = {
    "ViTBackbone": (_vit, _vit_sources),
    "DINOV2Backbone": (_dinov2, _dinov2_sources),
    "DINOV3Backbone": (_dinov3, _dinov3_sources),
    "SigLIPBackbone": (_siglip, _siglip_sources),
}


def _resnet(arguments: Mapping[str, Any]) -> tuple[ConvNet, ConvNetLayout]:
    n = Numbers(arguments, {"use_pre_activation": False})
    kind = n.word("block_type")
    deep = n.wholes("input_conv_filters", 0)
    kernels, widths = n.wholes("input_conv_kernel_sizes", len(deep)), n.wholes("stackwise_num_filters", 0)
    counts = n.wholes("stackwise_num_blocks", len(widths), most=DEEPEST)
    strides = n.wholes("stackwise_num_strides", len(widths))
    if n.flag("use_pre_activation") or kind.removesuffix("_vd") not in ("basic_block", "bottleneck_block"):
        raise BackboneError("its blocks are ResNetV2's or others that are not read; read are ResNet and ResNet-vd")
    if len(deep) not in (1, 3):
        raise BackboneError(f"its stem has {len(deep)} convolutions; read are ResNets with 1 or 3")
    stem = tuple(
        Unit(name, kernel, filters, 2 if i == 0 else 1, "relu")
        for i, (name, kernel, filters) in enumerate(zip(("first", "second", "third"), kernels, deep, strict=False))
    )
    blocks = [
        _residual(kind, (stage + 1, at), widths[stage], strides[stage] if at == 0 else 1)
        for stage, count in enumerate(counts)
        for at in range(count)
    ]
    return ConvNet(stem, tuple(blocks), pooled=True), RESNET_DEEP if len(deep) == 3 else RESNET


def _residual(kind: str, place: tuple[int, int], width: int, stride: int) -> Block:
    name = kind.partition("_")[0]
    has = place[1] == 0 and (kind != "basic_block" or place[0] > 1)
    shortcut = ("mean_shortcut" if kind.endswith("_vd") else "shortcut") if has else ""
    return residual(name, place, (width, width if name == "basic" else 4 * width), stride, shortcut)


def _resnet_sources(net: ConvNet, layout: ConvNetLayout) -> Iterator[tuple[str, TensorSource]]:
    """Convolutions and norms are numbered as KerasHub's graph orders them: a shortcut before the block's last unit."""
    order = [("", "stem", unit) for unit in net.stem]
    for block in net.blocks:
        units = [*block.units[:-1], *([block.shortcut] if block.shortcut else []), block.units[-1]]
        order += [(layout.block.format(*block.place), block.kind, unit) for unit in units]
    for i, (begin, kind, unit) in enumerate(order):
        convolution, batch = (begin + name for name in layout.pieces[kind][unit.name])
        yield f"{convolution}.weight", TensorSource(f"layers/conv2d{_number(i)}/vars/0", "conv")
        for at, name in enumerate(("weight", "bias", "running_mean", "running_var")):
            yield f"{batch}.{name}", TensorSource(f"layers/batch_normalization{_number(i)}/vars/{at}", "same")


def _pair(ours: str, theirs: str, kind: str) -> Iterator[tuple[str, TensorSource]]:
    """A layer's two variables."""
    yield ours + ".weight", TensorSource(theirs + "/vars/0", kind)
    yield ours + ".bias", TensorSource(theirs + "/vars/1", "same")


def _attention(ours: str, projection: str, theirs: str, *, short: bool = False) -> Iterator[tuple[str, TensorSource]]:
    for name in ("query", "key", "value"):
        said = ours.format(name[0] if short else name)
        yield said + ".weight", TensorSource(f"{theirs}{name}_dense/vars/0", "into")
        yield said + ".bias", TensorSource(f"{theirs}{name}_dense/vars/1", "flat")
    yield projection + ".weight", TensorSource(theirs + "output_dense/vars/0", "out")
    yield projection + ".bias", TensorSource(theirs + "output_dense/vars/1", "same")


def _side(n: Numbers, name: str = "image_shape") -> int:
    """The side of (side, side, 3)."""
    height, width, channels = n.wholes(name, 3)
    if height != width or channels != 3:
        raise BackboneError(f"its config says {name} = {height}×{width}×{channels}; read are squares of 3 channels")
    return height


def _depth(n: Numbers) -> int:
    return n.whole("num_layers", most=DEEPEST)


def _number(i: int) -> str:
    """As Keras numbers what is alike: nothing, _1, _2…"""
    return f"_{i}" if i else ""
