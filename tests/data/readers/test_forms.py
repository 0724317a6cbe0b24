"""One corpus in every form: the same pictures, labels, splits and scores, bit by bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.data.readers.forms import CLASSES, FORMS, Corpus
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.reading import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.data.splitting.split import load_splits, save_splits, split

NUMBERED = ("idx",)  # forms that know classes by number only
TRAINED = ("zip",)  # the others when asked for
Prepared = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> dict[str, Prepared]:
    """Every form, made when first asked for."""

    class Made(dict[str, Prepared]):
        def __missing__(self, form: str) -> Prepared:
            self[form] = FORMS[form](corpus, tmp_path_factory.mktemp(form.replace(" ", "_").replace(",", "")))
            return self[form]

    return Made()


def read(forms: dict[str, Prepared], form: str) -> Samples:
    source, options = forms[form]
    return scan(source, reading=Reading.checked({k: v for k, v in options.items() if k != "names"})).hashed()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures_labels_and_splits(
    form: str, forms: dict[str, Prepared], corpus: Corpus, tmp_path: Path
) -> None:
    plain, found = read(forms, "folder"), read(forms, form)
    assert found.sha256 == plain.sha256
    assert found.targets.tolist() == plain.targets.tolist()
    assert found.classes == (("0", "1", "2") if form in NUMBERED else CLASSES)
    shares = (0.7, 0.15, 0.15)
    assert split(found, shares, 0).assignment == split(plain, shares, 0).assignment
    for index in (0, 60, 119):
        assert np.array_equal(decode(found.pinned(index), DecodeSettings(32)), corpus.pixels[index])
    assert found.reader["name"]
    assert found.reader["why"]


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_split_is_found_again(form: str, forms: dict[str, Prepared], tmp_path: Path) -> None:
    found = read(forms, form)
    splits = split(found, (0.7, 0.15, 0.15), 0)
    save_splits(tmp_path / "splits.csv", found, splits)
    assert load_splits(tmp_path / "splits.csv", read(forms, form)).assignment == splits.assignment
    wanted = set(itertools.islice(found.paths, 5))
    source, options = forms[form]
    reading = Reading.checked({k: v for k, v in options.items() if k != "names"})
    again = scan(source, found.task, classes=found.classes, only=wanted, strict=False, reading=reading)
    assert set(again.paths) == wanted


@pytest.fixture(scope="module")
def trained(forms: dict[str, Prepared], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run on a form; the features of all are computed once, for the pictures are the same."""
    folder = tmp_path_factory.mktemp("runs")

    def run(form: str) -> tk.Run:
        source, options = forms[form]
        output = folder / form.replace(" ", "_")
        if output.exists():
            return tk.Run(output)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
            return tk.finetune(
                source, "mini", output=output, head="linear", augment="none", epochs=1, image_size=32,
                precision="float32", quiet=True, **{k: v for k, v in options.items() if k != "names"},
            )  # fmt: skip

    return run


@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=() if f in TRAINED else (pytest.mark.extended,)) for f in FORMS if f != "folder"]
)
def test_every_form_trains_to_the_same_scores(form: str, trained: Any) -> None:
    plain, run = trained("folder"), trained(form)
    for part in ("val", "test"):
        ours, theirs = run.metrics[part], plain.metrics[part]
        assert (ours["loss"], ours["accuracy"]) == (theirs["loss"], theirs["accuracy"])
    assert run.manifest["data"]["reader"]["name"]
    assert run.evaluate()["loss"] == run.metrics["test"]["loss"]
