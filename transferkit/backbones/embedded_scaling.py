"""Networks that Keras builds with their input scaling inside (EfficientNetB*): the same without it, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transferkit.backbones import loading
from transferkit.backbones.scaling import MEAN, STD
from transferkit.errors import WeightsError

if TYPE_CHECKING:
    import keras


def stripped(model: keras.Model, name: str) -> keras.Model:
    """A copy of `model` with the same weights but without the preprocessing at its start.

    A copy, because layers shared with the old graph would name that graph's tensors as their outputs.

    Args:
        model: a network with its scaling layers right behind its input.
        name: of the copy.
    """
    import keras

    embedded = _embedded(model)
    pixels = keras.Input(model.input_shape[1:], dtype="float32", name="pixels")
    copy = keras.models.clone_model(
        model,
        input_tensors=pixels,
        call_function=lambda layer, *args, **kwargs: args[0] if layer.name in embedded else layer(*args, **kwargs),
    )
    bare = keras.Model(pixels, copy.outputs[0], name=name)
    _copy_weights(model, bare)
    return bare


def _embedded(model: keras.Model) -> set[str]:
    """Names of the scaling layers that directly follow the input."""
    import keras

    leading: set[str] = set()
    for layer in model.layers[1:]:
        if not isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            break
        leading.add(layer.name)
    return leading


def _copy_weights(model: keras.Model, bare: keras.Model) -> None:
    values = {layer.name: layer.get_weights() for layer in model.layers}
    for layer in bare.layers:
        if layer.weights:
            layer.set_weights(values[layer.name])


def load(path: Path, model: keras.Model, bare: keras.Model, *, trusted: bool) -> None:
    """Load a file saved with the embedded preprocessing (as Keras publishes them) or without (as ours).

    Args:
        path: the file.
        model: the network with its scaling.
        bare: what `stripped` makes of it, which gets the weights.
        trusted: whether the caller knows the input scaling that the weights were trained behind.

    Raises:
        WeightsError: they do not fit, or were trained behind another scaling than the catalog's.
    """
    try:
        loading.load(path, model)
    except WeightsError as first:
        try:
            loading.load(path, bare)
        except WeightsError:
            raise first from None
        return
    if not trusted:
        _check_normalisation(path, model)
    _copy_weights(model, bare)


def _check_normalisation(path: Path, model: keras.Model) -> None:
    """Refuse weights that were trained behind another input scaling than the catalog's.

    EfficientNetB*'s ImageNet files hold the standard deviation where Keras' layer has the variance; the
    constructor makes up for it (TensorFlow issue 49930), which gives the catalog's scaling "torch".
    """
    import keras
    import numpy as np

    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance = (np.ravel(values) for values in layer.get_weights()[:2])
            if not (np.allclose(mean, MEAN, atol=1e-3) and np.allclose(variance, STD, atol=1e-3)):
                said = [" ".join(f"{v:.4g}" for v in values) for values in (mean, variance)]
                raise WeightsError(
                    f"the network in {path} normalises its input by mean {said[0]} and variance {said[1]}, not by "
                    "ImageNet's; give the scaling it was trained with (mean 0, variance 1 is scaling 'unit')"
                )
