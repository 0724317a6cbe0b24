"""torchvision's own files of other networks than ResNets: no config, tensors whose names say what they are. No Keras.

Its names are turned into timm's, whose readers do the rest; what timm does otherwise is set right here. Of an error the
message has timm's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from transferkit.backbones.foundation import timm_convnets, timm_transformers
from transferkit.backbones.foundation.architecture import Swin, Transformer
from transferkit.backbones.foundation.checkpoint_files import Tensors
from transferkit.backbones.foundation.convolutional import ConvNet
from transferkit.backbones.foundation.described import UNSTATED, Described
from transferkit.backbones.scaling import MEAN, STD
from transferkit.errors import BackboneError

_OWN = "BSD-3-Clause (torchvision)"
_TF_EPSILON = 1e-3

# Names that only this kind of network has.
_MARKS = {
    "vit": {"class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.ln.weight"},
    "convnext": {"features.0.0.weight", "features.1.0.block.0.weight", "features.1.0.layer_scale"},
    "swin": {"features.0.0.weight", "features.0.2.weight", "features.1.0.attn.qkv.weight"},
    "efficientnet": {"features.0.0.weight", "features.0.1.running_mean", "features.1.0.block.0.0.weight"},
}
_BLOCK = r"encoder\.layers\.encoder_layer_(?P<block>\d+)\."
_STAGE = r"features\.(?P<at>\d{1,3})\.(?P<block>\d+)\."
_DOWN = r"features\.(?P<at>\d{1,3})\."
_END = r"(?P<end>.+)"
# Pattern of torchvision's name → timm's. A number `at` counts stages and what is between them: {stage} is half of it.
_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "vit": (
        (r"class_token", "cls_token"),
        (r"encoder\.pos_embedding", "pos_embed"),
        (rf"conv_proj\.{_END}", "patch_embed.proj.{end}"),
        (rf"{_BLOCK}ln_(?P<n>[12])\.{_END}", "blocks.{block}.norm{n}.{end}"),
        (rf"{_BLOCK}self_attention\.in_proj_{_END}", "blocks.{block}.attn.qkv.{end}"),
        (rf"{_BLOCK}self_attention\.out_proj\.{_END}", "blocks.{block}.attn.proj.{end}"),
        (rf"{_BLOCK}mlp\.(linear_1|0)\.{_END}", "blocks.{block}.mlp.fc1.{end}"),  # the first is in published files
        (rf"{_BLOCK}mlp\.(linear_2|3)\.{_END}", "blocks.{block}.mlp.fc2.{end}"),
        (rf"encoder\.ln\.{_END}", "norm.{end}"),
        (rf"heads\.{_END}", "head.{end}"),
    ),
    "convnext": (
        (rf"features\.0\.(?P<n>[01])\.{_END}", "stem.{n}.{end}"),
        (rf"{_STAGE}layer_scale", "stages.{stage}.blocks.{block}.gamma"),
        (rf"{_STAGE}block\.0\.{_END}", "stages.{stage}.blocks.{block}.conv_dw.{end}"),
        (rf"{_STAGE}block\.2\.{_END}", "stages.{stage}.blocks.{block}.norm.{end}"),
        (rf"{_STAGE}block\.3\.{_END}", "stages.{stage}.blocks.{block}.mlp.fc1.{end}"),
        (rf"{_STAGE}block\.5\.{_END}", "stages.{stage}.blocks.{block}.mlp.fc2.{end}"),
        (rf"{_DOWN}(?P<n>[01])\.(?P<end>weight|bias)", "stages.{stage}.downsample.{n}.{end}"),
        (rf"classifier\.{_END}", "head.{end}"),
    ),
    "swin": (
        (rf"features\.0\.0\.{_END}", "patch_embed.proj.{end}"),
        (rf"features\.0\.2\.{_END}", "patch_embed.norm.{end}"),
        (rf"{_STAGE}mlp\.0\.{_END}", "layers.{stage}.blocks.{block}.mlp.fc1.{end}"),
        (rf"{_STAGE}mlp\.3\.{_END}", "layers.{stage}.blocks.{block}.mlp.fc2.{end}"),
        (rf"{_STAGE}{_END}", "layers.{stage}.blocks.{block}.{end}"),
        (rf"{_DOWN}{_END}", "layers.{stage}.downsample.{end}"),
    ),
}  # fmt: skip
# What the parts of an EfficientNet's block are, by their number: convolution and norm, or squeeze and excitation.
_SQUEEZE = ("se.conv_reduce", "se.conv_expand")
_PIECES: dict[tuple[int, int], tuple[tuple[str, str], ...]] = {  # by how many there are, and which one squeezes
    (4, 2): (("conv_pw", "bn1"), ("conv_dw", "bn2"), _SQUEEZE, ("conv_pwl", "bn3")),
    (3, 1): (("conv_dw", "bn1"), _SQUEEZE, ("conv_pw", "bn2")),
    (2, -1): (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
    (1, -1): (("conv", "bn1"),),
}
_PIECE = re.compile(r"features\.(\d{1,3})\.(\d+)\.block\.(\d)\.(0|1|fc1|fc2)\.(.+)")


class Renamed:
    """The tensors of a file of torchvision by timm's names; `kind` is what network they are of."""

    def __init__(self, tensors: Tensors, kind: str) -> None:
        """Rename; read nothing. Raises BackboneError for a block of another kind."""
        self.kind, self.size_bytes, self._tensors = kind, tensors.size_bytes, tensors
        names = _efficientnet(tensors.shapes) if kind == "efficientnet" else _by_table(tensors.shapes, _NAMES[kind])
        self._names: dict[str, str] = {}
        for old, new in names.items():  # of two with one name the second keeps its own, and is left over
            self._names[old if new in self._names else new] = old
        self.shapes: dict[str, tuple[int, ...]] = {new: tensors.shapes[old] for new, old in self._names.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`, in its own dtype. Raises KeyError for a name that is not there."""
        return self._tensors.read(self._names[name])


def renamed(tensors: Tensors) -> Tensors:
    """The tensors by timm's names where they are torchvision's of a network that is read; as they are elsewhere.

    Args:
        tensors: of a checkpoint without a config.

    Raises:
        BackboneError: some block is of a kind that no such network has.
    """
    kind = next((kind for kind, marks in _MARKS.items() if marks <= set(tensors.shapes)), None)
    return tensors if kind is None else Renamed(tensors, kind)


def described(tensors: Renamed) -> Described:
    """The network of a file of torchvision. Raises BackboneError where the tensors are not those of such a network."""
    shapes = tensors.shapes
    if tensors.kind == "vit":
        found = timm_transformers.transformer(shapes, {}, "vit")
        assert isinstance(found.architecture, Transformer)
        net = replace(found.architecture, resampling="bicubic_corners")
        # Some were trained by others (SWAG: no commercial use), which no tensor tells.
        return replace(found, architecture=net, licence=UNSTATED, mean=MEAN, std=STD)
    if tensors.kind == "convnext":
        return replace(timm_convnets.convnext(shapes), licence=_OWN)
    if tensors.kind == "swin":
        if "layers.0.blocks.0.attn.logit_scale" in shapes:
            raise BackboneError("torchvision's form of Swin V2 is not read; transformers' and timm's are")
        found = timm_transformers.swin(shapes, {}, "swin_224")
        assert isinstance(found.architecture, Swin)
        return replace(found, architecture=replace(found.architecture, pads_first=True), licence=_OWN)
    return _described_efficientnet(shapes)


def _described_efficientnet(shapes: Mapping[str, tuple[int, ...]]) -> Described:
    second = any(name.endswith((".conv_exp.weight", ".conv.weight")) for name in shapes)
    found = timm_convnets.efficientnet(shapes, "efficientnetv2_s" if second else "efficientnet_b0")
    net = found.architecture
    assert isinstance(net, ConvNet)
    if second or net.top[0].filters >= 2048:  # from B5 on
        net = replace(net, epsilon=_TF_EPSILON)
    found = replace(found, architecture=net)
    half = (0.5, 0.5, 0.5)
    return replace(found, mean=half, std=half) if second and net.stem[0].filters == 32 else found  # V2-L


def _by_table(shapes: Mapping[str, tuple[int, ...]], table: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {name: _translated(name, table) for name in shapes}


def _translated(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, template in table:
        match = re.fullmatch(pattern, name)
        if match is not None:
            parts = match.groupdict()
            return template.format(**parts, stage=int(parts.get("at") or 0) // 2)
    return name


def _efficientnet(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """timm's name of each tensor: a block's parts are numbered, and how many there are says what they are."""
    matches = {name: match for name in shapes if (match := _PIECE.fullmatch(name))}
    count: dict[tuple[str, str], int] = {}
    squeezes: dict[tuple[str, str], int] = {}
    for match in matches.values():
        at, block, part, piece, _ = match.groups()
        count[at, block] = max(count.get((at, block), 0), int(part) + 1)
        if piece.startswith("fc"):
            squeezes[at, block] = int(part)
    found = {}
    for name in shapes:
        match = matches.get(name)
        if match is None:
            found[name] = _translated(name, _EFFICIENTNET)
            continue
        at, block, part, piece, end = match.groups()
        pieces = _PIECES.get((count[at, block], squeezes.get((at, block), -1)))
        if pieces is None:
            raise BackboneError(f"its block features.{at}.{block} is of a kind that is not read")
        own = pieces[int(part)][piece in ("1", "fc2")]
        found[name] = f"blocks.{int(at) - 1}.{block}.{own}.{end}"
    return found


_EFFICIENTNET = (
    (rf"features\.0\.0\.{_END}", "conv_stem.{end}"),
    (rf"features\.0\.1\.{_END}", "bn1.{end}"),
    (rf"features\.\d+\.0\.{_END}", "conv_head.{end}"),
    (rf"features\.\d+\.1\.{_END}", "bn2.{end}"),
)
