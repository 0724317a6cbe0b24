import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .job import RESUMED, numbers, recipe_for

ROOT = Path(__file__).parents[2]


def start(digits, folder, *death):
    arguments = [str(a) for a in (digits, folder / "checkpoints", folder / "result.npz", *death)]
    return subprocess.run([sys.executable, "-m", "tests.training.job", *arguments], cwd=ROOT, env={**os.environ},
                          capture_output=True, text=True, timeout=300)  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_in_head_and_tail_ends_as_one_that_was_not(digits, tmp_path):
    for death in (("head", 2), ("tail", 2)):
        assert start(digits, tmp_path, *death).returncode == -signal.SIGKILL
        assert not (tmp_path / "result.npz").exists()
    done = start(digits, tmp_path)
    assert done.returncode == 0, done.stderr
    plain = numbers(recipe_for(digits, **RESUMED).run())
    with np.load(tmp_path / "result.npz") as resumed:
        assert set(plain) == set(resumed)
        assert len(plain["history"]) == 8
        for name in plain:
            np.testing.assert_array_equal(plain[name], resumed[name], err_msg=name)
