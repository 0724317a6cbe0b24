"""The public verbs, and the parts for those who write their own loop."""

from __future__ import annotations

import copy
import html
import json
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.runs.sealing import put_manifest
from transferkit.errors import BackboneError, ConfigError, DataError, RunError


def test_load_data(digits: Path) -> None:
    data = tk.load_data(digits, exclude=["7"])
    assert data.classes == ("0", "1", "2", "3", "4", "5", "6", "8", "9")
    assert len(data) == 180
    assert data.counts()["3"] == 20
    assert repr(data) == f"Data({str(digits)!r}: 180 pictures, 9 classes)"
    with pytest.raises(DataError, match="does not exist"):
        tk.load_data(digits / "absent")


def test_what_is_no_data_is_refused_with_the_way_to_make_it_some() -> None:
    class Frame:
        def to_csv(self) -> None: ...

    given: list[tuple[Any, str]] = [
        (Frame(), "Frame is no data.*save it as a CSV"),
        ((["a.jpg", "b.jpg"], [0, 1]), "x holds names of files .*write them and their labels into a CSV"),
        ((np.array(["a.jpg", "b.jpg"]), [0, 1]), "x holds names of files"),
        ("", "the path of the data is empty"),
    ]
    for data, words in given:
        with pytest.raises(DataError, match=words):
            tk.load_data(data)


def test_a_split_is_judged_where_it_is_given(digits: Path) -> None:
    for right in ((0.6, 0.2, 0.2), [0.6, 0.2, 0.2], np.array([0.6, 0.2, 0.2]), ".6,.2,.2"):
        given: Any = right
        assert tk.load_data(digits, split=given, seed=3).split == (0.6, 0.2, 0.2)
    assert (tk.load_data(digits).split, tk.load_data(digits).seed) == (None, None)
    for wrong in (0.7, (0.5, 0.5), (1.2, -0.1, -0.1), {"train": 0.7}, "most"):
        given = wrong
        with pytest.raises(ConfigError, match="split"):
            tk.load_data(digits, split=given)
    with pytest.raises(ConfigError, match=r"seed.-1"):
        tk.load_data(digits, seed=-1)


def test_parts_that_are_no_networks_are_refused_by_name() -> None:
    base = tk.backbone("mini")
    wrong: Any = "mini"
    with pytest.raises(ConfigError, match=r"base='mini' is no keras\.Model; make one with tk\.backbone"):
        tk.freeze(wrong, "none")
    with pytest.raises(ConfigError, match="base='mini' is no"):
        tk.build_head(wrong, classes=3)
    with pytest.raises(ConfigError, match=r"head='mini' is no keras\.Model; make one with tk\.build_head"):
        tk.assemble(base, wrong)


def test_a_run_gives_its_numbers_and_verbs(digits_run: tk.Run, digits: Path) -> None:
    assert 0 <= digits_run.metrics["test"]["accuracy"] <= 1
    assert digits_run.manifest["status"] == "complete"
    assert {type(row["epoch"]) for row in digits_run.history} == {int}
    assert {type(row["loss"]) for row in digits_run.history} == {float}
    assert digits_run.evaluate()["accuracy"] == pytest.approx(digits_run.metrics["test"]["accuracy"])
    assert digits_run.evaluate(tk.load_data(digits))["n"] == 200
    assert digits_run.summary() in html.unescape(digits_run._repr_html_())


def test_notebooks_show_data_answers_and_the_report_itself(digits_run: tk.Run, digits: Path, tmp_path: Path) -> None:
    shown = tk.load_data(digits)._repr_html_()
    assert f"200 pictures from {digits}" in shown
    assert shown.count("width:100.0%") == 10  # all classes are as large as the largest
    (answer,) = digits_run.predict(sorted((digits / "4").iterdir())[0])
    assert f": {answer.label}" in answer._repr_html_()
    assert answer._repr_html_().count("<tr>") == 5
    (tmp_path / "x.png").write_text("<b>")
    (damaged,) = digits_run.predict([tmp_path / "x.png"])
    assert damaged.error.split()[0] in damaged._repr_html_()
    shutil.copytree(digits_run.folder, tmp_path / "run")
    report = tk.Run(tmp_path / "run").report()
    assert report == tmp_path / "run" / "report.html"
    page = html.unescape(report._repr_html_().split('srcdoc="')[1].split('" style')[0])  # type: ignore[attr-defined]
    assert page == report.read_text("utf-8")


def test_evaluate_refuses_classes_in_another_order(digits_run: tk.Run, digits: Path) -> None:
    with pytest.raises(DataError, match="read with the run's classes"):
        digits_run.evaluate(tk.load_data(digits, exclude=["7"]))


def test_the_model_answers_pictures_as_predict_does(digits_run: tk.Run, digits: Path) -> None:
    from PIL import Image

    paths = sorted((digits / "4").iterdir())[:5]
    pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    outputs = digits_run.model().predict(pictures, verbose=0)
    wanted = [[dict(p.scores)[str(d)] for d in range(10)] for p in digits_run.predict(paths)]
    assert np.allclose(outputs, wanted, atol=1e-5)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    run = tk.Run(tmp_path)
    for verb in (lambda: run.metrics, lambda: run.manifest, run.summary, run.evaluate):
        with pytest.raises(RunError, match=r"run\.json|metrics\.json"):
            verb()


def test_load_run_opens_what_is_finished_and_nothing_else(digits_run: tk.Run, tmp_path: Path) -> None:
    run = tk.load_run(str(digits_run.folder))
    assert run == digits_run
    assert run.metrics == digits_run.metrics
    test = run.metrics["test"]
    said = f"mini, accuracy {test['accuracy']:.3f} on test of {test['n']} pictures"
    assert repr(run) == f"Run({str(run.folder)!r}: {said})"
    with pytest.raises(RunError, match=r"is a file; give the run directory"):
        tk.load_run(digits_run.layout.model)
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RunError, match=r"run\.json|no run directory"):
            tk.load_run(folder)
        assert repr(tk.Run(folder)) == f"Run({str(folder)!r}: no run in this folder)"
    other = Path(shutil.copytree(digits_run.folder, tmp_path / "copy"))
    record = json.loads((other / "run.json").read_text("utf-8"))
    for status, said in (("running", "mini, killed"), ("x\x1b[1m", r"mini, x\x1b[1m")):
        put_manifest(other, record | {"status": status})
        with pytest.raises(RunError, match="not complete"):
            tk.load_run(other)
        assert repr(tk.Run(other)) == f"Run({str(other)!r}: {said})"
    (other / "run.json").write_text("{", "utf-8")
    with pytest.raises(RunError):
        tk.load_run(other)
    assert "cannot be read" in repr(tk.Run(other))


def test_a_run_is_named_by_a_path_of_any_kind(digits_run: tk.Run) -> None:
    assert tk.Run(str(digits_run.folder)) == tk.Run(digits_run) == digits_run
    assert tk.evaluate(digits_run)["n"] == digits_run.metrics["test"]["n"]
    assert tk.Run(str(digits_run.folder)).metrics == digits_run.metrics
    assert copy.deepcopy(digits_run) == digits_run
    with pytest.raises(FrozenInstanceError):
        digits_run.folder = Path()  # type: ignore[misc]
    wrong: tuple[Any, ...] = (None, 3, {"folder": "runs/a"}, [digits_run.folder])
    for given in wrong:
        for make in (tk.Run, tk.load_run):
            with pytest.raises(ConfigError, match=f"not by a {type(given).__name__}"):
                make(given)


def test_problems_of_settings_raise_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    wrong: dict[str, Any] = {"unfreeze": "from:blok", "metric": "mea", "epochs": 0, "colour": 1}
    with pytest.raises(ConfigError) as caught:
        tk.finetune(digits, "mini", output=tmp_path / "run", **wrong)
    assert str(caught.value).startswith("4 problems:")
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="NoneType is no data"):
        tk.finetune(None, "mini", output=tmp_path / "run", quiet=True)
    with pytest.raises(DataError, match=r"scan the source again|for 'classify', not 'regress'"):
        tk.finetune(tk.load_data(digits), "mini", output=tmp_path / "run", task="regress", quiet=True)


def test_the_parts_make_a_plain_keras_model_on_uint8_pictures() -> None:
    import keras

    base = tk.backbone("mini")
    assert isinstance(base, keras.Model)
    assert tk.freeze(base, "from:block4") is base
    assert 0 < len(base.trainable_weights) < len(base.weights)
    head = tk.build_head(base, classes=5, width=16, dropout=0.3)
    model = tk.assemble(base, head)
    assert model.inputs[0].dtype == "uint8"
    answers = model.predict(np.zeros((2, 32, 32, 3), np.uint8), verbose=0)
    assert answers.shape == (2, 5)
    assert np.allclose(answers.sum(1), 1, atol=1e-5)
    model.compile("sgd", "sparse_categorical_crossentropy")
    frozen = [np.copy(w.numpy()) for w in base.non_trainable_weights]
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    model.fit(pictures, np.zeros(8), verbose=0)
    for before, after in zip(frozen, base.non_trainable_weights, strict=True):
        assert np.array_equal(before, after.numpy())


def test_assemble_scales_as_the_weights_expect() -> None:
    import keras

    base = tk.backbone("mobilenet_v2_0.35", weights="random", size=32)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    head = tk.build_head(base, classes=2, width=None)
    for scaling, wanted in ((None, pictures / 127.5 - 1), ("none", pictures), ("unit", pictures / 255)):
        model = tk.assemble(base, head, scaling)
        before = model.layers[model.layers.index(base) - 1]
        reached = keras.Model(model.inputs[0], before.output)(pictures)
        assert np.allclose(reached, wanted, atol=1e-5)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(BackboneError, match=r"nearest: .*'vgg16'"):
        tk.backbone("vgg61")


def test_pictures_are_taken_as_objects_and_what_is_none_is_told(digits_run: Any) -> None:
    path = next((digits_run.folder.parent).rglob("*.png"))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
        forms: list[Any] = [path, image, pixels, path.read_bytes()]
        answers = tk.predict(digits_run, forms, quiet=True)
        assert digits_run.predict(image)[0].scores == answers[0].scores
        assert digits_run.explain(image).label == answers[0].label
    assert all(found.scores == answers[0].scores for found in answers)
    for wrong in (3, None, {"a": 1}, [object()]):
        with pytest.raises(DataError, match="is no picture; give a picture file, a folder, a Pillow image"):
            tk.predict(digits_run, wrong, quiet=True)
    [found] = tk.predict(digits_run, np.zeros((8, 8, 3), np.float32), quiet=True)
    assert "not float32; of values 0–1 make them by (255 * x)" in found.error
    with pytest.raises(DataError, match="4 pictures are explained one by one"):
        digits_run.explain(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="NoneType is no picture"):
        digits_run.explain(None)
