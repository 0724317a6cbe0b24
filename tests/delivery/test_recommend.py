"""`backbones recommend`: pretrained features beat random ones, speed is measured, and nothing is fetched unasked."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from transferkit.backbones.build import build
from transferkit.cli import cli
from transferkit.cli._boundary import guarded
from transferkit.data.source import scan
from transferkit.delivery import recommend as room
from transferkit.errors import BackboneError, ConfigError
from transferkit.runs import network_scores


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty weights folder: the bundled networks are all there is."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A network that looks at the mean colour alone."""
    path = tmp_path_factory.mktemp("files") / "blind.keras"
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.AveragePooling2D(32)(x)
    keras.Model(inputs, keras.layers.Conv2D(4, 1, kernel_initializer=keras.initializers.Ones())(x)).save(path)
    return path


def test_a_seeing_network_is_ranked_above_a_blind_one(digits, blind, tmp_path, capsys):
    png = tmp_path / "speed.png"
    command = ["backbones", "recommend", str(digits), "--backbone", str(blind), "--backbone", "mini", "--json"]
    assert guarded(cli, [*command, "--figure", str(png)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["backbone"] for row in found] == ["mini", str(blind)]
    best, worst = found
    assert best["score"] > 0.7 > 0.5 > worst["score"]
    assert best["logme"] > worst["logme"]
    assert best["parameters"] == build("mini").model.count_params()
    assert all(row["images_per_second"] > 0 and row["weights_bytes"] > 0 for row in found)
    assert best["pareto"]
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.extended
def test_without_names_the_store_is_what_there_is(digits, capsys, monkeypatch):
    assert room.candidates() == ["efficientnet_lite0", "mini"]
    monkeypatch.setattr(network_scores, "ROWS", {"mini": network_scores.ROWS["mini"]})  # the other one takes its time
    assert guarded(cli, ["backbones", "recommend", str(digits), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out
    assert "● mini" in out


@pytest.mark.extended
def test_deep_grey_is_looked_at_as_finetune_would(tmp_path, digits):
    rng = np.random.default_rng(0)
    for number in range(60):
        grey = rng.integers(0, 60, (32, 32))  # of 65535
        grey[:, : 16 if number % 2 else 0] = 100
        place = tmp_path / "deep" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey.astype(np.uint16)).save(place / f"{number}.png")
    samples = scan(tmp_path / "deep")
    (black,) = room.recommend(samples, ["mini"], pictures=50)
    (seen,) = room.recommend(samples, ["mini"], pictures=50, intensity="percentile")
    assert black.score < 0.7 < 0.95 < seen.score
    with pytest.raises(ConfigError, match="--intensity percentile has no effect"):
        room.recommend(scan(digits), ["mini"], pictures=50, intensity="percentile")


def test_the_test_split_is_left_alone(digits):
    from transferkit.data.splitting.split import split

    samples = scan(digits).hashed()
    seen, folds = room._folds(samples, 1000, seed=0)
    test = {p for p, part in zip(samples.paths, split(samples).assignment, strict=True) if part == "test"}
    assert not test & set(seen.paths)
    assert len(seen) + len(test) == len(samples)
    for train, held in folds:
        assert not np.intersect1d(train, held).size
    fewer, folds = room._folds(samples, 60, seed=0)
    assert len(fewer) == 60
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(60))


def test_networks_that_cannot_be_had_are_named_before_any_work(digits):
    with pytest.raises(BackboneError, match=r"unknown backbone 'vgg61'.*vgg16"):
        room.recommend(scan(digits), ["vgg61"], offline=True)
    with pytest.raises(BackboneError, match="vgg16"):
        room.recommend(scan(digits), ["mini", "vgg16"], offline=True)


def test_too_few_pictures_are_refused(digits):
    with pytest.raises(ConfigError, match="--pictures 10 is too few"):
        room.recommend(scan(digits), pictures=10)
