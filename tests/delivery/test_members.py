"""Several models answer together; one alone answers exactly as it did."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.fake_engine import faked
from tests.records import facts_of
from tests.runs.sealing import reseal
from transferkit import compute
from transferkit.compute.engines import EngineError
from transferkit.console import Reporter
from transferkit.data.images.decode import DECODER_VERSION
from transferkit.delivery import members
from transferkit.errors import ConfigError, DataError
from transferkit.runs import model_file


def tiny(
    path: Path, classes: Sequence[str], seed: int = 0, size: int = 16, task: str = "classify",
    thresholds: list[float] | None = None,
) -> Path:  # fmt: skip
    """A model file that answers something by the colours of a picture."""
    import keras

    keras.utils.set_random_seed(seed)
    pixels = keras.Input((size, size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 50)(pixels)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(size // 2)(x))
    activation = {"classify": "softmax", "multilabel": "sigmoid", "regress": None}[task]
    model = keras.Model(pixels, keras.layers.Dense(len(classes), activation)(x))
    decode = {"decoder": DECODER_VERSION, "size": size, "resize": "stretch"}
    facts = {"task": task, "classes": list(classes), "decode": decode, "thresholds": thresholds}
    path.parent.mkdir(parents=True, exist_ok=True)
    model_file.save(model, facts_of(facts), path)
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return folder_of_classes(tmp_path / "new", {"x": 3})


def scores(answers: list[Any]) -> list[dict[str, float]]:
    return [dict(answer.scores) for answer in answers]


def test_an_ensemble_is_the_mean_whatever_the_order_of_classes_and_the_size(tmp_path: Path, new: Path) -> None:
    a = tiny(tmp_path / "a.keras", ["rose", "tulip", "oak"], 1)
    b = tiny(tmp_path / "b.keras", ["oak", "rose", "tulip"], 2, size=24)
    alone = [scores(tk.predict(path, new, quiet=True)) for path in (a, b)]
    together = tk.predict([a, b], new, quiet=True)
    assert scores(together) == [
        pytest.approx({name: (one[name] + other[name]) / 2 for name in one}, abs=1e-7)
        for one, other in zip(*alone, strict=True)
    ]
    assert all(answer.label == answer.scores[0][0] == max(dict(answer.scores), key=dict(answer.scores).get)
               for answer in together)  # type: ignore[arg-type]  # fmt: skip
    assert tk.predict(f"{a},{b}", new, quiet=True) == together
    done = call("predict", f"{a},{b}", new, "--format", "csv")
    assert done.code == 0, done.err
    assert "ensemble of 2 runs" in done.err
    assert str(b) in done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [float(row["p_oak"]) for row in rows] == pytest.approx([row["oak"] for row in scores(together)], abs=1e-6)


def test_each_picture_is_decoded_once_for_each_size(tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferkit.delivery import tta_views

    files = [tiny(tmp_path / f"{i}.keras", ["a", "b"], i, size=size) for i, size in enumerate((16, 16, 24))]
    seen: list[int] = []
    before = tta_views.open_pixels
    monkeypatch.setattr(tta_views, "open_pixels", lambda source, how: seen.append(how.size) or before(source, how))
    tk.predict(files, new, quiet=True)
    assert sorted(seen) == [16] * 3 + [24] * 3


def test_numbers_and_thresholds_are_averaged(tmp_path: Path, new: Path) -> None:
    a, b = (tiny(tmp_path / f"r{i}.keras", ["age"], i, task="regress") for i in (1, 2))
    alone = [float(tk.predict(path, new, quiet=True)[0].label) for path in (a, b)]
    assert float(tk.predict([a, b], new, quiet=True)[0].label) == pytest.approx(np.mean(alone), rel=1e-5)
    first = tiny(tmp_path / "m1.keras", ["sun", "sea"], 1, task="multilabel", thresholds=[0.2, 0.8])
    second = tiny(tmp_path / "m2.keras", ["sea", "sun"], 1, task="multilabel")
    assert members.common([first, second]).thresholds == pytest.approx([0.35, 0.65])
    assert members.common([first]).thresholds == [0.2, 0.8]


def test_what_cannot_answer_together_is_refused(tmp_path: Path, new: Path) -> None:
    a = tiny(tmp_path / "a.keras", ["rose", "tulip"])
    b = tiny(tmp_path / "b.keras", ["rose", "oak"])
    r = tiny(tmp_path / "r.keras", ["rose", "tulip"], task="regress")
    for text, words in (
        (f"{a},{b}", "only .*a.keras has tulip; only .*b.keras has oak"),
        (f"{a},{r}", "their tasks are classify and regress"),
        (f"{a},{a}", "more than once"),
        (f"{a},", "no run between two commas"),
        ("", "no run"),
    ):
        with pytest.raises(ConfigError, match=words):
            tk.predict(text, new, quiet=True)
        assert call("predict", text, new, "--quiet").code == 2
    assert call("predict", f"{a},{tmp_path / 'none'}", new).code == 2


def test_a_comma_in_the_name_of_a_run_is_part_of_it(tmp_path: Path, new: Path) -> None:
    a = tiny(tmp_path / "a,b.keras", ["rose", "tulip"])
    assert members.named(a) == [a]
    assert len(tk.predict(str(a), new, quiet=True)) == 3
    assert members.named([a, "c"]) == [a, Path("c")]


def test_a_run_in_the_place_of_a_picture_is_refused_with_the_way_to_ask_both(
    digits_run: Any, digits: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(digits_run.folder, tmp_path / "b", ignore=shutil.ignore_patterns("exports"))
    done = call("predict", digits_run.folder, other, digits / "1", "--quiet")
    assert done.code == 2
    assert done.out == ""
    assert f"{other} is a run, and no picture" in done.err
    assert f"given as one: {digits_run.folder},{other}" in done.err
    with pytest.raises(DataError, match="is a run"):
        tk.predict(digits_run, other / "model.keras", quiet=True)
    (other / "run.json").write_text("damaged")
    assert call("predict", digits_run.folder, other).code == 2
    assert call("explain", digits_run.folder, other, "--quiet").code == 2


def test_the_answers_of_two_real_runs(digits_run: Any, digits: Path, tmp_path: Path) -> None:
    other = shutil.copytree(digits_run.folder, tmp_path / "b", ignore=shutil.ignore_patterns("exports"))
    one, both = tk.predict(digits_run, digits / "4", quiet=True), tk.predict([digits_run, tk.Run(other)], digits / "4")
    assert [answer.label for answer in one] == [answer.label for answer in both]
    assert dict(one[0].scores) == pytest.approx(dict(both[0].scores), abs=1e-9)
    refused = call("predict", f"{digits_run.folder},{other}", digits / "4", "--abstain", "run")
    assert refused.code == 2
    assert "one run by itself" in refused.err


# ---------------------------------------------------------------------------------------------- into a file


def test_answers_go_whole_into_a_new_file(tmp_path: Path, new: Path) -> None:
    a, out = tiny(tmp_path / "a.keras", ["rose", "tulip"]), tmp_path / "made" / "answers.csv"
    done = call("predict", a, new, "--output", out)
    assert (done.code, done.out) == (0, "")
    assert f"3 pictures answered; written to {out}" in done.err
    assert out.read_text() == call("predict", a, new, "--format", "csv", "--quiet").out
    assert [path.name for path in out.parent.iterdir()] == ["answers.csv"]
    again = call("predict", a, new, "--output", out)
    assert again.code == 2
    assert "exists; choose another name" in again.err
    lines = tmp_path / "answers.jsonl"
    assert call("predict", a, new, "--output", lines, "--quiet").code == 0
    assert len([json.loads(line) for line in lines.read_text().splitlines()]) == 3
    odd = call("predict", a, new, "--output", tmp_path / "answers.xlsx")
    assert odd.code == 2
    assert "does not say the format" in odd.err
    assert call("predict", a, new, "--output", tmp_path / "answers.xlsx", "--format", "table", "--quiet").code == 0


def test_an_interrupt_leaves_no_half_file(tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transferkit.delivery.predict import Predictor

    def stopped(*_: Any) -> Any:
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "stream", stopped)
    a, out = tiny(tmp_path / "a.keras", ["rose", "tulip"]), tmp_path / "made" / "answers.csv"
    assert call("predict", a, new, "--output", out).code == 130
    assert not list(out.parent.iterdir())


def test_unreadable_pictures_are_in_the_file_too(tmp_path: Path, new: Path) -> None:
    (new / "x" / "bad.png").write_text("no picture")
    a, out = tiny(tmp_path / "a.keras", ["rose", "tulip"]), tmp_path / "answers.csv"
    assert call("predict", a, new, "--output", out, "--quiet").code == 1
    assert len(list(csv.DictReader(io.StringIO(out.read_text())))) == 4


# ------------------------------------------------------------------------------------------------ by whom


def member(path: Path, file: str = "") -> members.Member:
    return members.Member(model_file.load(path), model_file.facts(path), file=file)


def test_one_picture_does_not_wait_for_a_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []
    inner = compute.forward

    def forward(model: Any, graph_bfloat16: bool = False) -> Any:
        run = inner(model)

        def call(inputs: Any, rows: Any = None) -> Any:
            shapes.append(len(inputs[0]))
            return run(inputs, rows)

        return call

    monkeypatch.setattr(compute, "forward", forward)
    one = member(tiny(tmp_path / "m.keras", ["a", "b", "c"]))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 1, 16, 16, 3), np.uint8)
    whole = one.by_look(pixels)
    for count in (1, 2, 8, 9):
        np.testing.assert_allclose(one.by_look(pixels[:count]), whole[:, :count], atol=1e-6)
    assert shapes == [32, 1, 8, 8, 32]


@pytest.mark.parametrize(("off", "by"), [(0.0, "fake"), (2e-3, "keras"), (np.nan, "keras")])
def test_another_engine_answers_only_as_keras_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: float, by: str
) -> None:
    fake = faked(monkeypatch)
    fake.change = lambda outputs: [x + np.float32(off) for x in outputs]
    one = member(tiny(tmp_path / "m.keras", ["a", "b", "c"]), "the hash of the file")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 1, 16, 16, 3), np.uint8)
    before = one.by_look(pixels)
    reporter = Reporter(quiet=True)
    one.settle(1000, pixels[:, 0], reporter)
    asked = fake.called
    np.testing.assert_allclose(one.by_look(pixels), before, atol=1e-6)
    assert (fake.called > asked) is (by == "fake")
    if by == "fake":  # it fails half way: Keras goes on

        def failing(_: Any) -> Any:
            raise EngineError("Fake: broken")

        compiled = fake.asked
        one.settle(1000, pixels[:, 0], reporter)
        assert fake.asked == compiled, "for all that this model is asked after one another"
        fake.change = failing
        np.testing.assert_allclose(one.by_look(pixels), before, atol=1e-6)
        assert reporter.warnings == ["Fake: broken; going on with TensorFlow"]


def test_a_model_that_no_file_is_known_of_is_kerass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = faked(monkeypatch)
    one = member(tiny(tmp_path / "m.keras", ["a", "b", "c"]))
    one.settle(10**6, np.zeros((4, 16, 16, 3), np.uint8), Reporter(quiet=True))
    assert fake.asked == 0


def test_films_are_looked_at_as_often_as_in_training(digits_run: Any, tmp_path: Path) -> None:
    runs = []
    for number, frames in enumerate(("every:2s", "every:0.5s")):
        run = tmp_path / str(number)
        shutil.copytree(digits_run.folder, run)
        record = json.loads((run / "run.json").read_text())
        record["config"]["frames"] = frames
        (run / "run.json").write_text(json.dumps(record))
        reseal(run)
        runs.append(run)
    assert members.film_step([digits_run.folder, digits_run.folder / "model.keras"]) is None
    assert members.film_step(runs[:1]) == 2.0
    assert members.film_step([digits_run.folder, *runs]) == 0.5
