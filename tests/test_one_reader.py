"""One corpus through every reader: training, evaluation, prediction by each way of naming pictures, explanations, the
served page and an export's example see the same pixels, bit for bit, and give the same answers.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.calls import call
from tests.corpus import Item, corpus, refused
from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings, PictureError, decode, fit, open_picture
from transferkit.data.images.opening import read_header
from transferkit.data.readers.walk import natural
from transferkit.data.source import scan
from transferkit.delivery import inputs
from transferkit.delivery.exporting import companions
from transferkit.delivery.exporting.formats import FORMATS
from transferkit.features.extract import extract
from transferkit.features.row_sources import Views
from transferkit.features.store import open_set
from transferkit.runs.model_facts import ModelFacts

ITEMS = corpus()
NAMES = sorted(ITEMS, key=natural)
REFUSED = refused()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as files. Shared: read only."""
    made: Path = tmp_path_factory.mktemp("corpus")
    for name, item in ITEMS.items():
        (made / name).write_bytes(item.content)
    return made


def example(folder: Path, settings: DecodeSettings, kind: str = "keras") -> str:
    """The text of an export's example, its facts beside it in `folder`."""
    facts = {"task": "classify", "classes": [str(i) for i in range(10)], "decode": settings.key()}
    (folder / "export.json").write_text(json.dumps({"input": {"size": settings.size}, "labels": facts["classes"]}))
    return companions.example(FORMATS[kind], ModelFacts.read({**facts, "thresholds": None}))


def ran(text: str, folder: Path, picture: Path) -> dict[str, Any]:
    """The names that an example has at its end, called for `picture`."""
    names: dict[str, Any] = {"__file__": str(folder / "example.py"), "__name__": "example"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example.py", str(picture)])
        exec(compile(text, "example.py", "exec"), names)
    return names


# --------------------------------------------------------------------------------------------- what is seen


@pytest.mark.parametrize("name", NAMES)
def test_every_form_of_the_scene_is_the_scene_and_its_header_says_how_it_was_turned(name: str, folder: Path) -> None:
    item: Item = ITEMS[name]
    found = np.asarray(open_picture(folder / name)).astype(int)
    assert found.shape == item.shows.shape
    assert np.abs(found - item.shows).mean() <= item.off
    assert read_header(folder / name).orientation == item.orientation


@pytest.mark.parametrize("settings", [DecodeSettings(32), DecodeSettings(24, "crop"), DecodeSettings(80, "letterbox")],
                         ids=lambda settings: settings.resize)  # fmt: skip
def test_file_bytes_slow_path_and_example_give_the_same_pixels(
    settings: DecodeSettings, folder: Path, tmp_path: Path
) -> None:
    text = example(tmp_path, settings)
    reading = text[: text.index("model = keras")].replace("import keras", "")
    for name in NAMES:
        seen = decode(folder / name, settings)
        others = {
            "bytes": decode(ITEMS[name].content, settings),
            "Pillow's way": fit(open_picture(folder / name, settings), settings),
            "example.py": ran(reading, tmp_path, folder / name)["pixels"][0],
        }
        for reader, pixels in others.items():
            np.testing.assert_array_equal(pixels, seen, err_msg=f"{name} by {reader}")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_is_refused_alike_and_by_what_it_is(name: str, tmp_path: Path) -> None:
    content, kind, word = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    settings = DecodeSettings(32)
    reasons = []
    for read in (lambda: decode(path, settings), lambda: decode(content, settings), lambda: open_picture(path)):
        with pytest.raises(PictureError, match=word) as caught:
            read()
        assert caught.value.kind == kind
        reasons.append(caught.value.reason)
    with pytest.raises(SystemExit) as left:
        ran(example(tmp_path, settings).replace("import keras", ""), tmp_path, path)
    assert {f"{path}: {reason}" for reason in reasons} == {str(left.value)}


# ------------------------------------------------------------------------------------ what the network gets


class Seen:
    """Pictures that compiled networks were given since `taken()`, in order: uint8 [n, size, size, 3]."""

    def __init__(self) -> None:
        self._batches: list[np.ndarray] = []

    def forward(self, model: Any, **how: Any) -> Any:
        run = self.real(model, **how)

        def call(inputs: Any, rows: Any = None) -> Any:
            if rows is None and np.asarray(inputs[0]).dtype == np.uint8:
                self._batches.append(np.array(inputs[0]))
            return run(inputs, rows)

        return call

    real = staticmethod(compute.forward)

    def taken(self) -> np.ndarray:
        found, self._batches = np.concatenate(self._batches), []
        return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()
    monkeypatch.setattr(compute, "forward", found.forward)
    # Batches of small networks are answered side by side, and would be seen in any order.
    monkeypatch.setattr("transferkit.delivery.predict.at_once", lambda *_: 1)
    return found


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    """A CSV of the corpus with labels of the digits."""
    path = folder.parent / "table" / "corpus.csv"
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "label"])
        rows.writerows([str(folder / name), str(i % 10)] for i, name in enumerate(NAMES))
    return path


def settings_of(run: Any) -> DecodeSettings:
    from transferkit.runs import model_file

    return model_file.facts(run.layout.model).decoding()


def test_rows_of_training_are_of_the_same_pixels(table: Path, folder: Path) -> None:
    settings = DecodeSettings(32)
    samples = scan(table).hashed()
    views = Views(settings, augmentation("none"), 0, 0)
    features = open_set({"test": "one reader"}, [(32, 32, 3)])
    wanted = {i: [0] for i in range(len(samples))}
    extract(lambda inputs, rows=None: [inputs[0].astype(np.float32)], [features], views, samples, wanted,
            Reporter(quiet=True))  # fmt: skip
    assert samples.sha256 is not None
    places = features.places([views.name(sha256, 0) for sha256 in samples.sha256])
    rows = features.unpack(features.gather(*places))[0].astype(np.uint8)
    for i, path in enumerate(samples.paths):
        np.testing.assert_array_equal(rows[i], decode(folder / Path(path).name, settings), err_msg=path)


def test_every_way_to_name_pictures_gives_the_same_pixels_and_answers(
    digits_run: Any, folder: Path, table: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_of(digits_run)
    paths = [folder / name for name in NAMES]
    expected = np.stack([decode(path, settings) for path in paths])
    lines = "".join(f"{path}\n" for path in paths).encode()
    ways: dict[str, list[object]] = {
        "files": list(paths), "folder": [folder], "list": [table], "pattern": [folder / "*"], "stdin": ["-"],
    }  # fmt: skip
    assert inputs.find([folder]) == paths
    answers = {}
    for way, arguments in ways.items():
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        result = call("predict", digits_run.folder, *arguments, "--format", "csv", "--quiet")
        assert result.code == 0, result.err
        np.testing.assert_array_equal(seen.taken()[: len(paths)], expected, err_msg=way)
        answers[way] = [row[1:] for row in csv.reader(io.StringIO(result.out))]
    assert len(answers["files"]) == 1 + len(paths)
    assert all(row[-1] == "" for row in answers["files"][1:])
    assert all(found == answers["files"] for found in answers.values())


def test_evaluation_explanation_page_and_example_agree_with_prediction(
    digits_run: Any, folder: Path, table: Path, seen: Seen, tmp_path: Path
) -> None:
    from transferkit.delivery.explain import BLOCK, Explaining
    from transferkit.delivery.serve import Answering

    settings = settings_of(digits_run)
    paths = [folder / name for name in NAMES]
    expected = np.stack([decode(path, settings) for path in paths])
    predicted = list(digits_run.predict(paths))
    seen.taken()

    digits_run.evaluate(table)
    np.testing.assert_array_equal(seen.taken()[: len(paths)], expected)

    explained = list(Explaining.of(digits_run.layout).stream(paths))
    blocks = seen.taken().reshape(-1, 2, BLOCK, *expected.shape[1:])  # once for the answers, once for the heat
    for use in (0, 1):
        np.testing.assert_array_equal(np.concatenate(blocks[:, use])[: len(paths)], expected)
    page = Answering.of(digits_run.layout)
    text = example(tmp_path, settings)
    (tmp_path / FORMATS["keras"].file).write_bytes(digits_run.layout.model.read_bytes())
    for i, (path, answer, why) in enumerate(zip(paths, predicted, explained, strict=True)):
        assert (why.label, why.confidence) == (answer.label, pytest.approx(answer.confidence, abs=1e-6)), path.name
        assert why.overlay.shape == (*open_picture(path, settings).size[::-1], 3)
        if path.name in ("xmp.jpg", "grey_16_clear.png"):  # slow, and the pixels of all are compared above
            (said,) = page.predict([(path.name, path.read_bytes())], top=5, heat=False, drawn=False)
            np.testing.assert_array_equal(seen.taken()[0], expected[i])
            assert answer.label in (said["label"], said.get("best_guess"))
            assert said["scores"] == pytest.approx(dict(answer.scores[:5]), abs=1e-6)
            names = ran(text, tmp_path, path)
            assert dict(names["best"]) == pytest.approx(dict(answer.scores), abs=1e-6)


# ------------------------------------------------------------------------------ bytes that are hashed and decoded


def test_a_picture_replaced_after_its_hash_is_refused_and_leaves_no_row(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(ITEMS["rgb.png"].content)
    (tmp_path / "list.csv").write_text("path,label\na.png,x\nb.jpg,y\n")
    samples = scan(tmp_path / "list.csv").hashed()
    (tmp_path / "b.jpg").write_bytes(ITEMS["plain.jpg"].content)
    features = open_set({"test": "replaced"}, [(32, 32, 3)])
    views = Views(DecodeSettings(32), augmentation("none"), 0, 0)
    with pytest.raises(PictureError, match=r"b\.jpg: has changed since its content was hashed"):
        extract(lambda inputs, rows=None: [inputs[0].astype(np.float32)], [features], views, samples,
                {1: [0]}, Reporter(quiet=True))  # fmt: skip
    assert samples.sha256 is not None
    assert features.missing([views.name(samples.sha256[1], 0)])


def test_an_array_changed_after_its_hash_is_refused() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    samples = scan((pictures, [0, 1, 0, 1])).hashed()
    views = Views(DecodeSettings(32), augmentation("none"), 0, 0)
    assert views.pixels(samples, 2, [0]).shape == (1, 32, 32, 3)
    pictures[2, 0, 0, 0] ^= 1
    with pytest.raises(PictureError, match=r"array\[2\]: has changed"):
        views.pixels(samples, 2, [0])


def test_a_test_picture_replaced_after_its_hash_is_not_scored(digits_run: Any, tmp_path: Path) -> None:
    from transferkit.runs import model_file, scoring

    (tmp_path / "a.png").write_bytes(ITEMS["rgb.png"].content)
    (tmp_path / "b.png").write_bytes(ITEMS["grey.png"].content)
    (tmp_path / "list.csv").write_text("path,label\na.png,0\nb.png,1\n")
    samples = scan(tmp_path / "list.csv").hashed()
    (tmp_path / "b.png").write_bytes(ITEMS["rgba.png"].content)
    model = model_file.load(digits_run.layout.model)
    with pytest.raises(PictureError, match=r"b\.png: has changed"):
        scoring.predictions(model, samples, settings_of(digits_run), Reporter(quiet=True), "scoring")


def test_finetune_ends_by_name_where_a_picture_is_replaced_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transferkit.data.digits import write_digits
    from transferkit.data.samples import Samples

    data = write_digits(tmp_path / "digits", 6)
    target, other = sorted(data.glob("3/*.png"))[:2]
    hashed = Samples.hashed

    def replaced(samples: Samples) -> Samples:
        found = hashed(samples)
        target.write_bytes(other.read_bytes())
        return found

    monkeypatch.setattr(Samples, "hashed", replaced)
    result = call("finetune", data, "--backbone", "mini", "--epochs", 1, "--quiet", "--output", tmp_path / "run")
    assert result.code == 2
    assert f"{target}: has changed since its content was hashed" in result.err.replace("\n", " ")
