"""Pictures that measurements need: synthetic JPEGs, and folder trees with one part of a split each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

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
