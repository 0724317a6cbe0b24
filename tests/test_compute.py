import importlib.util
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import computed
from tests.marks import extended
from transferkit import compute, parts
from transferkit.compute import starting
from transferkit.compute.optional import absent
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.training import losses, optimizers

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, global_clipnorm=5.0),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, global_clipnorm=5.0),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.05, global_clipnorm=5.0),
}


def fitted(optimizer, x, y, weights, size):
    """Weights after one epoch of plain Keras in the given order."""
    model = computed.network()
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=size, sample_weight=weights, shuffle=False, verbose=0)
    return compute.values(model.weights)


def stepped(optimizer, x, y, weights, size):
    """The same epoch in one call, the last batch filled up with rows of weight 0."""
    model = computed.network()
    count = -(-len(x) // size)
    fill = np.resize(np.arange(len(x)), count * size)
    w = np.zeros(count * size, np.float32)
    w[: len(x)] = 1 if weights is None else weights
    step = compute.steps(model, optimizer, losses.cross_entropy)
    step([x[fill].reshape(count, size, 6, 6, 3)], y[fill].reshape(count, size, 4), w.reshape(count, size))
    return compute.values(model.weights)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_equal_plain_fit_with_penalty_and_weights(name, weighted):
    x, y, w = computed.data()
    plain = fitted(OPTIMIZERS[name](), x, y, w if weighted else None, 10)
    rate = 0.01 if name == "adamw" else 0.05
    ours = stepped(optimizers.build(name, rate, weight_decay=0.05), x, y, w if weighted else None, 10)
    start = compute.values(computed.network().weights)
    assert max(np.abs(a - b).max() for a, b in zip(start, plain, strict=True)) > 1e-3
    for a, b in zip(plain, ours, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_short_last_batch_weighs_as_in_plain_fit():
    x, y, _ = computed.data(23)  # 10, 10, 3

    def without_batchnorm():
        model = keras.Sequential([keras.layers.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
        model.set_weights([np.full(w.shape, 0.01, np.float32) for w in model.get_weights()])
        return model

    plain = without_batchnorm()
    plain.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(from_logits=True))
    plain.fit(x, y, batch_size=10, shuffle=False, verbose=0)
    ours = without_batchnorm()
    fill = np.resize(np.arange(23), 30)
    w = (np.arange(30) < 23).astype(np.float32).reshape(3, 10)
    step = compute.steps(ours, keras.optimizers.SGD(0.1), losses.cross_entropy)
    step([x[fill].reshape(3, 10, 6, 6, 3)], y[fill].reshape(3, 10, 4), w)
    for a, b in zip(plain.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_several_calls_equal_one_call():
    x, y, w = computed.data()
    finals = []
    for cut in (4, 3):  # four batches at once, or three and then one: no new trace, the same steps
        model = computed.network()
        step = compute.steps(model, optimizers.build("momentum", 0.05), losses.cross_entropy)
        arrays = x.reshape(4, 10, 6, 6, 3), y.reshape(4, 10, 4), w.reshape(4, 10)
        for part in (slice(0, cut), slice(cut, 4)):
            if arrays[2][part].size:
                step([arrays[0][part]], arrays[1][part], arrays[2][part])
        finals.append(compute.values(model.weights))
    for a, b in zip(*finals, strict=True):
        np.testing.assert_array_equal(a, b)


def test_forward_is_inference():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dropout(0.9)(inputs))
    x = np.ones((4, 5), np.float32)
    np.testing.assert_array_equal(compute.forward(model)([x])[0], x)


def test_steps_fire_dropout():
    inputs = keras.Input((50,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.5, seed=1)(inputs)))
    step = compute.steps(model, keras.optimizers.SGD(0.0), losses.cross_entropy)
    x, y, w = np.ones((2, 4, 50), np.float32), np.tile(np.eye(2, dtype=np.float32)[:1], (2, 4, 1)), np.ones((2, 4))
    _, outputs = step([x], y, w.astype(np.float32))
    assert len(np.unique(outputs[..., 0])) == 8  # a mask of its own for every row and step


def test_the_gradient_by_the_input_is_the_slope_of_the_output():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Dropout(0.9)(inputs)))
    x = np.random.default_rng(0).normal(0, 1, (2, 5)).astype(np.float32)
    weights = np.array([[0, 1, 0], [2, 0, 0]], np.float32)
    outputs, gradient = compute.input_gradient(model)(x, weights)
    np.testing.assert_allclose(outputs, compute.forward(model)([x])[0], atol=1e-6)
    for i in range(5):
        step = 1e-2 * np.eye(5, dtype=np.float32)[i]
        up, down = ((compute.forward(model)([x + s])[0] * weights).sum(1) for s in (step, -step))
        np.testing.assert_allclose(gradient[:, i], (up - down) / 2e-2, atol=1e-3)


def test_what_is_made_for_a_batch_or_two_is_not_compiled():
    called = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            called.append(x.shape)
            return 2 * x

    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(Counted()(inputs)))
    x, weights = np.random.default_rng(0).normal(0, 1, (4, 5)).astype(np.float32), np.eye(4, 3, dtype=np.float32)
    compiled = compute.forward(model), compute.input_gradient(model)
    with compute.uncompiled():
        run, gradient = compute.forward(model), compute.input_gradient(model)
    called.clear()
    for _ in range(2):
        np.testing.assert_allclose(run([x])[0], compiled[0]([x])[0], atol=1e-6)
        for found, expected in zip(gradient(x, weights), compiled[1](x, weights), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(called) == 2 * 2 + 2, "the layer itself at each call, and once for each compiled function"


def test_values_are_copies():
    variable = keras.Variable(np.zeros(3, np.float32))
    (kept,) = compute.values([variable])
    variable.assign_add(np.ones(3, np.float32))
    np.testing.assert_array_equal(kept, 0)
    compute.assign([variable], [kept])
    np.testing.assert_array_equal(compute.values([variable])[0], 0)


def test_what_was_assigned_stays_as_it_was_when_training_goes_on():
    variable, given = keras.Variable(np.zeros(1 << 16, np.float32)), np.ones(1 << 16, np.float32)
    compute.assign([variable], [given])
    variable.assign_add(given)
    assert (given == 1).all()
    assert (compute.values([variable])[0] == 2).all()


def test_values_of_any_shape_and_type_go_and_come_back_and_what_does_not_fit_is_refused():
    variables = [
        keras.Variable(np.float32(0.5)), keras.Variable(np.zeros((2, 3)), dtype="bfloat16"),
        keras.random.SeedGenerator(1).state,
    ]  # fmt: skip
    found = compute.values(variables)
    assert [(x.shape, x.dtype.name) for x in found] == [((), "float32"), ((2, 3), "bfloat16"), ((2,), "int64")]
    compute.assign(variables, [x + x.dtype.type(1) for x in found])
    assert all((new == old + 1).all() for new, old in zip(compute.values(variables), found, strict=True))
    compute.assign(variables[1:2], [np.full((2, 3), 0.5, np.float64)])  # converted
    assert (compute.values(variables[1:2])[0] == 0.5).all()
    with pytest.raises(ValueError, match="shape"):
        compute.assign(variables[1:2], [np.zeros(6, np.float32)])
    with pytest.raises(ValueError, match="zip"):
        compute.assign(variables, found[:1])


def test_graph_options_stay_with_the_function_that_asked_for_them():
    import tensorflow as tf

    key = "auto_mixed_precision_onednn_bfloat16"
    model, (x, y, w) = computed.network(), computed.data()
    low, seen, stop = compute.forward(model, graph_bfloat16=True), [], threading.Event()
    probe = keras.Sequential([keras.layers.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])

    def loss(targets, outputs):
        # Runs while the step is traced, which is when the options would leak in.
        seen.append(tf.config.optimizer.get_experimental_options().get(key, False))
        return losses.cross_entropy(targets, outputs)

    def busy():
        while not stop.is_set():
            low([x])

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            step = compute.steps(probe, keras.optimizers.SGD(0.1), loss)
            step([x[None]], y[None], w[None])
    finally:
        stop.set()
        thread.join()
    assert seen
    assert not any(seen)
    assert not tf.config.optimizer.get_experimental_options().get(key, False)


def test_functions_of_one_graph_option_run_at_the_same_time_and_never_beside_the_other():
    from transferkit.compute.tensorflow import _GraphOptions

    options, running, mixed = _GraphOptions(), [], []
    together = threading.Barrier(2, timeout=10)

    def work(bfloat16, meet):
        for _ in range(20):
            with options(bfloat16):
                running.append(bfloat16)
                if meet:
                    together.wait()
                time.sleep(0.001)  # long enough for others to come in, were they let
                mixed.append(len(set(running)) > 1)
                running.remove(bfloat16)

    kinds = [(False, True), (False, True), (True, False)]
    threads = [threading.Thread(target=work, args=kind) for kind in kinds]
    for thread in threads[:2]:
        thread.start()
    for thread in threads[:2]:
        thread.join()  # at the barrier both were inside, twenty times
    assert not together.broken
    for thread in threads[2:] + [threading.Thread(target=work, args=(False, False)) for _ in range(2)]:
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(mixed) == 100
    assert not any(mixed)


def test_release_keeps_the_dtype_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        compute.release()
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ConfigError, match=r"backend 'torch' .*KERAS_BACKEND=tensorflow or jax"):
        compute.backend()


def computed_by(backend, devices, path):
    """The numbers of `tests.computed` from a process with this backend and so many simulated devices."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-m", "tests.computed", str(path), str(devices)], env=environment,
                   cwd=Path(__file__).parents[1], check=True, capture_output=True, timeout=300)  # fmt: skip
    with np.load(path) as saved:
        return dict(saved)


def close(ours, theirs, tolerance):
    assert set(theirs) == set(ours)
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, atol=tolerance, err_msg=name)


@pytest.mark.extended
@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path):
    close(computed.outcome(), computed_by("tensorflow", 2, tmp_path / "two.npz"), 1e-5)


@pytest.mark.slow
@pytest.mark.extended
def test_jax_gives_what_tensorflow_gives_on_one_device_and_on_two(tmp_path):
    one = computed_by("jax", 1, tmp_path / "one.npz")
    close(computed.outcome(), one, 1e-4)
    close(one, computed_by("jax", 2, tmp_path / "two.npz"), 1e-5)


KERNELS = [(name, layer_wise) for name in ("adamw", "adam", "momentum", "sgd") for layer_wise in (False, True)]


@pytest.mark.parametrize(
    ("name", "layer_wise"),
    extended(KERNELS, [("adamw", False), ("adam", True), ("momentum", False), ("sgd", True)], spread=True),
)
def test_kernels_give_the_numbers_of_keras_own_updates(monkeypatch, name, layer_wise):
    x, y, w = computed.data()
    batches = [4 * x.reshape(4, 10, 6, 6, 3)], y.reshape(4, 10, 4), w.reshape(4, 10)

    def trained():
        model = computed.network()
        rates = optimizers.layer_rates(model, {"conv": 2.0, "dense": 1.0}, 0.5) if layer_wise else None
        decay = 0.1 if name == "adamw" else None
        optimizer = optimizers.build(name, 0.02, weight_decay=decay, rates=rates, average_steps=3)
        optimizer.global_clipnorm = 0.5  # reached in some steps, not in all
        step = compute.steps(model, optimizer, losses.cross_entropy)
        for _ in range(2):  # more would blow up rounding, by Adam where a gradient is almost nil
            step(*batches)
        return [*compute.values(model.variables), *compute.values(optimizer.variables)]

    fused = trained()
    asked = []
    monkeypatch.setattr(compute._engine(), "update_of", lambda *arguments: asked.append(arguments))
    plain = trained()
    assert asked
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_table_that_is_looked_up_trains_as_by_keras_own_updates(monkeypatch):
    """The gradient of an Embedding is some of its rows: Swin's table of positions has one."""
    x, y, w = computed.data()

    def trained():
        inputs = keras.Input((6, 6, 3))
        rows = keras.ops.cast(inputs[:, 0, :, 0] > 0.5, "int32")
        table = keras.layers.Embedding(3, 2, embeddings_initializer="ones")(rows)
        head = keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(seed=0))
        model = keras.Model(inputs, head(keras.layers.Flatten()(table)))
        optimizer = optimizers.build("adam", 0.02)
        optimizer.global_clipnorm = 0.5
        compute.steps(model, optimizer, losses.cross_entropy)([x[None]], y[None], w[None])
        return compute.values(model.variables)

    fused = trained()
    monkeypatch.setattr(compute._engine(), "update_of", lambda *arguments: None)
    assert not np.array_equal(fused[0], np.ones((3, 2)))
    for a, b in zip(fused, trained(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_rates_and_rows_can_be_given_with_the_steps():
    x, y, w = computed.data()
    order = np.random.default_rng(0).permutation(40).astype(np.int32).reshape(4, 10)
    given = np.linspace(0.1, 0.01, 4).astype(np.float32)
    outcomes = []
    for held in (False, True):
        model = computed.network()
        step = compute.steps(model, keras.optimizers.SGD(7.0), losses.cross_entropy)
        if held:
            loss, outputs = step(compute.hold([x]), y[order], w[order], given, order)
        else:
            parts = [step([x[i[None]]], y[i[None]], w[i[None]], given[k : k + 1]) for k, i in enumerate(order)]
            loss, outputs = np.mean([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        outcomes.append([np.array(loss), outputs, *compute.values(model.weights)])
    plain = computed.network()
    plain.compile(keras.optimizers.SGD(7.0), keras.losses.CategoricalCrossentropy(from_logits=True))
    for rate, rows in zip(given, order, strict=True):
        plain.optimizer.learning_rate = float(rate)
        plain.train_on_batch(x[rows], y[rows], sample_weight=w[rows])
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(outcomes[0][2:], compute.values(plain.weights), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_forward_pass_that_does_not_fit_goes_on_in_halves_and_says_so_once():
    asked, said = [], []

    def run(inputs, rows=None):
        x = inputs[0] if rows is None else inputs[0][rows]
        asked.append(len(x))
        if len(x) > 3:
            raise MemoryError
        return [2 * x, x.sum(1)]

    x, forward = np.arange(20, dtype=np.float32).reshape(10, 2), compute.halving(run, said.append)
    for rows in (None, np.arange(9, -1, -1)):
        expected = x if rows is None else x[rows]
        double, total = forward([x], rows)
        np.testing.assert_array_equal(double, 2 * expected)
        np.testing.assert_array_equal(total, expected.sum(1))
    assert asked == [10, 5, 3, 3, 3, 1, 3, 3, 3, 1]
    assert said == [
        "out of memory with 10 pictures at once: going on with 5",
        "out of memory with 5 pictures at once: going on with 3",
    ]


def test_two_passes_that_do_not_fit_at_the_same_time_are_halved_once():
    said, together = [], threading.Barrier(2, timeout=10)

    def run(inputs, rows=None):
        if len(inputs[0]) == 8:
            together.wait()
            raise MemoryError
        return [2 * inputs[0]]

    forward, x = compute.halving(run, said.append), np.arange(8.0)
    with ThreadPoolExecutor(2) as pool:
        for (found,) in pool.map(forward, [[x], [x]]):
            np.testing.assert_array_equal(found, 2 * x)
    assert said == ["out of memory with 8 pictures at once: going on with 4"]


def test_what_does_not_fit_one_by_one_is_an_error_and_so_is_anything_else():
    def full(inputs, rows=None):
        raise MemoryError

    def broken(inputs, rows=None):
        raise ValueError("shapes")

    with pytest.raises(MemoryError):
        compute.halving(full, lambda text: None)([np.zeros((4, 2))])
    with pytest.raises(ValueError, match="shapes"):
        compute.halving(broken, pytest.fail)([np.zeros((4, 2))])


SETTINGS = ("floatx", "epsilon", "image_data_format", "dtype_policy", "max_epochs", "max_steps_per_epoch")


@pytest.fixture
def foreign():
    """Keras as the program of somebody else may have set it."""
    before = {name: getattr(keras.config, name)() for name in SETTINGS}
    keras.config.set_floatx("float64")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(2)
    yield {name: getattr(keras.config, name)() for name in SETTINGS}
    for name, value in before.items():
        getattr(keras.config, f"set_{name}")(value)


def test_a_verb_computes_by_its_own_settings_and_puts_back_the_users(foreign):
    @compute.restoring
    def verb():
        compute.start()
        assert keras.config.image_data_format() == "channels_last"
        assert keras.config.dtype_policy().name == keras.config.floatx() == "float32"
        assert keras.config.epsilon() == 1e-7
        assert keras.config.max_epochs() is keras.config.max_steps_per_epoch() is None
        raise KeyError

    with np.errstate(all="raise"), pytest.raises(KeyError):
        verb()
    assert {name: getattr(keras.config, name)() for name in SETTINGS} == foreign


def test_the_parts_keep_the_users_number_format_and_our_layout(foreign):
    base = parts.backbone("mini", size=32)
    assert base.output_shape[-1] > base.output_shape[1]  # channels last
    assert base.layers[-1].dtype_policy.name == "mixed_float16"
    head = parts.build_head(base, 3)
    assert parts.assemble(base, head).output_shape == (None, 3)
    assert keras.config.image_data_format() == "channels_first"


@pytest.mark.parametrize(
    ("content", "variables", "said"),
    [
        ('{"floatx": "int8"}', {}, "keras.json"),
        ('{"backend": "openvino"}', {}, "keras.json"),
        ("[1]", {}, "keras.json"),
        ("{}", {"KERAS_BACKEND": "no_such"}, "KERAS_BACKEND"),
    ],
)
def test_settings_that_keras_cannot_work_with_are_named(tmp_path, content, variables, said):
    (tmp_path / "keras.json").write_text(content)
    code = "from transferkit import compute\ntry: compute.start()\nexcept ValueError as e: print(type(e).__name__, e)"
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), **variables}
    if "KERAS_BACKEND" not in variables:
        environment.pop("KERAS_BACKEND", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError")
    assert said in done.stdout


def test_what_is_absent_is_found_again_afterwards():
    names = "colorsys", "json"  # one that nobody has imported, one that everybody has
    sys.modules.pop("colorsys", None)
    with absent(*names):
        import json

        assert json is sys.modules["json"]
        with pytest.raises(ImportError):
            import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0)


@pytest.mark.extended
def test_our_own_process_starts_keras_without_what_keras_alone_would_import():
    code = "import gc, sys; from transferkit import compute, importing; importing.secure()\n"
    code += "compute.start(); print(*sys.modules, gc.isenabled(), gc.get_freeze_count() > 0)\n"
    code += "import matplotlib, matplotlib.pyplot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    *names, collecting, frozen = done.stdout.split()
    assert (collecting, frozen) == ("True", "True")
    assert "matplotlib" not in names
    assert {"keras", "tensorflow"} <= {*names}


@pytest.mark.parametrize(
    ("bound", "left", "said"),
    [(None, None, ""), (8 << 30, 5 << 30, ""), (3 << 30, 400 << 20, "of the 3.0 GB of addresses"), (3 << 30, None, "")],
    ids=["no bound", "enough", "too little", "nobody knows"],
)
def test_a_bound_that_leaves_too_little_is_told_before_anything_may_crash(bound, left, said, monkeypatch):
    monkeypatch.setattr(starting.addresses, "bound", lambda: bound)
    monkeypatch.setattr(starting.addresses, "left", lambda: left)
    reporter = Reporter(quiet=True)
    assert starting._tell_of_bound(reporter) == bool(said)
    assert [said in line and "ulimit -v 3145728" in line and "0.4 GB" in line for line in reporter.warnings] == (
        [True] if said else []
    )
