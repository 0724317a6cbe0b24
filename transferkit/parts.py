"""The parts for people who write their own loop: plain Keras objects, no wrappers to unlearn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transferkit import compute
from transferkit.compute import restoring
from transferkit.errors import ConfigError

if TYPE_CHECKING:
    import keras


@restoring
def backbone(
    name: str, *, weights: str = "auto", size: int | None = None, seed: int = 0, offline: bool = False,
    pooler: bool = False,
) -> keras.Model:  # fmt: skip
    """A pretrained network without its top, as a plain keras.Model that takes scaled float pictures.

    `assemble` puts the scaling it expects in front.

    Args:
        name: a name of the catalog, a folder or checkpoint as published, `hf:OWNER/NAME`, or a .keras file.
        weights: "auto" (its pretrained ones), "imagenet", "random", or a file.
        size: pixels a side; None is the network's default.
        seed: of random weights.
        offline: never download weights.
        pooler: end with the attention pooling that SigLIP was trained with.

    Returns:
        float32 [n, size, size, 3] → a feature map [n, h, w, c] or tokens [n, t, c]; with the pooler a vector [n, c].

    Raises:
        BackboneError, WeightsError, ConfigError: what was asked for cannot be built, with the remedy.
    """
    from transferkit.backbones.build import build

    _is_text("name", name, os.PathLike)
    _is_text("weights", weights, os.PathLike)
    compute.start(dtypes=False)  # the loop is the user's, and so is its number format
    return build(name, weights, size, seed, offline, pooler=pooler).model


def freeze(base: keras.Model, policy: str, batchnorm: str = "frozen") -> keras.Model:
    """Set what trains in `base`, in place. Compile again afterwards.

    Args:
        base: what `backbone` gave, or a network of one's own.
        policy: "none", "all", "from:STAGE" or "last:N" (layers with weights).
        batchnorm: "frozen" keeps all BatchNorm layers on their stored statistics, "train" lets those of the trainable
            part learn.

    Returns:
        `base`.

    Raises:
        BackboneError, ConfigError: a policy that is unknown or does not fit the network.
    """
    from transferkit.backbones import freeze as room

    _is_network("base", base)
    _is_text("policy", policy)
    return room.freeze(base, policy, batchnorm)


@restoring
def build_head(
    base: keras.Model,
    classes: int,
    width: int | Sequence[int] | None = 256,
    dropout: float = 0.3,
    **options: Any,
) -> keras.Model:
    """A head for `base`.

    Args:
        base: the network it stands on.
        classes: outputs: classes, labels or numbers.
        width: units of the hidden layer, several for several layers, None for a linear head.
        dropout: the share dropped in training, 0 up to 1.
        options: `l1`, `l2`, `pooling`, `task`, `seed` and `kind` of `transferkit.heads.build_head`.

    Returns:
        The output of `base` → answers [n, classes]; see `transferkit.heads.build_head`.

    Raises:
        ConfigError: a value outside its range.
    """
    from transferkit import heads

    _is_network("base", base)
    compute.start(dtypes=False)
    return heads.build_head(base, classes, width, dropout, **options)


@restoring
def assemble(base: keras.Model, head: keras.Model, scaling: str | None = None) -> keras.Model:
    """One keras.Model from uint8 RGB pictures through the scaling, `base` and `head`.

    Args:
        base: scaled pictures → features.
        head: features → answers.
        scaling: what `base` expects, a key of `backbones.scaling.SCALINGS`; None: that of the network where `backbone`
            built it, "none" (pixels 0…255) for others.

    Returns:
        uint8 [n, size, size, 3] → answers [n, classes]; not compiled.

    Raises:
        ConfigError: a part is no network.
    """
    import keras

    from transferkit.backbones.freeze import known_row
    from transferkit.backbones.scaling import preprocessing

    _is_network("base", base)
    _is_network("head", head)
    compute.start(dtypes=False)
    row = known_row(base)
    scaling = scaling or (row.scaling if row else "none")
    x = inputs = keras.Input(base.input_shape[1:], dtype="uint8", name="picture")
    for layer in preprocessing(scaling):
        x = layer(x)
    return keras.Model(inputs, head(base(x)), name="transferkit")


def _is_text(name: str, given: object, *others: type) -> None:
    if not isinstance(given, (str, *others)):
        raise ConfigError(f"{name}={given!r:.60}: must be text")


def _is_network(name: str, given: object) -> None:
    import keras

    if not isinstance(given, keras.Model):
        made = "tk.backbone('mobilenet')" if name == "base" else "tk.build_head(base, classes=5)"
        raise ConfigError(f"{name}={given!r:.60} is no keras.Model; make one with {made}")
