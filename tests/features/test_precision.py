import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.features import precision
from transferkit.features.precision import Precision
from transferkit.storage import cache_folder

QUIET = Reporter(quiet=True)
LOW = [Precision("bfloat16", "graph"), Precision("bfloat16", "policy")]


def pictures(samples, views):
    return views.pixels(samples, range(16))


def whole(mini):
    """From pixels to the map and to probabilities: layers that change, and layers that must not."""
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(mini.model(mini.prepared(inputs)))
    return keras.Model(inputs, [x, keras.layers.Dense(3, dtype="float32", name="logits")(x)])


def flat_policies(model):
    return {layer.name: layer.dtype_policy.name for layer in model._flatten_layers()}


def test_policies_are_put_back_and_weights_stay_float32(mini):
    model = whole(mini)
    before, weights = flat_policies(model), compute.values(model.weights)
    with precision.applied(model, Precision("bfloat16", "policy")):
        inside = flat_policies(model)
        assert inside["block1_conv1"] == "mixed_bfloat16"
        assert inside["logits"] == "float32"
        assert {w.dtype for w in model.weights} == {"float32"}
    assert flat_policies(model) == before
    for a, b in zip(weights, compute.values(model.weights), strict=True):
        np.testing.assert_array_equal(a, b)


def test_policies_are_put_back_after_an_error(mini):
    before = flat_policies(mini.model)
    with pytest.raises(RuntimeError), precision.applied(mini.model, Precision("bfloat16", "policy")):
        raise RuntimeError
    assert flat_policies(mini.model) == before


@pytest.mark.parametrize("low", LOW, ids=lambda p: p.how)
def test_bfloat16_features_point_the_same_way(mini, samples, views, low):
    model, pixels = whole(mini), pictures(samples, views)
    exact = compute.forward(model)([pixels])[0]
    with precision.applied(model, low):
        rough = compute.forward(model, graph_bfloat16=low.how == "graph")([pixels])[0]
    assert rough.dtype == np.float32
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert cosine.min() >= precision.COSINE
    if low.how == "policy":
        assert np.abs(exact - rough).max() > 0  # it did compute in another format
    again = compute.forward(model)([pixels])[0]
    np.testing.assert_array_equal(again, exact)


def test_float16_on_a_cpu_is_refused(monkeypatch):
    monkeypatch.setattr(compute, "gpu_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"float16 needs a GPU.*auto, float32 or bfloat16"):
        precision.candidates("float16")


def test_what_each_request_allows(monkeypatch):
    units = {"avx512f", "amx_bf16"}
    monkeypatch.setattr(precision, "_cpu_flag", lambda *names: bool(units & set(names)))
    monkeypatch.setattr(compute, "gpu_count", lambda: 0)
    monkeypatch.setattr(compute, "backend", lambda: "tensorflow")

    def allowed(request):
        return [(p.name, p.how) for p in precision.candidates(request)]

    assert allowed("float32") == [("float32", "plain")]
    assert allowed("bfloat16") == [("bfloat16", "graph")]
    assert allowed("auto") == [("float32", "plain"), ("bfloat16", "graph")]
    units.clear()  # an old CPU: the graph rewrite would silently do nothing there
    assert allowed("bfloat16") == [("bfloat16", "policy")]
    assert allowed("auto") == [("float32", "plain")]
    monkeypatch.setattr(compute, "gpu_count", lambda: 1)
    assert allowed("float16") == [("float16", "policy")]
    assert allowed("auto") == [("float32", "plain"), ("bfloat16", "policy")]


@pytest.fixture
def probing(monkeypatch):
    """Two options, and a probe that counts its calls."""
    asked = []

    def probe(options, network, pixels):
        asked.append(len(pixels))
        return Precision("bfloat16", "graph", "faster")

    monkeypatch.setattr(precision, "candidates", lambda requested: [Precision(), LOW[0]])
    monkeypatch.setattr(precision, "_probe", probe)
    return asked


def choose(mini, rows, key="k"):
    return precision.choose("auto", mini.model, lambda: np.zeros((16, 32, 32, 3), np.uint8), rows, {"n": key}, QUIET)


def test_a_probe_is_made_once_and_remembered(mini, probing):
    many = 10**7
    assert choose(mini, many).name == choose(mini, many).name == "bfloat16"
    assert probing == [16]
    choose(mini, many, "another network")
    assert probing == [16, 16]


def test_a_damaged_memory_is_probed_again(mini, probing):
    choose(mini, 10**7)
    (memory,) = (cache_folder() / "precision").glob("*.json")
    memory.write_text('{"name": "bfl')
    assert choose(mini, 10**7).name == "bfloat16"
    memory.write_text('{"name": "float8", "how": "magic", "reason": ""}')
    assert choose(mini, 10**7).name == "bfloat16"
    reason = choose(mini, 10**7).reason
    memory.write_text(memory.read_text().replace(f'"reason": "{reason}"', f'"reason": "{reason}0"'))
    assert choose(mini, 10**7).reason == reason
    assert probing == [16, 16, 16, 16]


def test_little_work_is_not_probed(mini, probing):
    assert choose(mini, 10) == Precision(reason="too little work for a probe to pay")
    assert probing == []


@pytest.mark.parametrize(
    ("speed", "turned", "name", "reason"),
    [
        (0.4, 0.0, "bfloat16", "2.5 × the speed"),
        (0.99, 0.0, "float32", "not clearly faster"),
        (0.4, 1.0, "float32", "outputs differ"),
        (0.4, np.nan, "float32", "outputs differ"),
    ],
)
def test_the_faster_format_wins_only_if_its_features_agree(mini, monkeypatch, speed, turned, name, reason):
    now = [0.0]
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])

    def forward(network, graph_bfloat16=False):
        def run(inputs, rows=None):
            now[0] += speed if graph_bfloat16 else 1.0
            rows = np.ones((16, 4), np.float32)
            rows[:, 0] += (turned * 10) if graph_bfloat16 else 0
            return [rows]

        return run

    monkeypatch.setattr(compute, "forward", forward)
    chosen = precision._probe([Precision(), LOW[0]], mini.model, np.zeros((16, 32, 32, 3), np.uint8))
    assert chosen.name == name
    assert reason in chosen.reason


def test_multiply_adds_count_every_kind_of_convolution():
    def of(*layers):
        x = inputs = keras.Input((8, 8, 4))
        for layer in layers:
            x = layer(x)
        return precision.multiply_adds(keras.Model(inputs, x))

    places = 64
    assert of(keras.layers.Conv2D(6, 3, padding="same")) == places * 9 * 4 * 6
    assert of(keras.layers.DepthwiseConv2D(3, padding="same")) == places * 9 * 4
    assert of(keras.layers.SeparableConv2D(6, 3, padding="same")) == places * (9 * 4 + 4 * 6)
    assert of(keras.layers.Flatten(), keras.layers.Dense(5)) == 256 * 5


def training(mini, monkeypatch, request="auto", speed=0.4, turned=0.0, pictures=10**7):
    """`choose_training` on a machine with bfloat16 units, with a trial of the given speed; and what was tried."""
    monkeypatch.setattr(precision, "_cpu_flag", lambda *names: True)
    monkeypatch.setattr(compute, "gpu_count", lambda: 0)
    tried = []

    def trial(option):
        tried.append(option.name)
        low = option.name == "bfloat16"
        outputs = np.ones((8, 3), np.float32)
        outputs[:, 0] += turned if low else 0
        return speed if low else 1.0, outputs

    return precision.choose_training(request, mini.model, trial, pictures, {"n": "k"}, QUIET), tried


def test_training_changes_format_only_where_it_clearly_pays(mini, monkeypatch):
    chosen, tried = training(mini, monkeypatch)
    assert (chosen.name, chosen.how) == ("bfloat16", "policy")  # whatever the machine: weights stay float32
    assert "2.5 × the speed" in chosen.reason
    assert tried == ["float32", "bfloat16"]
    assert training(mini, monkeypatch) == (chosen, [])  # remembered


@pytest.mark.parametrize(("speed", "turned"), [(0.85, 0.0), (0.4, 5.0), (0.4, np.nan)])
def test_training_stays_in_float32_otherwise(mini, monkeypatch, speed, turned):
    chosen, tried = training(mini, monkeypatch, speed=speed, turned=turned)
    assert (chosen.name, chosen.how, len(tried)) == ("float32", "plain", 2)


@pytest.mark.parametrize("turned", [5.0, np.nan])
def test_a_tail_in_a_format_that_was_asked_for_must_agree_with_what_is_shipped(mini, monkeypatch, turned):
    chosen, tried = training(mini, monkeypatch, "bfloat16", turned=turned)
    assert (chosen.name, tried) == ("float32", ["float32", "bfloat16"])
    assert "bfloat16 outputs differ" in chosen.reason


def test_a_format_that_was_asked_for_is_taken_whatever_its_speed(mini, monkeypatch):
    low = Precision("bfloat16", "policy")
    assert training(mini, monkeypatch, "bfloat16", speed=3.0) == (low, ["float32", "bfloat16"])
    assert training(mini, monkeypatch, "bfloat16", speed=3.0) == (low, [])  # remembered
    assert training(mini, monkeypatch, "float32") == (Precision("float32", "plain"), [])


@pytest.mark.parametrize(("noise", "name"), [(0.0, "bfloat16"), (0.2, "float32"), (np.nan, "float32")])
def test_features_in_a_format_that_was_asked_for_must_agree_with_what_is_shipped(mini, monkeypatch, noise, name):
    monkeypatch.setattr(precision, "candidates", lambda requested: [LOW[1]])
    calls, inner = [], compute.forward

    def forward(network, graph_bfloat16=False):
        run, low = inner(network), network.get_layer("block1_conv1").dtype_policy.name == "mixed_bfloat16"
        calls.append(low)
        rng = np.random.default_rng(0)
        return lambda inputs: [x * (1 + low * noise * rng.standard_normal(x.shape)) for x in run(inputs)]

    monkeypatch.setattr(compute, "forward", forward)
    pixels = lambda: np.random.default_rng(1).integers(0, 256, (16, 32, 32, 3)).astype(np.float32)  # noqa: E731
    for _ in range(2):
        chosen = precision.choose("bfloat16", mini.model, pixels, 10, {"n": "k"}, QUIET)
        assert chosen.name == name
    assert calls == [False, True], "probed once, then remembered"
    assert name == "bfloat16" or "bfloat16 outputs differ (cosine" in chosen.reason


def test_little_training_is_not_probed(mini, monkeypatch):
    chosen, tried = training(mini, monkeypatch, pictures=10)
    assert chosen.name == "float32"
    assert "too little work" in chosen.reason
    assert tried == []


def test_without_units_training_is_not_probed(mini, monkeypatch):
    monkeypatch.setattr(compute, "gpu_count", lambda: 0)
    monkeypatch.setattr(precision, "_cpu_flag", lambda *names: False)
    assert "no bfloat16 units" in precision.choose_training("auto", mini.model, None, 10**9, {}, QUIET).reason


def test_a_probe_gives_a_gpu_as_many_pictures_as_extraction_does(mini, monkeypatch):
    seen = []

    def forward(network, graph_bfloat16=False):
        return lambda inputs, rows=None: seen.append(len(inputs[0])) or [np.ones((len(inputs[0]), 4), np.float32)]

    monkeypatch.setattr(precision.compute, "forward", forward)
    options = [precision.Precision(), precision.Precision("bfloat16", "policy")]
    for gpus in (0, 1):
        monkeypatch.setattr(precision.compute, "gpu_count", lambda gpus=gpus: gpus)
        precision._probe(options, mini.model, np.zeros((16, 32, 32, 3), np.uint8))
    assert set(seen[: len(seen) // 2]) == {16}
    assert set(seen[len(seen) // 2 :]) == {64}


def test_a_probe_that_a_gpu_has_no_room_for_is_taken_in_halves(mini, monkeypatch):
    def forward(network, graph_bfloat16=False):
        def run(inputs, rows=None):
            if len(inputs[0]) > 32:
                raise MemoryError
            return [np.ones((len(inputs[0]), 4), np.float32)]

        return run

    monkeypatch.setattr(precision.compute, "forward", forward)
    monkeypatch.setattr(precision.compute, "gpu_count", lambda: 1)
    options = [precision.Precision(), precision.Precision("bfloat16", "policy")]
    assert precision._probe(options, mini.model, np.zeros((16, 32, 32, 3), np.uint8)).reason
