"""One run from pictures to answers, for legs with other versions: trained, saved, loaded elsewhere, asked again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.fresh import Fresh
from transferkit.csv_files import read_csv

ANSWER = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
assert "transferkit" not in sys.modules
"""


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tk.Run:
    """A run that trains a head, then a tail, on augmented views. Read only."""
    folder = tmp_path_factory.mktemp("end")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        return tk.finetune(
            digits, "mini", output=folder / "run", head="mlp", unfreeze="from:block4", epochs=6, patience=5, views=1,
            quiet=True,
        )  # fmt: skip


def test_the_run_learns_and_leaves_its_files(run: tk.Run) -> None:
    test = run.metrics["test"]
    assert test["n"] == 30
    assert test["accuracy"] > 0.5  # ten classes; chance is 0.1
    for path in (run.layout.report, run.layout.predictions, run.layout.model, run.layout.history):
        assert path.stat().st_size > 0


def test_the_model_answers_elsewhere_as_it_was_judged(run: tk.Run, tmp_path: Path, fresh: Fresh) -> None:
    from transferkit.data.images.decode import decode
    from transferkit.runs import model_file

    settings = model_file.facts(run.layout.model).decoding()
    rows, root = read_csv(run.layout.predictions), Path(run.manifest["data"]["path"])
    np.save(tmp_path / "in.npy", np.stack([decode(root / row["path"], settings) for row in rows]))
    done = fresh(ANSWER, run.layout.model, tmp_path / "in.npy", tmp_path / "out.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = [[float(value) for name, value in row.items() if name.startswith("p_")] for row in rows]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), said, atol=1e-4)


def test_predict_says_what_the_run_said(run: tk.Run) -> None:
    rows, root = read_csv(run.layout.predictions), Path(run.manifest["data"]["path"])
    answers = run.predict([root / row["path"] for row in rows])
    assert [a.label for a in answers] == [row["predicted"] for row in rows]


def test_the_command_line_reads_the_run(run: tk.Run) -> None:
    result = call("evaluate", run.folder, "--json", "--quiet")
    assert result.code == 0, result.err
    assert f'"accuracy": {run.metrics["test"]["accuracy"]}' in result.out
