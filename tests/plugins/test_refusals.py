"""Plugins gone wrong: each is refused with its name, its package and what is wrong with it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.plugins.conftest import OFFER
from transferkit.errors import BackboneError, ConfigError, WeightsError

HEADS = {
    "another class": (
        "import keras\nclass Own(keras.layers.Layer):\n    def call(self, x): return x\n"
        "HEAD = Head(lambda x, n, s: keras.layers.Dense(n)(Own(name='own')(x)))",
        r"has the layer 'own' of class mine_\w+\.Own; a saved model is made of Keras' own layers",
    ),
    "a Lambda": (
        "import keras\nHEAD = Head(lambda x, n, s: keras.layers.Dense(n)(keras.layers.Lambda(lambda v: v * 2)(x)))",
        "uses a Lambda; a saved model is made of Keras' own",
    ),
    "a function": (
        "import keras\ndef odd(v): return v * v\nHEAD = Head(lambda x, n, s: keras.layers.Dense(n, activation=odd)(x))",
        "uses the function odd; a saved model",
    ),
    "another width": (
        "import keras\nHEAD = Head(lambda x, n, s: keras.layers.Dense(n + 1)(x))",
        r"gives logits of shape \(None, 5\); it must be \(None, 4\)",
    ),
    "an error": ("HEAD = Head(lambda x, n, s: 1 / 0)", "cannot build a head of 4 outputs: ZeroDivisionError"),
    "no record": ("HEAD = 3", "is a int; it must be a transferkit.plugins.Head"),
    "no import": ("import nothing_of_that_name", "cannot be loaded from .*: ModuleNotFoundError"),
    "no such setting": ("HEAD = Head(lambda x, n, s: x, uses=('pooling',))", "uses pooling; allowed are head_width"),
}


@pytest.mark.extended
@pytest.mark.parametrize("case", HEADS)
def test_a_bad_head_is_refused_by_name(case: str, offer: OFFER) -> None:
    import keras

    source, message = HEADS[case]
    offer("heads", source, odd="mine:HEAD")
    base = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ConfigError, match=message) as error:
        tk.build_head(base, classes=4, kind="odd")
    assert "head plugin 'odd' (package-1 0.1)" in str(error.value)


BACKBONES = {
    "layers": ({"layers": 2}, "says 2 layers with weights, its network has 1"),
    "parameters": ({"parameters": 1}, "says 1 parameters, its network has 112"),
    "stages": ({"stages": (("a", ""), ("b", "nowhere"))}, "lacks the layer that begins stage 'b'"),
    "sizes": ({"minimum": 100}, "minimum 100 and default 32"),
    "input": ({"build": "wrong_size"}, r"takes \(None, 9, 9, 3\); it must take \(None, 32, 32, 3\)"),
    "error": ({"build": "failing"}, "cannot be built for 32 pixels: OSError: gone"),
    "kind": ({"build": "no_model"}, "builds a int; it must be a functional keras.Model"),
}
NETWORK = """
    def network(size):
        import keras
        pixels = keras.Input((size, size, 3))
        return keras.Model(pixels, keras.layers.Conv2D(4, 3, name="first")(pixels))
    def wrong_size(size): return network(9)
    def failing(size): raise OSError("gone")
    def no_model(size): return 3
    said = dict(build=network, size=32, minimum=8, scaling="unit", stages=(("first", ""),), parameters=112, layers=1)
"""


@pytest.mark.parametrize("case", BACKBONES)
def test_a_bad_backbone_is_refused_by_name(case: str, offer: OFFER) -> None:
    changes, message = BACKBONES[case]
    named = {k: v for k, v in changes.items() if k != "build"}
    source = textwrap.dedent(NETWORK) + f"said |= {named!r}\n"
    source += f"said |= {{'build': {changes['build']}}}\n" if "build" in changes else ""
    offer("backbones", source + "BACKBONE = Backbone(**said)", odd="mine:BACKBONE")
    with pytest.raises(BackboneError, match=message) as error:
        tk.backbone("odd", weights="random")
    assert "backbone plugin 'odd' (package-1 0.1)" in str(error.value)


def test_a_backbone_without_weights_says_so(offer: OFFER) -> None:
    offer("backbones", NETWORK + "    BACKBONE = Backbone(**said)", bare="mine:BACKBONE")
    with pytest.raises(WeightsError, match=r"'bare' comes without weights .*use --weights random"):
        tk.backbone("bare")
    assert tk.backbone("bare", weights="random").output_shape == (None, 30, 30, 4)


def test_weights_that_do_not_load_are_the_plugins(offer: OFFER) -> None:
    source = NETWORK + "    BACKBONE = Backbone(**said, load=lambda model: model.layers[1].set_weights([]))"
    offer("backbones", source, odd="mine:BACKBONE")
    with pytest.raises(WeightsError, match=r"backbone plugin 'odd' \(package-1 0.1\) cannot load its weights: Value"):
        tk.backbone("odd")


VIEWS = {
    "floats": ("A = Augmentation({}, then=lambda p, s: p / 2)", "gives float64 .* for a view; it must be uint8"),
    "shape": ("A = Augmentation({}, then=lambda p, s: p[1:])", r"gives uint8 \(15, 16, 3\) for a view"),
    "error": ("A = Augmentation({}, then=lambda p, s: p[99])", "failed on a view: IndexError"),
    "range": ("A = Augmentation({'rotate': 999})", "rotate 999 is out of range"),
    "unknown": ("A = Augmentation({'twirl': 9})", "no range 'twirl'"),
}


@pytest.mark.parametrize("case", VIEWS)
def test_a_bad_augmentation_is_refused_by_name(case: str, offer: OFFER) -> None:
    from transferkit.data.augmentation.augment import augmentation, render
    from transferkit.data.images.decode import DecodeSettings

    source, message = VIEWS[case]
    offer("augmentations", source, odd="mine:A")
    with pytest.raises(ConfigError, match=message) as error:
        render(np.zeros((20, 20, 3), np.uint8), DecodeSettings(16), augmentation("odd"), [1])
    assert "augmentation plugin 'odd' (package-1 0.1)" in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("M = Metric(lambda t, p, c: 1 / 0, 'max', ('classify',))", "cannot score 2 pictures: ZeroDivisionError"),
        ("M = Metric(lambda t, p, c: 'much', 'max', ('classify',))", "cannot score 2 pictures: ValueError"),
        ("M = Metric(lambda t, p, c: 1, 'up', ('classify',))", "direction 'up' is neither max nor min"),
        ("M = Metric(lambda t, p, c: 1, 'max', ('sort',))", "choose of classify, multilabel, regress"),
    ],
)
def test_a_bad_metric_is_refused_by_name(source: str, message: str, offer: OFFER) -> None:
    from transferkit.evaluation.metrics import score

    offer("metrics", source, odd="mine:M")
    with pytest.raises(ConfigError, match=message) as error:
        score("classify", [0, 1], [[1, 0], [0, 1]], ["a", "b"], extra=["odd"])
    assert "metric plugin 'odd' (package-1 0.1)" in str(error.value)


def test_a_bad_exporter_is_refused_and_leaves_nothing(digits_run: tk.Run, offer: OFFER, tmp_path: Path) -> None:
    source = "X = Exporter({write}, 'f', 'os:getcwd', 'x', 'import x', 'x')"
    for write, message in (
        ("lambda s, f, t: 1 / 0", "cannot write f: ZeroDivisionError"),
        ("lambda s, f, t: None", "wrote no f; tell its author"),
    ):
        name = "odd" + str(len(message))
        offer("exporters", source.format(write=write), **{name: "mine:X"})
        with pytest.raises(tk.TransferKitError, match=message):
            digits_run.export(name, output=tmp_path / "export")
        assert not [p for p in tmp_path.iterdir() if "export" in p.name]
