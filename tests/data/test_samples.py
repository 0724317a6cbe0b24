"""What the decoder is given of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.data.pictures import folder_of_classes
from transferkit.data.samples import Samples
from transferkit.data.source import scan


def test_sources_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    samples = scan(folder_of_classes(tmp_path, {"a": 2, "b": 2}, size=8))
    sources = samples.sources()
    assert len(sources) == 4
    assert list(sources) == [tmp_path / path for path in samples.paths] == sources[:]
    assert sources[-1] == samples.source(3)
    assert sources[0] is not sources[0]  # nothing is kept of them


def test_sources_of_arrays_are_the_arrays() -> None:
    pixels = [np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8)]
    samples = Samples(
        None, ("array[0]", "array[1]"), np.array([0, 1]), ("a", "b"), "classify", (None, None), (None, None), None,
        pixels, "arrays",
    )  # fmt: skip
    assert [one is other for one, other in zip(samples.sources(), pixels, strict=True)] == [True, True]
