"""One corpus in every form: the same pictures, labels, splits and scores, bit by bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.data.readers.forms import CLASSES, FORMS, Corpus
from tests.data.readers.label_forms import LABEL_FORMS, LABELS, Labelled
from tests.data.readers.pixel_forms import PIXEL_FORMS, Divided, as_png, class_folders
from tests.data.readers.training import finetune, outcome
from tests.marks import extended
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.registry import READERS
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import based, scan
from transferkit.data.splitting.split import load_splits, save_splits, split

SHARES = (0.7, 0.15, 0.15)
# Forms that know classes by number only, and one that names them with what lies around them.
CALLED = {"idx": ("0", "1", "2"), "class folders in folders, path": tuple(f"plant/{name}" for name in CLASSES)}
# What a run sees of a form is its samples and their pixels, and those are compared for every form. So a run is made of
# one form for each reader and each kind of place that pictures are read from; the first is of the default suite.
TRAINED = (
    "zip", "tar.gz", "films in a tar", "csv", "parquet", "npz", "coco", "label studio", "voc", "cvat", "open images",
    "roboflow boxes", "yolo", "hub folder", "webdataset", "tfrecords",
)  # fmt: skip
# Of forms that keep pixels one for each option that a run takes and hands on: frames, ranges, boxes.
TRAINED_PIXELS = ("dicom of several frames", "16 bits by percentiles", "frames of films in a zip", "boxes of voc")
TRAINED_LABELS = ("json lines of lists", "coco")
SPLIT = ("folder", "zip", "npz", "pages of tiffs", "frames of films in a zip", "boxes of voc")  # likewise
Prepared = tuple[Path, dict[str, Any]]


class Made(dict[str, Prepared]):
    """Forms, each made when it is first asked for."""

    def __init__(self, build: Callable[[str, Path], Prepared], to: pytest.TempPathFactory) -> None:
        super().__init__()
        self.build, self.to = build, to

    def __missing__(self, form: str) -> Prepared:
        self[form] = self.build(form, self.to.mktemp(form.replace(" ", "_").replace(",", "")))
        return self[form]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Made:
    return Made(lambda form, to: FORMS[form](corpus, to), tmp_path_factory)


@pytest.fixture(scope="module")
def pixel_forms(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(lambda form, to: PIXEL_FORMS[form][1](Divided(PIXEL_FORMS[form][0]()), to), tmp_path_factory)


@pytest.fixture(scope="module")
def label_forms(tmp_path_factory: pytest.TempPathFactory) -> Made:
    labelled = Labelled()
    return Made(lambda form, to: LABEL_FORMS[form](labelled, to), tmp_path_factory)


def reading_of(options: dict[str, Any]) -> Reading:
    return Reading.checked({k: v for k, v in options.items() if k != "intensity"})


def read(forms: dict[str, Prepared], form: str) -> Samples:
    source, options = forms[form]
    return scan(source, reading=reading_of(options)).hashed()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures_labels_and_splits(
    form: str, forms: dict[str, Prepared], corpus: Corpus
) -> None:
    plain, found = read(forms, "folder"), read(forms, form)
    assert found.sha256 == plain.sha256
    assert found.targets.tolist() == plain.targets.tolist()
    assert found.classes == CALLED.get(form, CLASSES)
    assert split(found, SHARES, 0).assignment == split(plain, SHARES, 0).assignment
    pixels = np.stack([decode(found.pinned(index), DecodeSettings(32)) for index in range(len(found))])
    assert np.array_equal(pixels, corpus.pixels)
    assert found.reader["name"]
    assert found.reader["why"]


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_split_is_found_again(form: str, forms: dict[str, Prepared], tmp_path: Path) -> None:
    found = read(forms, form)
    splits = split(found, SHARES, 0)
    save_splits(tmp_path / "splits.csv", found, splits)
    assert load_splits(tmp_path / "splits.csv", read(forms, form)).assignment == splits.assignment
    wanted = set(itertools.islice(found.paths, 5))
    source, options = forms[form]
    reading = reading_of(options)
    again = scan(source, found.task, classes=found.classes, only=wanted, strict=False, reading=reading)
    assert set(again.paths) == wanted


@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=() if f in SPLIT else (pytest.mark.extended,)) for f in (*FORMS, *PIXEL_FORMS)]
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_split_file_is_data_wherever_it_lies(
    form: str, beside: bool, forms: Made, pixel_forms: Made, tmp_path: Path
) -> None:
    made = forms if form in FORMS else pixel_forms
    found = read(made, form)
    table = (Path(str(found.root)) if beside and Path(str(found.root)).is_dir() else tmp_path) / "our splits.csv"
    splits = split(found, SHARES, 0)
    save_splits(table, based(found, table), splits)
    try:
        again = scan(table).hashed()
        assert (again.sha256, again.classes) == (found.sha256, found.classes)
        assert again.targets.tolist() == found.targets.tolist()
        assert (again.split, again.group) == (splits.assignment, found.group)
        assert split(again, SHARES, 5).assignment == splits.assignment
    finally:
        table.unlink()


@pytest.mark.parametrize("form", PIXEL_FORMS)
def test_forms_that_keep_pixels_give_the_same_pixels_labels_and_splits(form: str, pixel_forms: Made) -> None:
    plain, found = Divided(PIXEL_FORMS[form][0]()), read(pixel_forms, form)
    assert [found.label(i) for i in range(len(found))] == plain.labels
    assert list(found.split) == plain.parts
    settings = DecodeSettings(32, intensity=pixel_forms[form][1].get("intensity", "full"))
    pixels = np.stack([decode(found.pinned(i), settings) for i in range(len(found))])
    assert np.array_equal(pixels, plain.pixels)


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_forms_of_several_labels_give_the_same_labels_and_splits(form: str, label_forms: Made) -> None:
    plain, found = read(label_forms, "csv"), read(label_forms, form)
    assert (found.task, found.classes) == ("multilabel", LABELS)
    assert found.sha256 == plain.sha256
    assert found.targets.tolist() == Labelled().marks()
    assert split(found, SHARES, 0).assignment == split(plain, SHARES, 0).assignment


# ------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def trained(runs: Path, kind: str, forms: Made, form: str) -> tk.Run:
    """A run on a form; the features of equal files are computed once."""
    source, options = forms[form]
    return finetune(source, runs / f"{kind} {form}".replace(",", ""), **options)


def test_there_is_a_run_of_a_form_for_every_reader(forms: Made) -> None:
    assert {read(forms, form).reader["name"] for form in TRAINED} == {reader.name for reader in READERS}


@pytest.mark.parametrize("form", extended(TRAINED, TRAINED[1:]))
def test_every_form_trains_to_the_same_scores(form: str, forms: Made, runs: Path) -> None:
    plain, run = trained(runs, "same", forms, "folder"), trained(runs, "same", forms, form)
    assert outcome(run) == outcome(plain)
    assert run.manifest["data"]["reader"]["name"]
    assert run.evaluate()["loss"] == run.metrics["test"]["loss"]


@pytest.mark.parametrize("form", extended(TRAINED_PIXELS, TRAINED_PIXELS))
def test_forms_that_keep_pixels_train_to_the_same_scores(
    form: str, pixel_forms: Made, runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = PIXEL_FORMS[form][0]
    output = runs / f"plain {pixels.__name__}"
    if output.exists():
        plain = tk.Run(output)
    else:
        source, _ = class_folders(as_png)(Divided(pixels()), tmp_path_factory.mktemp(pixels.__name__))
        plain = finetune(source, output)
    run = trained(runs, "pixels", pixel_forms, form)
    assert outcome(run) == outcome(plain)
    assert run.evaluate()["loss"] == run.metrics["test"]["loss"]


@pytest.mark.parametrize("form", extended(TRAINED_LABELS, TRAINED_LABELS))
def test_forms_of_several_labels_train_to_the_same_scores(form: str, label_forms: Made, runs: Path) -> None:
    plain, run = trained(runs, "labels", label_forms, "csv"), trained(runs, "labels", label_forms, form)
    assert outcome(run) == outcome(plain)
