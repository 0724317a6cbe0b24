"""The bundled network for photographs: the published weights, exactly converted; safe to load; refused when damaged."""

import io

import keras
import numpy as np
import pytest

from tests import loading
from tests.backbones.foundation.checkpoints import written
from transferkit.backbones import build, bundled, freeze, torch_weights
from transferkit.backbones import efficientnet_lite0 as lite
from transferkit.backbones.catalog import ROWS
from transferkit.backbones.portability import foreign
from transferkit.data.images.decode import DecodeSettings, decode_many
from transferkit.errors import BackboneError, WeightsError
from transferkit.files import sha256_bytes

ROW = ROWS["efficientnet_lite0"]
PUBLISHED = "0c677c314df2a69239bef9609a095a957201d5092462c5ace5d8bf3e0201bbd7"
# Pooled features CHANNELS of the two pictures of `script.test_pictures(64)`, by `script.reference` from the published
# float32 weights.
CHANNELS = [71, 413, 423, 455, 481, 512, 539, 848, 888, 936, 949, 1159]
REFERENCE = (
    (6.0000, 4.4712, 2.9754, 4.2846, 2.3997, 6.0000, 4.4072, 6.0000, 4.4251, 6.0000, 5.2974, 6.0000),
    (0.0000, 3.7126, 3.4737, 3.9348, 2.8624, 0.0000, 4.2950, 0.0000, 2.8729, 0.0000, 2.7805, 0.5837),
)


@pytest.fixture(scope="module")
def script():
    return loading.script("convert_efficientnet_lite0")


@pytest.fixture
def published(assets, script):
    """The published tensors by PyTorch's names."""
    return script.read_safetensors(assets / "weights" / "efficientnet_lite0.safetensors")


def as_torch():
    """The packaged weights under PyTorch's names and in its order of axes."""
    tensors = {}
    for key, value in lite.packaged().read().items():
        name = lite.torch_name(*key.split("/"))
        if value.ndim == 4:
            value = value.transpose((2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1))
        tensors[name] = value
    return tensors


def test_the_shipped_network_gives_the_published_features(script):
    """What is stored as float16 is within half a percent of what the published float32 weights give."""
    built = build.build("efficientnet_lite0", size=64, offline=True)
    pixels = built.prepared(script.test_pictures(64).astype("float32"))
    found = np.asarray(built.model(pixels, training=False)).mean(axis=(1, 2))[:, CHANNELS]
    np.testing.assert_allclose(found, REFERENCE, atol=0.005 * np.max(REFERENCE))
    assert (built.weights, built.scaling, built.size) == ("imagenet", "torch", 64)


@pytest.mark.parametrize("size", [32, 75])
def test_keras_computes_what_numpy_computes(script, size):
    """The same weights through a second implementation: padding of odd sizes, strides, ReLU6, epsilon, the sums."""
    model = lite.build_efficientnet_lite0(size)
    lite.load_pretrained(model)
    pixels = script.scaled(script.test_pictures(size))
    expected = script.reference(as_torch(), pixels)
    assert model.output_shape[1:] == expected.shape[1:] == (-(-size // 32), -(-size // 32), 1280)
    assert script.relative(np.asarray(model(pixels, training=False)), expected) < 1e-4


@pytest.mark.extended
def test_the_packaged_file_is_what_the_script_makes_of_the_published_weights(script, assets):
    difference, by_storage, content, parameters = script.convert(assets / "weights" / "efficientnet_lite0.safetensors")
    assert difference < 1e-5
    assert by_storage < 5e-3
    assert parameters == ROW.parameters
    # Not byte by byte: another zlib packs otherwise.
    with np.load(io.BytesIO(content)) as made, np.load(lite.WEIGHTS_FILE) as shipped:
        assert set(made.files) == set(shipped.files)
        assert all(np.array_equal(made[key], shipped[key]) for key in made.files)
    assert lite.packaged().facts()["source_sha256"] == PUBLISHED


def test_photographs_are_named_as_what_they_are(published, script, assets):
    """With the published 1,000-class layer on top, cardboard is a carton and glass a bottle."""
    built = build.build("efficientnet_lite0", offline=True)

    def first_five(name):
        paths = sorted((assets / "data" / "trashnet" / name).iterdir())[:24]
        pixels = np.stack([picture for _, picture in decode_many(paths, DecodeSettings(224))])
        features = np.asarray(built.model(script.scaled(pixels), training=False)).mean(axis=(1, 2))
        return np.argsort(-(features @ published["_fc.weight"].T + published["_fc.bias"]), axis=1)[:, :5]

    carton, bottles = [478], [440, 720, 737, 898, 907]
    share = {n: np.isin(first_five(n), w).any(axis=1).mean() for n, w in (("cardboard", carton), ("glass", bottles))}
    assert share["cardboard"] > 0.4
    assert share["glass"] > 0.5


def test_row_matches_its_network_and_every_layer_is_keras_own():
    model = lite.build_efficientnet_lite0(32)
    assert (ROW.size, ROW.minimum) == (lite.DEFAULT_SIZE, lite.SMALLEST_SIZE) == (224, 32)
    assert (ROW.parameters, ROW.layers) == (model.count_params(), sum(map(freeze.is_counted, model.operations)))
    assert ROW.stage_names == ROWS["efficientnet_b0"].stage_names
    assert ROW.stages == ROWS["efficientnet_b0"].stages
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    with pytest.raises(BackboneError, match="32 pixels or more, not 31"):
        lite.build_efficientnet_lite0(31)


def test_nothing_is_fetched_and_random_is_random(store):
    assert build.check("efficientnet_lite0", offline=True) == []
    assert "its own are called" not in str(build.check("efficientnet_lite0", weights="imagenet", offline=True))
    ours = build.build("efficientnet_lite0", weights="imagenet", size=32, offline=True)
    random = build.build("efficientnet_lite0", weights="random", size=32, offline=True)
    again = build.build("efficientnet_lite0", weights="random", size=32, offline=True)
    assert random.weights_sha256 == again.weights_sha256 != ours.weights_sha256
    assert not store.exists()


def test_it_loads_in_safe_mode_from_keras_own_layers(tmp_path):
    model = build.build("efficientnet_lite0", size=32, offline=True).model
    assert foreign(model) is None
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    pixels = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(pixels, training=False), model(pixels, training=False), atol=1e-5)


def test_it_is_small_and_its_hash_is_recorded():
    assert lite.WEIGHTS_FILE.stat().st_size < 7_000_000
    assert sha256_bytes(lite.WEIGHTS_FILE.read_bytes()) == lite.packaged().sha256()
    assert bundled.packaged(ROW).sha256() == lite.packaged().sha256()
    facts = lite.packaged().facts()
    assert facts["licence"] == "Apache-2.0"
    assert facts["parameters"] == ROW.parameters


def test_a_damaged_file_is_named(one_bit_off):
    one_bit_off(lite)
    with pytest.raises(WeightsError, match=r"lite0\.npz is damaged: .* scripts/convert_efficientnet_lite0\.py"):
        build.build("efficientnet_lite0", size=32, offline=True)


def test_another_network_is_refused():
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="other")
    with pytest.raises(WeightsError, match=r"do not fit model 'other'; pass a network of build_efficientnet_lite0\(\)"):
        lite.load_pretrained(other)


def test_the_script_refuses_what_it_does_not_know(script, tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    pair = script.read_safetensors(
        written(path, {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(1, "float32")})
    )
    assert pair["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert pair["b"].tolist() == [1]
    with pytest.raises(SystemExit, match="a is F16"):
        script.read_safetensors(written(path, {"a": np.ones(2, "float16")}))
    monkeypatch.setattr(script, "SIZES", (32,))
    monkeypatch.setattr(script, "reference", lambda tensors, pixels: np.ones((1, 1, 1, 1280), "float32"))
    with pytest.raises(SystemExit, match=r"differs by .* nothing is written"):
        script.convert(written(path, as_torch()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": np.ones(1, "float32")}, "nothing there is called extra"),
        ({"_bn1.weight": None}, r"it lacks _bn1\.weight"),
        ({"_bn1.weight": np.ones(7, "float32")}, r"_bn1\.weight has the shape \[7\]"),
        ({"_conv_stem.weight": np.ones(9, "float32")}, r"_conv_stem\.weight has the shape \[9\]"),
    ],
)
def test_pytorchs_tensors_that_do_not_fit_are_named(tmp_path, change, said):
    tensors = {name: value for name, value in (as_torch() | change).items() if value is not None}
    model = lite.build_efficientnet_lite0(32)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=said):
        torch_weights.load(written(tmp_path / "x.safetensors", tensors), model)
    assert all(map(np.array_equal, model.get_weights(), before))
