"""Published folders: what is said before anything is built, and what damaged or foreign ones are answered. No Keras."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backbones.foundation.checkpoints import conversion, rewritten, split_up, written
from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones.build import check
from transferkit.backbones.foundation import families, model_folder
from transferkit.backbones.foundation.described import UNSTATED
from transferkit.backbones.foundation.safetensors import SafetensorsFile
from transferkit.errors import BackboneError, TransferKitError, WeightsError


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    def make(name: str, **config: Any) -> Path:
        target = tmp_path / "here" / name
        shutil.copytree(FIXTURES / name, target)
        if config:
            file = target / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
        return target

    return make


def test_size_and_policy_are_checked_before_keras_is_imported() -> None:
    program = (
        "import sys\n"
        "from transferkit.backbones.build import check\n"
        f"found = check({str(FIXTURES / 'dinov2')!r}, 57, 'from:block9')\n"
        "print('\\n'.join(found), 'keras' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "a multiple of 14 pixels (its patch), not 57; set --image-size 56 or 70" in said
    assert "'dinov2' has no stage 'block9'" in said
    assert "its stages are stem, block0, block1, block2" in said
    assert said.strip().endswith("False")


def test_what_fits_is_no_problem() -> None:
    assert check(str(FIXTURES / "dinov2"), 84, "from:block1") == []
    assert check(str(FIXTURES / "convnextv2"), 33, "last:3") == []
    assert "32 or more" in check(str(FIXTURES / "convnextv2"), 31)[0]
    assert (
        "a multiple of 8 pixels and 32 or more, not 60; set --image-size 56 or 64"
        in check(str(FIXTURES / "swin"), 60)[0]
    )
    assert "set --image-size 32" in check(str(FIXTURES / "swin"), 24)[0]


def test_the_default_size_is_224_not_518(copy: Any) -> None:
    path = copy("dinov2", image_size=518)

    assert model_folder.describe(str(path)).row.size == 224


def test_licence_of_the_card_goes_before_that_of_the_family(copy: Any) -> None:
    path = copy("dinov2")
    assert model_folder.describe(str(path)).row.licence == "Apache-2.0 (Meta)"
    (path / "README.md").write_text("---\ntags: [x]\nlicense: cc-by-4.0\n---\nlicense: other\n")
    assert model_folder.describe(str(path)).row.licence == "cc-by-4.0 (says its model card)"
    assert "DINOv3 License" in model_folder.describe(str(FIXTURES / "dinov3")).row.licence


def test_mean_and_deviation_come_from_the_folder(copy: Any) -> None:
    path = copy("dinov2")
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3], "resample": 3, "do_center_crop": True,
            "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(said))
    found = model_folder.describe(str(path))

    assert found.row.scaling == "normalize:0.1,0.2,0.3:1.0,2.0,3.0"
    assert (found.resampling, found.crop) == ("bicubic", 0.875)
    assert found.facts()["published_resizing"] == "bicubic, middle 0.875"  # which `backbones show` says


@pytest.mark.parametrize("mean", [[0.5, "x", 0], [10**400, 0, 0], [0.5], None, 7])
def test_a_mean_that_is_none_is_refused(copy: Any, mean: Any) -> None:
    path = copy("dinov2")
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": [1, 2, 3]}))
    with pytest.raises(BackboneError, match="mean and deviation"):
        model_folder.describe(str(path))


@pytest.mark.parametrize("std", [[0, 1, 1], [1, 1, False], [1, 1, -1], [1, 10**400, 1]])
def test_no_picture_is_divided_by_nothing_or_by_what_is_endless(copy: Any, std: Any) -> None:
    with pytest.raises(BackboneError, match="mean and deviation"):
        model_folder.describe(str(copy("timm_vit", pretrained_cfg={"std": std})))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX systems")
def test_a_pipe_in_the_place_of_a_model_card_is_not_waited_for(copy: Any) -> None:
    path = copy("dinov2")
    os.mkfifo(path / "README.md")
    assert model_folder.describe(str(path)).row.licence == "Apache-2.0 (Meta)"


def test_a_way_of_resizing_that_is_no_number_is_not_said(copy: Any) -> None:
    path = copy("dinov2")
    (path / "preprocessor_config.json").write_text(json.dumps({"resample": [3]}))

    assert model_folder.describe(str(path)).resampling == ""


def test_timms_oldest_configs_say_all_on_one_level(copy: Any) -> None:
    said = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0], "interpolation": "bicubic", "crop_pct": 0.9}
    path = copy("timm_vit", pretrained_cfg=None, **said)
    found = model_folder.describe(str(path))

    assert found.row.scaling == "normalize:0.1,0.2,0.3:1.0,2.0,3.0"
    assert (found.resampling, found.crop) == ("bicubic", 0.9)


@pytest.mark.parametrize(
    ("said", "crop"), [(0.9, 0.9), (1.0, 1.0), (1, 1.0), (0, None), (1.5, None), (True, None), ("0.9", None)]
)
def test_how_much_of_a_picture_timms_weights_saw_is_a_fact_where_it_is_a_part(copy: Any, said: Any, crop: Any) -> None:
    path = copy("timm_vit")
    config = json.loads((path / "config.json").read_text())
    config["pretrained_cfg"]["crop_pct"] = said
    (path / "config.json").write_text(json.dumps(config))
    found = model_folder.describe(str(path))

    assert found.crop == crop
    assert found.facts()["published_resizing"] == "bicubic" + (f", middle {crop:.3g}" if crop else "")


def test_random_weights_need_a_config_alone(copy: Any) -> None:
    path = copy("dinov2")
    (path / "model.safetensors").unlink()

    assert check(str(path), 84, "from:block1", weights="random") == []
    assert "folder without weights" in check(str(path), 84)[0]


@pytest.mark.parametrize(
    ("weights", "said"), [("imagenet", "no ImageNet weights"), ("absent.h5", r"no weights file absent\.h5")]
)
def test_weights_that_are_not_there_are_told_before_anything_is_built(weights: str, said: str) -> None:
    problems = check(str(FIXTURES / "dinov2"), 57, weights=weights)

    assert len(problems) == 2
    assert re.search(said, problems[1])


def test_in_the_hubs_cache_the_name_is_the_repositorys(tmp_path: Path) -> None:
    place = tmp_path / "models--facebook--dinov2-small" / "snapshots" / ("a" * 40)
    shutil.copytree(FIXTURES / "dinov2", place)

    assert model_folder.describe(str(place)).row.name == "dinov2-small"


def test_shards_are_one_checkpoint(copy: Any) -> None:
    path = copy("siglip")
    expected = dict(conversion(path).values())
    index = split_up(path, ["a.safetensors", "b.safetensors"])

    found = dict(conversion(path).values())
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in found)

    for wrong in ("../a.safetensors", "absent.safetensors", "/etc/passwd"):
        index["weight_map"][next(iter(index["weight_map"]))] = wrong
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(WeightsError):
            model_folder.describe(str(path))


def test_a_git_lfs_pointer_is_told(copy: Any) -> None:
    path = copy("vit")
    (path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")

    with pytest.raises(WeightsError, match="Git LFS pointer"):
        model_folder.describe(str(path))


def test_registers_that_a_network_of_timm_is_named_for_must_be_there(copy: Any) -> None:
    path = copy("timm_dinov2")
    rewritten(path / "model.safetensors", reg_token=None)

    with pytest.raises(BackboneError, match=r"lacks the 4 registers \(reg_token\) that vit_small_patch14_reg4_dinov2"):
        model_folder.describe(str(path))


@pytest.mark.parametrize(
    ("name", "parts", "said"),
    [
        ("timm_vit", r"blocks\.\d+\.attn\.qkv\.bias", "qkv.bias"),
        ("timm_mobilenetv4_hybrid", r"blocks\.1\.0\.layer_scale\.gamma", "some of its blocks lack their layer_scale"),
        ("timm_mobilenetv4_hybrid", r".*layer_scale\.gamma", "some of its blocks lack their layer_scale"),
    ],
)
def test_what_every_block_of_timms_must_have(copy: Any, name: str, parts: str, said: str) -> None:
    path = copy(name)
    gone = [found for found in SafetensorsFile(path / "model.safetensors").shapes if re.fullmatch(parts, found)]
    assert gone
    rewritten(path / "model.safetensors", **dict.fromkeys(tensor.replace(".", "__") for tensor in gone))

    with pytest.raises(TransferKitError, match=said):
        conversion(path, 64)


NAME = "encoder__layer__1__norm1__weight"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({NAME: None}, r"it lacks encoder\.layer\.1\.norm1\.weight"),
        ({NAME: np.zeros(31)}, "is 31, the config asks for 32"),
        ({"encoder__layer__3__norm1__weight": np.zeros(32)}, "1 tensors that its config gives no place"),
        ({NAME: np.full(32, np.nan)}, "not finite"),
        ({"embeddings__position_embeddings": np.zeros((1, 12, 32))}, "position"),
        ({"embeddings__patch_embeddings__projection__weight": None}, "no tensor is called"),
        ({"embeddings__patch_embeddings__projection__bias": None}, r"it lacks embeddings\.patch.*projection\.bias"),
        ({"embeddings__cls_token": None}, r"0 of the 1 tokens before those of the patches \(embeddings\.cls_token\)"),
    ],
)
def test_tensors_that_do_not_fit_the_config_are_named(copy: Any, changes: dict[str, Any], said: str) -> None:
    path = copy("dinov2")
    rewritten(path / "model.safetensors", **changes)

    with pytest.raises(WeightsError, match=said):
        list(conversion(path, 56).values())


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("dinov2", {"hidden_size": 10**12}, "hidden_size = 1000000000000"),
        ("dinov2", {"hidden_size": "32"}, "hidden_size"),
        ("dinov2", {"num_attention_heads": 5}, "does not divide"),
        ("dinov2", {"num_attention_heads": 0}, "whole number from 1"),
        ("dinov2", {"layer_norm_eps": -1}, "positive number"),
        ("dinov2", {"num_hidden_layers": 60000}, "from 1 to 1,000"),
        ("dinov2", {"hidden_act": "relu6"}, "activation is 'relu6'"),
        ("dinov2", {"num_channels": 1}, "channels"),
        ("dinov2", {"image_size": 3}, "smaller than a patch"),
        ("dinov2", {"model_type": "bert"}, "model_type 'bert'; known are dinov2"),
        ("convnext", {"depths": [1, 1]}, "four whole numbers"),
        ("convnext", {"depths": [1, 1, 60000, 1]}, "from 1 to 1,000"),
        ("resnet", {"depths": [1, 1, 60000, 1]}, "from 1 to 1,000"),
        ("swin", {"depths": [2, 60000]}, "from 1 to 1,000"),
        ("swin", {"num_heads": [2]}, "heads that do not divide"),
        ("swin", {"window_size": 0}, "window_size = 0"),
        ("swin", {"use_absolute_embeddings": True}, "no published Swin has"),
        ("timm_vit", {"architecture": "vit_base_patch16_rope_224"}, "is not read"),
        ("timm_vit", {"architecture": "mobilenetv4_conv_blur_medium"}, "is not read"),
        ("timm_vit", {"architecture": "resnext50_32x4d"}, "is not read"),
        ("timm_vit", {"architecture": "naflexvit_base_patch16_siglip"}, "timm's naflexvit_.* is not read"),
        ("siglip", {"model_type": "siglip", "vision_config": "x"}, "vision_config = 'x'"),
        ("timm_vit", {"architecture": "resnet50"}, r"lacks conv1\.weight"),
        ("timm_vit", {"architecture": "efficientnet_b0"}, "has not the stages"),
        ("timm_vit", {"model_args": {"act_layer": "relu"}}, "model_args 'act_layer'"),
        ("timm_swin", {"architecture": "swin_s3_tiny_224"}, "is not read"),
        ("timm_swinv2", {"model_args": {"window_size": [4, 5]}}, "windows are not square"),
        ("resnet", {"downsample_in_bottleneck": True}, "no published ResNet has"),
        ("swinv2", {"pretrained_window_sizes": [6]}, "1 pretrained_window_sizes for 2 stages"),
        ("timm_vit", {"model_args": {"num_heads": 0}}, "number of heads"),
        ("timm_vit", {"model_args": "x"}, "model_args = 'x'"),
        ("timm_vit", {"pretrained_cfg": ["x"]}, r"pretrained_cfg = \['x'\]"),
        ("vit", {"pretrained_cfg": "x"}, "pretrained_cfg = 'x'"),
    ],
)
def test_configs_that_cannot_be_are_refused(copy: Any, name: str, config: dict[str, Any], said: str) -> None:
    path = copy(name, **config)

    with pytest.raises(BackboneError, match=said) as caught:
        model_folder.describe(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"hidden_size": 64}, {"num_hidden_layers": 900}, {"mlp_ratio": 5}, {"image_size": 70}]
)
def test_a_config_of_another_network_is_refused_before_anything_is_built(copy: Any, change: dict[str, Any]) -> None:
    path = copy("dinov2", **change)

    with pytest.raises(WeightsError):
        conversion(path, 56)


def test_other_folders_and_files_are_told(tmp_path: Path, copy: Any) -> None:
    with pytest.raises(BackboneError, match=r"must hold config\.json"):
        model_folder.describe(f"{tmp_path}/")
    path = copy("vit")
    (path / "config.json").write_text("{")
    with pytest.raises(TransferKitError, match=r"config\.json"):
        model_folder.describe(str(path))
    (path / "config.json").unlink()
    with pytest.raises(BackboneError, match=r"no config\.json"):
        model_folder.describe(str(path))
    assert "no file" in check(str(tmp_path / "absent.safetensors"))[0]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a":' * 700 + "1" + "}" * 700], ids=range(3))
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors.index.json"])
def test_settings_nested_without_end_are_refused_by_the_name_of_their_file(name: str, text: str, copy: Any) -> None:
    path = copy("vit")
    (path / name).write_text(text)
    if "index" in name:
        (path / "model.safetensors").unlink()
    if (name, text[-1]) == ("preprocessor_config.json", "}"):  # what is not known there is not looked into
        model_folder.describe(str(path))
        return
    with pytest.raises(TransferKitError) as caught:
        model_folder.describe(str(path))
    assert name in str(caught.value)
    assert len(str(caught.value)) < 700


def test_dinov2s_own_file_is_known_without_a_config() -> None:
    plain = model_folder.describe(str(FIXTURES / "meta_dinov2" / "dinov2.pth"))
    registers = model_folder.describe(str(FIXTURES / "meta_dinov2_registers"))

    assert plain.row.name == "dinov2"
    assert plain.row.licence == "Apache-2.0 (Meta)"
    assert (plain.described.architecture.offset, plain.described.architecture.resampling) == (0.1, "bicubic")  # type: ignore[union-attr]
    assert registers.described.architecture.prefix == 3  # type: ignore[union-attr]


def test_torchvisions_file_is_known_without_a_config() -> None:
    found = model_folder.describe(str(FIXTURES / "torchvision_resnet" / "resnet.pth"))

    assert (found.row.constructor, found.row.licence) == ("ResNet", "BSD-3-Clause (torchvision)")
    assert found.row.stage_names == ("stem", "block0", "block1", "block2", "block3", "block4")


def test_a_checkpoint_of_grouped_convolutions_is_refused(copy: Any) -> None:
    path = copy("timm_resnet")
    rewritten(path / "model.safetensors", layer1__0__conv2__weight=np.zeros((8, 2, 3, 3)))

    with pytest.raises(BackboneError, match="in groups"):
        model_folder.describe(str(path))


def test_swin_v2_takes_smaller_pictures_than_its_windows_ask() -> None:
    assert check(str(FIXTURES / "swinv2"), 16) == []
    assert "16 or more, not 8" in check(str(FIXTURES / "swinv2"), 8)[0]


def test_terms_are_said_of_weights_that_are_not_free(copy: Any) -> None:
    assert model_folder.describe(str(FIXTURES / "dinov2")).terms == ""
    assert "are under: DINOv3 License (Meta)" in model_folder.describe(str(FIXTURES / "dinov3")).terms
    assert "no commercial use" in model_folder.describe(str(FIXTURES / "convnextv2")).terms
    unstated = "the licence of the weights of resnet is not stated with them"
    assert model_folder.describe(str(FIXTURES / "resnet")).terms == unstated
    path = copy("vit")
    (path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert model_folder.describe(str(path)).terms == "the weights of vit are under: cc-by-nc-4.0 (says its model card)"


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("vit", UNSTATED), ("timm_convnext", UNSTATED), ("timm_efficientnet", UNSTATED), ("resnet", UNSTATED),
        ("deit", "Apache-2.0 (Meta)"), ("siglip2", "Apache-2.0 (Google)"), ("swinv2", "MIT (Microsoft)"),
        ("convnext", "MIT (Meta)"), ("clip", "MIT (OpenAI, by its repository; its model cards name none)"),
    ],
)  # fmt: skip
def test_a_licence_is_claimed_only_where_the_family_has_one_publisher(copy: Any, name: str, licence: str) -> None:
    path = copy(name)
    config = json.loads((path / "config.json").read_text())
    config.get("pretrained_cfg", config).pop("license", None)
    (path / "config.json").write_text(json.dumps(config))

    assert model_folder.describe(str(path)).row.licence == licence


def test_a_mobilenet_with_other_attention_is_refused(copy: Any) -> None:
    path = copy("timm_mobilenetv4_hybrid")
    file = SafetensorsFile(path / "model.safetensors")
    name = next(name for name in file.shapes if name.endswith("attn.query.proj.weight"))
    rewritten(path / "model.safetensors", **{name.replace("query.proj", "query.norm").replace(".", "__"): np.zeros(3)})

    with pytest.raises(BackboneError, match="attention is of a kind"):
        model_folder.describe(str(path))


def test_a_pooler_is_a_stage_of_networks_whose_weights_bring_one() -> None:
    found = model_folder.pooled(model_folder.describe(str(FIXTURES / "siglip")))
    assert found.row.stage_names[-1] == "pooler"
    assert check(str(FIXTURES / "siglip"), None, "from:pooler", pooler=True) == []
    assert "no stage 'pooler'" in check(str(FIXTURES / "siglip"), None, "from:pooler")[0]
    assert model_folder.describe(str(FIXTURES / "timm_siglip")).facts()["pooler"] is True
    for name in (str(FIXTURES / "dinov2"), str(FIXTURES / "convnext"), "vgg16", "absent.keras"):
        assert "--pooling pooler takes the pooling that SigLIP's weights bring" in check(name, pooler=True)[-1]


@pytest.mark.parametrize(("name", "words", "family"), [
    ("siglip", 256_000, "SigLIP 2"), ("siglip", 250_000, "SigLIP"), ("siglip", None, "SigLIP"),
    ("siglip2", 256_000, "SigLIP 2"),
])  # fmt: skip
def test_a_picture_tower_is_read_out_of_a_model_of_pictures_and_text(
    copy: Any, name: str, words: int | None, family: str
) -> None:
    path = copy(name)
    expected = dict(conversion(path, 24).values())
    tower = json.loads((path / "config.json").read_text())
    config = {
        "model_type": name,
        "vision_config": tower,
        "text_config": {"vocab_size": words},
        "initializer_factor": 1.0,
    }
    (path / "config.json").write_text(json.dumps(config))
    file = SafetensorsFile(path / "model.safetensors")
    tensors = {"vision_model." + n.removeprefix("vision_model."): file.read(n) for n in file.shapes}
    written(
        path / "model.safetensors",
        {**tensors, "text_model.head.bias": np.zeros(3, "f4"), "logit_scale": np.ones(1, "f4")},
    )

    found = dict(conversion(path, 24).values())
    row = model_folder.describe(str(path)).row
    assert (row.constructor, row.paper) == (family, "arXiv:2502.14786" if family == "SigLIP 2" else "arXiv:2303.15343")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in found)


def test_a_tower_that_is_as_the_library_makes_it_need_not_be_described() -> None:
    found = families.described({"model_type": "siglip2"})

    assert (found.family, found.native, found.pools) == ("SigLIP 2", 256, True)
    assert found.architecture.tokens(256) == 256  # type: ignore[union-attr]


def test_timms_siglip_2_is_told_by_its_tag(copy: Any) -> None:
    path = copy("timm_siglip")
    config = json.loads((path / "config.json").read_text())
    for tag, family in (("webli", "SigLIP"), ("v2_webli", "SigLIP 2")):
        config["pretrained_cfg"]["tag"] = tag
        (path / "config.json").write_text(json.dumps(config))
        assert model_folder.describe(str(path)).row.constructor == family


def test_a_config_that_says_no_head_has_no_pooler(copy: Any) -> None:
    path = copy("siglip", vision_use_head=False)

    assert not model_folder.describe(str(path)).described.pools
