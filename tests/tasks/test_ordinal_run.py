"""A run on ordered classes, from a folder to what leaves it: what was said of order holds in every file."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.calls import call
from transferkit.errors import ConfigError, DataError

ORDER = ["low", "mid", "high", "top"]
FAST = ("--backbone", "mini", "--head", "mlp", "--augment", "none", "--views", "0", "--epochs", "12",
        "--split", ".5,.2,.3", "--offline")  # fmt: skip


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four folders of pictures that differ in brightness, neighbours overlapping; their names are not in order."""
    root, rng = tmp_path_factory.mktemp("grades") / "data", np.random.default_rng(0)
    for i in range(120):
        name = ORDER[i % 4]
        pixels = rng.normal(45 + 45 * (i % 4) + rng.normal(0, 14), 25, (36, 36, 3)).clip(0, 255).astype(np.uint8)
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(grades: Path, tmp_path_factory: pytest.TempPathFactory) -> tk.Run:
    """Read only."""
    folder = tmp_path_factory.mktemp("ordinal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setenv("TRANSFERKIT_STATE", str(folder / "state"))
        found = call(
            "finetune", grades, *FAST, "--task", "ordinal", "--classes", ",".join(ORDER), "--output", folder / "run"
        )
        assert found.code == 0, found.err
    return tk.load_run(folder / "run")


def rows_of(run: tk.Run) -> list[dict[str, str]]:
    with open(run.folder / "predictions.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_scores_and_files_are_in_the_order_that_was_given(run: tk.Run) -> None:
    test, rows = run.metrics["test"], rows_of(run)
    assert run.metrics["classes"] == ORDER
    assert run.metrics["goal"] == "mae"
    assert list(rows[0]) == ["path", "label", "predicted", "confidence", *(f"p_{name}" for name in ORDER)]
    off = [abs(ORDER.index(row["predicted"]) - ORDER.index(row["label"])) for row in rows]
    assert test["mae"] == pytest.approx(np.mean(off))
    assert test["mae_ci95"][0] <= test["mae"] <= test["mae_ci95"][1]
    assert test["qwk_ci95"][0] <= test["qwk"] <= test["qwk_ci95"][1]
    for row in rows:
        shares = np.cumsum([float(row[f"p_{name}"]) for name in ORDER])
        assert row["predicted"] == ORDER[int((shares < 0.5).sum())]
        assert shares[-1] == pytest.approx(1, abs=1e-5)
    assert test["mae"] < run.metrics["baselines"]["majority"]["mae"]
    assert {"accuracy", "val_mae"} <= set(run.history[0])


def test_evaluate_and_predict_repeat_the_numbers(run: tk.Run, grades: Path) -> None:
    found = call("evaluate", run.folder, "--json")
    assert json.loads(found.out)["mae"] == pytest.approx(run.metrics["test"]["mae"])
    answers = {row["path"]: row["predicted"] for row in rows_of(run)}
    for prediction in tk.predict(run, [grades / path for path in answers], quiet=True):
        assert prediction.label == answers[str(Path(prediction.path).relative_to(grades))]
    line = call("predict", run.folder, grades / "top" / "3.png").out
    assert f"[{answers.get('top/3.png', 'top')}]" in line  # the answer is not always the first of the scores


def test_it_is_said_in_the_words_of_grades(run: tk.Run) -> None:
    summary = " ".join(run.summary().split())
    assert "classes on average (mean absolute error) on" in summary
    assert "always the middle class of training" in summary
    page, card = ((run.folder / name).read_text("utf-8") for name in ("report.html", "CARD.md"))
    assert "quadratic weighted kappa" in page
    assert "grading of images" in page
    assert "Grades a picture" in card
    assert "expect an answer to be off by" in " ".join(page.split())


@pytest.mark.extended
def test_the_file_answers_where_transferkit_is_not_installed(run: tk.Run, grades: Path) -> None:
    """By the very lines that the card shows."""
    card = (run.folder / "CARD.md").read_text("utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    picture = grades / "low" / "0.png"
    code = code.replace('"picture.jpg"', repr(str(picture))) + "import sys; assert 'transferkit' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=300, check=True, cwd=run.folder
    )
    (prediction,) = tk.predict(run, [picture], quiet=True)
    assert done.stdout.split()[0] == prediction.label


@pytest.mark.extended
def test_the_exported_file_answers_alike(run: tk.Run, tmp_path: Path) -> None:
    found = call("export", run.folder, "--format", "saved_model", "--output", tmp_path / "out", "--json")
    assert found.code == 0, found.err
    facts = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    assert facts["output"] == {"name": "probabilities", "shape": ["n", 4], "dtype": "float32"}
    assert facts["check"]["agreement"] == 1.0
    assert facts["check"]["largest_difference"] < 1e-4
    assert facts["check"]["accuracy"] == facts["check"]["accuracy_of_run"]


def test_where_it_looked_is_explained_by_the_class(run: tk.Run, grades: Path) -> None:
    found = run.explain(grades / "top" / "3.png", output="top")
    assert found.output == "top"
    assert found.heat.shape == (36, 36)


def test_it_is_served(run: tk.Run, grades: Path) -> None:
    from transferkit.delivery.serve import Answering

    answering = Answering.of(run.layout)
    (found,) = answering.predict([("0.png", (grades / "low" / "0.png").read_bytes())], 4, False, False)
    assert sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert found["label"] in ORDER


def test_without_an_order_it_does_not_begin_and_looking_at_data_needs_none(grades: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"the order of the classes high, low, mid, top is not known\. Give all of them, the lowest first",
    ):
        tk.finetune(grades, "mini", task="ordinal", output=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        ConfigError, match=r"classes.*has no effect with .*classify.*, whose classes have no order; use .*ordinal"
    ):
        tk.finetune(grades, "mini", task="classify", classes=ORDER, output=tmp_path / "run", quiet=True)
    assert call("data", "summary", grades, "--task", "ordinal").code == 0


def test_python_callers_say_the_order_with_the_arrays_or_with_the_data(grades: Path) -> None:
    pictures, targets = np.zeros((6, 8, 8, 3), np.uint8), np.array([0, 1, 2, 0, 1, 2])
    assert tk.load_data((pictures, targets, ["low", "mid", "high"]), task="ordinal").samples.ordered
    numbers = tk.load_data((pictures, 10 * targets), task="ordinal").samples
    assert numbers.classes == ("0", "10", "20")
    assert numbers.ordered
    named = tk.load_data(grades, task="ordinal", classes=ORDER).samples
    assert named.classes == tuple(ORDER)
    assert all(named.label(i) == Path(path).parent.name for i, path in enumerate(named.paths))
