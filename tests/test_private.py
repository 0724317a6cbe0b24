"""What is private in Keras and Ray is used in one module each, so that a new version of them is met there."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "transferkit"
PRIVATE = re.compile(
    r"(?<!self)\._(flatten_layers|keras_history|inbound_nodes|learning_rate|clip_gradients|trainable_variables|use_weight_decay"
    r"|track_variable|momentums|velocities|model_variables_moving_average|iterations|py_driver_sys_path)\b"
    r"|ray\._private|keras\.src"
)
HOMES = {"compute/keras_private.py", "compute/ray_private.py"}


def test_private_names_of_keras_and_ray_stay_in_their_adapters() -> None:
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in HOMES
        for line in path.read_text("utf-8").splitlines()
        if PRIVATE.search(line) and not line.lstrip().startswith("#")
    }
    assert found == set()
