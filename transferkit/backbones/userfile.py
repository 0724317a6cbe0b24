"""A user's own `.keras` model as a backbone: opened in safe mode, its classifier taken off and said so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit import archives
from transferkit.backbones import top
from transferkit.backbones.catalog import names
from transferkit.backbones.freeze import row_of_file
from transferkit.compute import keras_private
from transferkit.errors import BackboneError, nearest
from transferkit.text import shown

if TYPE_CHECKING:
    import keras

    from transferkit.backbones.catalog import BackboneRow


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


def open_file(backbone: str) -> tuple[keras.Model, BackboneRow, list[str]]:
    """The model in the file without its classifier, its row (stages are layer names), and notes to report.

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
        with archives.bounded(path):
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
    bare = top.without_classifier(loaded)
    _require_features(path, bare.tensor)
    model = keras.Model(loaded.inputs[0], bare.tensor, name=path.stem)
    notes = [f"{path.name}: removed its classifier ({', '.join(map(shown, bare.removed))})"] if bare.removed else []
    if not notes and (bare.answers or _answers(model)):
        notes = [
            f"{path.name} ends in probabilities of its own classes, which serve as features here: better save it "
            "without its classifier: keras.Model(model.inputs, model.get_layer(NAME).output).save('bare.keras')"
        ]
    row = row_of_file(model)
    return model, row, [*notes, *_firing(model, path)]


def _require_pictures(path: Path, model: keras.Model) -> None:
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if not inputs or not outputs:
        raise BackboneError(f"{path} is a subclassed model; only functional and sequential ones can be cut")
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        shapes = ", ".join(str(tuple(t.shape)) for t in inputs)
        raise BackboneError(
            f"{path} must take one RGB picture (height, width, 3) and give one tensor; it takes {shapes} and gives "
            f"{len(outputs)}. Save a part of it that does: keras.Model(model.inputs[0], "
            "model.get_layer(NAME).output).save('part.keras')"
        )


def _require_features(path: Path, output: Any) -> None:
    """A vector, tokens or a feature map of numbers that a head can be put on."""
    shape = tuple(output.shape)
    ranks = "a vector (features), tokens (n, features) or a map (height, width, features)"
    if len(shape) not in (2, 3, 4) or shape[-1] is None or "float" not in str(output.dtype):
        raise BackboneError(f"{path} gives {shape} of {output.dtype} a picture; a head needs {ranks} of floats")
    if top.channels_first(output):
        raise BackboneError(
            f"{path} gives a map with its channels first, {shape}; let it end in keras.layers.Permute((2, 3, 1))"
        )


def _answers(model: keras.Model) -> bool:
    """Whether two pictures of noise get rows of probabilities."""
    import numpy as np

    if len(model.output_shape) != 2:
        return False
    size = [side or 64 for side in model.input_shape[1:3]]
    noise = np.random.default_rng(0).integers(0, 256, (model.input_shape[0] or 2, *size, 3))
    try:
        outputs = np.asarray(model(noise.astype(model.inputs[0].dtype), training=False), np.float32)
    except Exception:  # a size of its own, which will be known later
        return False
    return top.looks_like_answers(outputs)


def _firing(model: keras.Model, path: Path) -> list[str]:
    """A note on augmentation inside the model, which fires under `fit` whether frozen or not."""
    found = [
        layer.name for layer in keras_private.all_layers(model) if type(layer).__name__.startswith(("Random", "Aug"))
    ]
    if not found:
        return []
    return [f"{path.name}: augmentation inside the model ({', '.join(found)}) fires under fit even where frozen"]
