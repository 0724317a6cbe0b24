"""KerasHub's preset folders: what is read, what is refused, and what hostile files are answered. No Keras."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.backbones.foundation.checkpoints import conversion
from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones.foundation import hub, model_folder
from transferkit.errors import BackboneError, WeightsError


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    def make(name: str, **config: Any) -> Path:
        target = tmp_path / name
        shutil.copytree(FIXTURES / name, target)
        file = target / "config.json"
        said = json.loads(file.read_text())
        said["config"] |= config
        file.write_text(json.dumps(said))
        return target

    return make


def test_the_row_says_family_blocks_and_size() -> None:
    row = model_folder.describe(str(FIXTURES / "kerashub_dinov2_registers")).row

    assert (row.constructor, row.size, row.licence) == ("DINOv2", 32, "Apache-2.0 (Meta)")
    assert row.stage_names == ("stem", "block0", "block1", "block2")


def test_random_weights_need_a_config_alone(copy: Any) -> None:
    path = copy("kerashub_resnet")
    (path / "model.weights.h5").unlink()

    assert model_folder.is_told_by_config(path)
    assert model_folder.describe(str(path), bare=True).row.constructor == "ResNet"


def test_mean_and_deviation_come_from_the_image_converter(copy: Any) -> None:
    path = copy("kerashub_vit")
    scale, offset = (
        [1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)],
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
    )
    said = {"config": {"scale": scale, "offset": offset, "interpolation": "bilinear"}}
    (path / "image_converter.json").write_text(json.dumps(said))
    found = model_folder.describe(str(path))
    assert (found.row.scaling, found.resampling) == ("torch", "bilinear")

    (path / "image_converter.json").unlink()
    said = {"config": {"image_converter": {"config": {"scale": 1 / 127.5, "offset": -1.0}}}}
    (path / "preprocessor.json").write_text(json.dumps(said))
    assert model_folder.describe(str(path)).row.scaling == "tf"

    for wrong in ([1, 2], "x", [0, 1, 1], [float("nan")] * 3):
        (path / "image_converter.json").write_text(json.dumps({"config": {"scale": wrong}}))
        with pytest.raises(BackboneError, match=r"image_converter\.json"):
            model_folder.describe(str(path))


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("kerashub_vit", {"image_shape": [32, 24, 3]}, "32×24×3"),
        ("kerashub_vit", {"use_class_token": False}, "no class token"),
        ("kerashub_vit", {"hidden_dim": 10**9}, "hidden_dim = 1000000000"),
        ("kerashub_dinov3", {"hidden_activation": None}, "must be a word"),
        ("kerashub_resnet", {"use_pre_activation": True}, "ResNetV2"),
        ("kerashub_resnet", {"input_conv_filters": [8, 8], "input_conv_kernel_sizes": [3, 3]}, "2 convolutions"),
        ("kerashub_resnet", {"stackwise_num_blocks": [1, 2, 60000]}, "from 1 to 1,000"),
        ("kerashub_vit", {"num_layers": 60000}, "num_layers = 60000.* from 1 to 1,000"),
        ("kerashub_siglip", {"vision_encoder": 3}, "says no settings"),
    ],
)
def test_configs_that_are_not_read_are_refused(copy: Any, name: str, config: dict[str, Any], said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        model_folder.describe(str(copy(name, **config)))


def test_other_classes_are_refused_by_name(copy: Any) -> None:
    path = copy("kerashub_vit")
    said = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**said, "class_name": "VGGBackbone"}))

    with pytest.raises(BackboneError, match="KerasHub's VGGBackbone is not read; read are ResNetBackbone, ViTBackbone"):
        model_folder.describe(str(path))


def test_weights_without_their_config_are_refused(copy: Any) -> None:
    path = copy("kerashub_vit")
    (path / "config.json").unlink()

    with pytest.raises(BackboneError, match="KerasHub preset"):
        model_folder.describe(str(path))


def test_tensors_left_over_or_missing_are_named(copy: Any) -> None:
    path = copy("kerashub_vit")
    with h5py.File(path / "model.weights.h5", "a") as file:
        file["layers/other/vars/0"] = np.zeros(3)
    with pytest.raises(WeightsError, match="layers/other/vars/0"):
        conversion(path)
    with h5py.File(path / "model.weights.h5", "a") as file:
        del file["layers/other"]
        del file["layers/vi_t_encoder/layer_norm/vars/1"]
    with pytest.raises(WeightsError, match=r"lacks layernorm\.bias"):
        conversion(path)


def test_files_that_are_none_or_point_elsewhere_are_refused(copy: Any, tmp_path: Path) -> None:
    path = copy("kerashub_vit")
    (tmp_path / "secret").write_bytes(bytes(4096))
    with h5py.File(path / "model.weights.h5", "a") as file:
        name = "layers/vi_t_encoder/layer_norm/vars/0"
        del file[name]
        file.create_dataset(name, (32,), "f4", external=[(str(tmp_path / "secret"), 0, 128)])
    with pytest.raises(WeightsError, match="no numbers of its own"):
        model_folder.describe(str(path))
    for options in ({"chunks": (1 << 16,)}, {"chunks": (1 << 16,), "compression": "gzip"}):
        with h5py.File(path / "model.weights.h5", "a") as file:
            del file[name]
            file.create_dataset(name, (1 << 40,), "f4", **options)  # claimed, and never written
        with pytest.raises(WeightsError, match="no numbers of its own"):
            model_folder.describe(str(path))
    (path / "model.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(WeightsError, match="Fetch it again"):
        model_folder.describe(str(path))


def test_the_hub_is_asked_for_a_presets_files() -> None:
    files = {"config.json": "a", "image_converter.json": "b", "model.weights.h5": "c", "tokenizer.json": "d"}

    assert hub._wanted("keras/vit", files) == ["config.json", "image_converter.json", "model.weights.h5"]
