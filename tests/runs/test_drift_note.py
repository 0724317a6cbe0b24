"""`evaluate RUN NEWDATA` says when the new pictures are of another kind than those of training."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.runs.sealing import reseal
from transferkit.cli import cli
from transferkit.cli._boundary import guarded


@pytest.fixture
def inverted(digits, tmp_path):
    """The digits black on white, with noise: to a network, other pictures."""
    rng = np.random.default_rng(0)
    for path in sorted(digits.glob("*/*[05].png")):
        target = tmp_path / "inverted" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = 255 - np.asarray(Image.open(path)).astype(int) * rng.uniform(0.3, 0.6)
        Image.fromarray(np.clip(pixels + rng.normal(0, 30, pixels.shape), 0, 255).astype(np.uint8)).save(target)
    return tmp_path / "inverted"


def test_other_pictures_are_noted_and_the_same_kind_is_not(digits_run, digits, inverted, capsys):
    far = digits_run.evaluate(inverted)["drift"]
    assert far["far"]
    assert far["share"] > 0.5
    near = digits_run.evaluate(digits)["drift"]
    assert not near["far"]
    assert near["note"] is None
    capsys.readouterr()
    assert guarded(cli, ["evaluate", str(digits_run.folder), str(inverted), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["drift"]["far"] is True
    assert "of another kind" in err


def test_the_runs_own_test_split_is_not_measured_for_drift(digits_run):
    assert "drift" not in digits_run.evaluate()


def test_a_run_without_a_summary_is_evaluated_all_the_same_and_one_that_lost_it_says_so(
    digits_run, digits, tmp_path, capsys
):
    copy = shutil.copytree(digits_run.folder, tmp_path / "copy")
    (copy / "typical.npz").unlink()
    for lost in (True, False):
        if not lost:
            reseal(copy)  # as of a run that never had one
        assert guarded(cli, ["evaluate", str(copy), str(digits), "--json"]) == 0
        out, err = capsys.readouterr()
        scores = json.loads(out)
        assert "drift" not in scores
        assert scores["accuracy"] > 0.5
        assert ("typical.npz is no longer there" in err) is lost


@pytest.mark.extended
@pytest.mark.slow
def test_a_trained_tail_is_compared_by_its_own_features(digits, inverted, tmp_path, unpublished):
    import transferkit as tk

    run = tk.finetune(
        digits, "mini", output=tmp_path / "run", unfreeze="last:2", epochs=6, patience=5, views=1, quiet=True
    )
    assert run.manifest["chosen"] in ("head", "tail")
    assert not run.evaluate(digits)["drift"]["far"]
    assert run.evaluate(inverted)["drift"]["far"]
