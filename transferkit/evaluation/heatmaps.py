"""Where did the network look? Grad-CAM and occlusion for a shipped model, as heat maps over its pictures.

A heat map is float32 [size, size] in 0…1 over what the model saw; `overlay` lays one over the picture itself.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from transferkit import compute
from transferkit.backbones.cut import Parts, cut, operations_of
from transferkit.compute import keras_private
from transferkit.data.images.decode import LETTERBOX, Resize
from transferkit.data.images.sizing import central_square
from transferkit.errors import ConfigError
from transferkit.evaluation import token_maps

if TYPE_CHECKING:
    import keras

METHODS = ("grad-cam", "occlusion")
BATCH = 16
CELLS = 10  # occlusion hides 2×2 of CELLS×CELLS cells at a time
STRENGTH = 0.6  # opacity of the hottest place

# The colour map "inferno" of matplotlib (CC0, by N. J. Smith and S. van der Walt): steps from colour to colour, packed.
# matplotlib itself takes longer to import than heat maps of a dozen pictures to colour.
INFERNO = (
    "c-nnYff9uv2!rhX{~u?`HW6PJ%pqLTG0e>d{DJHs!U>Qs;e$R4<q|F;;(*eOB!nkOv@Yrca*^RRewRH^w6*urP6u^geWN|pynv!x"
    "9d(YM%G6!t7O)v|#%cbNLw)LdoUU&gNobki>0F5>sw(}<pOS}zaOtF1yLP_vOejQK(?U6N(<p5Kb`Gcg5T42nM;>jU"
)

Heat = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Explainer = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.int64]], Heat]


def explainer(model: keras.Model, method: str = "grad-cam") -> Explainer:
    """What makes heat maps of where a model looks.

    The explained output is the logit of a class or label, or the number of a target.

    Args:
        model: a run's shipped model.
        method: a name of `METHODS`.

    Returns:
        uint8 pictures [N, size, size, 3] and output numbers int [N] → heat maps float32 [N, size, size].

    Raises:
        ConfigError: the method is unknown, or Grad-CAM finds no feature map to look at.
    """
    if method not in METHODS:
        raise ConfigError(f"method '{method}' is unknown; choose from {', '.join(METHODS)}")
    return _grad_cam(logit_model(model)) if method == "grad-cam" else _occlusion(logit_model(model))


def logit_model(model: keras.Model) -> keras.Model:
    """`model` without temperature and softmax, whose gradient vanishes exactly where the model is sure."""
    import keras

    names = {operation.name: operation for operation in operations_of(model)}
    if "temperature" not in names:
        return model
    return keras.Model(model.inputs[0], names["temperature"].input)


# ---------------------------------------------------------------------------------------------- Grad-CAM


def at_feature_map(model: keras.Model) -> Parts:
    """`model` cut behind its backbone: pictures → feature map, feature map → logits.

    Raises ConfigError where the backbone gives a vector, or a map of a single place.
    """
    backbone = next(iter(_networks(model)), None)
    if backbone is None or len(backbone.outputs) != 1 or len(backbone.outputs[0].shape) != 4:
        what = f"'{backbone.name}' gives no" if backbone is not None else "the model has no"
        raise ConfigError(
            f"{what} feature map, and no tokens whose places in the picture are known, which Grad-CAM needs; use "
            "--method occlusion"
        )
    parts = cut(model, operations_of(model).index(backbone) + 1)
    assert parts.frozen is not None
    assert parts.tail is not None
    places = parts.frozen.output_shape[1:3]
    if places == (1, 1):
        raise ConfigError(
            f"the feature map of '{backbone.name}' is a single place at this picture size, so Grad-CAM cannot tell "
            "where it looked; use --method occlusion, or train with a larger --image-size"
        )
    return parts


def _grad_cam(model: keras.Model) -> Explainer:
    """Selvaraju et al. 2017: the feature map's channels, weighted by the mean gradient of the output by each."""
    networks = _networks(model)
    on_tokens = token_maps.fields(networks[0], model) if len(networks) == 1 else None
    if on_tokens is not None:
        return _of_maps(model, on_tokens)
    if token_maps.TAPS in (operation.name for operation in operations_of(model)):
        return _depths(model)
    parts = at_feature_map(model)
    below, above = compute.forward(parts.frozen), compute.input_gradient(parts.tail)

    def maps(pictures: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> list[Heat]:
        found = below([pictures])[0]
        means = above(found, weights)[1].mean(axis=(1, 2), keepdims=True)
        return [np.maximum((means * found).sum(axis=3), 0.0)]

    return _of_maps(model, maps)


def _of_maps(model: keras.Model, fields: token_maps.Fields) -> Explainer:
    """What speaks for an output of `model`, by maps of one depth or of several, in the same units."""
    size, count = model.input_shape[1], model.output_shape[-1]

    def explain(pictures: npt.NDArray[np.uint8], outputs: npt.NDArray[np.int64]) -> Heat:
        heats = []
        for some, wanted in _batches(pictures, outputs):
            maps = fields(some, np.eye(count, dtype=np.float32)[wanted])
            heats.append(np.sum([_enlarged(one, size) for one in maps], axis=0))
        return _scaled(np.maximum(np.concatenate(heats)[: len(pictures)], 0.0))

    return explain


def _networks(model: keras.Model) -> list[Any]:
    """The pretrained networks in `model`, of which there are several where their features are joined."""
    nested = [operation for operation in operations_of(model) if hasattr(operation, "layers") and operation.weights]
    return nested[:1] + [operation for operation in nested[1:] if operation.name != "head"]


def _depths(model: keras.Model) -> Explainer:
    """Grad-CAM of a head that reads averages of several depths: each depth's map, in the same units, and their sum.

    The mean gradient by a channel of a map is that by its average over the map's places; what the head reads of its
    deviation adds nothing to the mean.
    """
    import keras

    names = {operation.name: number for number, operation in enumerate(operations_of(model))}
    row = operations_of(model)[names[token_maps.TAPS]]
    maps, ranges, at = [], [], 0
    for vector in row.input:
        pool, width = keras_private.operation_of(vector), int(vector.shape[-1])
        if type(pool).__name__ == "GlobalAveragePooling2D" and tuple(pool.input.shape[1:3]) != (1, 1):
            maps.append(pool.input)
            ranges.append(slice(at, at + width))
        at += width
    if not maps:
        raise ConfigError("no depth that the head reads has a feature map of several places; use --method occlusion")
    tail = cut(model, names["head"]).tail
    assert tail is not None
    below = compute.forward(keras.Model(model.inputs, [*maps, row.output]))
    above = compute.input_gradient(tail)

    def fields(pictures: npt.NDArray[np.uint8], weights: npt.NDArray[np.float32]) -> list[Heat]:
        *found, rows = below([pictures])
        gradient = above(rows, weights)[1]
        return [(a * gradient[:, None, None, where]).sum(3) for a, where in zip(found, ranges, strict=True)]

    return _of_maps(model, fields)


# ---------------------------------------------------------------------------------------------- occlusion


def _occlusion(model: keras.Model) -> Explainer:
    """Zeiler & Fergus 2014: how far the output falls while a grey square hides a place; any network."""
    run = compute.forward(model)
    size = model.input_shape[1]
    cells = min(CELLS, size)
    edges = np.linspace(0, size, cells + 1).round().astype(int)
    # Squares of two by two cells, half outside at the rim: every cell is hidden four times.
    corners = [(i, j) for i in range(-1, cells) for j in range(-1, cells)]

    def spans(corner: tuple[int, int]) -> tuple[slice, slice]:
        first, second = (slice(max(c, 0), min(c + 2, cells)) for c in corner)
        return first, second

    def one(picture: Pixels, wanted: int) -> Heat:
        hidden = np.repeat(picture[None], len(corners) + 1, axis=0)
        for copy, corner in zip(hidden[1:], corners, strict=True):
            rows, columns = (slice(edges[s.start], edges[s.stop]) for s in spans(corner))
            copy[rows, columns] = LETTERBOX
        parts = [run([some])[0][:, wanted] for some, _ in _batches(hidden, np.zeros(len(hidden), np.int64))]
        values = np.concatenate(parts)[: len(hidden)]
        heat = np.zeros((cells, cells), np.float32)
        for corner, fall in zip(corners, values[0] - values[1:], strict=True):
            heat[spans(corner)] += fall / 4
        return heat

    def explain(pictures: npt.NDArray[np.uint8], outputs: npt.NDArray[np.int64]) -> Heat:
        heats = [one(picture, int(wanted)) for picture, wanted in zip(pictures, outputs, strict=True)]
        return _scaled(_enlarged(np.maximum(np.stack(heats), 0.0), size))

    return explain


def _batches(pictures: npt.NDArray[Any], outputs: npt.NDArray[np.int64]) -> list[tuple[Any, Any]]:
    """Parts of BATCH pictures each; the last is filled up with the first, so that one trace serves all."""
    wanted = np.arange(-(-len(pictures) // BATCH) * BATCH)
    wanted[wanted >= len(pictures)] = 0
    return [(pictures[some], outputs[some]) for some in wanted.reshape(-1, BATCH)]


def _enlarged(maps: npt.NDArray[Any], size: int) -> Heat:
    """Maps [N, h, w] as [N, size, size]."""
    bilinear = Image.Resampling.BILINEAR
    return np.stack(
        [np.asarray(Image.fromarray(one.astype(np.float32)).resize((size, size), bilinear)) for one in maps]
    )


def _scaled(heats: Heat) -> Heat:
    """Maps [N, size, size] ≥ 0 in 0…1; one that is 0 everywhere stays so."""
    top = heats.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(heats, top, out=np.zeros_like(heats), where=top > 0))


# ---------------------------------------------------------------------------------------------- overlays


def overlay(picture: Pixels, heat: Heat, resize: Resize = "stretch") -> Pixels:
    """`heat` over the whole `picture` uint8 [h, w, 3], put where the decoder's `resize` had taken it from.

    Args:
        picture: the whole upright picture, uint8 [h, w, 3].
        heat: the model's, [size, size] in 0…1.
        resize: how the decoder had brought the picture to the model's square.

    Returns:
        uint8 [h, w, 3].
    """
    placed = place(heat, resize, (picture.shape[1], picture.shape[0]))
    colours = _inferno()[np.minimum(placed * 256, 255).astype(np.uint8)]
    opacity = STRENGTH * placed[..., None]
    # Elsewhere grey, so that a red object is not taken for heat.
    grey = picture @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.rint((1 - opacity) * grey[..., None] + opacity * colours), np.uint8)


@cache
def _inferno() -> Pixels:
    """uint8 [256, 3]: colours from cold to hot."""
    steps = np.frombuffer(zlib.decompress(base64.b85decode(INFERNO)), np.uint8).reshape(3, 256).T
    return np.cumsum(steps, axis=0, dtype=np.uint8)


def place(heat: Heat, resize: Resize, size: tuple[int, int]) -> Heat:
    """A heat map of the model's square input as one of the upright picture of `size` (width, height).

    Args:
        heat: float32 [size, size].
        resize: how the decoder had brought the picture to that square.
        size: (width, height) of the upright picture.

    Returns:
        float32 [height, width]; 0 where the model did not see it.
    """
    image, bilinear = Image.fromarray(heat), Image.Resampling.BILINEAR
    if resize == "stretch":
        return np.asarray(image.resize(size, bilinear))
    if resize == "letterbox":
        scale = len(heat) / max(size)
        width, height = (max(1, round(side * scale)) for side in size)
        left, top = (len(heat) - width) // 2, (len(heat) - height) // 2
        return np.asarray(image.resize(size, bilinear, box=(left, top, left + width, top + height)))
    left, top, right, bottom = central_square(*size)
    result = np.zeros((size[1], size[0]), np.float32)
    result[top:bottom, left:right] = np.asarray(image.resize((right - left, bottom - top), bilinear))
    return result
