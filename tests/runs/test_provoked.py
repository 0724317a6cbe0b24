"""States provoked on real pictures are called by their name on three of three seeds, and a good fit is left alone."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.data.digits import write_digits

from ..marks import extended

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unpublished", "one_cache"),
    pytest.mark.parametrize("seed", extended([0, 1, 2], [1, 2])),
]
WEIGHTS = "mobilenet_2_5_224_tf_no_top.h5"


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits") / "digits", 100)


@pytest.fixture(scope="module")
def assets():
    folder = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", Path(__file__).parents[3] / "shared"))
    if not (folder / "data" / "trashnet").is_dir() or not (folder / "weights" / WEIGHTS).is_file():
        pytest.skip(f"no real data: {folder}/data/trashnet or {folder}/weights is absent (set TRANSFERKIT_TEST_ASSETS)")
    return folder


def metrics_of(data, backbone, output, seed, **settings):
    # What is diagnosed here are heads that are trained.
    settings = {"head": "mlp", **settings}
    return tk.finetune(data, backbone, output=output / "run", seed=seed, quiet=True, **settings).metrics


@pytest.mark.extended
def test_a_good_fit_is_called_good(hundred, tmp_path, seed):
    assert metrics_of(hundred, "mini", tmp_path, seed)["diagnosis"]["state"] == "good fit"


def test_a_learning_rate_a_thousand_times_too_high(hundred, tmp_path, seed):
    found = metrics_of(hundred, "mini", tmp_path, seed, learning_rate=3.0, epochs=10, patience=9)["diagnosis"]
    assert found["state"] == "learning rate too high"
    assert "--learning-rate 0.3" in found["remedies"][0]["command"]


@pytest.mark.extended
def test_flipped_labels(hundred, tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = [str(digit) for digit in range(10)]
    rows = ["path,label"]
    for path in sorted(hundred.glob("*/*.png")):
        label = path.parent.name
        other = rng.choice([name for name in names if name != label])
        rows.append(f"{path},{other if rng.random() < 0.25 else label}")
    (tmp_path / "flipped.csv").write_text("\n".join(rows))
    found = metrics_of(tmp_path / "flipped.csv", "mini", tmp_path, seed)["diagnosis"]
    assert found["state"] == "label noise suspected"


def test_pictures_under_two_labels(hundred, tmp_path, seed):
    for path in sorted(hundred.glob("[0-3]/*.png"))[seed::2]:
        save(np.asarray(Image.open(path)), tmp_path / "twice" / path.parent.name / path.name)
    for path in sorted((tmp_path / "twice" / "0").iterdir())[:20]:
        save(np.asarray(Image.open(path)), tmp_path / "twice" / "1" / f"copy_{path.name}")
    found = metrics_of(tmp_path / "twice", "mini", tmp_path, seed, epochs=4, patience=3)["diagnosis"]
    assert found["state"] == "label noise suspected"
    assert "20 pictures occur under more than one label" in found["evidence"]


@pytest.mark.extended
def test_a_leaked_test_set(hundred, tmp_path, seed):
    """Copies a little darker, so that no two files are the same: those are refused before anything is trained."""
    rng = np.random.default_rng(seed)
    for path in sorted(hundred.glob("*/*.png")):
        part = rng.choice(["train", "val", "test"], p=[0.7, 0.15, 0.15])
        pixels = np.asarray(Image.open(path))
        save(pixels, tmp_path / "leaked" / part / path.parent.name / path.name)
        if part == "test":
            darker = np.rint(pixels * 0.93).astype(np.uint8)
            save(darker, tmp_path / "leaked" / "train" / path.parent.name / f"copy_{path.name}")
    found = metrics_of(tmp_path / "leaked", "mini", tmp_path, seed, epochs=8, patience=7)["diagnosis"]
    assert found["state"] == "leakage suspected"
    assert "near-identical copy" in found["evidence"][0]


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_test_pictures_of_another_kind(hundred, tmp_path, seed):
    rng = np.random.default_rng(seed)
    for path in sorted(hundred.glob("[0-4]/*.png"))[::2]:
        part = rng.choice(["train", "val", "test"], p=[0.6, 0.2, 0.2])
        pixels = np.asarray(Image.open(path))
        pixels = 255 - pixels[:, ::-1] if part == "test" else pixels
        save(pixels, tmp_path / "shifted" / part / path.parent.name / path.name)
    found = metrics_of(tmp_path / "shifted", "mini", tmp_path, seed, epochs=8, patience=7)["diagnosis"]
    assert found["state"] == "test unlike training"
    assert "leakage suspected" not in found["also"]


@pytest.mark.extended  # told by the same rules in tests/evaluation/test_diagnosis.py
def test_a_learning_rate_a_hundred_times_too_low(hundred, tmp_path, seed):
    found = metrics_of(hundred, "mini", tmp_path, seed, learning_rate=3e-5, augment="none")["diagnosis"]
    assert found["state"] == "learning rate too low"
    assert "--learning-rate 0.0003" in found["remedies"][0]["command"]


@pytest.mark.extended  # told by the same rules in tests/evaluation/test_diagnosis.py
def test_too_few_epochs(hundred, tmp_path, seed):
    found = metrics_of(hundred, "mini", tmp_path, seed, epochs=4, patience=3)["diagnosis"]
    assert found["state"] == "underfitting"
    assert "--epochs 12" in found["remedies"][0]["command"]


@pytest.mark.extended  # told by the same rules in tests/evaluation/test_diagnosis.py
def test_eight_pictures_a_class(hundred, tmp_path, seed):
    found = metrics_of(hundred, "mini", tmp_path, seed, split=(0.08, 0.42, 0.5), augment="none")["diagnosis"]
    assert "too little data" in [found["state"], *found["also"]]
    assert any("more pictures help most, first of" in remedy["why"] for remedy in found["remedies"])


@pytest.mark.extended  # told by the same rules in tests/evaluation/test_diagnosis.py
def test_three_rare_classes(hundred, tmp_path, seed):
    rng = np.random.default_rng(seed)
    for folder in sorted(hundred.iterdir()):
        for path in rng.permutation(sorted(folder.glob("*.png")))[: 14 if folder.name in "358" else 100]:
            save(np.asarray(Image.open(path)), tmp_path / "uneven" / folder.name / path.name)
    found = metrics_of(tmp_path / "uneven", "mini", tmp_path, seed, split=(0.45, 0.1, 0.45))["diagnosis"]
    assert "class imbalance hurting" in [found["state"], *found["also"]]
    assert any("--class-weights balanced" in remedy["command"] for remedy in found["remedies"])


@pytest.mark.extended
def test_too_wide_a_head_without_regularisation(assets, tmp_path, seed):
    found = metrics_of(
        assets / "data" / "trashnet", "mobilenet_0.25", tmp_path, seed, weights=str(assets / "weights" / WEIGHTS),
        head_width=2048, dropout=0, weight_decay=0, mixup=0, label_smoothing=0, augment="none", ema=False, epochs=12,
        patience=11,
    )["diagnosis"]  # fmt: skip
    assert found["state"] == "overfitting"
    assert any("--dropout" in remedy["command"] for remedy in found["remedies"])


@pytest.mark.extended
def test_calibration_lowers_the_calibration_error_on_trashnet(assets, tmp_path, seed):
    found = metrics_of(
        assets / "data" / "trashnet", "mobilenet_0.25", tmp_path, seed, weights=str(assets / "weights" / WEIGHTS),
        augment="none",
    )  # fmt: skip
    assert found["test"]["ece"] < found["test"]["ece_uncalibrated"]
