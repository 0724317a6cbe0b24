"""What two runs are compared by, and what may explain that they differ; whole runs are in `test_reproduce`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.records import metrics_of
from transferkit.delivery import reproduction
from transferkit.runs import half_weights
from transferkit.runs.run_record import PrecisionRecord


def test_another_engine_is_a_reason_for_other_numbers() -> None:
    def of(how: str) -> Any:
        return SimpleNamespace(
            precision=PrecisionRecord(name="float32", how=how), phases=[], data=SimpleNamespace(unlabeled=None)
        )

    assert reproduction._choices(of("openvino"), of("openvino")) == []
    (reason,) = reproduction._choices(of("openvino"), of("plain"))
    assert "features computed in float32 by openvino then, float32 now" in reason


def test_weights_that_are_stored_in_half_the_bytes_are_the_same_weights(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((64,))
    model = keras.Model(inputs, keras.layers.Dense(128, kernel_initializer="ones")(inputs))
    for name in ("whole", "half"):
        model.save(tmp_path / f"{name}.keras")
    assert half_weights.halve(tmp_path / "half.keras", exact=True) is not None

    assert reproduction._weights(tmp_path / "half.keras") == reproduction._weights(tmp_path / "whole.keras")


def test_runs_of_before_that_count_no_groups_are_reproduced() -> None:
    def of(**counted: int) -> dict[str, object]:
        return reproduction._numbers(metrics_of({"test": {"n": 12, "accuracy": 0.75, **counted}}))

    assert of() == of(groups=3)
    assert "test.accuracy" in of()
