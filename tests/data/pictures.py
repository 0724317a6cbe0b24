"""Small generated pictures and folders of them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ASSETS = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", Path(__file__).parents[3] / "shared"))
TRASHNET = ASSETS / "data" / "trashnet"
needs_trashnet = pytest.mark.skipif(not TRASHNET.is_dir(), reason=f"needs the real pictures in {TRASHNET}")


def photo(seed: int = 0, width: int = 48, height: int = 40, detail: int = 7) -> Image.Image:
    """A smooth picture with structure of its own, so that compression keeps it and no two look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (detail - 1, detail, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folder_of_classes(root: Path, counts: dict[str, int], size: int = 32, start: int = 0) -> Path:
    """root/<class>/<n>.png with `counts[class]` different pictures each."""
    seed = start
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo(seed, size, size).save(root / name / f"{number}.png")
            seed += 1
    return root
