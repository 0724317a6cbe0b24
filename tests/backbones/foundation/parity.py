"""Our graphs against what the reference libraries gave: `scripts/foundation_reference.py` made the fixtures.

By hand, for networks of base shape: `python -m tests.backbones.foundation.parity FOLDER…` prints the figures. Where the
reference was computed in float64 (`--double`), ours is too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).with_name("fixtures")
NAMES = sorted(file.parent.name for file in FIXTURES.glob("*/reference.npz"))


def worst(folder: Path) -> dict[str, float]:
    """The largest difference, relative to the largest number of that output, of each size's blocks and features, and of
    the vector that the network's own pooling makes of them."""
    with np.load(folder / "reference.npz") as archive:
        reference = {key: archive[key] for key in archive.files}
    with _computing_in(next(iter(reference.values())).dtype):
        return _differences(folder, reference)


def _differences(folder: Path, reference: dict[str, np.ndarray]) -> dict[str, float]:
    import keras

    from transferkit.backbones.build import build

    found: dict[str, float] = {}
    for size in sorted({int(key.partition("/")[0]) for key in reference}):
        model = build(str(folder), size=size).model
        names = [key.partition("/")[2] for key in reference if key.startswith(f"{size}/block")]
        assert names
        ends = [model.get_layer(_end(model, name)).output for name in names]
        every = keras.Model(model.inputs[0], [*ends, model.outputs[0]])
        noise = np.random.default_rng(size).standard_normal((1, size, size, 3)).astype(np.float32)
        picture = noise.astype(keras.config.floatx())
        for name, ours in zip([*names, "features"], every(picture, training=False), strict=True):
            theirs = reference[f"{size}/{name}"]
            ours = np.asarray(ours)
            if name == "features" and ours.ndim == 3:  # registers and distillation tokens stay inside ours
                extra = theirs.shape[1] - ours.shape[1]
                theirs = np.delete(theirs, range(1, 1 + extra), axis=1)
            assert ours.shape == theirs.shape, (size, name, ours.shape, theirs.shape)
            found[f"{size}/{name}"] = _difference(ours, theirs)
        if f"{size}/pooled" in reference:
            pooled = build(str(folder), size=size, pooler=True).model(picture, training=False)
            found[f"{size}/pooled"] = _difference(np.asarray(pooled), reference[f"{size}/pooled"])
    return found


@contextmanager
def _computing_in(dtype: np.dtype) -> Iterator[None]:
    import keras

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype.name)
    keras.config.set_dtype_policy(dtype.name)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _end(model: object, block: str) -> str:
    """The last layer of the block."""
    return [layer.name for layer in model.layers if layer.name.startswith(block + "_")][-1]  # type: ignore[attr-defined]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        figures = worst(Path(argument))
        sizes = sorted({int(key.partition("/")[0]) for key in figures})
        print(
            Path(argument).name,
            *(f"{s}: {max(v for k, v in figures.items() if k.startswith(f'{s}/')):.1e}" for s in sizes),
        )
