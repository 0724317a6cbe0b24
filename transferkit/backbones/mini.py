"""`mini`, the bundled backbone: a small residual network for tiny pictures, its weights inside the package.

Trained by `scripts/pretrain_mini.py`; what it is good for, and what not, is in `docs/mini.md`. Keras is
imported only when a network is built, so that the catalog and argument checks stay quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferkit.backbones.packaged import Packaged, pack
from transferkit.backbones.packaged import variables_of as variables_of  # the script takes it from here
from transferkit.errors import BackboneError
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras

SMALLEST_SIZE = 32
DEFAULT_SIZE = 32
STAGES = ("stem", "block1", "block2", "block3", "block4")
WEIGHTS_FILE = Path(__file__).with_name("mini.npz")
RECORD_FILE = Path(__file__).with_name("mini.json")


def build_mini(size: int = DEFAULT_SIZE) -> keras.Model:
    """The bare network with random weights: a functional `keras.Model` "mini", made of Keras' own layers.

    Input: float32, (batch, size, size, 3), scaled to [-1, 1] (`x / 127.5 - 1`), `size` of 32 or more; 32 to
    64 is what it is meant for. Output: float, (batch, ceil(size/8), ceil(size/8), 224), not negative. Every
    layer's name starts with its stage, one of `STAGES`. Raises BackboneError for a size below 32.

    Source: the residual form of He et al. 2016 (arXiv:1512.03385), narrowed; strides come early because they
    set the cost on a CPU.
    """
    if size < SMALLEST_SIZE:
        raise BackboneError(
            f"mini takes pictures of {SMALLEST_SIZE} pixels or more, not {size}; "
            f"set the picture size to {DEFAULT_SIZE} to 64"
        )
    import keras

    pixels = keras.Input((size, size, 3), name="pixels")
    x = _unit(pixels, "stem", "", 32)
    x = _unit(x, "block1", "1", 64, strides=2)
    x = _residual(x, "block1", ("2",), 64)
    x = _unit(x, "block2", "1", 80, strides=2)
    x = _residual(x, "block2", ("2", "3"), 80)
    x = _unit(x, "block3", "1", 144, strides=2)
    x = _unit(x, "block4", "1", 224, kernel=1)
    return keras.Model(pixels, x, name="mini")


def load_pretrained(model: keras.Model) -> None:
    """Set the packaged weights on a network made by `build_mini`, of any size.

    They are kept as float16 and cast to the variables' own type. Raises WeightsError where the file is
    missing, does not match its recorded SHA-256, or does not fit `model`; the model is not changed then.
    """
    packaged().load(model)


def weights_sha256() -> str:
    """SHA-256 of the packaged weights as recorded; `load_pretrained` accepts no other file."""
    return packaged().sha256()


def record() -> JsonObject:
    """What is known of the packaged weights: source task, held-out accuracy, parameters, hash, training."""
    return packaged().facts()


def read_weights() -> dict[str, NDArray[np.float32]]:
    """The packaged weights as float32 arrays by "layer/variable", after the hash was verified."""
    return packaged().read()


def pack_weights(model: keras.Model) -> bytes:
    """The weights of `model` as the bytes of a compressed float16 .npz; equal weights give equal bytes."""
    return pack(model)


def packaged() -> Packaged:
    """The files of the weights."""
    return Packaged(WEIGHTS_FILE, RECORD_FILE, "scripts/pretrain_mini.py")


def _unit(x: Any, stage: str, number: str, filters: int, *, kernel: int = 3, strides: int = 1) -> Any:
    """Convolution, BatchNorm, ReLU."""
    import keras

    return keras.layers.ReLU(name=f"{stage}_relu{number}")(
        _convolution(x, stage, number, filters, kernel=kernel, strides=strides)
    )


def _residual(x: Any, stage: str, numbers: tuple[str, ...], filters: int) -> Any:
    """`x` plus a chain of units; the last ReLU comes before the sum, so the output is not negative."""
    import keras

    y = x
    for number in numbers:
        y = _unit(y, stage, number, filters)
    return keras.layers.Add(name=f"{stage}_add")([x, y])


def _convolution(x: Any, stage: str, number: str, filters: int, *, kernel: int, strides: int) -> Any:
    """Convolution without bias (BatchNorm brings its own), then BatchNorm."""
    import keras

    x = keras.layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False, name=f"{stage}_conv{number}",
        kernel_initializer="he_normal",
    )(x)  # fmt: skip
    # 0.9, not Keras' 0.99: statistics follow within the few hundred steps that small data sets train for.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{stage}_bn{number}")(x)
