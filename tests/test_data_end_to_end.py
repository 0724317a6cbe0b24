"""From pictures to a finished run through the command line: broken files, copies, leaks, several labels, numbers."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as reference

import transferkit as tk
from tests.cli.calls import Result, call
from tests.data.pictures import ASSETS, TRASHNET, encoded, folder_of_classes, needs_trashnet, photo
from tests.data.test_broken import ODD_FILES, PNG, REFUSED, STRANGE_NAMES, nothing, without_permission
from tests.marks import extended
from transferkit.data.images.decode import INTENSITIES, DecodeSettings, decode
from transferkit.delivery import serve
from transferkit.files import read_json
from transferkit.runs import model_file
from transferkit.runs.layout import Layout

# What pictures become is asserted here; tests/delivery reads the reports.
pytestmark = pytest.mark.usefixtures("unpublished")

MINI = ("--backbone", "mini", "--image-size", "32", "--augment", "none", "--epochs", "1", "--offline", "--quiet")
GOOD = 300


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A folder of 300 good pictures and every broken file that the tests know, with the paths of these. Read only."""
    root = folder_of_classes(tmp_path_factory.mktemp("data") / "pictures", {"left": GOOD // 2, "right": GOOD // 2}, 16)
    bad: set[str] = set()
    for number, (name, (content, _)) in enumerate(REFUSED.items()):
        path = f"{('left', 'right')[number % 2]}/{name}"
        (root / path).write_bytes(content)
        bad.add(path)
    for name in STRANGE_NAMES:
        (root / "left" / name).write_bytes(PNG[:200])
        bad.add(f"left/{name}")
    for make in ODD_FILES:
        if make in (nothing, without_permission):  # no file at all; and root may read everything
            continue
        path = f"right/{make.__name__}.jpg"
        make(root / path)
        bad.add(path)
    assert len(bad) >= 40
    return root, bad


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage too
def test_check_names_every_broken_file_with_its_reason(damaged: tuple[Path, set[str]], tmp_path: Path) -> None:
    root, bad = damaged
    left_out = tmp_path / "out.txt"
    result = call("data", "check", root, "--json", "--write-exclusions", left_out, "--html", tmp_path / "page.html")
    assert result.code == 2, result.err
    found = json.loads(result.out)
    named = {f["path"]: f for f in found["findings"] if f["severity"] == "error"}
    assert set(named) == bad
    assert all(f["detail"] and f["remedy"] for f in named.values())
    assert found["pictures"] >= GOOD
    assert call("data", "check", root, "--exclude-file", left_out, "--quiet").code == 0


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")
def test_finetune_refuses_or_skips_broken_files_and_says_which(damaged: tuple[Path, set[str]], tmp_path: Path) -> None:
    root, bad = damaged
    run = tmp_path / "run"
    refused = call("finetune", root, *MINI, "--output", run, "--on-bad-file", "error")
    assert refused.code == 2
    assert f"{len(bad)} of {GOOD + len(bad)} pictures cannot be read" in refused.err
    assert "--on-bad-file skip" in refused.err
    assert "Traceback" not in refused.err
    assert not run.exists()
    skipped = call("finetune", root, *MINI, "--output", run, "--on-bad-file", "skip")
    assert skipped.code == 0, skipped.err
    manifest = read_json(run / "run.json")
    listed = {entry["path"]: entry["reason"] for entry in manifest["data"]["skipped"]}
    assert set(listed) == bad
    assert all(listed.values())
    assert manifest["data"]["n"] == GOOD
    again = call("evaluate", run, "--json")
    assert again.code == 0, again.err
    saved = read_json(run / "metrics.json")["test"]["accuracy"]
    assert json.loads(again.out)["accuracy"] == pytest.approx(saved)


@pytest.mark.extended
@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")
def test_finetune_takes_the_exclusions_that_the_check_writes(damaged: tuple[Path, set[str]], tmp_path: Path) -> None:
    root, _ = damaged
    call("data", "check", root, "--quiet", "--write-exclusions", tmp_path / "out.txt")
    result = call("finetune", root, *MINI, "--exclude-file", tmp_path / "out.txt", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert "skipped" not in read_json(tmp_path / "run" / "run.json")["data"]
    assert read_json(tmp_path / "run" / "run.json")["data"]["n"] == GOOD


def test_a_picture_that_vanishes_after_the_scan_is_skipped_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transferkit.data import source

    root = folder_of_classes(tmp_path / "pictures", {"a": 12, "b": 12}, 16)
    scan = source.scan

    def vanishing(*given: object, **how: object) -> object:
        samples = scan(*given, **how)  # type: ignore[arg-type]
        (root / "a" / "3.png").unlink(missing_ok=True)
        return samples

    monkeypatch.setattr(source, "scan", vanishing)
    result = call("finetune", root, *MINI, "--output", tmp_path / "run", "--on-bad-file", "skip")
    assert result.code == 0, result.err
    skipped = read_json(tmp_path / "run" / "run.json")["data"]["skipped"]
    assert skipped == [{"path": "a/3.png", "reason": "does not exist"}]
    photo(3, 16, 16).save(root / "a" / "3.png")
    result = call("finetune", root, *MINI, "--output", tmp_path / "other")
    assert result.code == 2
    assert "a/3.png: does not exist" in result.err


def test_rows_of_a_table_without_a_file_are_skipped_by_name(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, {"a": 12, "b": 12}, 16)
    rows = [f"{c}/{i}.png,{c}" for c in "ab" for i in range(12)]
    (tmp_path / "table.csv").write_text("path,label\n" + "\n".join([*rows, "a/gone.png,a", "b/lost.png,b"]) + "\n")
    check = call("data", "check", tmp_path / "table.csv", "--json")
    assert check.code == 2
    named = {f["path"] for f in json.loads(check.out)["findings"] if f["severity"] == "error"}
    assert named == {"a/gone.png", "b/lost.png"}
    assert call("finetune", tmp_path / "table.csv", *MINI, "--output", tmp_path / "no").code == 2
    result = call("finetune", tmp_path / "table.csv", *MINI, "--output", tmp_path / "run", "--on-bad-file", "skip")
    assert result.code == 0, result.err
    skipped = read_json(tmp_path / "run" / "run.json")["data"]["skipped"]
    assert [entry["path"] for entry in skipped] == ["a/gone.png", "b/lost.png"]


def answers(run: Path, *pictures: Path) -> list[dict[str, str]]:
    """Rows of `transferkit predict --format csv`."""
    result = call("predict", run, *pictures, "--format", "csv", "--quiet")
    assert result.code == 0, result.err
    return list(csv.DictReader(result.out.splitlines()))


POLICIES = ("stretch", "crop", "letterbox")


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run per resize policy on the same pictures. Read only."""
    base = tmp_path_factory.mktemp("policies")
    root = folder_of_classes(base / "pictures", {"a": 10, "b": 10}, 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        for resize in POLICIES:
            result = call("finetune", root, *MINI, "--no-cache", "--resize", resize, "--output", base / resize)
            assert result.code == 0, result.err
    return {resize: base / resize for resize in POLICIES}


@pytest.mark.parametrize("resize", POLICIES)
def test_an_exif_rotated_twin_gets_the_same_answer_under_every_resize_policy(
    resize: str, policies: dict[str, Path], tmp_path: Path
) -> None:
    from PIL import Image

    run = policies[resize]
    assert model_file.facts(run / "model.keras").decode.resize == resize
    upright, copies = photo(77, 60, 36), []
    # The stored picture is the one that the orientation turns upright.
    undo = (
        "",
        "FLIP_LEFT_RIGHT",
        "ROTATE_180",
        "FLIP_TOP_BOTTOM",
        "TRANSPOSE",
        "ROTATE_90",
        "TRANSVERSE",
        "ROTATE_270",
    )
    for orientation, how in enumerate(undo, 1):
        stored = upright.transpose(Image.Transpose[how]) if how else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"twin{orientation}.png"
        path.write_bytes(encoded(stored, "PNG", exif=exif.tobytes()))
        copies.append(path)
    rows = answers(run, *copies)
    first = {key: value for key, value in rows[0].items() if key != "path"}
    assert len(rows) == 8
    for row in rows[1:]:
        assert {key: value for key, value in row.items() if key != "path"} == first


def test_the_resize_policy_recorded_in_the_model_is_the_one_predict_uses(
    policies: dict[str, Path], tmp_path: Path
) -> None:
    wide = tmp_path / "wide.png"
    photo(5, 200, 40).save(wide)
    for resize, run in policies.items():
        pixels = decode(wide, DecodeSettings(32, resize))  # type: ignore[arg-type]
        wanted = model_file.load(run / "model.keras").predict_on_batch(pixels[None])
        assert float(answers(run, wide)[0]["p_a"]) == pytest.approx(float(wanted[0, 0]), abs=1e-5)


def test_copies_across_a_given_split_are_refused_and_their_exclusion_mends_it(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    folder_of_classes(root / "train", {"a": 14, "b": 14}, 24)
    folder_of_classes(root / "val", {"a": 6, "b": 6}, 24, start=100)
    folder_of_classes(root / "test", {"a": 6, "b": 6}, 24, start=200)
    for number in range(3):
        shutil.copy(root / "test" / "a" / f"{number}.png", root / "train" / "a" / f"copy{number}.png")
    check = call("data", "check", root, "--json", "--write-exclusions", tmp_path / "out.txt")
    assert check.code == 2
    assert json.loads(check.out)["counts"]["leakage"] == 3
    refused = call("finetune", root, *MINI, "--output", tmp_path / "run")
    assert refused.code == 2
    assert "test/a/0.png" in refused.err
    assert "--exclude-file" in refused.err
    repaired = call("finetune", root, *MINI, "--exclude-file", tmp_path / "out.txt", "--output", tmp_path / "run")
    assert repaired.code == 0, repaired.err
    assert read_json(tmp_path / "run" / "run.json")["data"]["parts"] == {"train": 28, "val": 12, "test": 12}


def test_every_training_says_what_the_short_check_finds(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "pictures", {"a": 12, "b": 12}, 40)
    shutil.copy(root / "a" / "0.png", root / "b" / "same.png")
    result = call("finetune", root, *MINI, "--output", tmp_path / "run")
    assert result.code == 0, result.err
    (warning,) = [w for w in read_json(tmp_path / "run" / "run.json")["warnings"] if w.startswith("data: found")]
    assert "1 × conflict" in warning
    assert f"transferkit data check {root}" in warning


@pytest.mark.extended
def test_numbers_of_pictures_instead_of_shares(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "pictures", {"a": 15, "b": 15}, 24)
    result = call("finetune", root, *MINI, "--split", "18,6,6", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert read_json(tmp_path / "run" / "run.json")["data"]["parts"] == {"train": 18, "val": 6, "test": 6}
    assert call("finetune", root, *MINI, "--split", "18,6,7", "--output", tmp_path / "no").code == 2


def coloured(root: Path, values: np.ndarray) -> None:
    """root/<n>.png: red and blue as strong as the two columns of `values` (0 … 1) say, over a little noise."""
    from PIL import Image

    root.mkdir(parents=True, exist_ok=True)
    for number, (red, blue) in enumerate(values):
        noise = np.random.default_rng(number).integers(0, 40, (24, 24, 3))
        picture = noise + np.array([red * 200, 20, blue * 200])
        Image.fromarray(picture.astype(np.uint8)).save(root / f"{number}.png")


def trained(table: Path, run: Path, *more: str) -> tuple[dict[str, object], list[dict[str, str]]]:
    """metrics.json's test part and the rows of predictions.csv of a short run."""
    result: Result = call("finetune", table, "--backbone", "mini", "--image-size", 32, "--augment", "none", "--epochs",
                          "12", "--offline", "--quiet", *more, "--output", run)  # fmt: skip
    assert result.code == 0, result.err
    with open(run / "predictions.csv", newline="") as handle:
        return read_json(run / "metrics.json")["test"], list(csv.DictReader(handle))


def test_several_labels_from_a_table_agree_with_scikit_learn(tmp_path: Path) -> None:
    on = np.random.default_rng(0).random((160, 2)) < [0.5, 0.3]
    coloured(tmp_path / "pictures", on * 0.9)
    names = [";".join(n for n, yes in zip(("red", "blue"), row, strict=True) if yes) for row in on]
    lines = [f"pictures/{i}.png,{name}" for i, name in enumerate(names)]
    (tmp_path / "table.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    found, rows = trained(tmp_path / "table.csv", tmp_path / "run", "--task", "multilabel")
    facts = model_file.facts(tmp_path / "run" / "model.keras")
    order = facts.classes
    truth = np.array([[name in row["label"].split(";") for name in order] for row in rows])
    p = np.array([[float(row[f"p_{name}"]) for name in order] for row in rows])
    said = np.array([[name in row["predicted"].split(";") for name in order] for row in rows])
    np.testing.assert_array_equal(said, p >= np.array(facts.thresholds))
    assert truth.any(0).all()
    assert not truth.all(0).any()
    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, said, average="macro"), abs=1e-6)
    assert found["micro_f1"] == pytest.approx(reference.f1_score(truth, said, average="micro"), abs=1e-6)
    assert found["map"] == pytest.approx(reference.average_precision_score(truth, p, average="macro"), abs=1e-6)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, p, average="macro"), abs=1e-6)
    assert found["macro_f1"] > 0.9
    # The thresholds chosen on validation decide for new pictures too.
    (row,) = answers(tmp_path / "run", tmp_path / "pictures" / "0.png")
    wanted = [n for n, t in zip(order, facts.thresholds, strict=True) if float(row[f"p_{n}"]) >= t]
    assert row["predicted"] == ";".join(wanted)
    moved = tmp_path / "moved.keras"
    shutil.copy(tmp_path / "run" / "model.keras", moved)
    set_thresholds(moved, [0.0, 0.0])
    assert answers(moved, tmp_path / "pictures" / "0.png")[0]["predicted"] == ";".join(order)


def set_thresholds(model: Path, values: list[float]) -> None:
    """Rewrite the facts inside a model file."""
    import zipfile

    content = {**model_file.facts(model).as_json(), "thresholds": values}
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != model_file.MEMBER}
    with zipfile.ZipFile(model, "w") as archive:
        for name, data in {**members, model_file.MEMBER: json.dumps(content).encode()}.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("loss", extended(["squared", "absolute", "huber"], ["absolute", "huber"]))
def test_several_numbers_from_a_table_agree_with_scikit_learn(loss: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((160, 2))
    coloured(tmp_path / "pictures", values)
    targets = values * [1000, 0.01] + [5000, -3]  # units far from those of a network
    lines = [f"pictures/{i}.png,{a:.6f},{b:.8f}" for i, (a, b) in enumerate(targets)]
    (tmp_path / "table.csv").write_text("path,label_red,label_blue\n" + "\n".join(lines) + "\n")
    found, rows = trained(tmp_path / "table.csv", tmp_path / "run", "--task", "regress", "--loss", loss)
    names = read_json(tmp_path / "run" / "metrics.json")["classes"]
    truth = np.array([[float(v) for v in row["label"].split(";")] for row in rows])
    y = np.array([[float(row[f"y_{name}"]) for name in names] for row in rows])
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, y), rel=1e-6, abs=1e-6)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, y), rel=1e-6, abs=1e-6)
    assert found["r2"] == pytest.approx(reference.r2_score(truth, y), rel=1e-6, abs=1e-6)
    assert found["r2"] > 0.5
    # In the user's units: near 5,500 and near -3.
    assert np.allclose(y.mean(0), truth.mean(0), rtol=0.05)


@pytest.mark.extended
@pytest.mark.slow
@needs_trashnet
def test_flipped_labels_in_real_pictures_are_among_the_most_suspicious(tmp_path: Path) -> None:
    weights = ASSETS / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    if not weights.exists():
        pytest.skip(f"needs {weights}")
    rng = np.random.default_rng(0)
    classes, flipped = ("cardboard", "metal", "paper"), set()
    for name in classes:
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in classes:
        for number, path in enumerate(sorted((TRASHNET / name).iterdir())[:160]):
            wrong = number % 16 == 5
            label = str(rng.choice([c for c in classes if c != name])) if wrong else name
            os.symlink(path, tmp_path / "data" / label / path.name)
            if wrong:
                flipped.add(f"{label}/{path.name}")
    run = tmp_path / "run"
    result = call(
        "finetune", tmp_path / "data", "--backbone", "mobilenet_0.25", "--weights", weights, "--image-size", "128",
        "--epochs", "2", "--views", "1", "--offline", "--quiet", "--output", run,
    )  # fmt: skip
    assert result.code == 0, result.err
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    checked = call("data", "check", "--run", run, "--json", "--suspects", 60)
    found = [f for f in json.loads(checked.out)["findings"] if f["kind"] == "label"]
    assert len(found) == 60
    assert len(flipped & {f["path"] for f in found}) >= 20
    assert all(str(c) in found[0]["detail"] for c in ("labelled", "looks like"))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_check_of_a_run_refuses_what_has_no_effect(tmp_path: Path) -> None:
    assert "--suspects has no effect" in call("data", "check", tmp_path, "--suspects", 5).err
    assert "drop them" in call("data", "check", tmp_path, "--run", tmp_path).err
    assert "give DATA" in call("data", "check").err
    missing = call("data", "check", "--run", tmp_path / "none")
    assert missing.code == 2
    assert "no run directory" in missing.err


def deep(number: int) -> Image.Image:
    """12-bit grey in 16 bits: nearly black by the full range."""
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(200, 1500 + 20 * (number % 40), (40, 40)).astype(np.uint16))


@pytest.mark.extended
def test_percentiles_that_a_run_was_trained_with_are_what_everything_reads_by(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / "cells" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        deep(number).save(folder / f"{number}.png")
    plain = folder_of_classes(tmp_path / "plain", {"a": 6, "b": 6}, 24)
    refused = call("finetune", plain, *MINI, "--intensity", "percentile", "--output", tmp_path / "none")
    assert (refused.code, (tmp_path / "none").exists()) == (2, False)
    assert "--intensity percentile has no effect" in refused.err

    words = ("finetune", tmp_path / "cells", *MINI, "--head", "linear", "--intensity", "percentile")
    run = tmp_path / "run"
    made = call(*words, "--output", run)
    assert made.code == 0, made.err
    assert model_file.facts(run / "model.keras").decode.intensity == "percentile"
    assert read_json(run / "run.json")["config"]["intensity"] == "percentile"
    picture = tmp_path / "cells" / "a" / "4.png"
    pixels = {name: decode(picture, DecodeSettings(32, intensity=name)) for name in INTENSITIES}
    outputs = {name: model_file.load(run / "model.keras").predict_on_batch(p[None])[0] for name, p in pixels.items()}
    assert abs(outputs["full"][0] - outputs["percentile"][0]) > 1e-3
    assert float(answers(run, picture)[0]["p_a"]) == pytest.approx(float(outputs["percentile"][0]), abs=1e-5)
    with Image.open(picture) as image:
        (answer,) = tk.Run(run).predict(image)
    assert dict(answer.scores)["a"] == pytest.approx(float(outputs["percentile"][0]), abs=1e-5)
    exported = tk.Run(run).export("saved_model", output=tmp_path / "export")
    assert exported
    told = read_json(next((tmp_path / "export").rglob("export.json")))
    assert told["input"]["decoder"]["intensity"] == "percentile"
    assert list(told["signatures"]) == ["serving_default"]
    for _, content in serve.examples_of(Layout(run)):  # the page sends these back as they are
        assert np.ptp(np.asarray(Image.open(io.BytesIO(content)))) > 200
