"""The same 120 pictures in every form that people have. Each builder writes into a folder, and says what to type.

The pictures are PNGs as `containers.pixels.png` writes them, so that forms which keep pixels only give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transferkit.data.containers.pixels import png
from transferkit.data.source import scan
from transferkit.data.splitting.split import split

CLASSES = ("daisy", "rose", "tulip")
EACH = 40
COLOURS = {"daisy": (190, 190, 90), "rose": (200, 60, 60), "tulip": (90, 60, 190)}


class Corpus:
    """Pictures uint8 [120, 32, 32, 3] by class, in the order of a folder."""

    def __init__(self) -> None:
        random = np.random.default_rng(17)
        self.labels = [name for name in CLASSES for _ in range(EACH)]
        base = np.array([COLOURS[name] for name in self.labels])[:, None, None, :]
        self.pixels = np.clip(base + random.integers(-60, 60, (len(self.labels), 32, 32, 3)), 0, 255).astype(np.uint8)
        self.numbers = np.array([CLASSES.index(name) for name in self.labels])
        self.names = [f"{name[0]}{i % EACH:03d}" for i, name in enumerate(self.labels)]

    def __iter__(self) -> Iterator[tuple[str, str, bytes]]:
        """Name, label and PNG of each."""
        return zip(self.names, self.labels, map(png, self.pixels), strict=True)


def class_folders(corpus: Corpus, folder: Path) -> Path:
    for name, label, content in corpus:
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{name}.png").write_bytes(content)
    return folder


def flat(corpus: Corpus, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, _, content in corpus:
        (folder / f"{name}.png").write_bytes(content)
    return folder


def write_rows(path: Path, header: list[str], rows: Iterator[Any], delimiter: str = ",") -> Path:
    with open(path, "w", newline="") as handle:
        out = csv.writer(handle, delimiter=delimiter)
        out.writerow(header)
        out.writerows(rows)
    return path


Source = tuple[Path, dict[str, Any]]
Builder = Callable[[Corpus, Path], Source]


def folder(corpus: Corpus, to: Path) -> Source:
    return class_folders(corpus, to / "flowers"), {}


def zipped(corpus: Corpus, to: Path, compression: int = zipfile.ZIP_DEFLATED, above: str = "flowers/") -> Source:
    path = to / "flowers.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, label, content in corpus:
            archive.writestr(f"{above}{label}/{name}.png", content)
        archive.writestr("__MACOSX/flowers/._x.png", b"resource fork")
    return path, {}


def tarred(kind: str) -> Builder:
    def build(corpus: Corpus, to: Path) -> Source:
        inside = class_folders(corpus, to / "flowers")
        path = to / f"flowers.tar{'.' + kind if kind else ''}"
        if kind == "zst":
            import zstandard

            plain = to / "plain.tar"
            with tarfile.open(plain, "w") as archive:
                archive.add(inside, "flowers")
            path.write_bytes(zstandard.compress(plain.read_bytes()))
            return path, {}
        with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
            archive.add(inside, "flowers")
        return path, {}

    return build


def table(corpus: Corpus, to: Path) -> Source:
    class_folders(corpus, to)
    rows = ((f"{label}/{name}.png", label) for name, label, _ in corpus)
    return write_rows(to / "data.csv", ["path", "label"], rows), {}


def kaggle(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "train_images")
    return write_rows(to / "train.csv", ["id_code", "diagnosis"], zip(corpus.names, corpus.labels, strict=True)), {}


def columns(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "a" / "b")
    rows = ((i, name, "x", label) for i, (name, label, _) in enumerate(corpus))
    path = write_rows(to / "list.tsv", ["n", "key", "site", "kind"], rows, "\t")
    return path, {"label_column": ("kind",), "path_template": "a/b/{key}.png"}


def coded(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to)
    write_rows(to / "names.csv", ["code", "name"], enumerate(CLASSES))
    path = write_rows(to / "train.csv", ["file", "y"], zip(corpus.names, corpus.numbers, strict=True))
    return path, {"classes": str(to / "names.csv")}


def json_lines(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to)
    lines = [json.dumps({"file_name": f"{name}.png", "label": label}) for name, label, _ in corpus]
    (to / "metadata.jsonl").write_text("\n".join(lines))
    return to / "metadata.jsonl", {}


def excel(corpus: Corpus, to: Path) -> Source:
    import openpyxl

    flat(corpus, to)
    book = openpyxl.Workbook()
    book.active.append(["picture", "kind"])
    for name, label, _ in corpus:
        book.active.append([f"{name}.png", label])
    book.save(to / "list.xlsx")
    return to / "list.xlsx", {}


def arrow_table(corpus: Corpus) -> Any:
    import pyarrow

    images = [{"bytes": content, "path": f"{name}.png"} for name, _, content in corpus]
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    found = pyarrow.table({"image": images, "label": corpus.numbers})
    return found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def parquet(corpus: Corpus, to: Path) -> Source:
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow_table(corpus), to / "flowers.parquet", row_group_size=25)
    return to / "flowers.parquet", {}


def parquet_of_paths(corpus: Corpus, to: Path) -> Source:
    import pyarrow
    import pyarrow.parquet

    flat(corpus, to / "images")
    content = pyarrow.table({"image": [f"images/{name}.png" for name in corpus.names], "label": corpus.labels})
    pyarrow.parquet.write_table(content, to / "list.parquet")
    return to / "list.parquet", {}


def npz(corpus: Corpus, to: Path) -> Source:
    np.savez(to / "flowers.npz", x=corpus.pixels, y=corpus.numbers, class_names=np.array(CLASSES))
    return to / "flowers.npz", {}


def idx(corpus: Corpus, to: Path) -> Source:
    """MNIST's form, packed as it is handed out."""
    pixels, labels = corpus.pixels, corpus.numbers.astype(np.uint8)
    head = struct.pack(">BBBB4I", 0, 0, 8, 4, *pixels.shape)
    with gzip.open(to / "train-images-idx4-ubyte.gz", "wb") as handle:
        handle.write(head + pixels.tobytes())
    (to / "train-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, len(labels)) + labels.tobytes())
    return to / "train-images-idx4-ubyte.gz", {}


def cifar_batches(corpus: Corpus, to: Path) -> Path:
    inside = to / "cifar-10-batches-py"
    inside.mkdir(parents=True)
    data = corpus.pixels.transpose(0, 3, 1, 2).reshape(len(corpus.pixels), -1)
    for number in range(2):
        rows = slice(60 * number, 60 * number + 60)
        batch = {b"batch_label": b"of tests", b"labels": corpus.numbers[rows].tolist(), b"data": data[rows].copy()}
        (inside / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"label_names": [name.encode() for name in CLASSES]}
    (inside / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return inside


def cifar(corpus: Corpus, to: Path) -> Source:
    return cifar_batches(corpus, to), {}


def cifar_packed(corpus: Corpus, to: Path) -> Source:
    inside = cifar_batches(corpus, to / "raw")
    with tarfile.open(to / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(inside, inside.name)
    return to / "cifar-10-python.tar.gz", {}


def coco_content(corpus: Corpus, boxes: bool = False) -> dict[str, Any]:
    notes = [{"id": i, "image_id": i, "category_id": int(n) + 1} for i, n in enumerate(corpus.numbers)]
    if boxes:
        notes = [note | {"bbox": [1, 2, 20, 24]} for note in notes]
    return {
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(corpus.names)],
        "annotations": notes,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
    }


def coco(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "images")
    (to / "instances.json").write_text(json.dumps(coco_content(corpus)))
    return to / "instances.json", {}


def inaturalist(corpus: Corpus, to: Path) -> Source:
    content = coco_content(corpus)
    for image in content["images"]:
        image["file_name"] = f"train_val2021/{image['file_name']}"
    for category in content["categories"]:
        category["supercategory"] = "Plants"
    flat(corpus, to / "train_val2021")
    (to / "train2021.json").write_text(json.dumps(content | {"info": {}, "licenses": []}))
    return to / "train2021.json", {}


def label_studio(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "upload")
    tasks = [
        {
            "id": i, "data": {"image": f"/data/upload/3/{i:08x}-{name}.png"},
            "annotations": [{"result": [{"type": "choices", "value": {"choices": [label]}, "from_name": "choice"}]}],
        }
        for i, (name, label, _) in enumerate(corpus)
    ]  # fmt: skip
    (to / "project-1.json").write_text(json.dumps(tasks))
    return to / "project-1.json", {}


def voc(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "JPEGImages")
    (to / "Annotations").mkdir()
    for name, label, _ in corpus:
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>21</xmax><ymax>26</ymax></bndbox>"
        (to / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><object><name>{label}</name>{box}</object></annotation>"
        )
    return to, {}


def cvat(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "images")
    images = [
        f'<image id="{i}" name="{name}.png" width="32" height="32"><tag label="{label}" source="manual"></tag></image>'
        for i, (name, label, _) in enumerate(corpus)
    ]
    (to / "annotations.xml").write_text(f"<annotations><version>1.1</version>{''.join(images)}</annotations>")
    return to, {}


def open_images(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "train")
    codes = dict(zip(CLASSES, ("/m/0d", "/m/0r", "/m/0t"), strict=True))
    rows = [(name, "verification", codes[label], 1) for name, label, _ in corpus]
    rows += [(name, "verification", "/m/0x", 0) for name in corpus.names]
    path = write_rows(to / "labels.csv", ["ImageID", "Source", "LabelName", "Confidence"], iter(rows))
    (to / "names.txt").write_text("")
    write_rows(to / "names.csv", ["code", "name"], ((code, name) for name, code in codes.items()))
    return path, {"classes": str(to / "names.csv")}


def coco_beside(corpus: Corpus, to: Path) -> Source:
    """As COCO has it: the annotations in a folder beside those of the pictures, key points and captions among them."""
    flat(corpus, to / "images" / "default")
    (to / "annotations").mkdir()
    (to / "annotations" / "instances_default.json").write_text(json.dumps(coco_content(corpus, boxes=True)))
    (to / "annotations" / "captions_default.json").write_text(json.dumps({"images": [], "annotations": []}))
    return to, {}


def coco_file_beside(corpus: Corpus, to: Path) -> Source:
    source, options = coco_beside(corpus, to)
    return source / "annotations" / "instances_default.json", options


def label_studio_kept(corpus: Corpus, to: Path) -> Source:
    """Pictures as Label Studio's own folder keeps them, with a sign before the name."""
    path, options = label_studio(corpus, to)
    for i, name in enumerate(corpus.names):
        (to / "upload" / f"{name}.png").rename(to / "upload" / f"{i:08x}-{name}.png")
    return path, options


def roboflow_boxes(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to)
    header = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]
    rows = [(f"{name}.png", 32, 32, label, at, 2, 21, 26) for name, label, _ in corpus for at in (1, 5)]
    write_rows(to / "_annotations.csv", header, iter(rows))
    return to, {}


def yolo(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to / "images")
    (to / "labels").mkdir()
    for name, number in zip(corpus.names, corpus.numbers, strict=True):
        (to / "labels" / f"{name}.txt").write_text(f"{number} 0.5 0.5 0.25 0.5\n{number} .2 .2 .1 .1 .9 .9\n")
    (to / "data.yaml").write_text(f"train: ../images\nnc: 3\nnames: {list(CLASSES)}\n")
    return to, {}


def darknet(corpus: Corpus, to: Path) -> Source:
    """Texts beside the pictures, names in a file of their own, as CVAT and labelImg export them."""
    flat(corpus, to / "obj_train_data")
    for name, number in zip(corpus.names, corpus.numbers, strict=True):
        (to / "obj_train_data" / f"{name}.txt").write_text(f"{number} 0.5 0.5 0.25 0.5")
    (to / "obj.names").write_text("\n".join(CLASSES) + "\n")
    return to, {}


FORMS: dict[str, Builder] = {
    "folder": folder,
    "zip": zipped,
    "zip, stored": lambda corpus, to: zipped(corpus, to, zipfile.ZIP_STORED, above=""),
    "tar": tarred(""),
    "tar.gz": tarred("gz"),
    "tar.xz": tarred("xz"),
    "tar.zst": tarred("zst"),
    "csv": table,
    "kaggle": kaggle,
    "tsv of any columns": columns,
    "csv of codes": coded,
    "json lines": json_lines,
    "excel": excel,
    "parquet": parquet,
    "parquet of paths": parquet_of_paths,
    "npz": npz,
    "idx": idx,
    "cifar": cifar,
    "cifar in tar.gz": cifar_packed,
    "coco": coco,
    "inaturalist": inaturalist,
    "label studio": label_studio,
    "voc": voc,
    "cvat": cvat,
    "open images": open_images,
    "coco beside": coco_beside,
    "coco's file beside": coco_file_beside,
    "label studio's own folder": label_studio_kept,
    "roboflow boxes": roboflow_boxes,
    "yolo": yolo,
    "darknet": darknet,
}


def hub_folder(corpus: Corpus, to: Path) -> Source:
    """Parquet shards, as the hub keeps them."""
    import pyarrow.parquet

    (to / "data").mkdir()
    whole = arrow_table(corpus)
    for number in range(2):
        part = whole.slice(60 * number, 60)
        pyarrow.parquet.write_table(part, to / "data" / f"train-{number:05}-of-00002.parquet", row_group_size=25)
    (to / "README.md").write_text("# A data set")
    return to, {}


def hub_on_disk(corpus: Corpus, to: Path) -> Source:
    """What `datasets.save_to_disk` writes: Arrow streams."""
    import pyarrow.ipc

    whole = arrow_table(corpus)
    with pyarrow.ipc.new_stream(str(to / "data-00000-of-00001.arrow"), whole.schema) as out:
        out.write_table(whole, max_chunksize=50)
    (to / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (to / "dataset_info.json").write_text("{}")
    return to, {}


def webdataset(corpus: Corpus, to: Path) -> Source:
    entries = list(corpus)
    for number in range(2):
        with tarfile.open(to / f"flowers-{number:06}.tar", "w") as archive:
            for name, label, content in entries[60 * number : 60 * number + 60]:
                for ending, part in (("png", content), ("cls", str(CLASSES.index(label)).encode()), ("json", b"{}")):
                    info = tarfile.TarInfo(f"{name}.{ending}")
                    info.size = len(part)
                    archive.addfile(info, io.BytesIO(part))
    (to / "names.json").write_text(json.dumps(dict(enumerate(CLASSES))))
    return to, {"classes": str(to / "names.json")}


FORMS |= {"hub folder": hub_folder, "hub on disk": hub_on_disk, "webdataset": webdataset}


def varint(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])


def sized(number: int, content: bytes) -> bytes:
    """A field of protocol buffers: text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(**values: bytes | int | list[float]) -> bytes:
    """A `tf.train.Example`; `_` in a name stands for `/`."""
    entries = b""
    for name, value in values.items():
        if isinstance(value, bytes):
            feature = sized(1, sized(1, value))
        elif isinstance(value, int):
            feature = sized(3, sized(1, varint(value % (1 << 64))))
        else:
            feature = sized(2, sized(1, np.array(value, "<f4").tobytes()))
        entries += sized(1, sized(1, name.replace("_", "/").encode()) + sized(2, feature))
    return sized(1, entries)


def record(content: bytes) -> bytes:
    from transferkit.data.containers.crc32c import masked

    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked(length)) + content + struct.pack("<I", masked(content))


def slim(corpus: Corpus) -> list[bytes]:
    """Records as tf-slim writes them."""
    return [
        record(example(image_encoded=content, image_format=b"png", image_class_label=CLASSES.index(label) + 1,
                       image_class_text=label.encode(), image_filename=name.encode(), box=[0.25, 0.5]))
        for name, label, content in corpus
    ]  # fmt: skip


def tfrecords(corpus: Corpus, to: Path) -> Source:
    rows = slim(corpus)
    for number in range(2):
        (to / f"flowers-{number:05}-of-00002.tfrecord").write_bytes(b"".join(rows[60 * number : 60 * number + 60]))
    return to, {}


def tfrecord_packed(corpus: Corpus, to: Path) -> Source:
    """One file, as Kaggle names it, packed."""
    (to / "flowers.tfrec").write_bytes(gzip.compress(b"".join(slim(corpus))))
    return to / "flowers.tfrec", {}


def tfds(corpus: Corpus, to: Path) -> Source:
    """What TensorFlow Datasets prepares."""
    inside = to / "3.0.1"
    inside.mkdir()
    rows = [record(example(image=content, label=CLASSES.index(label))) for _, label, content in corpus]
    for number in range(2):
        content = b"".join(rows[60 * number : 60 * number + 60])
        (inside / f"flowers-train.tfrecord-{number:05}-of-00002").write_bytes(content)
    splits = [{"name": "train", "shardLengths": ["60", "60"], "numBytes": "1"}]
    (inside / "dataset_info.json").write_text(
        json.dumps({"name": "flowers", "fileFormat": "tfrecord", "splits": splits})
    )
    (inside / "features.json").write_text("{}")
    (inside / "label.labels.txt").write_text("\n".join(CLASSES) + "\n")
    return to, {}


def lossless_films(corpus: Corpus, to: Path) -> Source:
    """A film of one frame for each picture, so that no two are kept together."""
    import av

    for (name, label, _), pixels in zip(corpus, corpus.pixels, strict=True):
        (to / label).mkdir(exist_ok=True)
        with av.open(str(to / label / f"{name}.mov"), "w") as out:
            stream = out.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
            for packet in [*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *stream.encode()]:
                out.mux(packet)
    return to, {"frames": "every:1s"}


FORMS |= {"films": lossless_films, "tfrecords": tfrecords, "tfrecord, packed": tfrecord_packed, "tfds": tfds}


def packed_films(kind: str) -> Builder:
    """The same in an archive, where they are packed, or lie as they are."""

    def build(corpus: Corpus, to: Path) -> Source:
        (to / "films").mkdir()
        source, options = lossless_films(corpus, to / "films")
        if kind == "tar":
            with tarfile.open(to / "films.tar", "w") as out:
                out.add(source, "films")
            return to / "films.tar", options
        compression = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        with zipfile.ZipFile(to / "films.zip", "w", compression) as archive:
            for path in sorted(source.rglob("*.mov")):
                archive.write(path, path.relative_to(source))
        return to / "films.zip", options

    return build


def named_columns(corpus: Corpus, to: Path) -> Source:
    """A table of which every column is called otherwise than one would guess, with splits and groups."""
    flat(corpus, to)
    samples = scan(class_folders(corpus, to / "split by this"))
    parts = split(samples.hashed(), (0.7, 0.15, 0.15), 0).assignment
    rows = (
        (
            i,
            f"{name}.png",
            label.upper(),
            label,
            {"train": "training", "val": "dev", "test": "test"}[part],
            f"{part} {i // 3}",
        )
        for i, ((name, label, _), part) in enumerate(zip(corpus, parts, strict=True))
    )
    path = write_rows(to / "list.csv", ["n", "what", "shouted", "spoken", "use", "bed"], rows)
    return path, {"image_column": "what", "label_column": ("spoken",), "split_column": "use", "group_column": "bed"}


def table_in_zip(corpus: Corpus, to: Path) -> Source:
    with zipfile.ZipFile(to / "all.zip", "w") as archive:
        for name, _, content in corpus:
            archive.writestr(f"train_images/{name}.png", content)
        archive.writestr("train.csv", "id_code,diagnosis\n" + "".join(f"{name},{label}\n" for name, label, _ in corpus))
    return to / "all.zip" / "train.csv", {}


def nested(level: str) -> Builder:
    """Class folders that hold folders (`top`), or lie in others: the class is the last of them, or all."""

    def build(corpus: Corpus, to: Path) -> Source:
        for i, (name, label, content) in enumerate(corpus):
            folder = to / (f"{label}/bed {i // 20 % 2}" if level == "top" else f"plant/{label}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(content)
        return to, {} if level == "top" else {"class_level": level}

    return build


def label_studio_min(corpus: Corpus, to: Path) -> Source:
    flat(corpus, to)
    tasks = [
        {"id": i, "image": f"/data/local-files/?d={name}.png", "choice": label, "annotator": 1}
        for i, (name, label, _) in enumerate(corpus)
    ]
    (to / "min.json").write_text(json.dumps(tasks))
    return to / "min.json", {}


FORMS |= {
    "tar.bz2": tarred("bz2"),
    "csv of named columns": named_columns,
    "csv in a zip": table_in_zip,
    "folders in class folders": nested("top"),
    "class folders in folders, leaf": nested("leaf"),
    "class folders in folders, path": nested("path"),
    "label studio, min": label_studio_min,
    "films in a zip": packed_films("deflated"),
    "films in a zip, stored": packed_films("stored"),
    "films in a tar": packed_films("tar"),
}
