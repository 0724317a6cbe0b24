"""Of a pool only what is new: no copy and no look-alike of a known picture, and each picture once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.pictures import encoded, photo
from transferkit.data.audit.newcomers import newcomers
from transferkit.data.samples import Samples
from transferkit.runs.pool import without_labels


def written(folder: Path, **pictures: bytes) -> Samples:
    folder.mkdir()
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    return without_labels([folder / name for name in pictures])


def names(samples: Samples) -> list[str]:
    return [path.rpartition("/")[2] for path in samples.paths]


def test_copies_and_look_alikes_are_left_out(tmp_path: Path) -> None:
    one, two, three = (photo(n, 96, 80) for n in range(3))
    known = written(tmp_path / "known", a=encoded(one, "PNG"), b=encoded(photo(9, 96, 80), "PNG"))
    pool = written(
        tmp_path / "pool", copy=encoded(one, "PNG"), larger=encoded(one.resize((192, 160)), "PNG"),
        new=encoded(two, "PNG"), new_larger=encoded(two.resize((192, 160)), "PNG"), other=encoded(three, "PNG"),
        damaged=b"no picture",
    )  # fmt: skip
    seen: list[tuple[int, int]] = []
    found = newcomers(known, pool, progress=lambda done, total: seen.append((done, total)))
    assert names(found.fresh) == ["new", "other"]
    assert found.fresh.sha256 == pool.select([2, 4]).hashed().sha256
    assert (found.known, found.repeated) == (2, 1)
    assert list(found.faults) == [5]
    assert seen[-1] == (8, 8)


def test_where_nothing_is_known_everything_is_new(tmp_path: Path) -> None:
    pool = written(tmp_path / "pool", a=encoded(photo(0), "PNG"), b=encoded(photo(1), "PNG"))
    assert names(newcomers(without_labels([]), pool).fresh) == ["a", "b"]


def test_deep_grey_that_is_nearly_black_is_told_apart(tmp_path: Path) -> None:
    def dim(number: int) -> bytes:
        grey = np.asarray(photo(number, 96, 80).convert("L")).astype(np.uint16) // 3  # of 65535
        return encoded(Image.fromarray(grey), "PNG")

    known = written(tmp_path / "known", a=dim(0), b=dim(1))
    pool = written(tmp_path / "pool", copy=dim(0), new=dim(2), other=dim(3))
    found = newcomers(known, pool)
    assert (names(found.fresh), found.known) == (["new", "other"], 1)
