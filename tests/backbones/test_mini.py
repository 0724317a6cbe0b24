"""The bundled backbone: small, sound, refused when damaged, and its features are worth having."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from tests import loading
from tests.marks import extended
from transferkit.backbones import mini
from transferkit.data.digits import digit_pictures, write_digits
from transferkit.errors import BackboneError, WeightsError
from transferkit.files import sha256_bytes

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def pretrained():
    model = mini.build_mini()
    mini.load_pretrained(model)
    return model


@pytest.fixture(scope="module")
def digits():
    """The first 70 of each digit: pixels (700, 32, 32, 3) in [-1, 1] and labels."""
    pictures = digit_pictures(70)
    grey = np.stack(list(pictures.values())).astype("float32") / 127.5 - 1
    return np.repeat(grey[..., None], 3, axis=3), np.array([int(name[0]) for name in pictures])


@pytest.fixture(scope="module")
def script():
    return loading.script("pretrain_mini")


def pooled(model, pixels):
    return model.predict(pixels, batch_size=128, verbose=0).mean(axis=(1, 2))


def probe_accuracy(features, labels, seed, per_class=20):
    """A linear probe trained on `per_class` random digits of each class, scored on all others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == digit))[:per_class] for digit in range(10)])
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return probe.fit(features[chosen], labels[chosen]).score(features[others], labels[others])


@pytest.mark.parametrize(("size", "side"), [(32, 4), (48, 6), (50, 7), (64, 8)])
def test_it_builds_at_any_size_from_32(size, side):
    model = mini.build_mini(size)
    mini.load_pretrained(model)
    assert model.output_shape == (None, side, side, 224)
    features = np.asarray(model(np.zeros((2, size, size, 3), "float32"), training=False))
    assert np.isfinite(features).all()


def test_a_smaller_picture_is_refused_with_the_limit():
    with pytest.raises(BackboneError, match="32 pixels or more, not 31"):
        mini.build_mini(31)


def test_it_is_small():
    model = mini.build_mini()
    assert model.name == "mini"
    assert model.count_params() == mini.record()["parameters"] <= 400_000
    assert mini.WEIGHTS_FILE.stat().st_size <= 1_000_000


def test_every_layer_belongs_to_a_stage_and_is_one_of_keras_own():
    layers = mini.build_mini().layers[1:]
    assert {layer.name.split("_")[0] for layer in layers} == set(mini.STAGES)
    assert all(type(layer).__module__.startswith("keras.") for layer in layers)


def test_loading_is_exact_and_the_same_at_every_size(pretrained):
    larger = mini.build_mini(48)
    mini.load_pretrained(larger)
    stored = mini.read_weights()
    assert len(stored) == len(pretrained.weights)
    for one, other in zip(pretrained.layers, larger.layers, strict=True):
        for (variable, key), (twin, _) in zip(mini.variables_of(one), mini.variables_of(other), strict=True):
            assert np.array_equal(variable, stored[key])
            assert np.array_equal(twin, stored[key])
            assert variable.dtype == "float32"


def test_weights_and_record_belong_together():
    assert sha256_bytes(mini.WEIGHTS_FILE.read_bytes()) == mini.weights_sha256()
    record = mini.record()
    assert set(record) == {
        "source",
        "accuracy",
        "held_out",
        "parameters",
        "sha256",
        "keras",
        "epochs",
        "seed",
    }
    assert record["held_out"] >= 2000


def test_packing_gives_back_what_was_loaded(pretrained):
    assert sha256_bytes(mini.pack_weights(pretrained)) == sha256_bytes(mini.pack_weights(pretrained))
    with np.load(io.BytesIO(mini.pack_weights(pretrained))) as archive:
        stored = mini.read_weights()
        assert set(archive.files) == set(stored)
        assert all(np.array_equal(archive[key].astype("float32"), stored[key]) for key in stored)


def test_a_weight_that_float16_cannot_hold_is_refused():
    model = mini.build_mini()
    model.get_layer("stem_bn").moving_variance.assign(np.full(32, 1e6, "float32"))
    with np.errstate(over="ignore"), pytest.raises(WeightsError, match="not finite in float16"):
        mini.pack_weights(model)


def test_pretrained_features_differ_from_random_ones(pretrained, digits):
    few = digits[0][::70]
    before = pooled(mini.build_mini(), few)
    assert not np.allclose(before, pooled(pretrained, few), atol=0.01)


def test_a_damaged_file_is_named_and_changes_nothing(one_bit_off):
    one_bit_off(mini)
    model = mini.build_mini()
    before = model.get_weights()
    with pytest.raises(WeightsError, match=r"mini\.npz is damaged: its SHA-256 is .* reinstall"):
        mini.load_pretrained(model)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["WEIGHTS_FILE", "RECORD_FILE"])
def test_a_missing_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr(mini, name, tmp_path / "gone")
    with pytest.raises(WeightsError, match="gone is missing; reinstall"):
        mini.load_pretrained(mini.build_mini())


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": 3}'])
def test_a_damaged_record_is_named(tmp_path, monkeypatch, content):
    path = tmp_path / "mini.json"
    path.write_text(content)
    monkeypatch.setattr(mini, "RECORD_FILE", path)
    with pytest.raises(WeightsError, match=r"mini\.json is damaged"):
        mini.weights_sha256()


def test_a_file_that_is_no_archive_is_named_even_with_the_right_hash(tmp_path, monkeypatch):
    (tmp_path / "mini.npz").write_bytes(b"not an archive")
    (tmp_path / "mini.json").write_text(json.dumps({"sha256": sha256_bytes(b"not an archive")}))
    monkeypatch.setattr(mini, "WEIGHTS_FILE", tmp_path / "mini.npz")
    monkeypatch.setattr(mini, "RECORD_FILE", tmp_path / "mini.json")
    with pytest.raises(WeightsError, match=r"is no \.npz file"):
        mini.read_weights()


def test_another_network_is_refused():
    import keras

    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="other")
    with pytest.raises(WeightsError, match="do not fit model 'other'"):
        mini.load_pretrained(other)


@pytest.mark.parametrize("seed", extended(SEEDS, SEEDS[1:]))
def test_transfer_is_real(pretrained, digits, seed):
    """With 20 digits a class a linear probe errs at most three quarters as often as on the untrained network."""
    import keras

    pixels, labels = digits
    keras.utils.set_random_seed(seed)
    untrained = probe_accuracy(pooled(mini.build_mini(), pixels), labels, seed)
    trained = probe_accuracy(pooled(pretrained, pixels), labels, seed)
    assert trained >= 0.9
    assert 1 - trained <= (1 - untrained) * 3 / 4


def test_importing_needs_no_keras():
    code = (
        "import sys; from transferkit.backbones import mini; mini.weights_sha256(); mini.read_weights(); "
        "assert not {'keras', 'tensorflow'} & set(sys.modules), 'keras was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.extended
def test_the_script_trains_and_writes_a_pair_that_loads(script, tmp_path, monkeypatch, capsys):
    import keras

    data = write_digits(tmp_path / "digits", per_class=6)
    output = tmp_path / "out" / "mini.npz"
    policy = keras.config.dtype_policy()
    try:
        options = ["--epochs", "1", "--batch-size", "20", "--held-out", "2", "--precision", "float32"]
        script.main(["--data", str(data), "--output", str(output), "--source", "digits", *options])
    finally:
        keras.config.set_dtype_policy(policy)
    monkeypatch.setattr(mini, "WEIGHTS_FILE", output)
    monkeypatch.setattr(mini, "RECORD_FILE", output.with_suffix(".json"))
    model = mini.build_mini()
    before = model.get_layer("block3_conv1").kernel.numpy()
    mini.load_pretrained(model)
    assert not np.allclose(before, model.get_layer("block3_conv1").kernel)
    record = mini.record()
    assert (record["source"], record["held_out"], record["epochs"]) == ("digits", 20, 1)
    assert 0 <= record["accuracy"] <= 1
    assert "held-out accuracy" in capsys.readouterr().out


def test_the_script_refuses_to_train_on_nothing(script, tmp_path):
    data = write_digits(tmp_path / "digits", per_class=2)
    with pytest.raises(SystemExit, match="too few; lower --held-out"):
        script.main(["--data", str(data), "--output", str(tmp_path / "mini.npz"), "--held-out", "2"])


def test_held_out_pictures_are_never_trained_on(script):
    labels = np.repeat(np.arange(3), 10)
    training, test = script.hold_out(labels, 4, seed=0)
    assert not set(training) & set(test)
    assert sorted([*training, *test]) == list(range(30))
    assert np.bincount(labels[test]).tolist() == [4, 4, 4]
    assert np.array_equal(test, script.hold_out(labels, 4, seed=0)[1])
    assert not np.array_equal(test, script.hold_out(labels, 4, seed=1)[1])


def test_augmentation_varies_and_keeps_the_range(script):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    once = script.augment(pixels, np.random.default_rng(1))
    assert (once.shape, once.dtype) == ((8, 32, 32, 3), np.float32)
    assert -1 <= once.min() < once.max() <= 1
    assert np.array_equal(once, script.augment(pixels, np.random.default_rng(1)))
    assert not np.allclose(once, script.augment(pixels, np.random.default_rng(2)))


def test_the_rate_rises_to_its_peak_and_falls_to_nothing(script):
    rates = [script.one_cycle(step, 100, 0.5) for step in range(100)]
    assert max(rates) == rates[19] == pytest.approx(0.5)
    assert rates == sorted(rates[:20]) + sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.001
