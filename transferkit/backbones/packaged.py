"""Weights inside the package: an .npz beside a record that holds its SHA-256. Read, checked and packed; no Keras."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferkit.errors import WeightsError
from transferkit.files import ARRAY_DAMAGE, read_json, sha256_bytes
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Packaged:
    """Where a bundled network's weights and their record lie, and the script that makes both."""

    weights: Path
    record: Path
    script: str

    def load(self, model: keras.Model) -> None:
        """Set the weights on `model`, cast to its variables' own type.

        Raises WeightsError where the file is missing, does not match its recorded SHA-256, or does not fit `model`;
        the model is not changed then.
        """
        stored = self.read()
        pairs = [(variable, key) for layer in model.layers for variable, key in variables_of(layer)]
        keys = {key for _, key in pairs}
        if keys != set(stored) or any(tuple(variable.shape) != stored[key].shape for variable, key in pairs):
            right = f"build_{self.weights.stem}()"
            raise WeightsError(f"the packaged weights do not fit model '{model.name}'; pass a network of {right}")
        for variable, key in pairs:
            variable.assign(stored[key])

    def sha256(self) -> str:
        """SHA-256 of the weights as recorded; `load` accepts no other file."""
        return str(self.facts()["sha256"])

    def facts(self) -> JsonObject:
        """What the record says of the weights. Raises WeightsError where it is missing or damaged."""
        try:
            content = read_json(self.record)
            if not isinstance(content["sha256"], str):
                raise TypeError("sha256 is not text")
        except FileNotFoundError as error:
            raise WeightsError(f"{self.record} is missing; {self._remedy}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{self.record} is damaged ({error}); {self._remedy}") from error
        return dict(content)

    def read(self) -> dict[str, NDArray[np.float32]]:
        """The weights as float32 arrays by "layer/variable", after the hash was verified.

        Raises WeightsError where they are missing or damaged.
        """
        try:
            content = self.weights.read_bytes()
        except FileNotFoundError as error:
            raise WeightsError(f"{self.weights} is missing; {self._remedy}") from error
        found, expected = sha256_bytes(content), self.sha256()
        if found != expected:
            raise WeightsError(
                f"{self.weights} is damaged: its SHA-256 is {found[:12]}…, not {expected[:12]}…; {self._remedy}"
            )
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {key: archive[key].astype(np.float32) for key in archive.files}
        except ARRAY_DAMAGE as error:
            raise WeightsError(f"{self.weights} is no .npz file ({error}); {self._remedy}") from error

    @property
    def _remedy(self) -> str:
        return f"reinstall transferkit, or make the file again with {self.script}"


def pack(model: keras.Model, exact_up_to: int = 0) -> bytes:
    """The weights of a network as the bytes of a compressed .npz; equal weights give equal bytes.

    Args:
        model: the network.
        exact_up_to: arrays of at most so many values are stored as float32, all others as float16.

    Raises:
        WeightsError: float16 cannot hold a weight.
    """
    pairs = [pair for layer in model.layers for pair in variables_of(layer)]
    values = {key: np.asarray(variable) for variable, key in pairs}
    arrays = {k: v.astype(np.float32 if v.size <= exact_up_to else np.float16) for k, v in values.items()}
    # float16 ends at 65,504: a weight beyond it would be stored as infinity.
    if any(not np.isfinite(array).all() for array in arrays.values()):
        raise WeightsError("a weight is not finite in float16; train at a lower rate")
    buffer = io.BytesIO()
    # Not `allow_pickle=False`, which is an argument only from NumPy 2.1 on.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def variables_of(layer: keras.Layer) -> list[tuple[Any, str]]:
    """Each variable of `layer` with its key in the file, for example "block1_conv1/kernel"."""
    return [(variable, f"{layer.name}/{variable.name}") for variable in layer.weights]
