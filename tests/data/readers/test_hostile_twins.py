"""Every form has a twin that is damaged, contradicts itself or means harm; each is refused by name."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.readers.forms import FORMS, Corpus
from tests.data.readers.label_forms import LABEL_FORMS, Labelled
from tests.data.readers.pixel_forms import PIXEL_FORMS, Divided
from tests.data.readers.test_hostile_forms import _Harm, beside
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.errors import ConfigError, DataError

Options = dict[str, Any]
Harm = Callable[[Path, Options], Options | None]  # changes the data in place, and may give other options


def cut(pattern: str = "", share: float = 2 / 3) -> Harm:
    """The first file of that name ends early."""

    def harm(source: Path, options: Options) -> None:
        path = sorted(source.rglob(pattern))[0] if pattern else source
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return harm


def flipped(pattern: str, mark: bytes, behind: int) -> Harm:
    """One byte of the first file of that name is another."""

    def harm(source: Path, options: Options) -> None:
        path = sorted(source.rglob(pattern))[0] if pattern else source
        content = bytearray(path.read_bytes())
        content[content.index(mark) + behind] ^= 255
        path.write_bytes(content)

    return harm


def text(name: str, old: str, new: str) -> Harm:
    """In a text file, the first `old` is `new`."""

    def harm(source: Path, options: Options) -> None:
        path = source / name if name else source
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return harm


def added(name: str, content: bytes = b"x") -> Harm:
    def harm(source: Path, options: Options) -> None:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)

    return harm


def gone(pattern: str) -> Harm:
    def harm(source: Path, options: Options) -> None:
        sorted((source if source.is_dir() else source.parent).rglob(pattern))[0].unlink()

    return harm


def asked(**other: Any) -> Harm:
    return lambda source, options: options | other


def changed_json(change: Callable[[Any], Any]) -> Harm:
    def harm(source: Path, options: Options) -> None:
        content = json.loads(source.read_text())
        change(content)
        source.write_text(json.dumps(content))

    return harm


def dangling(source: Path, options: Options) -> None:
    (source / "rose" / "extra.png").symlink_to("nowhere.png")


def leading_out(source: Path, options: Options) -> None:
    with zipfile.ZipFile(source, "a") as out:
        out.writestr("../rose/1.png", b"x")


def linked(source: Path, options: Options) -> None:
    info = tarfile.TarInfo("flowers/rose/secret.png")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(source, "a") as out:
        out.addfile(info)


def bomb(source: Path, options: Options) -> None:
    with gzip.open(source, "wb", 9) as out:
        for _ in range(80):
            out.write(bytes(1 << 20))


def row_to_nothing_in_zip(source: Path, options: Options) -> None:
    with zipfile.ZipFile(source.parent) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["train.csv"] += b"gone,rose\n"
    with zipfile.ZipFile(source.parent, "w") as out:
        for name, content in entries.items():
            out.writestr(name, content)


def objects(source: Path, options: Options) -> None:
    np.savez(source, x=np.array([_Harm()], dtype=object), y=np.arange(1), allow_pickle=True)


def shorter_idx(source: Path, options: Options) -> None:
    source.write_bytes(gzip.compress(gzip.decompress(source.read_bytes())[:-5]))


def pickled_harm(source: Path, options: Options) -> None:
    content = pickle.dumps({b"labels": [1], b"data": _Harm()}, protocol=2)
    if source.is_dir():
        (source / "data_batch_1").write_bytes(content)
        return
    with tarfile.open(source, "w:gz") as out:
        for name in ("data_batch_1", "batches.meta"):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))


def entities(name: str) -> Harm:
    content = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotations><image name="&c;"/></annotations>'
    return added(name, content)


def other_shard(source: Path, options: Options) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), source / "data" / "validation-00000-of-00001.parquet")


def no_bytes(source: Path, options: Options) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(source).to_pylist()
    rows[7]["image"]["bytes"] = None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), source)


def unlabelled_entry(source: Path, options: Options) -> None:
    with tarfile.open(source / "flowers-000001.tar", "a") as out:
        info = tarfile.TarInfo("lonely.png")
        info.size = 1
        out.addfile(info, io.BytesIO(b"x"))


PLAYLIST = b"#EXTM3U\n/etc/passwd\n"


def playlist_in_zip(source: Path, options: Options) -> None:
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("rose/extra.mov", PLAYLIST)


def playlist_in_tar(source: Path, options: Options) -> None:
    with tarfile.open(source, "a") as out:
        info = tarfile.TarInfo("films/rose/extra.mov")
        info.size = len(PLAYLIST)
        out.addfile(info, io.BytesIO(PLAYLIST))


def growing_film(source: Path, options: Options) -> None:
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as out:
        out.writestr("train/rose/extra.mov", bytes(80 << 20))


def many_channels(source: Path, options: Options) -> None:
    """A TIFF of five channels: little-endian, one strip of zeros."""
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200),
            (277, 3, 1, 5), (278, 3, 1, 8), (279, 4, 1, 320)]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path = sorted(source.rglob("*.tif"))[0]
    path.write_bytes(head.ljust(200, b"\0") + bytes(320))


def huge_jxl(source: Path, options: Options) -> None:
    """A file that says it has 2^30 × 2^30 pixels, and nothing else."""
    bits = 0 | 3 << 1 | ((1 << 30) - 1) << 3 | 1 << 33  # not small; height by 30 bits; as wide as high
    (source / "train" / "rose" / "extra.jxl").write_bytes(b"\xff\x0a" + bits.to_bytes(8, "little"))


def category(content: Any) -> None:
    content["annotations"][7]["category_id"] = 99


def picture(content: Any) -> None:
    content["annotations"][7]["image_id"] = 999


def lost_file(content: Any) -> None:
    content["images"][3]["file_name"] = "gone.png"


def no_image(content: Any) -> None:
    content[4].pop("image", None)
    content[4]["data"] = {"text": "no picture"}


def outside(source: Path, options: Options) -> None:
    path = source / "train" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [99, 99, 5, 5]
    path.write_text(json.dumps(content))


TWINS: dict[str, tuple[Harm, str]] = {
    "folder": (dangling, r"rose/extra\.png is a link to a file that does not exist"),
    "folders in class folders": (dangling, r"rose/extra\.png is a link"),
    "class folders in folders, leaf": (added("loose.png"), r"loose\.png.*folder of its class"),
    "class folders in folders, path": (asked(class_level="roots"), "choose from top, leaf, path"),
    "zip": (leading_out, "leads out of it, .*rose/1"),
    "zip, stored": (flipped("", b"IDAT", 100), r"daisy/d000\.png .*check sum"),
    "tar": (linked, "a link, flowers/rose/secret"),
    "tar.gz": (bomb, "decompression bomb"),
    "tar.xz": (cut(), r"flowers\.tar\.xz cannot be unpacked to its end"),
    "tar.bz2": (cut(), r"flowers\.tar\.bz2 cannot be unpacked to its end"),
    "tar.zst": (cut(), r"flowers\.tar\.zst"),
    "csv": (text("", "daisy/d003.png", "daisy/gone.png"), r"line 5: daisy/gone\.png"),
    "csv in a zip": (row_to_nothing_in_zip, "line 122: .*gone"),
    "csv of named columns": (text("", "training", "elsewhere"), "a split other than train, val, test.*elsewhere"),
    "csv of codes": (gone("names.csv"), r"names\.csv does not exist"),
    "kaggle": (lambda source, options: added("train_images/d000.jpg")(source.parent, options), "may mean d000"),
    "tsv of any columns": (asked(path_template="a/b/{nokey}.png"), "there is no column 'nokey'.*nearest: 'key'"),
    "json lines": (text("", '{"file_name": "d004.png"', '{"file_name": "d004.png'), "line 5 is no JSON"),
    "excel": (cut(), r"list\.xlsx"),
    "parquet": (no_bytes, r"flowers\.parquet/image/7|holds no bytes"),
    "parquet of paths": (gone("d009.png"), r"row 9: images/d009\.png"),
    "npz": (objects, "save plain arrays"),
    "idx": (shorter_idx, "needs 368,640 bytes for them, but has 368,635"),
    "cifar": (pickled_harm, r"data_batch_1 is a pickle.*posix\.system"),
    "cifar in tar.gz": (pickled_harm, r"is a pickle.*posix\.system"),
    "coco": (changed_json(category), r"annotations\[7\] has the category_id 99"),
    "coco beside": (cut("instances_default.json"), r"annotations/instances_default\.json is no JSON"),
    "coco's file beside": (changed_json(category), r"annotations\[7\] has the category_id 99"),
    "label studio's own folder": (changed_json(no_image), r"task \[4\] names no picture"),
    "roboflow boxes": (text("_annotations.csv", "daisy,5,2,21", "daisy,5,2,left"), "line 3 has a box that is none"),
    "yolo": (text("labels/d003.txt", "0 0.5", "7 0.5"), r"d003\.txt: line 1 has the class 7.*0 daisy"),
    "darknet": (text("obj_train_data/d003.txt", "0.25", "wide"), r"d003\.txt: line 1 is no box"),
    "inaturalist": (changed_json(lost_file), r"annotations\[3\]: .*gone\.png"),
    "label studio": (changed_json(no_image), r"task \[4\] names no picture"),
    "label studio, min": (changed_json(no_image), r"task \[4\] names no picture"),
    "voc": (entities("Annotations/d005.xml"), r"d005\.xml declares entities of its own"),
    "cvat": (entities("annotations.xml"), "declares entities of its own"),
    "open images": (text("", "d001,verification,/m/0d,1", "d001,verification,/m/0d,maybe"), "line 3 .*'maybe'"),
    "hub folder": (other_shard, "validation-00000-of-00001.parquet has the columns text"),
    "hub on disk": (cut("*.arrow"), "data-00000-of-00001.arrow"),
    "webdataset": (unlabelled_entry, r"flowers-000001\.tar/lonely has no label beside it"),
    "tfrecords": (flipped("flowers-00001*", b"IDAT", 100), r"record 0 is damaged.*check sum"),
    "tfrecord, packed": (cut(), r"flowers\.tfrec cannot be unpacked to its end"),
    "tfds": (gone("*-00001-of-00002"), r"has 60 records, and dataset_info\.json tells of 120"),
    "films": (added("rose/extra.mov", PLAYLIST), r"rose/extra\.mov is called like a film, but is of no form"),
    "films in a zip": (playlist_in_zip, r"films\.zip/rose/extra\.mov is called like a film, but is of no form"),
    "films in a zip, stored": (flipped("", b"IDAT", 100), r"films\.zip/daisy/d000\.mov is damaged"),
    "films in a tar": (playlist_in_tar, r"rose/extra\.mov is called like a film, but is of no form"),
    # that keep pixels only
    "yolo for classification": (added("train/loose.png"), r"directly in train/ \(train/loose\.png\)|loose\.png"),
    "dicom": (cut("*.dcm", 0.9), r"\.dcm.*DICOM whose pixels cannot be unpacked"),
    "dicom of several frames": (cut("*.dcm", 0.9), "DICOM whose pixels cannot be unpacked"),
    "16 bits by percentiles": (many_channels, r"p000\.tif.*not supported.*save it as RGB"),
    "pages of tiffs": (cut("*.tif", 0.5), r"all\.tif"),
    "frames of films": (cut("*.mov"), r"all\.mov is (damaged|no film)"),
    "frames of films in a zip": (growing_film, r"train/rose/extra\.mov would grow from"),
    "heic": (cut("*.heic", 0.5), r"\.heic.*damaged"),
    "avif": (cut("*.avif", 0.5), r"\.avif.*damaged"),
    "jxl": (huge_jxl, r"extra\.jxl.*(decompression bomb|pip install 'transferkit\[jxl\]')"),
    "boxes of roboflow": (outside, r"#xywh=99,99,5,5.*outside of the picture"),
    "boxes of voc": (text("Annotations/p003.xml", "<xmin>5</xmin>", ""), "p003.xml: .*no whole <bndbox>"),
    "boxes of cvat": (text("", 'xtl="5"', 'xtl="left"'), r"a box of image \[0\] has no xtl"),
    # with several labels
    "several: csv": (text("", "d001.png,", "d000.png,"), r"line 3: d000\.png is also in line 2"),
    "several: csv by another sign": (text("", "d001.png,daisy", "d001.png,more,daisy"), "line 3: 3 cells"),
    "several: csv by commas": (text("", 'd001.png,"', "d001.png,'\""), "line 3|quote"),
    "several: csv of marks": (text("", "d001.png,1", "d001.png,2"), "need 0 or 1.*line 3: daisy='2'|label_daisy='2'"),
    "several: csv of named columns of marks": (asked(label_column=("dasy", "wet")), "no column 'dasy'.*'daisy'"),
    "several: csv of columns of names": (asked(label_column=("kind", "watr")), "no column 'watr'.*'water'"),
    "several: json lines of lists": (text("", '{"file_name": "d002.png"', '[{"file_name": "d002.png"'), "line 3"),
    "several: parquet of lists": (no_bytes, "holds no bytes"),
    "several: roboflow": (text("_classes.csv", "d001.png,1", "d001.png,2"), "line 3 has cells other than 0 and 1"),
    "several: coco": (changed_json(picture), r"annotations\[7\] has the image_id 999"),
    "several: label studio": (changed_json(no_image), r"task \[4\] names no picture"),
    "several: cvat": (text("annotations.xml", '<image name="d001.png">', "<image>"), r"image \[1\] has no name"),
    "several: voc": (text("Annotations/d003.xml", "<name>daisy</name>", ""), "d003.xml: an object has no name"),
    "several: open images": (text("", "d001,daisy,1", "d001,daisy"), "line"),
}
ALL = [*FORMS, *PIXEL_FORMS, *(f"several: {form}" for form in LABEL_FORMS)]


def made(form: str, to: Path) -> tuple[Path, Options]:
    if form in FORMS:
        return FORMS[form](Corpus(), to)
    if form in PIXEL_FORMS:
        if form == "jxl":  # its twin needs no file of the form, which cannot be written everywhere
            form = "yolo for classification"
        return PIXEL_FORMS[form][1](Divided(PIXEL_FORMS[form][0]()), to)
    return LABEL_FORMS[form.removeprefix("several: ")](Labelled(), to)


def test_every_form_has_a_twin() -> None:
    assert sorted(TWINS) == sorted(ALL)


def use(source: Path, options: Options) -> None:
    """Read every picture."""
    samples = scan(source, reading=Reading.checked(options)).hashed()
    for index in range(len(samples)):
        decode(samples.source(index), DecodeSettings(32))


@pytest.mark.parametrize("form", ALL)
def test_a_hostile_twin_is_refused_by_name_and_nothing_is_written(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    source, options = made(form, tmp_path / "data")
    harm, words = TWINS[form]
    options = {k: v for k, v in (harm(source, options) or options).items() if k != "intensity"}
    top = source if source.exists() else source.parent  # a table in an archive
    before = beside(top)
    with pytest.raises((DataError, ConfigError)) as caught:
        use(source, options)
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)
    assert beside(top) == before, "something was written beside the data"
    assert not Path("harmed").exists()
