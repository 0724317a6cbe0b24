"""The parts for people who write their own loop: plain Keras objects, no wrappers to unlearn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transferkit import compute
from transferkit.compute import restoring

if TYPE_CHECKING:
    import keras


@restoring
def backbone(
    name: str, *, weights: str = "auto", size: int | None = None, seed: int = 0, offline: bool = False
) -> keras.Model:
    """A pretrained network without its top, as a plain keras.Model that takes scaled float pictures.

    `assemble` puts the scaling it expects in front. Raises BackboneError or WeightsError.
    """
    from transferkit.backbones.build import build

    compute.start(dtypes=False)  # the loop is the user's, and so is its number format
    return build(name, weights, size, seed, offline).model


def freeze(base: keras.Model, policy: str, batchnorm: str = "frozen") -> keras.Model:
    """Set what trains in `base` by a freeze policy (`none`, `all`, `from:STAGE`, `last:N`); returns `base`."""
    from transferkit.backbones import freeze as room

    return room.freeze(base, policy, batchnorm)


@restoring
def build_head(
    base: keras.Model,
    classes: int,
    width: int | Sequence[int] | None = 256,
    dropout: float = 0.3,
    **options: Any,
) -> keras.Model:
    """A head for `base`; see `transferkit.heads.build_head` for `l1`, `l2`, `pooling`, `task` and `seed`."""
    from transferkit import heads

    compute.start(dtypes=False)
    return heads.build_head(base, classes, width, dropout, **options)


@restoring
def assemble(base: keras.Model, head: keras.Model, scaling: str | None = None) -> keras.Model:
    """One keras.Model from uint8 RGB pictures [n, size, size, 3] through the scaling, `base` and `head`.

    `scaling` is what `base` expects: known of what `backbone` built, "none" (pixels 0…255) for others.
    """
    import keras

    from transferkit.backbones.freeze import known_row
    from transferkit.backbones.scaling import preprocessing

    compute.start(dtypes=False)
    row = known_row(base)
    scaling = scaling or (row.scaling if row else "none")
    x = inputs = keras.Input(base.input_shape[1:], dtype="uint8", name="picture")
    for layer in preprocessing(scaling):
        x = layer(x)
    return keras.Model(inputs, head(base(x)), name="transferkit")
