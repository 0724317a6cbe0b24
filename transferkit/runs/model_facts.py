"""transferkit.json inside model.keras as a record: what a model answers and how pictures are read for it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from transferkit.data.images.decode import DecodeSettings, Intensity, outdated
from transferkit.record import Names, Number, Record
from transferkit.tasks import TaskName


class DecodeRecord(Record):
    """How pictures are read, and by which version of the decoder."""

    decoder: int
    size: Annotated[int, Field(ge=8, le=4096)]
    resize: str = "stretch"
    intensity: Intensity = "full"


class ModelFacts(Record):
    """What travels in the model's file."""

    task: TaskName
    classes: Names
    decode: DecodeRecord
    temperature: Annotated[Number, Field(gt=0)] = 1.0
    thresholds: list[Number] | None
    backbone: str = ""
    scaling: str | None = None
    weights: str = ""
    pooling: str = ""

    def outdated(self) -> str | None:
        """What to say where the model was trained on pixels of an older decoder; None where there is nothing to say."""
        return outdated(self.decode.as_json())

    def decoding(self) -> DecodeSettings:
        """How pictures are read. Raises ConfigError for a decoder version that this one does not stand in for."""
        fields = {"resize": self.decode.resize, "intensity": self.decode.intensity}
        return DecodeSettings.from_key({**fields, **self.decode.as_json()})

    def limits(self) -> np.ndarray | None:
        """The threshold of each label, float [t]; None where the task or the run has none."""
        return None if self.thresholds is None else np.array(self.thresholds)
