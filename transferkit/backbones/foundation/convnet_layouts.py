"""Under which names torchvision, timm and transformers store ResNets, EfficientNets and MobileNets: literal tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class ConvNetLayout:
    """Names in a checkpoint of a network of convolutions. `block` takes the numbers of stage and block.

    `pieces` has a table for each kind of block, and for `stem` and `top`: our unit → their convolution and norm.
    `attention` maps layers of a block of attention likewise, and `scale` is the factor of each channel of a block.
    """

    block: str
    pieces: Mapping[str, Mapping[str, tuple[str, str]]]
    squeeze: tuple[str, str] = ("", "")
    attention: Mapping[str, str] = field(default_factory=dict)
    scale: str = ""
    unused: tuple[str, ...] = ()
    unused_ends: tuple[str, ...] = (".num_batches_tracked",)

    @property
    def stem_conv(self) -> str:
        """The first convolution."""
        return next(iter(self.pieces["stem"].values()))[0]


_KINDS = (("basic", 2), ("bottleneck", 3))  # a ResNet's blocks, and their convolutions
# torchvision's names, which timm keeps; stages are numbered from 1 on.
_RESNET_BLOCKS = {
    kind: {
        **{f"conv{n}": (f"conv{n}", f"bn{n}") for n in range(1, convolutions + 1)},
        "shortcut": ("downsample.0", "downsample.1"), "mean_shortcut": ("downsample.1", "downsample.2"),
    }
    for kind, convolutions in _KINDS
}  # fmt: skip
RESNET = ConvNetLayout(
    block="layer{0}.{1}.", pieces={"stem": {"first": ("conv1", "bn1")}, **_RESNET_BLOCKS}, unused=("fc.",)
)
RESNET_DEEP = replace(
    RESNET,
    pieces={
        "stem": {"first": ("conv1.0", "conv1.1"), "second": ("conv1.3", "conv1.4"), "third": ("conv1.6", "bn1")},
        **_RESNET_BLOCKS,
    },
)  # fmt: skip
HF_RESNET = ConvNetLayout(
    block="encoder.stages.{}.layers.{}.",
    pieces={
        "stem": {"first": ("embedder.embedder.convolution", "embedder.embedder.normalization")},
        **{
            kind: {
                **{f"conv{n + 1}": (f"layer.{n}.convolution", f"layer.{n}.normalization") for n in range(convolutions)},
                "shortcut": ("shortcut.convolution", "shortcut.normalization"),
            }
            for kind, convolutions in _KINDS
        },
    },
)
TIMM_EFFICIENTNET = ConvNetLayout(
    block="blocks.{}.{}.",
    pieces={
        "stem": {"first": ("conv_stem", "bn1")},
        "cn": {"conv": ("conv", "bn1")},
        "ds": {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
        "ir": {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")},
        "er": {"expand": ("conv_exp", "bn1"), "project": ("conv_pwl", "bn2")},
        "uir": {
            "start": ("dw_start.conv", "dw_start.bn"), "expand": ("pw_exp.conv", "pw_exp.bn"),
            "depthwise": ("dw_mid.conv", "dw_mid.bn"), "project": ("pw_proj.conv", "pw_proj.bn"),
        },
        "top": {"last": ("conv_head", "bn2")},
    },
    squeeze=("se.conv_reduce", "se.conv_expand"),
    unused=("classifier.",),
)  # fmt: skip
# What comes behind the pooling belongs to its head.
TIMM_MOBILENET_V4 = replace(
    TIMM_EFFICIENTNET,
    attention={
        "norm": "norm", "query": "attn.query.proj", "key_down": "attn.key.down_conv", "key_norm": "attn.key.norm",
        "key": "attn.key.proj", "value_down": "attn.value.down_conv", "value_norm": "attn.value.norm",
        "value": "attn.value.proj", "projection": "attn.output.proj",
    },
    scale="layer_scale.gamma",
    unused=("classifier.", "conv_head.", "norm_head."),
)  # fmt: skip
