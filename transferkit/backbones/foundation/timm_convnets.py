"""Networks of convolutions that timm and torchvision keep: the tensors' names and shapes say what they are. No Keras.

Of strides, padding and activations, which no tensor tells, the network's name does (`timm`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from transferkit.backbones.foundation import convnet_layouts, weight_names
from transferkit.backbones.foundation.architecture import ConvNeXt
from transferkit.backbones.foundation.convolutional import Attention, Block, ConvNet, Function, Unit
from transferkit.backbones.foundation.described import UNSTATED, Described, of_family
from transferkit.errors import BackboneError

Sizes = Mapping[str, tuple[int, ...]]
_STRIDES = {"efficientnet": (1, 2, 2, 2, 1, 2, 1), "mobilenet": (2, 2, 2, 2, 1)}  # of each stage's first block
_TF_EPSILON = 1e-3


def convnext(shapes: Sizes) -> Described:
    """A ConvNeXt of timm. Raises BackboneError."""
    depths: list[int] = []
    widths: list[int] = []
    for stage in range(4):
        names = [name for name in shapes if re.fullmatch(rf"stages\.{stage}\.blocks\.\d+\.conv_dw\.weight", name)]
        depths.append(len(names))
        widths += shapes[names[0]][:1] if names else ()
    if 0 in depths or len(widths) < 4 or not shapes.get("stem.0.weight"):
        raise BackboneError("it lacks what every ConvNeXt of timm has")
    second = "stages.0.blocks.0.mlp.grn.weight" in shapes
    net = ConvNeXt(
        tuple(widths), tuple(depths), layer_scale="stages.0.blocks.0.gamma" in shapes, response_norm=second,
        first=shapes["stem.0.weight"][-1],
    )  # fmt: skip
    found = of_family("ConvNeXt V2" if second else "ConvNeXt", net, weight_names.TIMM_CONVNEXT, 224)
    return replace(found, licence=UNSTATED)


def resnet(shapes: Sizes) -> Described:
    """A ResNet in torchvision's form, with timm's deeper stems and averaging shortcuts. Raises BackboneError."""
    deep = "conv1.0.weight" in shapes
    if deep:
        stem = tuple(
            _unit(name, shapes, f"conv1.{at}", stride=2 if at == 0 else 1, activation="relu")
            for name, at in (("first", 0), ("second", 3), ("third", 6))
        )
    else:
        stem = (_unit("first", shapes, "conv1", stride=2, activation="relu"),)
    blocks = [_residual(shapes, stage, at) for stage, at in _places(shapes, r"layer(\d+)\.(\d+)\.conv1\.weight")]
    if not blocks:
        raise BackboneError("it lacks what every ResNet has")
    net = ConvNet(stem, tuple(blocks), pooled=True)
    return of_family("ResNet", net, convnet_layouts.RESNET_DEEP if deep else convnet_layouts.RESNET, 224)


def efficientnet(shapes: Sizes, name: str) -> Described:
    """An EfficientNet (V1, V2, Lite) of timm, or a MobileNetV4, hybrid or not.

    Args:
        shapes: of the checkpoint's tensors, by name.
        name: timm's, which says strides, padding and activation.

    Raises:
        BackboneError: the tensors are not those of such a network.
    """
    mobile = name.startswith("mobilenetv4")
    strides = _STRIDES["mobilenet" if mobile else "efficientnet"]
    mobiles: Function = "gelu" if "hybrid_large" in name else "relu"
    activation: Function = mobiles if mobile else "relu6" if "lite" in name else "silu"
    places = _places(shapes, r"blocks\.(\d+)\.(\d+)\..*weight")
    if not places or places[-1][0] >= len(strides):
        raise BackboneError(f"it has not the stages that {name} has")
    stem = (_unit("first", shapes, "conv_stem", stride=2, activation=activation),)
    blocks, width = [], stem[0].filters
    for stage, at in places:
        block = _inverted(shapes, (stage, at), width, strides[stage] if at == 0 else 1, activation)
        # MobileNetV4's plain convolutions have no shortcut, EfficientNetV2's have.
        blocks.append(replace(block, skips=block.skips and not (mobile and block.kind == "cn")))
        width = block.filters
    scaled = {block.scaled for block in blocks if block.kind in ("uir", "mqa")}
    if len(scaled) > 1 or ("hybrid" in name and scaled != {True}):
        raise BackboneError("some of its blocks lack their layer_scale.gamma")
    top = () if mobile else (_unit("last", shapes, "conv_head", activation=activation),)
    like_tensorflow = name.startswith("tf_")
    net = ConvNet(
        stem, tuple(blocks), top, same=like_tensorflow, epsilon=_TF_EPSILON if like_tensorflow else 1e-5
    )  # fmt: skip
    layout = convnet_layouts.TIMM_MOBILENET_V4 if mobile else convnet_layouts.TIMM_EFFICIENTNET
    return of_family(
        "MobileNetV4" if mobile else "EfficientNetV2" if "netv2" in name else "EfficientNet", net, layout, 224
    )


def _residual(shapes: Sizes, stage: int, at: int) -> Block:
    begin, stride = f"layer{stage}.{at}.", 2 if stage > 1 and at == 0 else 1
    kind = "bottleneck" if begin + "conv3.weight" in shapes else "basic"
    last, strided = (3, 2) if kind == "bottleneck" else (2, 1)
    units = tuple(
        _unit(f"conv{n}", shapes, f"{begin}conv{n}", stride=stride if n == strided else 1,
              activation="" if n == last else "relu")
        for n in range(1, last + 1)
    )  # fmt: skip
    if shapes[begin + "conv2.weight"][1:2] != (units[0].filters,):
        raise BackboneError("its convolutions are in groups (ResNeXt), which is not read")
    shortcut = None
    if len(shapes.get(begin + "downsample.0.weight", ())) == 4:
        shortcut = _unit("shortcut", shapes, begin + "downsample.0", stride=stride)
    elif begin + "downsample.1.weight" in shapes:
        shortcut = replace(_unit("mean_shortcut", shapes, begin + "downsample.1", stride=stride), averaged=True)
    return Block(kind, (stage, at), units, shortcut=shortcut, activation="relu")


def _inverted(shapes: Sizes, place: tuple[int, int], inputs: int, stride: int, activation: Function) -> Block:
    begin = "blocks.{}.{}.".format(*place)
    kind, scaled = _kind(shapes, begin), begin + "layer_scale.gamma" in shapes
    if kind == "mqa":
        return Block(kind, place, (), attention=_attention(shapes, begin + "attn."), scaled=scaled)
    units = []
    names = {unit: begin + names[0] for unit, names in convnet_layouts.TIMM_EFFICIENTNET.pieces[kind].items()}
    names = {unit: name for unit, name in names.items() if name + ".weight" in shapes}
    # The first convolution over places has the stride; of V4's two depthwise ones the second.
    strided = next((unit for unit in ("depthwise", "start", "expand", "conv") if unit in names), None)
    if strided is None:
        raise BackboneError(f"its block {begin[:-1]} lacks the convolution over places")
    for unit, name in names.items():
        last = unit in ("project", "start")
        found = _unit(
            unit, shapes, name, stride=stride if unit == strided else 1, activation="" if last else activation
        )
        squeeze = (*shapes.get(begin + "se.conv_reduce.weight", ()), 0)[0]
        before = "depthwise" if "depthwise" in names else "expand"
        units.append(replace(found, squeeze=squeeze) if unit == before else found)
    return Block(kind, place, tuple(units), skips=stride == 1 and units[-1].filters == inputs, scaled=scaled)


def _attention(shapes: Sizes, begin: str) -> Attention:
    """MobileNetV4's attention as its tensors say it; what halves keys and values has stride 2 in all published ones."""
    try:
        queries, filters = shapes[begin + "query.proj.weight"][:2]
        width = shapes[begin + "key.proj.weight"][0]
        kernel = shapes.get(begin + "key.down_conv.weight", (0,))[-1]
    except (KeyError, ValueError, IndexError) as error:
        raise BackboneError("it lacks what every MobileNetV4 of timm has in its attention") from error
    if not width or queries % width or begin + "query.norm.weight" in shapes:
        raise BackboneError("its attention is of a kind that is not read")
    return Attention(filters, queries // width, width, kernel)


def _kind(shapes: Sizes, begin: str) -> str:
    """What sort of block it is, by a tensor that only this sort has."""
    marks = {
        "attn.query.proj": "mqa",
        "pw_exp.conv": "uir",
        "conv_exp": "er",
        "conv_pwl": "ir",
        "conv_pw": "ds",
        "conv": "cn",
    }
    kind = next((kind for mark, kind in marks.items() if f"{begin}{mark}.weight" in shapes), None)
    if kind is None:
        raise BackboneError(f"its block {begin[:-1]} is of a kind that is not read")
    return kind


def _places(shapes: Sizes, pattern: str) -> list[tuple[int, int]]:
    """Stage and number of each block, in order."""
    matches = (re.fullmatch(pattern, name) for name in shapes)
    return sorted({(int(match[1]), int(match[2])) for match in matches if match})


def _unit(name: str, shapes: Sizes, source: str, stride: int = 1, activation: Function = "") -> Unit:
    """A convolution as its tensor's shape says. Raises BackboneError for one in groups, or of no square."""
    shape = shapes.get(source + ".weight", ())
    if len(shape) != 4 or shape[2] != shape[3] or not shape[2] % 2:
        raise BackboneError(f"it lacks {source}.weight, or that is no square convolution")
    depthwise = shape[1] == 1 and shape[0] > 1
    return Unit(name, shape[2], 0 if depthwise else shape[0], stride, activation)
