"""Paths that lead into containers, and to parts of pictures: what is there, and what is not."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.data.readers.forms import Corpus
from transferkit.csv_files import write_csv
from transferkit.data.audit.audit import check, hashed, quick
from transferkit.data.containers import places
from transferkit.data.containers.zips import Zip
from transferkit.data.images.decode import DecodeSettings, decode, decode_many
from transferkit.data.images.opening import PictureError
from transferkit.data.samples import Pinned
from transferkit.data.source import scan


def arrays(value: int) -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.full((3, 8, 8, 3), value, np.uint8), y=np.arange(3))
    return out.getvalue()


def test_arrays_in_an_archive_are_those_of_the_archive_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    for value in (10, 20, 30):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("part/a.npz", arrays(value))
        os.utime(path, ns=(value, value))
        assert decode(path / "part" / "a.npz" / "x" / "1.png", DecodeSettings(8)).tolist()[0][0] == [value] * 3


def test_only_small_files_on_the_disk_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small.jpg"
    small.write_bytes(b"abc")
    assert places.at_once(small) == b"abc"
    assert places.sha256(small) == hashlib.sha256(b"abc").hexdigest()
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("a.jpg", b"abc")
    for name in ("gone.jpg", "empty.jpg", "pipe.jpg", ".", "data.zip/a.jpg", "nul\0.jpg"):
        assert places.at_once(tmp_path / name) is None, name
    monkeypatch.setattr(places, "AT_ONCE", 2)
    assert places.at_once(small) is None
    assert places.sha256(small) == hashlib.sha256(b"abc").hexdigest()


def test_only_boxes_and_pages_are_parts(tmp_path: Path) -> None:
    name, _, content = next(iter(Corpus()))
    (tmp_path / f"{name}.png").write_bytes(content)
    picture = str(tmp_path / f"{name}.png")
    assert places.unreadable_reason(Path(f"{picture}#xywh=1,2,20,24")) is None
    assert places.unreadable_reason(Path(f"{picture}#page=0")) is None
    assert places.unreadable_reason(Path(f"{picture}#t=2.5")) == "does not exist"


def test_a_pinned_part_is_held_to_the_whole_file(tmp_path: Path) -> None:
    rows = list(Corpus())
    path = tmp_path / "a.png"
    path.write_bytes(rows[0][2])
    box = Path(f"{path}#xywh=0,0,16,16")
    pinned = Pinned(box, places.sha256(box), "a")
    assert places.sha256(box) != places.sha256(path)
    assert np.array_equal(decode(pinned, DecodeSettings(16)), decode(path, DecodeSettings(32))[:16, :16])
    path.write_bytes(rows[1][2])
    with pytest.raises(PictureError, match="has changed since its content was hashed"):
        decode(pinned, DecodeSettings(16))


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Counter[str]]:
    """An archive of pictures, and how often each of its entries was read."""
    path, counts, plain = tmp_path / "data.zip", Counter[str](), Zip.read
    with zipfile.ZipFile(path, "w") as archive:
        for name, label, content in Corpus():
            archive.writestr(f"{label}/{name}.png", content)

    def read(self: Zip, name: str) -> bytes:
        counts[name] += 1
        return plain(self, name)

    monkeypatch.setattr(Zip, "read", read)
    return path, counts


def test_the_audit_reads_an_entry_once(reads: tuple[Path, Counter[str]]) -> None:
    path, counts = reads
    assert check(path).pictures == 120
    assert set(counts.values()) == {1}
    found, audit = hashed(scan(path))
    assert set(counts.values()) == {2}
    again = scan(path).hashed()
    assert found.sha256 == again.sha256
    assert audit == quick(again)


def test_the_decoder_reads_an_entry_once(reads: tuple[Path, Counter[str]]) -> None:
    path, counts = reads
    found = scan(path)
    assert len(list(decode_many(found.sources(), DecodeSettings(16)))) == 120
    assert set(counts.values()) == {1}
    hashed = found.hashed()
    assert len(list(decode_many(map(hashed.pinned, range(120)), DecodeSettings(16)))) == 120
    assert set(counts.values()) == {3}


def test_a_damaged_entry_is_damage_to_the_audit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name, label, content in Corpus():
            archive.writestr(f"{label}/{name}.png", content)
    damaged = bytearray((tmp_path / "data.zip").read_bytes())
    damaged[damaged.index(b"IDAT") + 100] ^= 255
    (tmp_path / "data.zip").write_bytes(damaged)
    (finding,) = [found for found in check(tmp_path / "data.zip").findings if found.severity == "error"]
    assert (finding.kind, finding.path) == ("damaged", "daisy/d000.png")
    assert finding.detail.startswith("is damaged (its bytes")


def test_boxes_of_one_picture_are_no_copies_of_each_other(tmp_path: Path) -> None:
    rows = []
    for name, label, content in Corpus():
        (tmp_path / f"{name}.png").write_bytes(content)
        rows += [(f"{name}.png#xywh=0,0,32,{height}", label) for height in (32, 31)]
    write_csv(tmp_path / "boxes.csv", ["path", "label"], rows)
    audit = check(tmp_path / "boxes.csv")
    assert audit.pictures == 240
    assert "duplicate" not in audit.counts()


def test_a_picture_under_another_name_is_said_in_an_archive_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name, label, content in Corpus():
            archive.writestr(f"{label}/{name}.png", content)
        archive.writestr("rose/hidden.dat", content)
    found = [finding.path for finding in check(tmp_path / "data.zip").findings if finding.kind == "misnamed"]
    assert found == ["rose/hidden.dat"]


def test_only_small_files_that_stay_as_they_are_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, empty, large = (tmp_path / name for name in ("small", "empty", "large"))
    small.write_bytes(b"123")
    empty.touch()
    large.write_bytes(bytes(places.AT_ONCE + 1))
    assert places.at_once(small) == b"123"
    assert [places.at_once(path) for path in (empty, large, tmp_path, tmp_path / "none")] == [None] * 4

    def written_to(path: Path, mode: int) -> bool:
        with open(path, "ab") as handle:
            handle.write(b"4")
        return True

    monkeypatch.setattr(os, "access", written_to)
    assert places.at_once(small) is None
