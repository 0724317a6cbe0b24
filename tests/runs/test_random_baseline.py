"""The same network with random weights, as a baseline: really random, really trained, judged on the same pictures."""

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.errors import ConfigError


@pytest.fixture(scope="module")
def found(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("random")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        settings = {"views": 1, "epochs": 8, "patience": 7, "unfreeze": "last:2", "head": "mlp", "quiet": True}
        with_it = tk.finetune(digits, "mini", output=folder / "a", random_baseline=True, **settings)
        return with_it, tk.finetune(digits, "mini", output=folder / "b", **settings)


@pytest.mark.extended
def test_it_stands_beside_the_others_in_metrics_and_summary(found):
    run, _ = found
    baseline = run.metrics["baselines"]["random_weights"]
    assert baseline["n"] == run.metrics["test"]["n"]
    assert baseline["chosen"]["epochs"] == 8
    assert "same network, random weights" in run.summary()
    assert "--random-baseline" in run.manifest["command"]


def test_random_features_are_trained_on_and_are_worse_than_pretrained_ones(found):
    scores = found[0].metrics["baselines"]
    assert scores["majority"]["accuracy"] + 0.2 < scores["random_weights"]["accuracy"]
    assert scores["random_weights"]["loss"] > found[0].metrics["test"]["loss"]


def test_the_run_itself_is_the_same_with_and_without(found):
    with_it, without = found
    assert "random_weights" not in without.metrics["baselines"]
    assert with_it.metrics["test"] == without.metrics["test"]
    assert with_it.metrics["baselines"]["linear_probe"] == without.metrics["baselines"]["linear_probe"]


@pytest.mark.extended
@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_every_task_has_it(digits, tmp_path, unpublished, task):
    rows = [f"{path},{path.parent.name if task == 'regress' else label(path)}" for path in sorted(digits.glob("*/*"))]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]))
    settings = {"epochs": 2, "patience": 1, "augment": "none", "task": task, "quiet": True}
    run = tk.finetune(tmp_path / "t.csv", "mini", output=tmp_path / "run", random_baseline=True, **settings)
    own, name = run.metrics["test"], {"multilabel": "map", "regress": "mae"}[task]
    assert run.metrics["baselines"]["random_weights"][name] != pytest.approx(own[name])


def label(path):
    number = int(path.parent.name)
    return ";".join((["even"] if number % 2 == 0 else ["odd"]) + (["large"] if number > 4 else ["small"]))


def test_where_it_could_say_nothing_it_is_refused(digits, tmp_path):
    with pytest.raises(ConfigError, match="--random-baseline has no effect with --weights random"):
        tk.finetune(digits, "mini", output=tmp_path / "run", weights="random", random_baseline=True)
    (tmp_path / "own.keras").write_bytes(b"")
    result = call("finetune", digits, "--backbone", tmp_path / "own.keras", "--random-baseline")
    assert result.code == 2
    assert "--random-baseline needs a network of the catalog" in result.err


def test_the_signal_of_a_random_network_does_not_fade(digits):
    import numpy as np

    from transferkit import compute
    from transferkit.backbones.build import build
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.features.row_sources import Views
    from transferkit.runs.random_baseline import _settled
    from transferkit.training.recipe import Problem

    compute.start()
    fresh, samples = build("mobilenet_0.25", "random", 32), scan(digits).hashed()
    views = Views(DecodeSettings(32), augmentation("none"), 0, 0)
    pixels = views.pixels(samples, range(0, 200, 5)).astype(np.float32)

    def spread(backbone):
        return float(np.asarray(backbone.model(backbone.prepared(pixels))).std(axis=0).max())

    before, first = spread(fresh), fresh.weights_sha256
    problem = Problem(samples, np.arange(0, 200, 2), np.arange(1, 200, 2), np.zeros((200, 10)), None, None)
    settled = _settled(fresh, problem, views, 0)
    assert spread(settled) > 0.1 > 10 * before
    assert settled.weights_sha256 != first
    assert {layer.momentum for layer in settled.model.layers if hasattr(layer, "momentum")} == {0.99}
