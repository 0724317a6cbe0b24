"""A run whose shipped model has learnt from the validation pictures too."""

import numpy as np
import pytest

import transferkit as tk
from transferkit.files import read_csv


@pytest.mark.parametrize("policy", ["none", "from:block4"])
def test_the_shipped_model_has_seen_validation(digits, tmp_path, monkeypatch, policy):
    monkeypatch.setattr("transferkit.delivery.publish.publish", lambda *_: None)
    settings = {"unfreeze": policy, "epochs": 6, "patience": 5, "views": 1, "offline": True, "quiet": True}
    plain, both = (
        tk.finetune(digits, "mini", output=tmp_path / refit, refit=refit, **settings)
        for refit in ("train", "train+val")
    )
    # Everything that validation judged is as without the refit; the model is another.
    assert both.metrics["val"] == plain.metrics["val"]
    assert both.history[0]["loss"] == plain.history[0]["loss"]
    assert both.metrics["temperature"] == plain.metrics["temperature"]
    splits = read_csv(both.folder / "splits.csv")
    held = [digits / row["path"] for row in splits if row["split"] == "val"]
    labels = [row["label"] for row in splits if row["split"] == "val"]
    right = [np.mean([p.label == t for p, t in zip(run.predict(held), labels, strict=True)]) for run in (plain, both)]
    assert right[1] > right[0], "the pictures it has learnt from are easier for it"
    assert any("trained again on training and validation" in note for note in both.manifest["notes"])
