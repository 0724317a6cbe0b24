"""Pages of one file: each a picture, none of them in another split than the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.pictures import photo
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.data.splitting.split import split


def test_pages_of_a_tiff_stay_together(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(6):
            pages = [photo(100 * number + page, 24, 24) for page in range(3)]
            pages[0].save(tmp_path / label / f"{number}.tif", save_all=True, append_images=pages[1:])
        Image.new("RGB", (24, 24), label and (9, 9, 9)).save(tmp_path / label / "one.png")
    assert len(scan(tmp_path)) == 14
    found = scan(tmp_path, reading=Reading(frames="all")).hashed()
    assert len(found) == 38
    assert "12 files hold 36 pictures; those of one file stay in one split" in found.notes
    parts = split(found, (0.6, 0.2, 0.2), 0).assignment
    for name in set(found.group) - {None}:
        assert len({part for part, group in zip(parts, found.group, strict=True) if group == name}) == 1
    at = found.paths.index("b/3.tif#page=2")
    assert np.array_equal(decode(found.pinned(at), DecodeSettings(24)), np.asarray(photo(302, 24, 24)))
    assert scan(tmp_path, reading=Reading(frames="all"), exclude=["b/3.tif#page=2"]).paths.count("b/3.tif#page=2") == 0
