"""The network runs over the test pictures once: the score's own pass gives what baselines are compared on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.csv_files import read_csv
from transferkit.features.row_sources import Views
from transferkit.runs import analysis
from transferkit.runs.assessment import Assessment

pytestmark = pytest.mark.usefixtures("unpublished")
ONE_PASS = {
    "a trained head": {"head": "linear", "epochs": 2},
    "a chosen one": {},
    "flattened": {"head": "linear", "epochs": 2, "pooling": "flatten"},
    "maps": {"head": "linear", "epochs": 2, "cutmix": 0.5},
    "in fewer bits": {"head": "linear", "epochs": 2, "precision": "bfloat16"},
    "a trained tail": {"head": "linear", "epochs": 2, "unfreeze": "from:block4"},
    "one below a chosen head": {"unfreeze": "from:block4", "epochs": 2},
    "one fed with maps": {"head": "linear", "epochs": 2, "unfreeze": "last:3", "cutmix": 0.5},
    "step by step": {"head": "linear", "epochs": 2, "unfreeze": "gradual"},
    "adapted": {"head": "linear", "epochs": 2, "unfreeze": "from:block4", "adapt": "norms", "batchnorm": "train"},
}
TWO = {"all layers": {"head": "linear", "epochs": 2, "unfreeze": "all"}}


@pytest.mark.extended
@pytest.mark.parametrize("name", [*ONE_PASS, *TWO])
def test_the_test_pictures_pass_once_where_one_pass_says_all(
    name: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[str] = []  # pictures that went through the frozen network
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    draw, tested = Views.draw, Assessment._tested

    def noted(self: Any, samples: Any, work: Any, *more: Any) -> Any:
        frozen.extend(samples.paths[index] for index, _ in work)
        return draw(self, samples, work, *more)

    def both(self: Any, vectors: Any) -> Any:
        found = tested(self, vectors)
        before = len(frozen)
        (other,) = analysis.features(self.work, self.trained, self.context.samples, [self.context.test])
        del frozen[before:]
        pairs.append((found.x, other.x))
        return found

    monkeypatch.setattr(Views, "draw", noted)
    monkeypatch.setattr(Assessment, "_tested", both)
    settings: dict[str, Any] = {**ONE_PASS, **TWO}[name]
    run = tk.finetune(digits, "mini", augment="none", output=tmp_path / "run", quiet=True, offline=True, **settings)
    test = {row["path"] for row in read_csv(run.folder / "splits.csv") if row["split"] == "test"}
    assert bool(test & set(frozen)) is (name in TWO)
    ((found, expected),) = pairs
    np.testing.assert_allclose(found, expected, atol=0.02 if settings.get("precision") else 1e-4)
    assert run.metrics["baselines"]["linear_probe"]["accuracy"] > 0.5
