"""A recipe killed in its head and in its tail, in processes of its own, ends as one that nobody killed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from .job import RESUMED, numbers, recipe_for

ROOT = Path(__file__).parents[2]


PROGRAM = "import runpy; runpy.run_module('tests.training.job', run_name='__main__', alter_sys=True)"


def start(fresh, digits, folder, *death):
    arguments = (digits, folder / "checkpoints", folder / "result.npz", *death)
    return fresh(PROGRAM, *arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.extended
@pytest.mark.slow
def test_a_run_killed_in_head_and_tail_ends_as_one_that_was_not(digits, fresh, tmp_path):
    for death in (("head", 2), ("tail", 2)):
        assert start(fresh, digits, tmp_path, *death).returncode == -signal.SIGKILL
        assert not (tmp_path / "result.npz").exists()
    done = start(fresh, digits, tmp_path)
    assert done.returncode == 0, done.stderr
    plain = numbers(recipe_for(digits, **RESUMED).run())
    with np.load(tmp_path / "result.npz") as resumed:
        assert set(plain) == set(resumed)
        assert len(plain["history"]) == 8
        for name in plain:
            np.testing.assert_array_equal(plain[name], resumed[name], err_msg=name)
