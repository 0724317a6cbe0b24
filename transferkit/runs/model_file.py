"""`model.keras`: plain Keras layers, uint8 in, probabilities out, and a page of facts inside the same file.

A `.keras` file is a zip archive. Keras reads its own members and leaves others alone, so class names, decoder
settings and thresholds travel in a member of ours.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.errors import RunError
from transferkit.files import to_json, whole

if TYPE_CHECKING:
    import keras

MEMBER = "transferkit.json"


def save(model: keras.Model, facts: dict[str, Any], path: Path) -> None:
    """Write `model` with `facts` (plain JSON values), whole or not at all."""
    with whole(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, to_json(facts, indent=1))


def facts(path: Path) -> dict[str, Any]:
    """What `save` put beside the model; needs no Keras. Raises RunError for a file that has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            content: dict[str, Any] = json.loads(archive.read(MEMBER))
            return content
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RunError(f"{path} is damaged or was not written by transferkit (no {MEMBER} inside)") from error


def load(path: Path) -> keras.Model:
    """The model, in Keras' safe mode. Raises RunError where the file is missing or damaged."""
    import keras

    if not path.exists():
        raise RunError(f"{path} does not exist")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be loaded: {error}") from error
