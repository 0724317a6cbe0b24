"""120 pictures in the forms that keep pixels but not files: what each decodes to is told beside it.

All have the splits that they are given, for splits are drawn by the content of files.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.readers.forms import CLASSES, Corpus
from transferkit.data.containers.pixels import Array, png

EACH = {"test": 6, "train": 28, "val": 6}  # pictures of a class, in the order of folders


class Divided:
    """The pictures by split and class, in the order in which folders give them."""

    def __init__(self, pixels: Array) -> None:
        corpus = Corpus()
        by_class = {name: np.flatnonzero(np.array(corpus.labels) == name).tolist() for name in CLASSES}
        rows = [(part, name, by_class[name].pop()) for part, count in EACH.items() for name in CLASSES
                for _ in range(count)]  # fmt: skip
        self.parts = [part for part, _, _ in rows]
        self.labels = [label for _, label, _ in rows]
        self.pixels = pixels[[index for _, _, index in rows]]
        self.names = [f"p{number:03d}" for number in range(len(rows))]

    def stacks(self) -> list[tuple[str, str, Array]]:
        """Split, class and all of its pictures."""
        keys = list(dict.fromkeys(zip(self.parts, self.labels, strict=True)))
        both = list(zip(self.parts, self.labels, strict=True))
        return [(*key, self.pixels[[i for i, own in enumerate(both) if own == key]]) for key in keys]


def colours() -> Array:
    return Corpus().pixels


def greys() -> Array:
    """Grey that holds black and white, so that spreading it from its least to its largest value changes nothing."""
    found = Corpus().pixels[:, :, :, 0].copy()
    found[:, 0, :4], found[:, 1, :4] = 0, 255
    return np.repeat(found[:, :, :, None], 3, axis=3)


Source = tuple[Path, dict[str, Any]]
Builder = Callable[[Divided, Path], Source]


def class_folders(write: Callable[[Path, Array], Path], options: dict[str, Any] | None = None) -> Builder:
    """Class folders in the folders of splits, of files that `write` makes of one picture."""

    def build(data: Divided, to: Path) -> Source:
        for part, label, name, pixels in zip(data.parts, data.labels, data.names, data.pixels, strict=True):
            (to / part / label).mkdir(parents=True, exist_ok=True)
            write(to / part / label / name, pixels)
        return to, options or {}

    return build


def stacked(write: Callable[[Path, Array], Path], options: dict[str, Any]) -> Builder:
    """The same of files that `write` makes of all pictures of a class."""

    def build(data: Divided, to: Path) -> Source:
        for part, label, pixels in data.stacks():
            (to / part / label).mkdir(parents=True, exist_ok=True)
            write(to / part / label / "all", pixels)
        return to, options

    return build


def as_png(path: Path, pixels: Array) -> Path:
    path = path.with_suffix(".png")
    path.write_bytes(png(pixels))
    return path


def saved(kind: str, **options: Any) -> Callable[[Path, Array], Path]:
    def write(path: Path, pixels: Array) -> Path:
        path = path.with_suffix(f".{kind}")
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


def twelve_bits(path: Path, pixels: Array) -> Path:
    """Grey of 12 bits in a file of 16."""
    return saved("tif")(path, pixels[:, :, 0].astype(np.uint16) * 16)


def dicom(path: Path, pixels: Array) -> Path:
    """One frame, or several, in colour."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = path.with_suffix(".dcm")
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    if pixels.ndim == 4:
        found.NumberOfFrames = len(pixels)
    found.Rows, found.Columns = pixels.shape[-3:-1]
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "RGB", 0
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 8, 8, 7, 0
    found.PixelData = pixels.tobytes()
    found.save_as(path, enforce_file_format=True)
    return path


def pages(path: Path, pixels: Array) -> Path:
    first, *others = map(Image.fromarray, pixels)
    first.save(path.with_suffix(".tif"), save_all=True, append_images=others)
    return path.with_suffix(".tif")


def film(path: Path, pixels: Array) -> Path:
    """Without loss, a frame a second."""
    import av

    with av.open(str(path.with_suffix(".mov")), "w") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        for frame in pixels:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    return path.with_suffix(".mov")


def in_zip(builder: Builder) -> Builder:
    def build(data: Divided, to: Path) -> Source:
        (to / "raw").mkdir()
        source, options = builder(data, to / "raw")
        with zipfile.ZipFile(to / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in source.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(source))
        return to / "all.zip", options

    return build


def heic(path: Path, pixels: Array) -> Path:
    """Without loss: as RGB, not as brightness and colour."""
    import pillow_heif

    path = path.with_suffix(".heic")
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=-1, chroma=444, matrix_coefficients=0)
    return path


def jxl(path: Path, pixels: Array) -> Path:
    pytest.importorskip("pillow_jxl", reason="needs pillow-jxl-plugin: pip install 'transferkit[jxl]'")
    return saved("jxl", lossless=True)(path, pixels)


def after_avif() -> Array:
    """What AVIF leaves of the colours, as Pillow reads it."""
    found = []
    for pixels in Corpus().pixels:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "AVIF", **AVIF)
        found.append(np.asarray(Image.open(buffer).convert("RGB")))
    return np.stack(found)


AVIF: dict[str, Any] = {"quality": 90, "subsampling": "4:4:4", "speed": 10, "max_threads": 1}


def avif(data: Divided, to: Path) -> Source:
    """Of the pictures as they were before."""
    return class_folders(saved("avif", **AVIF))(Divided(Corpus().pixels), to)


# ------------------------------------------------------------------------------------------ boxes


LEFT, TOP = 5, 3  # where a picture lies in a larger one


def framed(pixels: Array) -> Array:
    large = np.full((40, 44, 3), 77, np.uint8)
    large[TOP : TOP + 32, LEFT : LEFT + 32] = pixels
    return large


def roboflow_coco(data: Divided, to: Path) -> Source:
    """COCO's JSON in the folder of each split, with one box in a picture."""
    for part in EACH:
        (to / part).mkdir()
        rows = [row for row in zip(data.names, data.labels, data.parts, data.pixels, strict=True) if row[2] == part]
        for name, _, _, pixels in rows:
            as_png(to / part / name, framed(pixels))
        content = {
            "images": [{"id": i, "file_name": f"{row[0]}.png"} for i, row in enumerate(rows)],
            "annotations": [
                {"id": i, "image_id": i, "category_id": CLASSES.index(row[1]), "bbox": [LEFT, TOP, 32, 32]}
                for i, row in enumerate(rows)
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        }
        (to / part / "_annotations.coco.json").write_text(json.dumps(content))
    return to, {"crop_boxes": True}


def voc(data: Divided, to: Path) -> Source:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (to / folder).mkdir(parents=True)
    box = f"<xmin>{LEFT}</xmin><ymin>{TOP}</ymin><xmax>{LEFT + 32}</xmax><ymax>{TOP + 32}</ymax>"
    for name, label, pixels in zip(data.names, data.labels, data.pixels, strict=True):
        as_png(to / "JPEGImages" / name, framed(pixels))
        (to / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><object><name>{label}</name><bndbox>{box}</bndbox></object>"
            "</annotation>"
        )
    for part in EACH:
        names = [name for name, own in zip(data.names, data.parts, strict=True) if own == part]
        (to / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names))
    return to, {"crop_boxes": True}


def cvat(data: Divided, to: Path) -> Source:
    (to / "images").mkdir()
    images = []
    for name, label, part, pixels in zip(data.names, data.labels, data.parts, data.pixels, strict=True):
        as_png(to / "images" / name, framed(pixels))
        box = f'<box label="{label}" xtl="{LEFT}" ytl="{TOP}" xbr="{LEFT + 32}" ybr="{TOP + 32}"></box>'
        images.append(f'<image name="{name}.png" subset="{part.title()}" width="44" height="40">{box}</image>')
    (to / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    return to / "annotations.xml", {"crop_boxes": True}


PIXEL_FORMS: dict[str, tuple[Callable[[], Array], Builder]] = {
    "yolo for classification": (colours, class_folders(as_png)),
    "dicom": (colours, class_folders(dicom)),
    "dicom of several frames": (colours, stacked(dicom, {"frames": "all"})),
    "16 bits by percentiles": (greys, class_folders(twelve_bits, {"intensity": "percentile"})),
    "pages of tiffs": (colours, stacked(pages, {"frames": "all"})),
    "frames of films": (colours, stacked(film, {"frames": "every:1s"})),
    "frames of films in a zip": (colours, in_zip(stacked(film, {"frames": "every:1s"}))),
    "heic": (colours, class_folders(heic)),
    "avif": (after_avif, avif),
    "jxl": (colours, class_folders(jxl)),
    "boxes of roboflow": (colours, roboflow_coco),
    "boxes of voc": (colours, voc),
    "boxes of cvat": (colours, cvat),
}
