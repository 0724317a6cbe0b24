"""Weights into a network, from Keras' files or PyTorch's; an error names what does not fit."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from transferkit import archives
from transferkit.backbones import torch_weights
from transferkit.backbones.foundation.checkpoint_files import SUFFIXES as TORCH
from transferkit.compute import keras_private
from transferkit.errors import WeightsError

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".weights.h5", ".h5", *TORCH)
_Shapes = tuple[tuple[int, ...], ...]


def load(path: Path, model: keras.Model) -> None:
    """Set the weights of a network from a file.

    PyTorch's files are read by name, where the names are known (`torch_weights`); Keras' by position: `.keras` (a whole
    model; the part of it that has the shape of `model` is used, so that a model with a head on it serves too),
    `.weights.h5` (Keras 3) and `.h5` (Keras 1 and 2, and `keras.applications`).

    Args:
        path: the file.
        model: the network. After an error its weights may be half replaced: build it again.

    Raises:
        WeightsError: they do not fit.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {path}; give the path of a {', '.join(SUFFIXES)} file")
    if not path.name.endswith(SUFFIXES):
        raise WeightsError(f"{path} is no weights file by its name; it must end in {', '.join(SUFFIXES)}")
    read = _from_keras if path.name.endswith(".keras") else _from_legacy
    read = _from_weights if path.name.endswith(".weights.h5") else read
    read = torch_weights.load if torch_weights.is_torch(path) else read
    try:
        with warnings.catch_warnings():
            # Keras only warns where layers "retain their freshly-initialized weights": that is a failure.
            warnings.filterwarnings("error", "(?s).*(Skipping|could not be loaded|freshly-initialized).*")
            read(path, model)
    except WeightsError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserWarning, BadZipFile) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"the weights in {path} cannot be loaded into '{model.name}': {first_line}. Check that the file "
            "belongs to this network (same constructor and width, saved without top), or use --weights random"
        ) from error


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over position, name, shape, type and value of every weight: equal for equal functions' weights.

    Layer names are left out: Keras numbers automatic names by what was built before in the process.
    """
    import numpy as np

    summary = hashlib.sha256()
    for index, weight in enumerate(model.weights):
        value = np.ascontiguousarray(np.asarray(weight))
        summary.update(f"{index}:{weight.name}:{value.dtype}:{value.shape};".encode())
        summary.update(value.tobytes())
    return summary.hexdigest()


def _from_legacy(path: Path, model: keras.Model) -> None:
    import h5py

    with h5py.File(path, "r") as file:
        root = file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file
        if "layer_names" not in root.attrs:
            if "layers" in file:  # Keras 3's form under Keras 2's name
                raise WeightsError(f"{path} is in the .weights.h5 form; rename it to {path.stem}.weights.h5")
            raise WeightsError(f"{path} is no Keras weights file: it lists no layers")
        stored = [
            (_text(name), _stored_shapes(root[_text(name)]))
            for name in root.attrs["layer_names"]
            if len(root[_text(name)].attrs["weight_names"])
        ]
    expected = [(layer.name, _shapes(layer)) for layer in model.layers if layer.weights]
    _compare(path, model, stored, expected)
    model.load_weights(str(path))


def _from_weights(path: Path, model: keras.Model) -> None:
    import h5py

    found: list[_Shapes] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: _collect(name, item, found))
    expected = sum(len(layer.weights) for layer in model.layers)
    if len(found) != expected:
        raise WeightsError(f"{path} does not fit '{model.name}': it holds {len(found)} arrays, {expected} are needed")
    model.load_weights(str(path))


def _collect(name: str, item: Any, found: list[Any]) -> None:
    parts = name.split("/")
    # `vars` also holds optimizer state and the state of random generators, which are no weights.
    if hasattr(item, "shape") and parts[0] != "optimizer" and "seed_generator" not in parts and "vars" in parts:
        found.append(item.shape)


def _from_keras(path: Path, model: keras.Model) -> None:
    import keras

    problem = archives.problem(path)
    if problem:
        raise WeightsError(f"{path} is not loaded: {problem}, which no network does")
    with archives.bounded(path):
        source = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    expected = [(layer.name, _shapes(layer)) for layer in _weighted(model)]
    candidates = [m for m in keras_private.all_layers(source) if isinstance(m, keras.Model)]
    for candidate in candidates:
        layers = list(_weighted(candidate))
        shapes = [_shapes(layer) for layer in layers]
        wanted = [shape for _, shape in expected]
        # Preprocessing comes before the network and a head after it: look for the run of layers that fits.
        for start in range(len(shapes) - len(wanted) + 1):
            if shapes[start : start + len(wanted)] == wanted:
                for layer, ours in zip(layers[start:], _weighted(model), strict=False):
                    ours.set_weights(layer.get_weights())
                return
    _compare(path, model, [(layer.name, _shapes(layer)) for layer in _weighted(source)], expected)
    raise WeightsError(f"{path} does not fit '{model.name}'")


def _compare(
    path: Path, model: keras.Model, stored: list[tuple[str, _Shapes]], expected: list[tuple[str, _Shapes]]
) -> None:
    """Raise WeightsError where file and network differ, naming the first layer that does."""
    counts = f"the file has {len(stored)} layers with weights, the network {len(expected)}"
    for (name, shapes), (ours, needed) in zip(stored, expected, strict=False):
        if shapes != needed:
            raise WeightsError(
                f"{path} does not fit '{model.name}': layer '{ours}' needs shapes {_say(needed)}, the file's "
                f"'{name}' has {_say(shapes)} ({counts}). Choose the backbone that the file was saved from"
            )
    if len(stored) > len(expected):
        extra = ", ".join(f"'{name}'" for name, _ in stored[len(expected) :][:4])
        raise WeightsError(
            f"{path} does not fit '{model.name}': {counts}; left over: {extra}. It may have been saved with "
            "its top: use the file without (its name ends in notop or no_top)"
        )
    if len(stored) < len(expected):
        missing = ", ".join(f"'{name}'" for name, _ in expected[len(stored) :][:4])
        raise WeightsError(f"{path} does not fit '{model.name}': {counts}; missing: {missing}")


def _weighted(model: keras.Model) -> Iterator[Any]:
    """The innermost layers with weights, in the model's order."""
    for layer in model.layers:
        nested = getattr(layer, "layers", None)
        if nested:
            yield from _weighted(layer)
        elif layer.weights:
            yield layer


def _shapes(layer: Any) -> _Shapes:
    # As the legacy form orders them: trainable first.
    return tuple(tuple(w.shape) for w in (*layer.trainable_weights, *layer.non_trainable_weights))


def _stored_shapes(group: Any) -> _Shapes:
    return tuple(tuple(group[_text(name)].shape) for name in group.attrs["weight_names"])


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _say(shapes: _Shapes) -> str:
    return " ".join("×".join(str(n) for n in shape) or "scalar" for shape in shapes) or "none"
