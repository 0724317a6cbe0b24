"""Every reader in one table, and which one a source is for: the most certain, or an error where two are as certain.

A reader looks at a source (`detect`: how sure it is, from 0 to 1, that the source is its own) and reads it (`read`).
Packages add readers of their own (`plugins.Reader`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.containers.plugged_pictures import detect as looks
from transferkit.data.containers.plugged_pictures import offered
from transferkit.data.readers import (
    array_files,
    coco,
    label_studio,
    marked_tables,
    plugged,
    sharded,
    tf_records,
    voc,
    yolo,
)
from transferkit.data.readers.exported import Parser, scan_export
from transferkit.data.readers.folder import scan_folder
from transferkit.data.readers.request import Request
from transferkit.data.readers.table import COLUMN_OPTIONS, is_table, scan_table
from transferkit.data.readers.walk import is_folder
from transferkit.data.samples import Samples, shown
from transferkit.errors import ConfigError, DataError, nearest


@dataclass(frozen=True)
class Reader:
    """One way to read.

    Args:
        name: what `--reader` takes.
        form: what it reads, in words that go on "it is".
        detect: how sure it is that a source is its own: 0 is not, 1 is certain. Opens no picture.
        read: the samples of a source. Raises DataError with every problem.
        uses: the fields of `Reading` that it obeys.
    """

    name: str
    form: str
    detect: Callable[[Path], float]
    read: Callable[[Path, Request], Samples]
    uses: tuple[str, ...] = ()


LIKELY = 0.5  # how sure one of ours has to be, for plugins not to be asked


def _folder(path: Path) -> float:
    if not places.is_folder(path):
        return 0.0
    return LIKELY if any(map(is_folder, places.listing(path))) else 0.2


def _table(path: Path) -> float:
    return 0.6 if is_table(path) else 0.0


def _export(name: str, parse: Parser) -> Callable[[Path, Request], Samples]:
    return partial(scan_export, parse, name)


EXPORT_OPTIONS = ("crop_boxes", "classes")
READERS: tuple[Reader, ...] = (
    Reader("folder", "a folder of class folders", _folder, scan_folder, ("classes", "class_level")),
    Reader("arrays", "a file of arrays of pictures", array_files.detect, array_files.read),
    Reader("coco", "an export in COCO's JSON", coco.detect, _export("coco", coco.parse), EXPORT_OPTIONS),
    Reader(
        "labelstudio",
        "an export of Label Studio",
        label_studio.detect,
        _export("labelstudio", label_studio.parse),
        EXPORT_OPTIONS,
    ),
    Reader("voc", "Pascal VOC's XML files", voc.detect_voc, _export("voc", voc.parse_voc), EXPORT_OPTIONS),
    Reader("cvat", "an export of CVAT for images", voc.detect_cvat, _export("cvat", voc.parse_cvat), EXPORT_OPTIONS),
    Reader(
        "roboflow",
        "Roboflow's _classes.csv or _annotations.csv",
        marked_tables.detect_roboflow,
        _export("roboflow", marked_tables.parse_roboflow),
        EXPORT_OPTIONS,
    ),
    Reader("yolo", "a YOLO set of boxes", yolo.detect, _export("yolo", yolo.parse), EXPORT_OPTIONS),
    Reader(
        "openimages",
        "a table of Open Images",
        marked_tables.detect_open_images,
        _export("openimages", marked_tables.parse_open_images),
        EXPORT_OPTIONS,
    ),
    Reader(
        "huggingface",
        "a data set of Hugging Face, or a folder of Parquet files",
        sharded.detect_hub,
        sharded.read_hub,
        COLUMN_OPTIONS,
    ),
    Reader("webdataset", "WebDataset's tar files", sharded.detect_web, sharded.read_web, ("classes",)),
    Reader("tfrecord", "TensorFlow's record files", tf_records.detect, tf_records.read, tf_records.USES),
    Reader("table", "a table of pictures and labels", _table, scan_table, COLUMN_OPTIONS),
)


def plugged_readers() -> Iterator[Reader]:
    """Those of plugins."""
    for plugin, record in offered():
        detect, read = partial(looks, plugin, record), partial(plugged.read, plugin, record)
        yield Reader(plugin.name, record.form, detect, read)


def named(name: str) -> Reader:
    """The reader called `name`. Raises ConfigError where there is none."""
    found = {reader.name: reader for reader in READERS}
    found |= {} if name in found else {reader.name: reader for reader in plugged_readers()}
    if name not in found:
        raise ConfigError(f"--reader {name} is unknown; choose from {', '.join(found)}{nearest(name, found)}")
    return found[name]


def chosen(path: Path, name: str = "") -> tuple[Reader, str] | None:
    """The reader for a source, and why it is.

    Args:
        path: of the source.
        name: of a reader that was asked for; empty: the one that is most certain.

    Returns:
        None where none knows it.

    Raises:
        DataError: two are as certain.
        ConfigError: there is no reader of that name.
    """
    if name:
        return named(name), "it was asked for"
    sure = [(reader.detect(path), reader) for reader in READERS]
    best = max(certainty for certainty, _ in sure)
    if best < LIKELY:  # plugins are imported only for what ours do not know
        sure += [(reader.detect(path), reader) for reader in plugged_readers()]
        best = max(certainty for certainty, _ in sure)
    if best <= 0:
        return None
    same = [reader for certainty, reader in sure if certainty == best]
    if len(same) > 1:
        raise DataError(
            f"{shown(path)} can be read in several ways: {'; '.join(f'--reader {r.name} ({r.form})' for r in same)}. "
            "Choose one"
        )
    return same[0], f"it is {same[0].form}"
