"""`--head auto` from pictures to a finished run: what is chosen is shipped, judged and said."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.fresh import Fresh
from tests.marks import extended
from transferkit.config import make
from transferkit.delivery.explain import Explaining
from transferkit.errors import ConfigError
from transferkit.evaluation import metric_registry
from transferkit.runs import selecting, tapped_rows
from transferkit.selection.candidate_scores import Judge, OutOfFold


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Any:
    """A run on digits by the defaults alone. Shared: read only."""
    folder = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setenv("TRANSFERKIT_STATE", str(folder / "state"))
        return tk.finetune(digits, "mini", output=folder / "run", quiet=True)


def test_the_table_says_what_was_tried_and_what_was_chosen(chosen: Any) -> None:
    rows = chosen.metrics["candidates"]
    assert {row["features"] for row in rows} == {"last", "top", "all"}
    assert {row["classifier"] for row in rows} == {
        "mlp", "kernel", "logistic", "discriminant", "class mean", "ridge", "neighbours",
    }  # fmt: skip
    assert sum(row["chosen"] for row in rows) == 1
    found = chosen.metrics["cross_validation"]
    assert found["ci95"][0] <= found["score"] <= found["ci95"][1]
    assert found["n"] == 170  # training and validation
    text = chosen.summary()
    assert "candidates by cross-validation" in " ".join(text.split())


def test_the_report_tells_the_training_of_what_was_shipped_alone(chosen: Any) -> None:
    """The network that lost is a row among the candidates: neither its curve nor its phase stands for the model."""
    phases = {phase["name"]: phase["epochs"] for phase in chosen.manifest["phases"]}
    assert chosen.manifest["chosen"] == "head"
    assert (phases["head"], phases["mlp"] > 0) == (0, True)
    words = json.dumps(chosen.metrics["diagnosis"])
    assert not any(said in words for said in ("loss", "epoch", "--learning-rate"))
    page = chosen.layout.report.read_text("utf-8")
    training = page[page.index('<section id="training">') :]
    training = training[: training.index("</section>")]
    assert "What was tried" in training
    assert "loss and score by epoch" not in page
    assert "Phase " not in training
    assert not (chosen.layout.figures / "curves.png").exists()
    assert chosen.summary(verbose=True).count("Training   ") == 1


def test_the_file_gives_the_numbers_of_the_run_where_transferkit_is_not_installed(
    chosen: Any, digits: Path, fresh: Fresh
) -> None:
    rows = list(tk.predict(chosen, digits / "3", quiet=True))
    program = (
        "import sys, json, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "pixels = np.load(sys.argv[2])\n"
        "print(json.dumps(model.predict(pixels, verbose=0).tolist()))\n"
        "assert not any(name.startswith('transferkit') for name in sys.modules)\n"
    )
    from transferkit.data.images.decode import DecodeSettings, decode

    pictures = chosen.folder.parent / "pixels.npy"
    np.save(pictures, np.stack([decode(Path(row.path), DecodeSettings(32)) for row in rows]))
    done = fresh(program, chosen.layout.model, pictures, cwd=chosen.folder.parent)
    assert done.returncode == 0, done.stderr
    answers = np.array(json.loads(done.stdout.splitlines()[-1]))
    names = chosen.metrics["classes"]
    ours = np.array([[dict(row.scores)[name] for name in names] for row in rows])
    assert np.abs(answers - ours).max() < 1e-4


def test_what_is_said_of_validation_are_answers_to_pictures_left_out(chosen: Any) -> None:
    assert "train" not in chosen.metrics  # the score of a kernel machine on its own pictures says nothing
    # Fitted on all of train + validation, the shipped model knows the validation pictures by heart.
    assert chosen.manifest["learnt_from"] == "train+val"
    assert chosen.metrics["val"]["accuracy"] < 1.0 or chosen.metrics["cross_validation"]["score"] > 0.97


@pytest.mark.parametrize(("mended", "ahead"), [(12, False), (18, True)], ids=["2.7 standard errors", "3.7"])
def test_a_network_that_is_a_little_better_on_validation_does_not_win(mended: int, ahead: bool) -> None:
    """Of 400 pictures the winner has 20 wrong; the network has `mended` of these right, and two others wrong."""
    targets = np.arange(400) % 2
    judge = Judge("classify", targets, ("a", "b"), metric_registry.goal("accuracy", "classify"), None)
    wrong, other = np.zeros(400, bool), np.zeros(400, bool)
    wrong[:20] = True
    other[mended:22] = True
    logits = [np.eye(2)[np.where(which, 1 - targets, targets)] * 3 for which in (wrong, other)]
    work: Any = SimpleNamespace(settings=SimpleNamespace(head_width=(64,)))
    selector = selecting.Selector(work, splits=None)  # type: ignore[arg-type]
    beaten, row = selector._beaten(OutOfFold.of(logits[0], judge), logits[1], judge)
    assert row.score == pytest.approx(1 - (22 - mended) / 400)
    assert beaten is ahead


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_a_run_whose_features_memory_has_no_room_for_comes_to_the_same(
    chosen: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tapped_rows, selecting):
        monkeypatch.setattr(module, "most_in_memory", lambda: 400_000)
    run = tk.finetune(digits, "mini", output=tmp_path / "run", quiet=True)
    notes = " ".join(run.manifest["notes"])
    assert "read from disk" in notes
    assert "validation pictures: there is no memory" in notes
    there, here = ({row["name"]: row["score"] for row in one.metrics["candidates"] if row["rounds"]}
                   for one in (chosen, run))  # fmt: skip
    assert here == pytest.approx(there)


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_the_run_is_repeated_bit_by_bit(chosen: Any, tmp_path: Path) -> None:
    again = tk.reproduce(chosen, output=tmp_path / "again", quiet=True)
    assert again.same, str(again)


def test_everything_else_works_on_such_a_run(chosen: Any, digits: Path, tmp_path: Path) -> None:
    for words in (
        ("evaluate", chosen.folder), ("diagnose", chosen.folder), ("summary", chosen.folder, "--verbose"),
        ("explain", chosen.folder, digits / "3" / "3_0000.png", "--output", tmp_path / "seen"),
        ("report", chosen.folder),
    ):  # fmt: skip
        result = call(*words)
        assert result.code == 0, (words, result.err)


@pytest.mark.usefixtures("unpublished")
def test_heat_lies_where_the_answer_comes_from(tmp_path: Path) -> None:
    """Red or green in the upper left corner decides; the rest is noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    pictures = rng.integers(60, 120, (60, 32, 32, 3)).astype(np.uint8)
    pictures[np.arange(60), 4:14, 4:14, labels] = 255  # type: ignore[index]
    run = tk.finetune((pictures, labels), "mini", output=tmp_path / "run", quiet=True, augment="none", views=0)
    # As `run.explain` does it, with the model loaded once.
    heat = np.mean([e.heat for e in Explaining.of(run.layout, "grad-cam").stream(pictures[:8])], axis=0)
    inside = heat[2:16, 2:16].mean()
    assert inside > 1.5 * heat[16:, 16:].mean()


@pytest.mark.parametrize(
    ("values", "chooses"),
    [
        ({}, True), ({"head": "auto"}, True), ({"head": "mlp"}, False), ({"epochs": 3}, False),
        ({"unfreeze": "all"}, True), ({"head": "auto", "epochs": 3}, True), ({"views": 3}, True),
        ({"unfreeze": "all", "epochs": 3, "learning_rate": 1e-3}, True), ({"unfreeze": "all", "dropout": 0.1}, False),
        ({"unfreeze": "all", "mixup": 0.2}, False), ({"unfreeze": "all", "head": "linear"}, False),
    ],
)  # fmt: skip
def test_who_says_how_a_head_is_trained_gets_one_that_is_trained(values: dict[str, Any], chooses: bool) -> None:
    settings = make({"backbone": "mini", **values})
    assert settings.chooses_head is chooses
    assert settings.used_views == (values.get("views", 2) if chooses and "unfreeze" not in values else 4)
    assert settings.choice_views == min(settings.used_views, 3 if "views" in values else 2) or not chooses


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"pooling": "max"}, "--pooling max"), ({"mixup": 0.2}, "--mixup 0.2"),
        ({"class_weights": "balanced"}, "--class-weights balanced"),
    ],
)  # fmt: skip
def test_what_the_choice_does_not_obey_is_refused(values: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        make({"backbone": "mini", "head": "auto", **values})


def test_tune_refuses_it(digits: Path) -> None:
    for words in (("--head", "auto"), ("--search", "head=auto,mlp")):
        result = call("tune", digits, "--backbone", "mini", *words)
        assert result.code == 2
        assert "--head auto chooses by itself" in result.err


@pytest.mark.usefixtures("unpublished")
def test_a_class_too_small_for_folds_gets_a_trained_head_and_is_told(tmp_path: Path) -> None:
    parts = (("train", {"a": 8, "b": 8, "c": 1}), ("val", {"a": 3, "b": 3}), ("test", {"a": 3, "b": 3}))
    for number, (part, counts) in enumerate(parts):
        folder_of_classes(tmp_path / "d" / part, counts, start=100 * number)
    run = tk.finetune(tmp_path / "d", "mini", output=tmp_path / "run", quiet=True, views=0, augment="none")
    assert "candidates" not in run.metrics
    assert any("no choice of the classifier" in note for note in run.manifest["notes"])


@pytest.mark.usefixtures("unpublished")
@pytest.mark.parametrize("task", extended(["multilabel", "regress", "ordinal"], ["multilabel", "ordinal"]))
def test_labels_and_numbers_are_chosen_for_as_well(task: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, (80, 2))
    pictures = np.zeros((80, 32, 32, 3), np.uint8)
    pictures[:, :16, :, 0] = 180 * kinds[:, :1, None]
    pictures[:, 16:, :, 1] = 180 * kinds[:, 1:, None]
    pictures += rng.integers(0, 60, pictures.shape, np.uint8)
    targets: Any = {
        "multilabel": kinds, "regress": kinds @ [2.0, -1.0] + rng.normal(0, 0.05, 80), "ordinal": kinds @ [2, 1],
    }[task]  # fmt: skip
    run = tk.finetune(
        tk.load_data((pictures, targets), task=task),
        "mini",
        output=tmp_path / "run",
        quiet=True,
        augment="none",
        views=0,
    )
    assert sum(row["chosen"] for row in run.metrics["candidates"]) == 1
    if task == "multilabel":
        assert run.metrics["test"]["map"] > 0.9
    elif task == "ordinal":
        assert run.metrics["test"]["mae"] < 0.3
        assert run.metrics["test"]["qwk"] > 0.8
    else:
        assert run.metrics["test"]["r2"] > 0.8
