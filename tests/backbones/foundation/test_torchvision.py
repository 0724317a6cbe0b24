"""torchvision's files: which network each is, by the names of its tensors alone, and what is refused. No Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones.foundation import model_folder, torchvision
from transferkit.backbones.foundation.architecture import Swin, Transformer
from transferkit.backbones.foundation.conversion import Conversion
from transferkit.backbones.foundation.convolutional import ConvNet
from transferkit.backbones.foundation.described import UNSTATED, Described
from transferkit.backbones.foundation.pickles import PickleFile
from transferkit.errors import BackboneError, WeightsError

OWN = "BSD-3-Clause (torchvision)"
Shapes = dict[str, tuple[int, ...]]


class Stub:
    """Tensors of these shapes, all of ones."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes, self.size_bytes = shapes, 0

    def read(self, name: str) -> np.ndarray:
        return np.ones(self.shapes[name], np.float32)


def shapes_of(name: str) -> Shapes:
    return dict(PickleFile(FIXTURES / f"torchvision_{name}" / f"{name}.pth").shapes)


def described(shapes: Shapes) -> Described:
    found = torchvision.renamed(Stub(shapes))
    assert isinstance(found, torchvision.Renamed)
    return torchvision.described(found)


def converted(shapes: Shapes) -> list[str]:
    """The weights of ours that these tensors fill."""
    tensors, found = torchvision.renamed(Stub(shapes)), described(shapes)
    return [key for key, _ in Conversion(found.architecture, found.layout, tensors, 32, Path("x.pth")).values()]


@pytest.mark.parametrize(
    ("name", "family", "licence"),
    [
        ("vit", "ViT", UNSTATED), ("convnext", "ConvNeXt", OWN), ("swin", "Swin", OWN),
        ("efficientnet", "EfficientNet", UNSTATED), ("efficientnetv2", "EfficientNetV2", UNSTATED),
        ("resnet", "ResNet", OWN),
    ],
)  # fmt: skip
def test_a_file_without_a_config_is_known(name: str, family: str, licence: str) -> None:
    path = FIXTURES / f"torchvision_{name}" / f"{name}.pth"
    row = model_folder.describe(str(path)).row

    assert (row.name, row.constructor, row.licence, row.scaling) == (name, family, licence, "torch")
    assert row.stage_names[:2] == ("stem", "block0")


def test_dense_layers_have_other_names_in_published_files() -> None:
    shapes = shapes_of("vit")
    old = {n.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): s for n, s in shapes.items()}

    assert old.keys() != shapes.keys()
    assert converted(old) == converted(shapes)


def test_what_only_some_of_a_family_have_is_seen() -> None:
    shapes = shapes_of("efficientnetv2")
    small, large = described(shapes), described({**shapes, "features.0.0.weight": (32, 3, 3, 3)})
    assert (small.mean[0], large.mean[0]) == (0.485, 0.5)  # V2-L's pictures are scaled otherwise

    shapes, top = shapes_of("efficientnet"), "features.8.0.weight"
    assert top in shapes
    for filters, epsilon in ((shapes[top][0], 1e-5), (1792, 1e-5), (2048, 1e-3)):  # B4, B5
        net = described({**shapes, top: (filters, *shapes[top][1:])}).architecture
        assert isinstance(net, ConvNet)
        assert net.epsilon == epsilon


def test_what_torchvision_does_otherwise_than_timm_is_set_right() -> None:
    vit, swin = (described(shapes_of(name)).architecture for name in ("vit", "swin"))
    assert isinstance(vit, Transformer)
    assert vit.resampling == "bicubic_corners"
    assert isinstance(swin, Swin)
    assert swin.pads_first
    second = described(shapes_of("efficientnetv2")).architecture
    assert isinstance(second, ConvNet)
    assert second.epsilon == 1e-3


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("swin", {"features.1.0.attn.logit_scale": (2, 1, 1)}, "Swin V2 is not read"),
        ("efficientnet", {"features.2.0.block.4.0.weight": (8, 8, 1, 1)}, r"features\.2\.0 is of a kind"),
        ("efficientnet", {"features.2.0.block.3.fc1.weight": (8, 8, 1, 1)}, r"features\.2\.0 is of a kind"),
    ],
)
def test_other_forms_are_refused_by_name(name: str, change: Shapes, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        described({**shapes_of(name), **change})


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("vit", "encoder.layers.encoder_layer_0.mlp.linear_1.weight"),
        ("vit", "encoder.layers.encoder_layer_0.ln_3.weight"),
        ("convnext", "features.1.0.block.4.weight"),
        ("swin", "features.1.0.mlp.1.weight"),
        ("efficientnet", "features.5.0.weight"),
    ],
)
def test_no_tensor_is_lost_among_new_names(name: str, extra: str) -> None:
    with pytest.raises(WeightsError, match="gives no place"):
        converted({**shapes_of(name), extra: (3,)})


def test_files_of_other_networks_keep_their_names() -> None:
    for names in (["features.0.weight", "features.0.bias"], ["features.1.block.0.0.weight", "features.0.0.weight"], []):
        tensors = Stub(dict.fromkeys(names, (3,)))
        assert torchvision.renamed(tensors) is tensors
