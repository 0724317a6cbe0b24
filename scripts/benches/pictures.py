"""Pictures that measurements need: synthetic JPEGs, and folder trees with one part of a split each."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def synthetic(folder: Path, count: int, size: tuple[int, int] = (320, 240), classes: int = 10) -> None:
    """JPEGs of `size` (width, height) in folders of `classes` classes, no two alike."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class_{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
        picture.save(place / f"{number}.jpg", quality=80)


def photographs(folder: Path, count: int, size: tuple[int, int] = (500, 375), classes: int = 10) -> None:
    """JPEGs of `size` (width, height) that take the time of photographs to decode: detail of all scales, and grain.

    A few hundred are drawn; the others are these with a comment of their own, so that no two files are alike.
    """
    from PIL import Image

    from transferkit.data.threads import map_ordered

    def draw(number: int) -> bytes:
        rng = np.random.default_rng(number)
        width, height = size
        pixels = np.full((height, width, 3), 128, np.float32)
        for cells, strength in ((4, 60), (16, 30), (64, 18), (256, 8)):
            coarse = rng.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8)
            fine = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
            pixels += (np.asarray(fine, np.float32) - 128) * (strength / 64)
        content = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=85)
        return content.getvalue()

    drawn = list(map_ordered(draw, range(min(count, 256))))
    for number in range(classes):
        (folder / f"class_{number}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        content, comment = drawn[number % len(drawn)], str(number).encode()
        segment = b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment
        place = folder / f"class_{number % classes}" / f"{number}.jpg"
        place.write_bytes(content[:2] + segment + content[2:])


def parts(data: str | Path, folder: str | Path, shares: Sequence[float], seed: int) -> dict[str, int]:
    """Copy `data` to `folder`/train, val and test by a stratified split, so that both sides read the same one.

    `shares` are three fractions, or three numbers of pictures; what is left over goes nowhere. Returns the counts.
    """
    from transferkit.data.source import scan
    from transferkit.data.splitting.split import split

    data, folder = Path(data), Path(folder)
    samples = scan(data)
    wanted = int(sum(shares))
    if wanted > 1:
        # A stratified choice first: whole numbers of a split have to add up to all there is.
        order = np.random.default_rng(seed).permutation(len(samples))
        of_class = np.zeros(len(samples.classes), int)
        rank = np.zeros(len(samples))
        for index in order:
            rank[index] = of_class[samples.targets[index]] / np.sum(samples.targets == samples.targets[index])
            of_class[samples.targets[index]] += 1
        samples = samples.select(np.sort(np.argsort(rank, kind="stable")[:wanted]))
    chosen = split(samples.hashed(), [int(n) for n in shares] if wanted > 1 else shares, seed)
    for index, part in enumerate(chosen.assignment):
        if part is not None:
            place = folder / part / samples.label(index)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / samples.paths[index], place)
    return {part: len(list((folder / part).glob("*/*"))) for part in ("train", "val", "test")}


def as_the_guide_reads(data: str | Path, size: int, batch: int, seed: int) -> tuple[Any, Any, Any]:
    """What Keras' transfer-learning guide reads of the folder that `parts` made: train (as it is), val and test.

    Each is a tf.data.Dataset of float32 pictures [b, size, size, 3] and one-hot labels [b, classes].
    """
    import keras
    import tensorflow as tf

    def read(part: str, shuffle: bool) -> Any:
        return keras.utils.image_dataset_from_directory(
            Path(data) / part, label_mode="categorical", image_size=(size, size), batch_size=batch, shuffle=shuffle,
            seed=seed, verbose=False,
        )  # fmt: skip

    val, test = (read(part, False).prefetch(tf.data.AUTOTUNE) for part in ("val", "test"))
    return read("train", True), val, test
