"""What `heads` measures on: TrashNet by few and by all, digits, a part of CIFAR-10, and labels and numbers made of
digits and of colours."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benches.measuring import ASSETS

PER_CLASS, HELD, TESTED = 60, 15, 600
CIFAR, CIFAR_CLASS = ASSETS / "data" / "cifar10.zip", 100
COLOURED = 160  # pictures, as many as the tests make
NOISE = 40  # grey values


def few(data: Path, folder: Path, seed: int, count: int = PER_CLASS) -> Path:
    """Links to `count` training and a quarter as many validation pictures of each class, and to the test pictures.

    Of exact copies, some of which have two labels, one is taken: splits that share a picture are refused.
    """
    rng = np.random.default_rng(seed)
    rest: list[Path] = []
    seen: set[bytes] = set()
    for place in sorted(p for p in data.iterdir() if p.is_dir()):
        once = [file for file in sorted(place.glob("*.jpg")) if not _known(file, seen)]
        files = rng.permutation(np.array(once, object))
        held = count + max(2, count * HELD // PER_CLASS)
        for part, some in (("train", files[:count]), ("val", files[count:held])):
            _link(folder / part, some)
        rest += list(files[held:])
    _link(folder / "test", rng.permutation(np.array(rest, object))[: TESTED * count // PER_CLASS])
    return folder


def _known(file: Path, seen: set[bytes]) -> bool:
    content = hashlib.sha256(file.read_bytes()).digest()
    known = content in seen
    seen.add(content)
    return known


def _link(folder: Path, files: Any) -> None:
    for file in files:
        place = folder / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).symlink_to(file.resolve())


def cifar(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [1000, 32, 32, 3] of ten classes, a hundred each, and their labels; another hundred by seed."""
    from PIL import Image

    pictures, labels = [], []
    with zipfile.ZipFile(CIFAR) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        classes = sorted({name.split("/")[-2] for name in names})
        rng = np.random.default_rng(seed)
        for label, kind in enumerate(classes):
            own = [name for name in names if name.split("/")[-2] == kind]
            for name in rng.choice(own, CIFAR_CLASS, replace=False):
                pictures.append(np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
                labels.append(label)
    return np.stack(pictures), np.array(labels)


def digits(task: str) -> tuple[np.ndarray, np.ndarray]:
    """The bundled digits with several labels each (even, large) or two numbers, as the tests make them."""
    from transferkit.data.digits import digit_pictures

    pictures = digit_pictures(None)
    kinds = np.array([int(name[0]) for name in pictures])
    targets = [kinds % 2 == 0, kinds > 4] if task == "multilabel" else [kinds * 10.0 + 3, -kinds]
    return np.repeat(np.stack(list(pictures.values()))[..., None], 3, -1), np.stack(targets, 1).astype(np.float32)


def coloured(task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as red and as blue as two labels or two numbers say, over noise."""
    rng = np.random.default_rng(seed)
    values = rng.random((COLOURED, 2))
    if task == "multilabel":
        values = 0.9 * (values < [0.5, 0.3])
    noise = rng.integers(0, NOISE, (COLOURED, 24, 24, 3))
    strength = np.stack([values[:, 0] * 200, np.full(COLOURED, 20.0), values[:, 1] * 200], 1)
    pictures = (noise + strength[:, None, None]).astype(np.uint8)
    targets = values > 0 if task == "multilabel" else values * [1000, 0.01] + [5000, -3]
    return pictures, targets.astype(np.float64)


def some(data: Path, folder: Path, count: int) -> Path:
    """Links to `count` pictures of each class, drawn by a fixed seed, exact copies once."""
    rng, seen = np.random.default_rng(0), set[bytes]()
    for place in sorted(p for p in data.iterdir() if p.is_dir()):
        once = [file for file in sorted(place.glob("*.jpg")) if not _known(file, seen)]
        _link(folder, rng.permutation(np.array(once, object))[:count])
    return folder
