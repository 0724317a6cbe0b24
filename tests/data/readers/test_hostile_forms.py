"""What is damaged, ambiguous or meant to harm is refused by one clear error, and nothing is written beside it."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.images.opening import PictureError
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.errors import ConfigError, DataError

Twin = Callable[[Path], tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


def read(source: Path, **options: Any) -> Samples:
    return scan(source, reading=Reading.checked(options))


def beside(source: Path) -> list[Path]:
    cache = Path(os.environ["TRANSFERKIT_CACHE"])
    # Of a folder's parent only what lies directly in it: pytest keeps the other tests' folders there.
    there = [*source.parent.iterdir(), *source.rglob("*")] if source.is_dir() else source.parent.rglob("*")
    return sorted(path for path in there if path != cache and cache not in path.parents)


def refusal(source: Path, **options: Any) -> str:
    before = beside(source)
    with pytest.raises((DataError, ConfigError)) as caught:
        read(source, **options).hashed()
    assert beside(source) == before, "something was written beside the data"
    return str(caught.value)


# ------------------------------------------------------------------------------------------ archives


def archive(path: Path, entries: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            out.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.png", "..\\b.png", "C:\\b.png"])
def test_names_that_lead_out_of_an_archive_are_refused(name: str, tmp_path: Path) -> None:
    assert "leads out of it" in refusal(archive(tmp_path / "a.zip", {"rose/1.png": b"x", name: b"x"}))
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        out.addfile(tarfile.TarInfo(name))
    assert "leads out of it" in refusal(tmp_path / "a.tar")


def test_links_in_archives_are_refused_by_name(tmp_path: Path) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = 0o120777 << 16

    said = refusal(archive(tmp_path / "a.zip", {"rose/secret.png": b"/etc/passwd"}, link))
    assert "a link, rose/secret.png" in said
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo("rose/secret.png")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "a.tar", "w") as out:
            out.addfile(info)
        assert "rose/secret.png" in refusal(tmp_path / "a.tar")


def test_bombs_are_refused_before_they_grow(tmp_path: Path) -> None:
    said = refusal(archive(tmp_path / "a.zip", {"rose/1.png": bytes(100 << 20)}))
    assert "rose/1.png would grow from" in said
    with gzip.open(tmp_path / "a.tar.gz", "wb", 9) as out:
        for _ in range(100):
            out.write(bytes(1 << 20))
    assert "decompression bomb" in refusal(tmp_path / "a.tar.gz")
    assert not list((Path(os.environ["TRANSFERKIT_CACHE"]) / "archives").glob("*.tar"))


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"rose/1.png": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    end = content.rindex(b"PK\5\6")
    record = bytes(content[at:end])
    many = record * 3
    tail = bytearray(content[end:])
    struct.pack_into("<HHII", tail, 8, 3, 3, len(many), at)
    path.write_bytes(bytes(content[:at]) + many + bytes(tail))
    assert "overlap" in refusal(path)


def test_an_encrypted_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"rose/1.png": b"abc"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "is encrypted (rose/1.png)" in refusal(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_that_is_cut_short_says_so(kind: str, corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.FORMS[kind](corpus, tmp_path)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    said = refusal(source)
    assert source.name in said
    assert "again" in said


def test_a_damaged_entry_is_named_with_its_archive(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.zipped(corpus, tmp_path, zipfile.ZIP_STORED)
    content = bytearray(source.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 255
    source.write_bytes(content)
    samples = read(source)
    with pytest.raises(PictureError, match=r"flowers\.zip/flowers/daisy/d000\.png.*check sum"):
        decode(samples.source(0), DecodeSettings(32))


def test_a_changed_archive_is_opened_again_and_its_pictures_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.zipped(corpus, tmp_path)
    samples = read(source).hashed()
    corpus.pixels[0] ^= 1
    try:
        forms.zipped(corpus, tmp_path, above="flowers/")
    finally:
        corpus.pixels[0] ^= 1
    with pytest.raises(PictureError, match="has changed since its content was hashed"):
        decode(samples.pinned(0), DecodeSettings(32))


def test_names_that_a_mac_wrote_are_read_as_they_were_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        for name in ("blüte", "rose"):
            out.writestr(f"{name}/1.png", b"x")
    content = path.read_bytes().replace("blüte".encode(), b"bl\xc3\xbcte")
    flagged = bytearray(content)
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = flagged.find(mark)
        while at >= 0:
            flagged[at + place + 1] &= ~0x08  # "the name is UTF-8" is not said
            at = flagged.find(mark, at + 1)
    path.write_bytes(flagged)
    assert read(path).classes == ("blüte", "rose")


# ------------------------------------------------------------------------------------------ tables


def test_ambiguous_pictures_list_the_candidates(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.kaggle(corpus, tmp_path)
    source = source.rename(tmp_path / "labels.csv")
    forms.flat(corpus, tmp_path / "more")
    said = refusal(source)
    assert "more/{id_code}, train_images/{id_code}" in said
    assert "--path-template" in said
    assert read(source, path_template="more/{id_code}.png").paths[0] == "more/d000.png"


def test_ambiguous_labels_list_the_candidates(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = ((name, label, label.upper()) for name, label, _ in corpus)
    source = forms.write_rows(tmp_path / "a.csv", ["file", "kind", "sort"], rows)
    said = refusal(source)
    assert "kind, sort" in said
    assert "--label-column" in said
    assert read(source, label_column="kind").reader["label_column"] == ["kind"]


def test_options_that_lead_nowhere_name_the_columns(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.kaggle(corpus, tmp_path)
    assert "no column 'diagnose' (--label-column)" in refusal(source, label_column="diagnose")
    assert "nearest: 'diagnosis'" in refusal(source, label_column="diagnose")
    assert "there is no column 'id'" in refusal(source, path_template="train_images/{id}.png")
    assert "there is nothing in braces" in refusal(source, path_template="train_images/1.png")
    assert "name files that do not exist" in refusal(source, path_template="train_images/{id_code}.jpg")
    assert "--crop-boxes has no effect on what the reader 'table' reads" in refusal(source, crop_boxes=True)


def test_a_folder_whose_labels_are_in_a_table_says_so(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "comp").mkdir()
    forms.kaggle(corpus, tmp_path / "comp")
    for name in ("a_map_of_names.json", "sample_submission.csv", "test.csv"):
        (tmp_path / "comp" / name).write_text("{}")
    assert f"or is it {tmp_path / 'comp' / 'train.csv'} that has the labels?" in refusal(tmp_path / "comp")
    (tmp_path / "comp" / "train_images").rename(tmp_path / "comp" / "train")
    shutil.copytree(tmp_path / "comp" / "train", tmp_path / "comp" / "test")
    said = refusal(tmp_path / "comp")
    assert "hold no class folders" in said
    assert f"or is it {tmp_path / 'comp' / 'train.csv'} that has the labels?" in said


def test_a_template_reads_columns_and_nothing_else(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.kaggle(corpus, tmp_path)
    assert "there is no column" in refusal(source, path_template="{id_code.__class__}")


def test_several_endings_of_one_name_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.kaggle(corpus, tmp_path)
    (tmp_path / "train_images" / "d000.jpg").write_bytes(b"x")
    assert "'train_images/d000' may mean d000.jpg, d000.png" in refusal(source).replace(
        "d000.png, d000.jpg", "d000.jpg, d000.png"
    )


def test_a_code_without_a_name_is_named_by_its_line(corpus: Corpus, tmp_path: Path) -> None:
    source, options = forms.coded(corpus, tmp_path)
    (tmp_path / "names.csv").write_text("code,name\n0,daisy\n1,rose\n")
    assert "has no name for (line 82: 2" in refusal(source, **options)


def test_labels_joined_by_another_sign_are_suggested_and_taken_apart(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = ((f"{name}.png", f"{label}|{'wet' if i % 2 else 'dry'}") for i, (name, label, _) in enumerate(corpus))
    source = forms.write_rows(tmp_path / "a.csv", ["path", "label"], rows)
    found = read(source)
    assert found.task == "classify"
    assert any("--label-delimiter '|'" in note for note in found.notes)
    apart = read(source, label_delimiter="|")
    assert apart.task == "multilabel"
    assert apart.classes == ("daisy", "dry", "rose", "tulip", "wet")


def test_a_column_that_may_group_pictures_is_said(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = ((f"{name}.png", label, i // 4) for i, (name, label, _) in enumerate(corpus))
    source = forms.write_rows(tmp_path / "a.csv", ["image", "label", "patient_id"], rows)
    assert any("--group-column patient_id" in said for said in read(source).reader["said"])
    assert len(set(read(source, group_column="patient_id").group)) == 30
    source.write_text(source.read_text().replace("image,label", "image,diagnosis"))
    assert read(source).classes == forms.CLASSES  # a patient's number is no class
    source.write_text(source.read_text().replace("image,diagnosis", "path,label"))
    assert any("--group-column patient_id" in note for note in read(source).notes)


def test_classes_beside_a_path_are_found_whatever_their_column_is_called(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = [(f"{name}.png", label, i) for i, (name, label, _) in enumerate(corpus)]
    for column in ("class", "species"):
        source = forms.write_rows(tmp_path / "a.csv", ["path", column], (row[:2] for row in rows))
        found = read(source)
        assert (found.task, found.classes) == ("classify", forms.CLASSES)
        assert any(column in said for said in found.reader["said"])
    source = forms.write_rows(tmp_path / "a.csv", ["path", "species", "note"], (row for row in rows))
    assert "say which with --label-column" in refusal(source)


def test_a_table_whose_first_line_is_a_row_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    for end in (".png", ""):
        rows = [(f"{name}{end}", label) for name, label, _ in corpus]
        source = forms.write_rows(tmp_path / "a.csv", list(rows[0]), iter(rows[1:]))
        assert "its first line should name the columns" in refusal(source)


def test_decimal_commas_are_refused_with_the_remedy(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = ((f"{name}.png", f"{i},5") for i, (name, _, _) in enumerate(corpus))
    source = forms.write_rows(tmp_path / "a.csv", ["path", "weight"], rows, ";")
    with pytest.raises(DataError, match=r"120 rows hold no number; write 1\.5 for 1,5"):
        scan(source, "regress")


def test_a_column_without_a_name_is_not_named_as_unused(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    rows = ((i, f"{name}.png", label) for i, (name, label, _) in enumerate(corpus))
    assert not read(forms.write_rows(tmp_path / "a.csv", ["", "path", "label"], rows)).notes


def test_damaged_tables_of_other_kinds_say_so(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.json_lines(corpus, tmp_path)
    source.write_text(source.read_text() + "\n{")
    assert "line 121 is no JSON" in refusal(source)
    for name in ("a.xlsx", "a.parquet"):
        (tmp_path / name).write_bytes(b"PAR1 and nothing else" if name.endswith("parquet") else b"PK")
        assert name in refusal(tmp_path / name)


def test_a_missing_extra_names_what_to_install(corpus: Corpus, tmp_path: Path) -> None:
    forms.parquet(corpus, tmp_path)
    forms.excel(corpus, tmp_path)
    (tmp_path / "flowers.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    for name, module, extra in (
        ("flowers.parquet", "pyarrow", "parquet"), ("list.xlsx", "openpyxl", "excel"),
        ("flowers.tar.zst", "zstandard", "zstd"),
    ):  # fmt: skip
        code = (
            f"import sys; sys.modules[{module!r}] = None; from transferkit.data.source import scan; scan(sys.argv[1])"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True)
        assert f"pip install 'transferkit[{extra}]'" in done.stderr


# ------------------------------------------------------------------------------------------ arrays


class _Harm:
    def __reduce__(self) -> Any:
        return (os.system, ("touch harmed",))


def test_pickles_are_never_run(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, _ = forms.cifar(corpus, tmp_path)
    (source / "data_batch_1").write_bytes(pickle.dumps({b"labels": [1], b"data": _Harm()}, protocol=2))
    said = refusal(source)
    assert "posix.system" in said
    assert "could run a stranger's program" in said
    np.savez("harm.npz", x=np.array([_Harm()], dtype=object), y=np.arange(1), allow_pickle=True)
    assert "save plain arrays" in refusal(tmp_path / "harm.npz")
    assert not (tmp_path / "harmed").exists()


def test_arrays_that_do_not_fit_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=corpus.pixels / 255, y=corpus.numbers)
    assert "'x' is float64; pictures are uint8" in refusal(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=corpus.pixels, y=corpus.numbers[:-1])
    assert "no labels are found for the 120 pictures of 'x'" in refusal(tmp_path / "b.npz")
    source, _ = forms.idx(corpus, tmp_path)
    content = gzip.decompress(source.read_bytes())
    source.write_bytes(gzip.compress(content[:-5]))
    assert "needs 368,640 bytes for them, but has 368,635" in refusal(source)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    source.write_bytes(gzip.compress(content))
    assert "its labels are to lie beside it" in refusal(source)


# ------------------------------------------------------------------------------------------ annotations


def test_exports_that_point_to_nothing_name_the_entry(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.coco(corpus, tmp_path)
    content = json.loads(source.read_text())
    content["annotations"][7]["category_id"] = 99
    source.write_text(json.dumps(content))
    assert "annotations[7] has the category_id 99" in refusal(source)
    assert refusal(source).endswith("(reader 'coco')")
    content["annotations"][7]["category_id"] = 1
    content["images"][3]["file_name"] = "gone.png"
    source.write_text(json.dumps(content))
    said = refusal(source)
    assert "annotations[3]" in said
    assert "gone.png" in said
    assert "finds no boxes to crop" in refusal(source, crop_boxes=True)


def test_xml_with_entities_of_its_own_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source, _ = forms.cvat(corpus, tmp_path / "data")
    bomb = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotations><image name="&c;"/></annotations>'
    (source / "annotations.xml").write_text(bomb)
    assert "declares entities of its own" in refusal(source)


def test_two_readers_as_certain_of_a_source_are_named(corpus: Corpus, tmp_path: Path) -> None:
    forms.voc(corpus, tmp_path)
    (tmp_path / "_classes.csv").write_text("filename, a\n")
    said = refusal(tmp_path)
    assert "--reader voc" in said
    assert "--reader roboflow" in said
    assert read(tmp_path, reader="voc").reader["why"] == "it was asked for"
    assert "choose from folder" in refusal(tmp_path, reader="vok")


# ------------------------------------------------------------------------------------------ boxes


def test_boxes_are_pictures_of_their_own_and_stay_together(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    content = forms.coco_content(corpus, boxes=True)
    more = [note | {"bbox": [10, 10, 12, 12]} for note in content["annotations"]]
    source = tmp_path / "boxes.json"
    source.write_text(json.dumps(content | {"annotations": content["annotations"] + more}))
    plain = read(source)
    assert len(plain) == 120
    assert any("--crop-boxes" in said for said in plain.reader["said"])
    found = read(source, crop_boxes=True).hashed()
    assert len(found) == 240
    assert found.paths[0] == "d000.png#xywh=1,2,20,24"
    assert found.group[0] == found.group[120] == "d000.png"
    assert len(set(found.sha256 or ())) == 240
    cut = decode(found.pinned(0), DecodeSettings(20, "crop"))
    assert np.array_equal(cut, decode(corpus.pixels[0][2:26, 1:21], DecodeSettings(20, "crop")))


def test_a_box_outside_its_picture_is_refused_by_name(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    content = forms.coco_content(corpus, boxes=True)
    content["annotations"][0]["bbox"] = [40, 2, 20, 24]
    source = tmp_path / "boxes.json"
    source.write_text(json.dumps(content))
    found = read(source, crop_boxes=True)
    with pytest.raises(PictureError, match=r"d000\.png#xywh=40.*outside of the picture, which is 32 × 32"):
        decode(found.source(0), DecodeSettings(20))
    content["annotations"][0]["bbox"] = [4, 2, -20, 24]
    source.write_text(json.dumps(content))
    assert "annotations[0] has the box" in refusal(source, crop_boxes=True)


def test_boxes_in_percent_mean_the_same(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path)
    value = {"x": 25, "y": 25, "width": 50, "height": 50}
    tasks = [
        {
            "data": {"image": f"https://studio.example/data/upload/1/{name}.png"},
            "annotations": [{"result": [{"type": "rectanglelabels", "value": value | {"rectanglelabels": [label]}}]}],
        }
        for name, label, _ in corpus
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    found = read(tmp_path / "tasks.json", crop_boxes=True)
    assert found.task == "classify"
    cut = decode(found.source(5), DecodeSettings(16))
    assert np.array_equal(cut, corpus.pixels[5][8:24, 8:24])


def test_a_png_of_stored_blocks_is_read_back(corpus: Corpus) -> None:
    from PIL import Image

    from transferkit.data.containers.pixels import png

    large = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)  # more than one block
    for pixels in (large, large[:, :, 0], large[:5, :, :1], np.dstack([large, large[:, :, :1]])):
        with Image.open(io.BytesIO(png(pixels))) as image:
            assert np.array_equal(np.asarray(image), pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


# ------------------------------------------------------------------------------------------ shards and splits


def test_rows_without_bytes_are_refused_by_name(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"bytes": b"", "path": "a.png"}, {"bytes": None, "path": "b.png"}]
    table = pyarrow.table({"image": rows, "label": ["a", "b"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    for index, reason in ((0, "empty"), (1, "holds no bytes in its row")):
        with pytest.raises(PictureError, match=rf"a\.parquet/image/{index}: .*{reason}"):
            decode(found.source(index), DecodeSettings(8))


def test_shards_of_other_columns_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    forms.hub_folder(corpus, tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "data" / "validation-00000-of-00001.parquet")
    said = refusal(tmp_path)
    assert "validation-00000-of-00001.parquet has the columns text" in said


def test_splits_of_shards_are_taken_from_their_names(corpus: Corpus, tmp_path: Path) -> None:
    import pyarrow.parquet

    whole = forms.arrow_table(corpus)
    for name, start in (("train", 0), ("validation", 1), ("test", 2)):
        part = whole.take(list(range(start, 120, 3)))
        pyarrow.parquet.write_table(part, tmp_path / f"{name}-00000-of-00001.parquet")
    found = read(tmp_path)
    assert [found.split.count(part) for part in ("train", "val", "test")] == [40, 40, 40]


def test_a_tar_entry_without_a_label_is_named(corpus: Corpus, tmp_path: Path) -> None:
    source, options = forms.webdataset(corpus, tmp_path)
    with tarfile.open(source / "flowers-000001.tar", "a") as out:
        info = tarfile.TarInfo("lonely.png")
        info.size = 1
        out.addfile(info, io.BytesIO(b"x"))
    assert "flowers-000001.tar/lonely has no label beside it (.cls" in refusal(source, **options)


@pytest.mark.parametrize("form", ["coco", "roboflow"])
def test_splits_of_an_export_are_its_folders(form: str, corpus: Corpus, tmp_path: Path) -> None:
    rows = list(corpus)
    for number, part in enumerate(("train", "valid", "test")):
        chosen = rows[number::3]
        (tmp_path / part).mkdir()
        for name, _, content in chosen:
            (tmp_path / part / f"{name}.png").write_bytes(content)
        if form == "roboflow":
            marks = ([f"{name}.png", *(int(label == c) for c in forms.CLASSES)] for name, label, _ in chosen)
            forms.write_rows(tmp_path / part / "_classes.csv", ["filename", *(f" {c}" for c in forms.CLASSES)], marks)
            continue
        content_of = forms.coco_content(corpus, boxes=True)
        keep = {f"{name}.png" for name, _, _ in chosen}
        images = [image for image in content_of["images"] if image["file_name"] in keep]
        ids = {image["id"] for image in images}
        notes = [note for note in content_of["annotations"] if note["image_id"] in ids]
        text = json.dumps(content_of | {"images": images, "annotations": notes})
        (tmp_path / part / "_annotations.coco.json").write_text(text)
    found = read(tmp_path)
    assert [found.split.count(part) for part in ("train", "val", "test")] == [40, 40, 40]
    assert found.classes == forms.CLASSES
    assert found.task == ("multilabel" if form == "roboflow" else "classify")
    if form == "coco":
        assert "train/d000.png" in found.paths
        assert "train/d000.png#xywh=1,2,20,24" in read(tmp_path, crop_boxes=True).paths


def test_marks_and_annotations_that_cannot_be_read_are_named(corpus: Corpus, tmp_path: Path) -> None:
    forms.flat(corpus, tmp_path / "a")
    forms.write_rows(tmp_path / "a" / "_classes.csv", ["filename", "x"], iter([["d000.png", 1], ["d001.png", 2]]))
    assert "line 3 has cells other than 0 and 1" in refusal(tmp_path / "a")
    (tmp_path / "b").mkdir()
    forms.voc(corpus, tmp_path / "b")
    (tmp_path / "b" / "Annotations" / "d005.xml").write_text("<annotation><object/></annotation>")
    assert "d005.xml: an object has no name" in refusal(tmp_path / "b")
    (tmp_path / "c").mkdir()
    source, _ = forms.label_studio(corpus, tmp_path / "c")
    tasks = json.loads(source.read_text())
    tasks[4]["data"] = {"text": "no picture"}
    source.write_text(json.dumps(tasks))
    assert "task [4] names no picture" in refusal(source)


# ------------------------------------------------------------------------------------------ TFRecord


def test_records_that_are_damaged_or_cut_short_are_named(corpus: Corpus, tmp_path: Path) -> None:
    rows = forms.slim(corpus)
    source = tmp_path / "a.tfrecord"
    start = len(b"".join(rows[:7]))
    for at, said in ((4, "record 7 (at byte"), (40, "record 7 is damaged (its bytes are not")):
        content = bytearray(b"".join(rows))
        content[start + at] ^= 1
        source.write_bytes(content)
        assert said in refusal(source)
    source.write_bytes(b"".join(rows)[:-5])
    assert "record 119 (at byte" in refusal(source)
    assert "cut short" in refusal(source)
    source.write_bytes(rows[0] + forms.record(b"\x0a\xff\xff\xff\xff\x7f") + rows[1])
    assert "record 1 holds no tf.train.Example" in refusal(source)


def test_a_record_damaged_after_the_scan_is_refused_when_it_is_read(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.tfrecords(corpus, tmp_path)
    samples = read(source)
    path = source / "flowers-00001-of-00002.tfrecord"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 255
    with open(path, "r+b") as handle:
        handle.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(PictureError, match=r"00001-of-00002\.tfrecord/image/encoded/0.*check sum"):
        decode(samples.source(60), DecodeSettings(32))


def test_records_without_pictures_or_labels_say_what_they_hold(tmp_path: Path) -> None:
    source = tmp_path / "a.tfrecord"
    source.write_bytes(forms.record(forms.example(pixels=bytes(300), height=10, label=1)) * 2)
    said = refusal(source)
    assert "there are pixels, height, label" in said
    assert "encoded pictures" in said
    picture = forms.png(np.zeros((4, 4, 3), np.uint8))
    rows = [forms.example(image=picture, mask=picture, kind=i, sort=i) for i in range(4)]
    source.write_bytes(b"".join(map(forms.record, rows)))
    said = refusal(source)
    assert "kind, sort" in said
    assert "--label-column" in said
    other = [forms.example(front=picture, back=picture, label=i) for i in range(4)]
    source.write_bytes(b"".join(map(forms.record, other)))
    assert "several features are pictures: back, front; say which with --image-column" in refusal(source)
    assert read(source, image_column="front").paths[3] == "a.tfrecord/front/3"


def test_prepared_folders_that_are_not_whole_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.tfds(corpus, tmp_path)
    (source / "3.0.1" / "flowers-train.tfrecord-00001-of-00002").unlink()
    assert "the split 'train' has 60 records, and dataset_info.json tells of 120" in refusal(source)
    info = source / "3.0.1" / "dataset_info.json"
    info.write_text(json.dumps({"fileFormat": "array_record"}))
    said = refusal(source)
    assert "array_record" in said
    assert 'file_format="tfrecord"' in said
    info.write_text("[")
    assert "dataset_info.json is no JSON" in refusal(source)
    (source / "2.0.0").mkdir()
    (source / "2.0.0" / "features.json").write_text("{}")
    assert "several versions: 2.0.0, 3.0.1" in refusal(source)


def test_splits_of_records_are_taken_from_the_names_of_files(corpus: Corpus, tmp_path: Path) -> None:
    rows = forms.slim(corpus)
    for number, name in enumerate(("train", "validation", "test")):
        (tmp_path / f"flowers-{name}-00000-of-00001.tfrecord").write_bytes(b"".join(rows[number::3]))
    found = read(tmp_path)
    assert [found.split.count(part) for part in ("train", "val", "test")] == [40, 40, 40]


@pytest.mark.extended
def test_what_tensorflow_writes_is_read(tmp_path: Path) -> None:
    code = """
import sys, tensorflow as tf
def feature(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
with tf.io.TFRecordWriter(sys.argv[1]) as out:
    for i in range(4):
        picture = tf.io.encode_png(tf.fill([200, 100, 3], tf.cast(i, tf.uint8))).numpy()
        values = {"image": picture, "label": [i % 2], "other": [-1, 300, 2 ** 40]}
        out.write(tf.train.Example(features=tf.train.Features(
            feature={name: feature(value) for name, value in values.items()})).SerializeToString())
"""
    source = tmp_path / "a.tfrecord"
    subprocess.run([sys.executable, "-c", code, str(source)], check=True, capture_output=True)
    found = read(source)
    assert found.targets.tolist() == [0, 1, 0, 1]
    assert [int(decode(found.source(i), DecodeSettings(8)).max()) for i in range(4)] == [0, 1, 2, 3]


def test_tables_of_open_images_that_do_not_fit_are_named(corpus: Corpus, tmp_path: Path) -> None:
    source, options = forms.open_images(corpus, tmp_path)
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:3], "gone,verification,/m/0d,1", *lines[3:]]))
    said = refusal(source, **options)
    assert "gone" in said
    assert "row 4" in said or "line 4" in said
    for bad in ("d000,verification,/m/0d,maybe", "d000,verification"):
        source.write_text("\n".join([*lines[:3], bad, *lines[3:]]))
        assert "4" in refusal(source, **options)
    source.write_text("\n".join([*lines, "d000,verification,/m/0unknown,1"]))
    assert "no name for the labels /m/0unknown" in refusal(source, **options)
    source.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.endswith(",0"))]))
    assert "no labelled pictures" in refusal(source, **options)
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax\nd000,/m/0d,0.1,0.5,0,1\nr000,/m/0r,"
    for box, told in (("0.5,0.2,0,1", "is none"), ("0.5,x,0,1", "is no four numbers"), ("0.5,1.5,0,1", "is none")):
        source.write_text(header + box)
        assert f"line 3 has a box that {told}" in refusal(source, crop_boxes=True, **options)
