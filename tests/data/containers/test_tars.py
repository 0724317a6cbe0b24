"""A packed tar is unpacked into the cache once; what only looks like one leaves nothing there."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from transferkit.data.containers import kept, kinds
from transferkit.data.source import scan
from transferkit.errors import DataError


def test_a_packed_file_that_is_no_tar_leaves_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"path,label\n" + b"rose/1.jpg,rose\n" * 100_000))
    with pytest.raises(DataError, match="neither a folder nor a CSV"):
        scan(path)
    assert kept.files("archives") == []


def test_a_tar_is_known_by_its_content_and_unpacked_once(tmp_path: Path) -> None:
    source, _ = forms.tarred("gz")(Corpus(), tmp_path)
    os.rename(source, tmp_path / "flowers.gz")
    assert len(scan(tmp_path / "flowers.gz")) == 120
    (copy,) = kept.files("archives")
    before = copy.stat().st_ino
    kinds._open.clear()
    assert len(scan(tmp_path / "flowers.gz")) == 120
    assert [path.stat().st_ino for path in kept.files("archives")] == [before]


def test_what_a_killed_process_had_unpacked_goes_with_the_next(tmp_path: Path) -> None:
    source, _ = forms.tarred("gz")(Corpus(), tmp_path)
    scan(source)
    (copy,) = kept.files("archives")
    copy.unlink()
    half = copy.with_name(f".{copy.stem}.1-aaaaaaaa.tmp{copy.suffix}")
    half.write_bytes(b"half")
    kinds._open.clear()
    assert len(scan(source)) == 120
    assert not half.exists()
