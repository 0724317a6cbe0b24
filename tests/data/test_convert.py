"""`data convert`: what is written is read back as the same pictures and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.calls import call
from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from transferkit.data.convert import convert
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.mark.parametrize("form", ["zip", "npz", "kaggle"])
@pytest.mark.parametrize("name", ["plain", "plain.csv", "plain.parquet"])
def test_what_is_written_is_read_back(form: str, name: str, corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    source, _ = forms.FORMS[form](corpus, tmp_path / "from")
    before = scan(source).hashed()
    convert(scan(source), tmp_path / name)
    after = scan(tmp_path / name).hashed()
    assert after.classes == before.classes
    assert sorted(zip(after.sha256 or (), after.targets.tolist(), strict=True)) == sorted(
        zip(before.sha256 or (), before.targets.tolist(), strict=True)
    )


@pytest.mark.parametrize("name", ["plain", "plain.csv", "plain.parquet"])
def test_labels_splits_and_groups_are_kept(name: str, corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path / "from")
    parts = ("train", "train", "val", "test")
    rows = ((f"{n}.png", f"{label};{'a' if i % 2 else 'b'}", parts[i // 3 % 4], f"g{i // 3}")
            for i, (n, label, _) in enumerate(corpus))  # fmt: skip
    source = forms.write_rows(tmp_path / "from" / "a.csv", ["path", "label", "split", "group"], rows)
    before = scan(source).hashed()
    convert(before, tmp_path / name)
    folder = tmp_path / name
    after = scan(folder / "labels.csv" if folder.is_dir() else folder).hashed()
    assert (after.task, after.classes) == ("multilabel", before.classes)
    for field in ("sha256", "split", "group"):
        assert getattr(after, field) == getattr(before, field)
    assert np.array_equal(after.targets, before.targets)


@pytest.mark.parametrize("name", ["plain", "plain.csv", "plain.parquet"])
@pytest.mark.parametrize("splits", [False, True])
def test_classes_in_classes_are_read_back_as_they_were(name: str, splits: bool, corpus: Corpus, tmp_path: Path) -> None:
    names = ("animal/cat", "animal/dog", "animal", "plant")
    parts = ("train", "train", "val", "test")
    forms.flat(corpus, tmp_path / "from")
    rows = ((f"{n}.png", names[i % 4], parts[i // 4 % 4] if splits else "") for i, n in enumerate(corpus.names))
    before = scan(forms.write_rows(tmp_path / "from" / "a.csv", ["path", "label", "split"], rows)).hashed()
    said = convert(before, tmp_path / name)
    folder = name == "plain"
    assert ("--class-level path" in said) == folder
    after = scan(tmp_path / name, reading=Reading(class_level="path") if folder else None).hashed()
    assert after.classes == before.classes == ("animal", "animal/cat", "animal/dog", "plant")

    def content(samples: Samples) -> list[tuple[str, str, str | None]]:
        return sorted(zip(samples.sha256 or (), map(samples.label, range(120)), samples.split, strict=True))

    assert content(after) == content(before)


@pytest.mark.parametrize(
    "names", [("train/cat", "train/dog"), ("train/cat", "bird"), ("train", "val"), ("a//b", "c"), ("a/../b", "c")]
)
def test_a_folder_that_would_be_read_otherwise_is_refused(
    names: tuple[str, str], corpus: Corpus, tmp_path: Path
) -> None:
    forms.flat(corpus, tmp_path / "from")
    rows = ((f"{name}.png", names[i % 2]) for i, name in enumerate(corpus.names))
    samples = scan(forms.write_rows(tmp_path / "from" / "a.csv", ["path", "label"], rows))
    with pytest.raises(DataError, match=r"convert to a \.csv or \.parquet"):
        convert(samples, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["from"]
    convert(samples, tmp_path / "out.parquet")
    assert scan(tmp_path / "out.parquet").classes == tuple(sorted(names))


def test_boxes_become_pictures(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    (tmp_path / "b.json").write_text(json.dumps(forms.coco_content(corpus, boxes=True)))
    convert(scan(tmp_path / "b.json", reading=Reading(crop_boxes=True)), tmp_path / "out.parquet")
    assert len(scan(tmp_path / "out.parquet")) == 120


def test_nothing_is_written_over_or_outside(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.folder(corpus, tmp_path)
    with pytest.raises(ConfigError, match="exists already"):
        convert(scan(source), source)
    for name in ("out.zip", "out.json", "out.png"):
        with pytest.raises(ConfigError, match=r"is not written; name a folder, a \.csv or a \.parquet"):
            convert(scan(source), tmp_path / name)
    rows = ((f"daisy/{name}.png", "../rose" if i % 2 else "daisy") for i, name in enumerate(corpus.names[:40]))
    table = forms.write_rows(source / "a.csv", ["path", "label"], rows)
    with pytest.raises(DataError, match=r"\.\./rose cannot be folders"):
        convert(scan(table), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flowers"]


def test_the_command_says_what_it_wrote(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.kaggle(corpus, tmp_path)
    result = call("data", "convert", source, tmp_path / "plain")
    assert result.code == 0
    assert "120 pictures, a folder of class folders" in result.out
    assert len(list((tmp_path / "plain" / "rose").iterdir())) == 40


@pytest.mark.parametrize("name", ["plain", "plain.csv", "plain.parquet"])
def test_an_order_of_classes_is_not_lost_without_a_word(name: str, corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.folder(corpus, tmp_path)
    result = call("data", "convert", source, tmp_path / name, "--task", "ordinal", "--classes", "rose,daisy,tulip")
    assert "read it with --task ordinal --classes rose,daisy,tulip" in result.out
    assert scan(tmp_path / name, task="ordinal", order=("rose", "daisy", "tulip")).classes[0] == "rose"
    unknown = call("data", "convert", source, tmp_path / f"other-{name}", "--task", "ordinal")
    assert (unknown.code, "--classes" in unknown.out) == (0, False)  # nobody has said an order
    divided = call("data", "split", source, "--output", tmp_path / "s.csv", "--task", "ordinal", "--classes",
                   "rose,daisy,tulip")  # fmt: skip
    assert "read it with --task ordinal --classes rose,daisy,tulip" in divided.out


def test_the_command_says_what_was_passed_over(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.folder(corpus, tmp_path)
    (source / "notes.txt").write_text("x")
    assert "note: 1 other file ignored: 1 .txt" in call("data", "convert", source, tmp_path / "plain").out
