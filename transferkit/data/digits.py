"""Sample pictures without a download: scikit-learn's 1,797 handwritten digits as a folder of PNG files."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transferkit.errors import DataError
from transferkit.files import sync_folder

SIZE = 32
_BRIGHTEST = 16  # the data set counts inked pixels of 4×4 cells


def write_digits(folder: Path, per_class: int | None = None) -> Path:
    """Write the digits as `folder/<digit>/<digit>_<number>.png`: 32×32 grey, white ink on black.

    The folder appears whole or not at all; where it already holds just these pictures nothing is written. Source:
    Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), CC BY 4.0, the test part that
    `sklearn.datasets.load_digits` carries.

    Args:
        folder: to be made.
        per_class: the first so many of each digit, at most 174; None writes all.

    Returns:
        `folder`, absolute.

    Raises:
        DataError: the folder holds anything else, or `per_class` is out of range.
    """
    pictures = digit_pictures(per_class)
    folder = Path(folder).absolute()
    if _holds(folder, pictures):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        _save(temporary, pictures)
        if folder.is_dir():
            folder.rmdir()  # empty, else _holds would have raised; not every system renames onto a folder
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError:
        # Another process may have finished the same folder first: that is as good.
        if not _holds(folder, pictures):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def digit_pictures(per_class: int | None = None) -> dict[str, NDArray[np.uint8]]:
    """The pictures, uint8 (32, 32), by relative name ("3/3_0042.png"), in order of digit and number.

    Raises DataError where `per_class` is out of range.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    cells, labels = np.asarray(bunch.images), np.asarray(bunch.target)
    fewest = int(np.bincount(labels).min())
    if per_class is not None and not 1 <= per_class <= fewest:
        raise DataError(f"per_class is {per_class}; choose 1 to {fewest}, or None for all digits")
    return {
        f"{digit}/{digit}_{number:04d}.png": enlarge(cells[index])
        for digit in range(10)
        for number, index in enumerate(np.flatnonzero(labels == digit)[:per_class])
    }


def enlarge(cells: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(8, 8) counts of 0 to 16 → (32, 32) grey of 0 to 255, bicubic: strokes stay smooth."""
    from PIL import Image

    grey = np.round(cells * (255 / _BRIGHTEST)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _save(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> None:
    from PIL import Image

    for name, pixels in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _holds(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> bool:
    """True where `folder` holds just these pictures, False where it is absent or empty; else DataError."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder that is empty or new")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not found and not (folder.is_dir() and any(folder.iterdir())):
        return False
    if found != sorted(pictures):
        raise DataError(f"{folder} holds other files than the digits asked for; name a folder that is empty or new")
    damaged = next((name for name, pixels in pictures.items() if not _is(folder / name, pixels)), None)
    if damaged is not None:
        raise DataError(f"{folder / damaged} is not the digit it should be; remove {folder} and write it again")
    return True


def _is(path: Path, pixels: NDArray[np.uint8]) -> bool:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.array_equal(np.asarray(picture), pixels)
    except (UnidentifiedImageError, OSError, ValueError):
        return False
