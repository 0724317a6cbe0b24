"""Layer decay: each block of a network of blocks goes at a rate of its own, a constant factor from block to block."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.backbones.foundation.checkpoints import rewritten
from tests.backbones.foundation.parity import FIXTURES
from transferkit.backbones import freeze
from transferkit.backbones.build import build
from transferkit.backbones.foundation.safetensors import SafetensorsFile
from transferkit.training import models, optimizers


def deeper(place: Path, blocks: int) -> str:
    """DINOv2 with registers of `blocks` blocks, the last of the committed three repeated."""
    folder = shutil.copytree(FIXTURES / "dinov2_registers", place / "deep")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": blocks}))
    file = SafetensorsFile(folder / "model.safetensors")
    repeated = {
        name.replace("layer.2.", f"layer.{number}.").replace(".", "__"): file.read(name)
        for name in file.shapes if "layer.2." in name for number in range(3, blocks)
    }  # fmt: skip
    rewritten(folder / "model.safetensors", **repeated)
    return str(folder)


# The decay is that of a quarter of the network: of 8 blocks each has half a quarter, so its root from one to the next.
@pytest.mark.parametrize(("blocks", "decay"), [(4, 0.5), (8, 0.25)])
@pytest.mark.parametrize("policy", ["all", "from:block1"])
def test_rates_halve_from_block_to_block(tmp_path: Path, blocks: int, decay: float, policy: str) -> None:
    backbone = build(deeper(tmp_path, blocks), size=28)
    model = freeze.freeze(backbone.model, policy, row=backbone.row)
    rates = optimizers.layer_rates(model, models.depths(backbone), decay)

    assert set(rates) == {variable.path for variable in model.trainable_variables}
    found: dict[str, set[float]] = {}
    for path, rate in rates.items():
        found.setdefault(re.split("[_/]", path)[0], set()).add(rate)
    expected = {f"block{number}": {0.5 ** (blocks - 1 - number)} for number in range(blocks)}
    expected |= {"norm": {1.0}, "embedding": {0.5**blocks}}
    if policy == "from:block1":
        del expected["block0"], expected["embedding"]
    assert found == expected
    assert {"block1_norm1/gamma", "block1_query/bias", "block1_scale2/kernel", "block1_contract/kernel"} <= set(rates)
