"""Which network is built on where none is named: by the pictures, the weights that are here, and the other settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones import default, published, weights
from transferkit.backbones.catalog import ROWS
from transferkit.backbones.default import STRONGER, choose
from transferkit.backbones.foundation import hub
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.files import sha256_file
from transferkit.runs import network_scores

COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "available_threads", lambda: 2)
    monkeypatch.setenv("HF_HOME", "/nowhere")


def arrays(*sides: tuple[int, int], repeat: int = 1) -> Samples:
    """Pictures of these heights and widths, of two classes."""
    pictures = [np.zeros((*side, 3), np.uint8) for side in sides] * repeat
    return scan((pictures, ["a" if i % 2 else "b" for i in range(len(pictures))]))


PHOTOS = arrays((256, 340), (256, 256))


def put(store: Path, *names: str) -> None:
    """Files in the store by the names of these networks' weights."""
    store.mkdir(parents=True, exist_ok=True)
    for name in names:
        (store / ROWS[name].file_for(ROWS[name].size)[0]).write_bytes(b"weights")


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in the store has its published hash."""
    monkeypatch.setattr(weights, "verify", lambda row, size: weights.WeightsFile(row.name, "", Path(), "verified"))


def test_photographs_get_the_bundled_network_for_them() -> None:
    found = choose(PHOTOS, {})
    assert found.backbone == "efficientnet_lite0"
    assert found.reason == (
        "the pictures have 256 pixels on their shorter side (median), and it is the bundled network for photographs"
    )


def test_tiny_pictures_get_mini() -> None:
    found = choose(arrays((32, 300), (48, 64), (200, 220)), {})
    assert (found.backbone, "48 pixels" in found.reason, "tiny" in found.reason) == ("mini", True, True)
    assert choose(arrays((49, 49), (49, 300)), {}).backbone == "efficientnet_lite0"


def test_files_are_measured_by_their_headers_and_what_is_damaged_is_passed_over(tmp_path: Path) -> None:
    for name, size in (("a", 40), ("b", 30)):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (size, 400)).save(tmp_path / name / f"{i}.png")
        (tmp_path / name / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    found = choose(scan(tmp_path), {})
    assert (found.backbone, "35 pixels" in found.reason) == ("mini", True)


@pytest.mark.parametrize(
    ("given", "samples", "expected"),
    [
        ({"image_size": 32}, PHOTOS, "mini"),
        ({"image_size": "224"}, arrays((32, 32), (32, 32)), "efficientnet_lite0"),
        ({"unfreeze": "from:block7"}, arrays((32, 32), (32, 32)), "efficientnet_lite0"),
        ({"weights": "pretrained"}, PHOTOS, "mini"),
        ({"weights": "imagenet"}, arrays((32, 32), (32, 32)), "efficientnet_lite0"),
        ({"scaling": "tf"}, arrays((32, 32), (32, 32)), "efficientnet_lite0"),
        # What is wrong in itself is told later, of the network that the pictures speak for.
        ({"unfreeze": "from:nowhere", "image_size": "many"}, arrays((32, 32), (32, 32)), "mini"),
        ({"unfreeze": 3, "views": "x", "weights": "random"}, PHOTOS, "efficientnet_lite0"),
    ],
)
def test_the_other_settings_are_minded(given: dict[str, object], samples: Samples, expected: str) -> None:
    assert choose(samples, given).backbone == expected


def test_nothing_known_is_no_reason_to_fail(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    assert choose(scan(tmp_path), {}).reason.startswith("their headers say no size, and it is the bundled network")
    assert choose(None, {}).backbone == "efficientnet_lite0"


@pytest.mark.usefixtures("sound")
def test_better_weights_that_are_here_are_taken_where_the_machine_can(store: Path) -> None:
    put(store, "efficientnet_b0", "efficientnet_v2_b0", "vgg16", "efficientnet_v2_m")
    found = choose(PHOTOS, {})
    assert found.backbone == "efficientnet_v2_m"
    assert "most accurate on ImageNet (85.3 %) that looks at them in less than 10 minutes" in found.reason
    # 400 pictures and 4 views each with 24 billion multiplications take longer than 10 minutes; 0.72 billion do not.
    many = arrays((256, 256), (256, 256), repeat=200)
    assert choose(many, {}).backbone == "efficientnet_v2_b0"
    assert choose(many, {"augment": "none"}).backbone == "efficientnet_v2_m"
    assert choose(many, {"unfreeze": "from:block7"}).backbone == "efficientnet_b0"  # v2_b0 has six blocks
    assert choose(many, {"weights": "random"}).backbone == "efficientnet_lite0"
    assert choose(arrays((32, 32), (32, 32)), {}).backbone == "mini"


def put_hub(store: Path, fixture: str, repository: str) -> Path:
    """Files of a network in the store as they lie once they are fetched from the hub."""
    folder = store / "hub" / repository.replace("/", "--")
    shutil.copytree(FIXTURES / fixture, folder / COMMIT)
    files = {path.name: sha256_file(path) for path in (folder / COMMIT).iterdir()}
    (folder / COMMIT / hub.RECORD).write_text(json.dumps({"sha256": files}))
    (folder / "refs.json").write_text(json.dumps({"main": COMMIT}))
    return folder / COMMIT


@pytest.mark.usefixtures("sound")
def test_foundation_networks_under_free_licences_are_taken_where_they_are_here(store: Path) -> None:
    put_hub(store, "dinov3", "facebook/dinov3-vits16-pretrain-lvd1689m")
    assert choose(PHOTOS, {}).backbone == "efficientnet_lite0"
    folder = put_hub(store, "dinov2", "facebook/dinov2-small")
    found = choose(PHOTOS, {})
    assert found.backbone == "dinov2_small"
    assert "DINOv2s whose weights are here it is the most accurate on ImageNet (81.1 %)" in found.reason
    put(store, "convnext_tiny")
    assert choose(PHOTOS, {}).backbone == "convnext_tiny"
    assert choose(PHOTOS, {"unfreeze": "from:block2", "weights": "auto"}).backbone == "dinov2_small"
    assert choose(PHOTOS, {"weights": "imagenet"}).backbone == "convnext_tiny"
    (store / ROWS["convnext_tiny"].file_for(224)[0]).unlink()
    with open(folder / "model.safetensors", "ab") as handle:
        handle.write(b"more")
    assert choose(PHOTOS, {}).backbone == "efficientnet_lite0"  # damaged


def test_networks_of_the_hub_that_are_here_are_candidates_free_licences_first(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    put_hub(store, "dinov3", "facebook/dinov3-vits16-pretrain-lvd1689m")
    put_hub(store, "siglip", "somebody/own-siglip")
    cached = tmp_path / "hf" / "hub" / "models--facebook--dinov2-base"
    shutil.copytree(FIXTURES / "dinov2", cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    other = tmp_path / "hf" / "hub" / "models--somebody--speaks" / "snapshots" / "main"
    shutil.copytree(FIXTURES / "dinov2", other)
    (other / "config.json").write_text('{"model_type": "llama"}')
    shutil.copytree(FIXTURES / "dinov2", tmp_path / "hf" / "hub" / "models--gpt2" / "snapshots" / "main")
    (store / "hub" / ".DS_Store").touch()
    assert published.at_hand() == ["hf:somebody/own-siglip", "dinov2_base", "dinov3_small"]
    assert network_scores.candidates()[-3:] == published.at_hand()


@pytest.mark.usefixtures("sound")
def test_what_is_here_and_too_slow_is_said(store: Path) -> None:
    put(store, "convnext_large")
    found = choose(arrays((256, 256), (256, 256), repeat=200), {})
    assert found.backbone == "efficientnet_lite0"
    assert "(convnext_large is here too, and would need about 47 min 47 s)" in found.reason


def test_a_damaged_file_is_passed_over(store: Path) -> None:
    put(store, "efficientnet_b0")
    assert choose(PHOTOS, {}).backbone == "efficientnet_lite0"


def test_the_table_is_ordered_and_its_rows_are_in_the_catalog() -> None:
    accuracies = [accuracy for _, accuracy, _ in STRONGER]
    assert accuracies == sorted(accuracies, reverse=True)
    assert min(accuracies) > 75.1  # efficientnet_lite0's
    assert all(ROWS[name].weights_hash for name, *_ in STRONGER)  # what is pinned only is not known to be right


def test_choosing_needs_no_keras() -> None:
    code = (
        "import sys, numpy as np\nfrom transferkit.backbones.default import choose\n"
        "from transferkit.data.source import scan\n"
        "assert choose(scan((np.zeros((4, 64, 64, 3), 'uint8'), [0, 1, 0, 1])), {}).backbone == 'efficientnet_lite0'\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("sound")
def test_networks_beyond_a_limit_are_passed_over_and_said(store: Path) -> None:
    put(store, "efficientnet_v2_b0")
    assert choose(PHOTOS, {}).backbone == "efficientnet_v2_b0"
    for limit, unit in (({"max_size": 20}, "24 MB"), ({"max_latency": "20"}, "30 ms a picture")):
        found = choose(PHOTOS, limit)
        assert found.backbone == "efficientnet_lite0"
        assert f"efficientnet_v2_b0 is here too, and would need about {unit}" in found.reason
