"""DICOM: windows, inverted grey, several frames; and what cannot be read is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.data.audit.audit import check
from transferkit.data.convert import convert
from transferkit.data.images.decode import DecodeSettings, decode, open_picture
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan

RAMP = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)


def dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.PatientName = "Doe^Jane"
    found.Rows, found.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        found.NumberOfFrames = len(pixels)
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = pixels.dtype.itemsize * 8
    found.HighBit, found.PixelRepresentation = found.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(found, name, value)
    found.PixelData = pixels.tobytes()
    found.save_as(path, enforce_file_format=True)
    return path


def grey(path: Path) -> np.ndarray:
    return np.asarray(open_picture(path))[:, :, 0]


def test_without_a_window_the_whole_range_is_shown(tmp_path: Path) -> None:
    found = grey(dicom(tmp_path / "a.dcm", RAMP))
    assert (found.min(), found.max()) == (0, 255)
    assert np.array_equal(found, np.rint(RAMP / 1023 * 255))


def test_the_first_window_and_the_rescaling_are_applied(tmp_path: Path) -> None:
    plain = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=[512, 40], WindowWidth=[257, 400])
    found = grey(plain)
    low, high = 512 - 0.5 - 128, 512 - 0.5 + 128
    assert np.array_equal(found, np.rint(np.clip((RAMP - low) / (high - low), 0, 1) * 255))
    shifted = dicom(tmp_path / "b.dcm", RAMP, WindowCenter=0, WindowWidth=257, RescaleSlope=1, RescaleIntercept=-512)
    assert np.array_equal(grey(shifted), found)


def test_monochrome1_is_turned(tmp_path: Path) -> None:
    plain, turned = RAMP, dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(grey(turned), 255 - grey(dicom(tmp_path / "a.dcm", plain)))


def test_frames_are_pictures_of_one_group(tmp_path: Path) -> None:
    stack = np.stack([RAMP, RAMP[::-1], RAMP.T])
    for label in ("ill", "well"):
        (tmp_path / label).mkdir()
        dicom(tmp_path / label / "a.dcm", stack)
        dicom(tmp_path / label / "b.dcm", RAMP)
    assert read_header(tmp_path / "ill" / "a.dcm").frames == 3
    assert len(scan(tmp_path)) == 4
    found = scan(tmp_path, reading=Reading(frames="all")).hashed()
    assert found.paths[:4] == ("ill/a.dcm#page=0", "ill/a.dcm#page=1", "ill/a.dcm#page=2", "ill/b.dcm")
    assert found.group[:4] == ("ill/a.dcm",) * 3 + (None,)
    pixels = [decode(found.pinned(i), DecodeSettings(32)).copy() for i in range(3)]
    assert np.array_equal(pixels[1], pixels[0][::-1])
    assert np.array_equal(pixels[2], pixels[0].transpose(1, 0, 2))
    again = scan(tmp_path, reading=Reading(frames="all"), only=["ill/a.dcm#page=1", "well/b.dcm"])
    assert again.paths == ("ill/a.dcm#page=1", "well/b.dcm")


def test_a_file_without_an_ending_is_known_by_its_content(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for number in range(2):
            dicom(tmp_path / "in" / label / f"{number}.dcm", RAMP + number)
    dicom(tmp_path / "in" / "a" / "IM0001", RAMP)
    rows = ["path,label", "a/0.dcm,a", "a/IM0001,a", "b/0.dcm,b", "b/1.dcm,b"]
    (tmp_path / "in" / "labels.csv").write_text("\n".join(rows))
    misnamed = [finding for finding in check(tmp_path / "in").findings if finding.kind == "misnamed"]
    assert [(finding.path, finding.detail) for finding in misnamed] == [
        ("a/IM0001", "is DICOM by content, but no extension")
    ]
    convert(scan(tmp_path / "in" / "labels.csv"), tmp_path / "out")
    assert (tmp_path / "out" / "a" / "IM0001.dcm").is_file()


def written(path: Path) -> Iterator[bytes]:
    """A file's bytes, and of an archive those of its entries."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


@pytest.mark.extended  # trains
def test_nobody_is_named_by_anything_that_a_run_writes(tmp_path: Path) -> None:
    for label, picture in (("ill", RAMP), ("well", RAMP.T)):
        (tmp_path / "in" / label).mkdir(parents=True)
        for number in range(8):
            dicom(tmp_path / "in" / label / f"{number}.dcm", picture + number)
    assert b"Doe^Jane" in (tmp_path / "in" / "ill" / "0.dcm").read_bytes()
    tk.finetune(tmp_path / "in", "mini", output=tmp_path / "run", head="linear", epochs=1, augment="none", quiet=True)
    (tmp_path / "run" / "check.json").write_text(json.dumps(check(tmp_path / "in").to_json()))
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"report.html", "CARD.md", "model.keras"} <= {path.name for path in files}
    assert not [path for path in files if any(b"Jane" in content or b"Doe^" in content for content in written(path))]


def test_damage_and_odd_forms_are_refused_by_name(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(PictureError, match=r"cut\.dcm: is DICOM whose pixels cannot be unpacked"):
        open_picture(cut)
    head = tmp_path / "head.dcm"
    head.write_bytes(path.read_bytes()[:140])
    with pytest.raises(PictureError, match=r"head\.dcm: is a DICOM file without a whole picture"):
        open_picture(head)
    with pytest.raises(PictureError, match="there is no number 4"):
        open_picture(Path(f"{path}#page=4"))
    value = dicom(tmp_path / "value.dcm", RAMP, RescaleSlope="1.25", RescaleIntercept=0)
    value.write_bytes(value.read_bytes().replace(b"1.25", b"1.2\xa4"))
    with pytest.raises(PictureError, match=r"value\.dcm: is a DICOM file with values that cannot be read"):
        open_picture(value)


def test_nothing_that_damaged_files_hold_is_printed_or_obeyed(tmp_path: Path) -> None:
    """pydicom warns of values that it cannot understand, names among them."""
    path = dicom(tmp_path / "a.dcm", RAMP)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1", b"1.2\x1b[31m.Doe^Jane.."))
    code = (
        "import sys; from pathlib import Path\n"
        "from transferkit.data.images.decode import DecodeSettings, PictureError, decode\n"
        "try: decode(Path(sys.argv[1]), DecodeSettings(24))\n"
        "except PictureError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "(stored as 1.2" in done.stdout
    assert "\x1b" not in done.stdout


def test_without_the_reader_it_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    code = (
        "import sys; sys.modules['pydicom'] = None; from transferkit.data.images.decode import open_picture; "
        "from pathlib import Path; open_picture(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "pip install 'transferkit[dicom]'" in done.stderr
    assert "Doe" not in done.stderr
