"""`model.keras`: plain Keras layers, uint8 in, probabilities out, and a page of facts inside the same file.

A `.keras` file is a zip archive. Keras reads its own members and leaves others alone, so class names, decoder
settings and thresholds travel in a member of ours.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import archives
from transferkit.data.samples import shown, unreadable_reason
from transferkit.errors import RunError
from transferkit.files import atomic_path, parse_json, to_json
from transferkit.record import RecordError
from transferkit.runs.half_weights import Halved, halve
from transferkit.runs.model_facts import ModelFacts
from transferkit.storage import own_temporaries

if TYPE_CHECKING:
    import keras

MEMBER = "transferkit.json"
LARGEST = 16 << 20  # bytes of the page of facts: names of a hundred thousand classes


def save(model: keras.Model, facts: ModelFacts, path: Path) -> Halved | None:
    """Write `model` with `facts`, whole or not at all; weights that float16 holds exactly are stored as that.

    Args:
        model: uint8 pictures → answers.
        facts: what its file says of it.
        path: of the file.

    Returns:
        What is stored in half the bytes, if anything.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    with atomic_path(path) as temporary, archives.dated():
        with own_temporaries():
            model.save(temporary)
        halved = halve(temporary, exact=True)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, to_json(facts.as_json(), indent=1))
    return halved


def facts(path: Path) -> ModelFacts:
    """What `save` put beside the model, its types checked; needs no Keras. Raises RunError for a file that has none."""
    _require_file(path)
    try:
        content = parse_json(archives.read_member(path, MEMBER, LARGEST))
    except (zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise RunError(f"{shown(path)} is damaged or was not written by transferkit (no {MEMBER} inside)") from error
    except (OSError, ValueError, RuntimeError, EOFError, zlib.error) as error:
        raise _damaged(path, f"{MEMBER}: {error}") from error
    try:
        return ModelFacts.read(content)
    except RecordError as error:
        raise _damaged(path, f"{MEMBER}: {error}") from error


def load(path: Path) -> keras.Model:
    """The model, in Keras' safe mode. Raises RunError where the file is missing, damaged, or made to fill the memory.

    Its one input takes uint8 pictures of the size, and its output has the numbers, that the file's facts say.
    """
    import keras

    _require_file(path)
    try:
        problem = archives.problem(path)
        if problem:
            raise RunError(f"{shown(path)} is not loaded: {problem}, which no network does")
        with archives.bounded(path):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except RunError:
        raise
    except Exception as error:  # Keras raises many kinds here, and the file may be a stranger's
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"{shown(path)} cannot be loaded: {shown(first[:400])}") from error
    _require_fit(path, model)
    return model


def _require_file(path: Path) -> None:
    reason = unreadable_reason(path)
    if reason is not None:
        raise RunError(f"{shown(path)} {reason}")


def _require_fit(path: Path, model: keras.Model) -> None:
    """A model of another shape than its page of facts would be told of in the middle of the first batch."""
    said = facts(path)
    size = said.decode.size
    inputs, outputs = ([tuple(t.shape) for t in getattr(model, side, None) or []] for side in ("inputs", "outputs"))
    wanted = [(None, size, size, 3)], [(None, len(said.classes))]
    if (inputs, outputs) != wanted:
        raise _damaged(path, f"{inputs} to {outputs} is not the model of {MEMBER}, {wanted[0]} to {wanted[1]}")


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{shown(path)} is damaged ({shown(why[:400])}); make the run again with another --output")
