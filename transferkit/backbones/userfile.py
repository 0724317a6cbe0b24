"""A user's own `.keras` model as a backbone: opened in safe mode, its classifier taken off and said so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit import archives
from transferkit.backbones.catalog import names
from transferkit.backbones.freeze import row_of
from transferkit.errors import BackboneError, nearest

if TYPE_CHECKING:
    import keras

    from transferkit.backbones.catalog import Row

_CLASSIFIER = ("softmax", "sigmoid", "linear")
_POOLS = ("Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GlobalAverageMaxPooling2D")


def is_file(backbone: str) -> bool:
    """Whether `backbone` is meant as a path rather than a catalog name."""
    return backbone.endswith((".keras", ".h5", ".hdf5", ".pb")) or "/" in backbone or "\\" in backbone


def path_problems(backbone: str) -> list[str]:
    """What is wrong with the path, without opening it."""
    path = Path(backbone).expanduser()
    if not path.name.endswith(".keras"):
        return [
            f"'{backbone}' is no backbone: give a name of the catalog or a .keras file. A model in another "
            "form becomes one with keras.saving.load_model(FILE).save('model.keras'); a file of weights only "
            "goes to --weights"
        ]
    if not path.is_file():
        return [f"no file {path}{nearest(path.stem, names())}"]
    return []


def open_file(backbone: str) -> tuple[keras.Model, Row, list[str]]:
    """The model in the file without its classifier, its row (stages are layer names), and notes to say aloud.

    Raises BackboneError for a file that is absent, damaged, needs code of its own to load, or is no network
    from one RGB picture to one tensor.
    """
    import keras

    found = path_problems(backbone)
    if found:
        raise BackboneError(found[0])
    path = Path(backbone).expanduser()
    try:
        problem = archives.problem(path)
        if problem:
            raise BackboneError(f"{path} is not loaded: {problem}, which no network does")
        loaded = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except BackboneError:
        raise
    except Exception as error:  # Keras raises many kinds here, and the file is the user's
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneError(
            f"{path} cannot be loaded in Keras' safe mode: {first_line}. It must be made of Keras' own "
            "layers, without Lambda"
        ) from error
    _require_pictures(path, loaded)
    output, removed = _without_classifier(loaded)
    model = keras.Model(loaded.inputs[0], output, name=path.stem)
    notes = [f"{path.name}: removed its classifier ({', '.join(removed)})"] if removed else []
    row = row_of(model)
    return model, row, [*notes, *_firing(model, path)]


def _require_pictures(path: Path, model: keras.Model) -> None:
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if not inputs or not outputs:
        raise BackboneError(f"{path} is a subclassed model; only functional and sequential ones can be cut")
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        shapes = ", ".join(str(tuple(t.shape)) for t in inputs)
        raise BackboneError(
            f"{path} must take one RGB picture (height, width, 3) and give one tensor; it takes {shapes}"
        )


def _without_classifier(model: keras.Model) -> tuple[Any, list[str]]:
    """The tensor below the classifier and the names of the layers left out, or the output and none."""
    tensor, removed = model.outputs[0], []
    operation = _operation(tensor)
    if type(operation).__name__ in ("Softmax", "Activation") and _activation(operation) in _CLASSIFIER:
        removed.append(operation.name)
        tensor = _input(tensor)
        operation = _operation(tensor)
    if type(operation).__name__ != "Dense" or len(tensor.shape) != 2 or _activation(operation) not in _CLASSIFIER:
        return model.outputs[0], []
    removed.append(operation.name)
    tensor = below = _input(tensor)
    pools: list[str] = []
    while type(_operation(below)).__name__ in _POOLS:
        pools.append(_operation(below).name)
        below = _input(below)
    # Pooling belongs to the head only if it leads straight to a feature map; a hidden Dense is part of the
    # network.
    return (below, removed + pools) if len(below.shape) == 4 else (tensor, removed)


def _firing(model: keras.Model, path: Path) -> list[str]:
    """A note on augmentation inside the model, which fires under `fit` whether frozen or not."""
    found = [layer.name for layer in model._flatten_layers() if type(layer).__name__.startswith(("Random", "Aug"))]
    if not found:
        return []
    return [f"{path.name}: augmentation inside the model ({', '.join(found)}) fires under fit even where frozen"]


def _activation(operation: Any) -> str:
    return "softmax" if type(operation).__name__ == "Softmax" else str(operation.activation.__name__)


def _operation(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _input(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors[0]
