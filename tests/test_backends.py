"""The main job from pictures to answers, on JAX and on several devices, in processes of their own."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "--backbone", "mini", "--unfreeze", "from:block4", "--views", "1", "--epochs", "3", "--dropout", "0", "--offline",
    "--precision", "float32", "--json",
)  # fmt: skip
OneDevice = Callable[[str], tuple[Path, dict[str, Any]]]
# What `transferkit` runs, after the process has been given its devices.
PROGRAM = "import sys; from tests.computed import simulate; simulate(int(sys.argv.pop(1))); from transferkit.cli import main; main()"  # noqa: E501


def run(backend: str, devices: int, *arguments: object) -> str:
    """The output of the command in a process with this backend and so many simulated devices."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PROGRAM, str(devices), *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def one_device(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> OneDevice:
    """The main job with a backend on one device, made when first asked for: its folder and what it said."""
    made: dict[str, tuple[Path, dict[str, Any]]] = {}

    def get(backend: str) -> tuple[Path, dict[str, Any]]:
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"{backend} is not installed")
        if backend not in made:
            folder = tmp_path_factory.mktemp(backend) / "run"
            made[backend] = folder, json.loads(run(backend, 1, "finetune", digits, *OPTIONS, "--output", folder))
        return made[backend]

    return get


def answers(folder: Path) -> dict[str, np.ndarray]:
    """Probabilities [classes] of every test picture, by path."""
    with open(folder / "predictions.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {row["path"]: np.array([float(v) for k, v in row.items() if k.startswith("p_")]) for row in rows}


@pytest.mark.slow
def test_the_main_job_on_jax(digits: Path, one_device: OneDevice) -> None:
    folder, found = one_device("jax")
    assert found["test"]["accuracy"] > 0.5
    manifest = json.loads((folder / "run.json").read_text())
    assert [phase["name"] for phase in manifest["phases"]] == ["head", "tail"]
    expected = answers(folder)
    # A fresh process reads the model back and sees in the pictures what the run saw.
    some = sorted(expected)[:6]
    lines = run("jax", 1, "predict", folder, *(digits / path for path in some), "--format", "json", "--top", 10)
    for path, line in zip(some, lines.splitlines(), strict=True):
        assert json.loads(line)["confidence"] == pytest.approx(expected[path].max(), abs=1e-4)
    # The file is no backend's own: TensorFlow, here, gets the same out of it.
    from transferkit import compute
    from transferkit.data.images.decode import DecodeSettings, decode
    from transferkit.runs import model_file
    from transferkit.runs.layout import Layout

    model = model_file.load(Layout(folder).model)
    pixels = np.stack([decode(digits / path, DecodeSettings(32)) for path in some])
    (theirs,) = compute.forward(model)([pixels])
    np.testing.assert_allclose(theirs, [expected[path] for path in some], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_main_job_on_two_devices_comes_to_what_it_does_on_one(
    digits: Path, tmp_path: Path, one_device: OneDevice, backend: str
) -> None:
    one = answers(one_device(backend)[0])
    run(backend, 2, "finetune", digits, *OPTIONS, "--output", tmp_path / "two")
    two = answers(tmp_path / "two")
    assert one.keys() == two.keys()
    for path, expected in one.items():
        np.testing.assert_allclose(two[path], expected, atol=5e-3)  # rounding, magnified by training
