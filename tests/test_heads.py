from types import SimpleNamespace

import keras
import numpy as np
import pytest

from transferkit import compute, heads
from transferkit.errors import ConfigError

OF_MAPS = [pooling for pooling in heads.POOLINGS if "cls" not in pooling and pooling != "pooler"]
MAPS = np.random.default_rng(0).uniform(0, 3, (4, 3, 3, 6)).astype(np.float32)


def base(shape=(3, 3, 6)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Activation("linear")(inputs))


@pytest.mark.parametrize("pooling", OF_MAPS)
@pytest.mark.parametrize("width", [None, 8, (8, 4)])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("task", "classes"), [("classify", 3), ("multilabel", 2), ("regress", 1)])
def test_every_combination_builds_and_answers(pooling, width, dropout, task, classes):
    head = heads.build_head(base(), classes, width, dropout, pooling=pooling, task=task)
    answers = np.asarray(head(MAPS, training=False))
    assert answers.shape == (4, classes)
    names = [layer.name for layer in head.get_layer("head").layers]
    assert sum(name.startswith("head_dense") for name in names) == len(np.atleast_1d(width or ()))
    assert any("dropout" in name for name in names) == bool(dropout)
    if task == "classify":
        np.testing.assert_allclose(answers.sum(1), 1, atol=1e-6)
    if task == "multilabel":
        assert ((answers > 0) & (answers < 1)).all()


TOKENS = np.random.default_rng(1).standard_normal((2, 10, 5)).astype(np.float32)


def test_a_networks_own_pooler_is_asked_for_where_the_network_is_built():
    with pytest.raises(ConfigError, match=r"backbone\(…, pooler=True\)"):
        heads.pool((10, 5), "pooler")
    assert heads.pool((5,), "pooler") is None


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", TOKENS[:, 0]),
        ("mean", TOKENS[:, 1:].mean(1)),
        ("cls+mean", np.concatenate([TOKENS[:, 0], TOKENS[:, 1:].mean(1)], axis=1)),
        ("avg", TOKENS.mean(1)),
    ],
)
def test_the_class_token_is_told_from_the_patches(pooling, expected):
    pool = heads.pool((10, 5), pooling)
    np.testing.assert_allclose(compute.forward(pool)([TOKENS])[0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 5), (8, 5), (3, 3, 6)])
def test_a_class_token_that_is_not_there_is_an_error(shape):
    for pooling in ("cls", "cls+mean"):
        with pytest.raises(ConfigError, match="gives none: choose mean"):
            heads.pool(shape, pooling)
    assert heads.pool(shape, "mean").output_shape == (None, shape[-1])


@pytest.mark.parametrize("inputs", [TOKENS, MAPS])
def test_attention_pooling_begins_as_the_average_of_all_places(inputs):
    pool = heads.pool(inputs.shape[1:], "attention")
    expected = inputs.mean(tuple(range(1, inputs.ndim - 1)))
    np.testing.assert_allclose(compute.forward(pool)([inputs])[0], expected, atol=1e-6)


def test_attention_pooling_learns_which_places_count(tmp_path):
    """One token of 16 is marked and says the class; the others say anything, so that no average tells it."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((600, 16, 8)).astype(np.float32)
    tokens[..., 0], classes = 0, rng.integers(0, 2, 600)
    marked = rng.integers(0, 16, 600)
    tokens[np.arange(600), marked, 0] = 4
    tokens[np.arange(600), marked, 1] = 2 * classes - 1
    right = {}
    for pooling in ("avg", "attention"):
        head = heads.build_head(base((16, 8)), 2, None, 0.0, pooling=pooling)
        head.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
        head.fit(tokens[:400], classes[:400], epochs=15, verbose=0)
        right[pooling] = (np.asarray(head(tokens[400:])).argmax(1) == classes[400:]).mean()
    assert right["attention"] > 0.95 > 0.85 > right["avg"]
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
    answers, before = (compute.forward(one)([tokens[:8]])[0] for one in (again, head))
    np.testing.assert_array_equal(answers, before)


def test_attention_pooling_standardises_channels_before_it_weighs_places():
    tokens = 100 + 10 * TOKENS
    flat = tokens.reshape(-1, 5)
    pool = heads.attention_pool((10, 5), (flat.mean(0), flat.std(0)))
    found = compute.forward(pool)([tokens])[0]
    np.testing.assert_allclose(found, ((tokens - flat.mean(0)) / flat.std(0)).mean(1), atol=1e-4)


def test_gem_lies_between_average_and_max():
    pooled = {p: compute.forward(heads.pool((3, 3, 6), p))([MAPS])[0] for p in ("avg", "gem", "max")}
    np.testing.assert_allclose(pooled["avg"], MAPS.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(pooled["max"], MAPS.max((1, 2)), atol=1e-6)
    np.testing.assert_allclose(pooled["gem"], (MAPS.astype(float) ** 3).mean((1, 2)) ** (1 / 3), rtol=1e-5)
    assert (pooled["avg"] < pooled["gem"]).all()
    assert (pooled["gem"] < pooled["max"]).all()


def test_a_vector_needs_no_pooling():
    assert heads.pool((6,), "avg") is None
    head = heads.build_head(base((6,)), 3, pooling="gem")
    assert head.output_shape == (None, 3)


def test_the_classical_vgg_head():
    head = heads.build_head(base((7, 7, 512)), 10, 1024, pooling="flatten")
    kernels = [tuple(w.shape) for w in head.trainable_weights if len(w.shape) == 2]
    assert kernels == [(7 * 7 * 512, 1024), (1024, 10)]


def test_flatten_needs_a_fixed_size():
    with pytest.raises(ConfigError, match=r"fixed picture size.*size="):
        heads.build_head(base((None, None, 6)), 3, pooling="flatten")


def test_penalties_are_those_of_the_weights():
    head = heads.build_head(base(), 3, 8, l1=0.01, l2=0.1)
    head(MAPS, training=True)
    kernels = [np.asarray(w.value) for w in head.trainable_weights if len(w.shape) == 2]
    expected = sum(0.01 * np.abs(k).sum() + 0.1 * (k**2).sum() for k in kernels)
    assert len(head.losses) == 2
    np.testing.assert_allclose(sum(float(loss) for loss in head.losses), expected, rtol=1e-5)
    assert not heads.build_head(base(), 3, 8).losses


def test_a_seed_repeats_weights_and_another_does_not():
    first, again, other = (compute.values(heads.build_head(base(), 3, 8, seed=s).weights) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_standardising_gives_mean_0_and_deviation_1_but_blows_nothing_up():
    rng = np.random.default_rng(0)
    rows = rng.normal(5, 3, (500, 4)).astype(np.float32)
    rows[:, 3] = 2 + 1e-6 * rng.normal(size=500)  # a channel that hardly moves
    layer = heads.normalizer(rows.mean(0), rows.std(0))
    out = np.asarray(layer(rows))
    np.testing.assert_allclose(out[:, :3].mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(out[:, :3].std(0), 1, atol=1e-3)
    moved = np.asarray(layer(np.array([[5, 5, 5, 2.1]], np.float32)))
    assert abs(moved[0, 3]) < 1


def test_temperature_softens_and_keeps_the_answer():
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)

    def answer(temperature):
        x = logits
        for layer in heads.output_layers("classify", temperature):
            x = layer(x)
        return np.asarray(x)[0]

    sharp, soft = answer(1.0), answer(4.0)
    np.testing.assert_allclose(soft, np.exp(logits[0] / 4) / np.exp(logits[0] / 4).sum(), atol=1e-6)
    assert sharp.argmax() == soft.argmax()
    assert sharp.max() > soft.max()


def test_regression_answers_in_the_users_units():
    (layer,) = heads.output_layers("regress", units=(np.array([100.0, -5.0]), np.array([20.0, 0.5])))
    np.testing.assert_allclose(np.asarray(layer(np.array([[1.0, -2.0]], np.float32))), [[120, -6]], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "needs 2 or more"),
        ({"classes": "3"}, "must be a whole number"),
        ({"classes": 0, "task": "regress"}, "0 outputs"),
        ({"width": 0}, r"widths \(0,\)"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
        ({"l2": -0.1}, "0 or more"),
        ({"l1": float("nan")}, "finite"),
        ({"pooling": "median"}, "'median' is unknown; choose avg, max, flatten, gem"),
        ({"task": "detect"}, "choose classify, multilabel, regress, ordinal"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        heads.build_head(SimpleNamespace(output_shape=(None, 3, 3, 6)), **{"classes": 3, **arguments})


def test_widths_may_be_numpy_numbers():
    assert heads.build_head(base(), 3, np.int64(8)).trainable_weights[0].shape == (6, 8)


@pytest.mark.slow
def test_a_head_loads_in_safe_mode_where_transferkit_was_never_imported(tmp_path, fresh):
    built = {
        f"{pooling}-{task}": heads.build_head(base(), 2, 8, 0.2, pooling=pooling, task=task)
        for pooling in OF_MAPS
        for task in ("classify", "multilabel", "regress")
    }
    # Standardised features too, as the recipe builds them.
    built["moments"] = heads.body(6, 2, heads.HeadSettings((8,)), (np.arange(6.0), np.linspace(1, 2, 6)))
    maps = {name: MAPS if name != "moments" else MAPS[:, 0, 0] for name in built}
    for name, head in built.items():
        head.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=maps[name], y=np.asarray(head(maps[name], training=False)))
    program = (
        "import glob, sys, keras, numpy as np\n"
        "files = sorted(glob.glob(sys.argv[1] + '/*.keras'))\n"
        "for file in files:\n"
        "    saved = np.load(file.replace('.keras', '.npz'))\n"
        "    model = keras.saving.load_model(file, compile=False, safe_mode=True)\n"
        "    np.testing.assert_allclose(np.asarray(model(saved['x'], training=False)), saved['y'], atol=1e-6)\n"
        "assert not any(name.startswith('transferkit') for name in sys.modules)\n"
        "print(len(files))\n"
    )
    done = fresh(program, tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(len(built))
