"""Another engine for the frozen part is used only where its numbers are TensorFlow's and the job is done sooner."""

import gc
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.fake_engine import faked
from tests.training.job import recipe_for
from transferkit import compute
from transferkit.backbones.build import build
from transferkit.compute import engines
from transferkit.compute.engines import EngineError
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.features import engine_choice as choosing
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision
from transferkit.runs import agreement
from transferkit.storage import cache_folder
from transferkit.training.problem import PhaseReport

WANTED = {i: range(2) for i in range(30)}
REAL = [name for name in engines.ENGINES if name in engines.installed()]
SHARES = choosing.SHARES  # of which `fake` knows none


@pytest.fixture
def fake(monkeypatch):
    return faked(monkeypatch)


@pytest.fixture
def small(tiny):
    """What an engine computes is TensorFlow's affair here: a network that is compiled in no time."""
    return build(str(tiny))


def frozen(backbone, views, cache=None, **settings):
    return Frozen(backbone, make({"backbone": "mini", **settings}), views, cache, Reporter(quiet=True))


def chosen(backbone, views, samples, wanted=WANTED, **settings):
    """What is chosen, and the frozen part and rows it is chosen for."""
    part = frozen(backbone, views, **settings)
    kind = part.pooled()
    part.choose_precision(kind, samples, wanted)
    return part, kind


def test_an_engine_that_agrees_and_is_faster_is_taken_and_remembered(fake, small, views, samples):
    part, _ = chosen(small, views, samples)
    assert (part.precision.name, part.precision.how) == ("float32", "fake")
    assert "3.3 × the speed of TensorFlow" in part.precision.reason
    assert fake.asked == 1
    again, _ = chosen(small, views, samples)
    assert again.precision == part.precision
    assert fake.asked == 1, "remembered"


@pytest.mark.parametrize(
    "change",
    [
        lambda outputs: [x + np.float32(0.01) * np.abs(x).mean() for x in outputs],
        lambda outputs: [x[::-1] for x in outputs],
        lambda outputs: [x * np.float32(np.nan) for x in outputs],
        lambda outputs: [x[:, :-1] for x in outputs],
    ],
    ids=["a bias", "in another order", "no numbers", "too few"],
)
def test_wrong_outputs_are_refused_however_fast(fake, small, views, samples, change):
    fake.change = change
    for _ in range(2):
        part, _ = chosen(small, views, samples)
        assert part.precision.how == "plain"
    assert fake.asked == 1, "and that is remembered"


def test_a_slower_engine_is_not_taken_and_not_kept_in_memory(fake, small, views, samples, monkeypatch):
    made, inner = [], engines.forward

    def forward(*arguments):
        run = inner(*arguments)
        made.append(weakref.ref(run))
        return run

    monkeypatch.setattr(engines, "forward", forward)
    fake.speed = 0.95
    part, _ = chosen(small, views, samples)
    gc.collect()
    assert part.precision.how == "plain"
    assert [run() for run in made] == [None]


def test_a_start_that_costs_more_than_it_saves_is_not_worth_it(fake, small, views, samples):
    fake.compiled = lambda: setattr(fake, "now", fake.now + 100)
    part, _ = chosen(small, views, samples)  # one batch: 1 s by TensorFlow
    assert part.precision.how == "plain"
    many = {i: range(1000) for i in range(30)}  # 469 s, and 141 by the engine
    assert chosen(small, views, samples, many)[0].precision.how == "fake"
    assert chosen(small, views, samples)[0].precision.how == "plain", "by what was measured, for each job anew"


def test_no_trial_takes_a_large_part_of_the_job(fake, small, views, samples, monkeypatch):
    monkeypatch.setattr(choosing, "SHARES", SHARES)
    many = {i: range(1000) for i in range(30)}
    assert chosen(small, views, samples)[0].precision.how == "plain"  # one batch, of which a trial takes several
    monkeypatch.setattr(choosing, "LITTLE", 1e30)
    assert chosen(small, views, samples, many)[0].precision.how == "plain"
    assert fake.asked == 0
    monkeypatch.setattr(choosing, "LITTLE", 0)
    assert chosen(small, views, samples, many)[0].precision.how == "fake"


def failing(*_):
    raise EngineError("Fake: no such operation")


@pytest.mark.parametrize("where", ["compiled", "change"])
def test_an_engine_that_fails_is_left_alone(fake, small, views, samples, where):
    setattr(fake, where, failing)
    for _ in range(2):
        part, _ = chosen(small, views, samples)
        assert part.precision.how == "plain"
    assert fake.asked == 1


def test_an_engine_in_which_the_process_ended_is_not_tried_again(fake, small, views, samples):
    def ended():
        raise SystemExit(139)

    fake.compiled = ended
    with pytest.raises(SystemExit):
        chosen(small, views, samples)
    part, _ = chosen(small, views, samples)
    assert (part.precision.how, fake.asked) == ("plain", 1)


def test_an_interrupted_trial_says_nothing_of_the_engine(fake, small, views, samples):
    def interrupted():
        raise KeyboardInterrupt

    fake.compiled = interrupted
    with pytest.raises(KeyboardInterrupt):
        chosen(small, views, samples)
    fake.compiled = lambda: None
    assert chosen(small, views, samples)[0].precision.how == "fake"


def test_who_measures_beside_another_trial_keeps_what_came_of_that(fake, small, views, samples):
    """While an engine is tried it is marked as one that ended the process: a reader must not write that back."""
    part = frozen(small, views)
    key = part._key(part.pooled())
    first = choosing._Memory(key)
    first.write("fake", choosing.Measured(refused="it ended the process in which it was tried"))
    second = choosing._Memory(key)
    first.write("fake", choosing.Measured(1.0, 0.1))
    second.write("tensorflow float32 plain", choosing.Measured(1.0, 1.0))
    assert choosing._Memory(key).of("fake") == choosing.Measured(1.0, 0.1)


def test_what_the_cache_holds_of_one_engine_is_not_computed_again_by_another(fake, small, views, samples, monkeypatch):
    monkeypatch.setattr(engines, "installed", list)
    part, kind = chosen(small, views, samples)
    part.prepare([kind], samples, WANTED)
    monkeypatch.setattr(engines, "installed", lambda: ["fake"])
    part, kind = chosen(small, views, samples)
    assert (part.precision.how, fake.asked) == ("plain", 0)


def test_rows_have_their_own_key_and_are_as_tensorflows(fake, small, views, samples):
    part, kind = chosen(small, views, samples)
    part.prepare([kind], samples, WANTED)
    plain = frozen(small, views)
    assert part.spec(kind) != plain.spec(kind)
    assert fake.called > 0
    plain.prepare([other := plain.pooled()], samples, WANTED)
    which = np.arange(30), np.ones(30, np.int64)
    found, expected = (p.source(k, samples, WANTED).take(*which)[0] for p, k in ((part, kind), (plain, other)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_engine_that_fails_half_way_leaves_the_work_to_tensorflow(fake, small, views, samples):
    part, kind = chosen(small, views, samples)
    fake.change = failing
    part.prepare([kind], samples, WANTED)
    assert part.precision == Precision(reason="Fake: no such operation")
    assert part.reporter.warnings == ["Fake: no such operation; going on with TensorFlow"]
    plain = frozen(small, views)
    assert part.spec(kind) == plain.spec(kind)
    assert kind.features is not None
    assert not kind.features.missing([views.name(samples.sha256[i], 1) for i in range(30)])


def test_streamed_rows_go_on_by_tensorflow_too(fake, small, views, samples):
    part, kind = chosen(small, views, samples, cutmix=0.5)
    source = part.source(kind, samples, WANTED)
    expected = source.take(np.arange(5), np.zeros(5, np.int64))[0]
    fake.change = failing
    found = source.take(np.arange(5), np.zeros(5, np.int64))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(part.reporter.warnings) == 1


def test_a_network_that_a_chosen_engine_cannot_take_is_tensorflows(fake, small, views, samples):
    """Only one kind of row was tried; a cut's network is another one, and a full disk may keep an engine from any."""
    part, kind = chosen(small, views, samples, cutmix=0.5)
    kind = part.pooled()
    pixels = np.zeros((2, *kind.model.input_shape[1:]), np.uint8)
    fake.compiled = failing
    found = part.compiled(kind.model)([pixels])
    np.testing.assert_array_equal(found, compute.forward(kind.model)([pixels]))
    assert part.source(kind, samples, WANTED).take(np.arange(5), np.zeros(5, np.int64))[0].shape[0] == 5
    assert "Fake: no such operation; going on with TensorFlow" in part.reporter.warnings


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_who_asks_for_a_format_gets_tensorflow(fake, small, views, samples, asked):
    part, _ = chosen(small, views, samples, precision=asked)
    assert part.precision.how != "fake"
    assert fake.asked == 0


def test_without_an_extra_there_is_only_tensorflow(fake, small, views, samples, monkeypatch):
    monkeypatch.setattr(engines, "installed", list)
    part, _ = chosen(small, views, samples)
    assert (part.precision.how, part.reporter.warnings) == ("plain", [])


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
@pytest.mark.parametrize(("gap", "by"), [(-1.0, "plain"), (1e-4, "fake")])
def test_a_run_whose_model_does_not_bear_out_the_engines_features_is_made_by_tensorflow(
    fake, digits, tmp_path, monkeypatch, gap, by
):
    """Answers to digits are so sure that they hide what features differ by: of -1 no gap is small enough."""
    monkeypatch.setattr(agreement, "BY_ENGINE", gap)
    run = tk.finetune(digits, "mini", output=tmp_path / "run", augment="none", quiet=True)
    notes = [note for note in run.manifest["notes"] if "computed again by TensorFlow" in note]
    assert len(notes) == (by == "plain")
    assert run.manifest["precision"]["how"] == by
    assert run.metrics["test"]["accuracy"] > 0.9
    refused = any("on its features" in path.read_text() for path in (cache_folder() / "precision").glob("*.json"))
    assert refused is (by == "plain")


def test_what_is_trained_in_fewer_bits_is_not_the_engines_fault():
    phase = PhaseReport("tail", "", 0, 1, 1, 0.0, 0.0, 0.0, "cached", "float32")
    engine, low = Precision("float32", "openvino"), replace(phase, precision="bfloat16")
    assert agreement.tolerance(engine, [phase]) == 1e-4
    assert agreement.tolerance(engine, [phase, low]) == agreement.tolerance(Precision(), [phase]) == 0.02


def test_heads_on_an_engines_rows_are_trained_as_on_others(fake, digits):
    made = recipe_for(digits)
    made.frozen.precision = Precision("float32", "fake")
    assert made.head_phase("head").precision == Precision()


# ------------------------------------------------------------------------------------------------ the real ones


@pytest.fixture(scope="module")
def network():
    """More than ten outputs, of different shapes, the second of them first in the graph."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((24, 24, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    below = keras.layers.Conv2D(4, 3, padding="same", activation="gelu")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(below)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(keras.layers.BatchNormalization()(x))
    return keras.Model(
        inputs, [x, below, *(keras.layers.Rescaling(float(i), dtype="float32")(x) for i in range(2, 12))]
    )


@pytest.mark.parametrize("name", REAL)
def test_any_number_of_pictures_from_any_thread(network, name):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), np.uint8)
    expected = compute.forward(network)([pixels])
    run = engines.forward(name, network, 2)
    found = {}

    def work(count):
        found[count] = run([pixels[:count]])

    threads = [threading.Thread(target=work, args=(count,)) for count in (1, 3, 16, 17, 40)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for count, outputs in found.items():
        assert [x.shape for x in outputs] == [x[:count].shape for x in expected]
        for x, y in zip(outputs, expected, strict=True):
            assert x.dtype == np.float32
            np.testing.assert_allclose(x, y[:count], atol=1e-5)
    assert len(found) == 5


@pytest.mark.parametrize("name", REAL)
def test_pictures_that_may_not_be_written_are_computed(network, name):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    run = engines.forward(name, network, 2)
    expected = run([pixels])
    pixels.flags.writeable = False
    for x, y in zip(run([pixels]), expected, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.skipif("openvino" not in REAL, reason="OpenVINO is not installed")
def test_openvino_ties_no_thread_to_a_core(network, monkeypatch):
    """The streams of several processes would share the first core, and leave the others idle."""
    runtime, compiled = engines._openvino_alone(), []

    class Core:
        def __init__(self):
            self.core = inner()

        def __getattr__(self, name):
            return getattr(self.core, name)

        def compile_model(self, *arguments):
            compiled.append(self.core.compile_model(*arguments))
            return compiled[-1]

    inner = runtime.Core
    monkeypatch.setattr(runtime, "Core", Core)
    engines.forward("openvino", network, 1)
    assert [one.get_property("ENABLE_CPU_PINNING") for one in compiled] == [False]


@pytest.mark.parametrize("where", ["compiling", "computing"])
def test_a_full_memory_is_the_engines_failure_so_that_tensorflow_goes_on_in_halves(network, monkeypatch, where):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(engines, "_openvino", full if where == "compiling" else lambda *_: full)
    with pytest.raises(EngineError, match="OpenVINO: MemoryError"):
        engines.forward("openvino", network, 2)([np.zeros((3, 24, 24, 3), np.uint8)])


@pytest.mark.parametrize("name", REAL)
def test_what_an_engine_cannot_do_is_an_engine_error(name):
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Lambda(_incomplete_gamma)(inputs))
    with pytest.raises(EngineError, match=engines.ENGINES[name].title):
        engines.forward(name, model, 1)([np.zeros((1, 8, 8, 3), np.uint8)])


def _incomplete_gamma(x):
    import tensorflow as tf

    return tf.math.igamma(tf.cast(x, tf.float32) + 1.0, 2.0)


@pytest.mark.parametrize(
    ("engine", "asked"),
    [("openvino", "'CPU' in runtime.Core().available_devices"), ("onnxruntime", "runtime.get_available_providers()")],
)
def test_an_engine_tells_nobody_that_it_is_used(engine, asked, tmp_path):
    if engine not in REAL:
        pytest.skip(f"{engine} is not installed")
    code = (
        "import socket, sys\n"
        "def refused(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refused\n"
        "from transferkit.compute import engines\n"
        f"runtime = engines._{engine}_alone()\n"
        f"assert {asked}\n"
        "assert not [name for name in sys.modules if 'telemetry' in name], sys.modules\n"
    )
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.parametrize("asked", [None, "1"], ids=["unasked", "the user's own setting"])
def test_ray_tells_nobody_that_it_is_used_unless_its_user_asked_for_it(asked, tmp_path):
    code = (
        "from transferkit.compute import ray_cluster\n"
        "ray_cluster.load()\n"
        "from importlib.util import find_spec\n"
        "from importlib import import_module\n"
        "where = 'ray._common' if find_spec('ray._common.usage') else 'ray._private'\n"
        "print(import_module(f'{where}.usage.usage_lib').usage_stats_enabled())\n"
    )
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    environment |= {} if asked is None else {"RAY_USAGE_STATS_ENABLED": asked}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == f"{asked is not None}\n", done.stderr
