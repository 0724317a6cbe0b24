"""From a run directory to what people look at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runs.sealing import reseal
from transferkit.console import Reporter
from transferkit.csv_files import read_csv
from transferkit.delivery.report import publish as module
from transferkit.delivery.report import run_content
from transferkit.delivery.report.publish import publish
from transferkit.delivery.report.run_content import report_content
from transferkit.errors import RunError
from transferkit.evaluation import scores
from transferkit.runs.layout import Layout
from transferkit.seals import SEAL

QUIET = Reporter(quiet=True)


@pytest.fixture
def copy(digits_run: Any, tmp_path: Path) -> Layout:
    """A run of one's own, without what publish writes."""
    layout = Layout(tmp_path / "run")
    shutil.copytree(digits_run.folder, layout.folder)
    shutil.rmtree(layout.figures)
    layout.report.unlink()
    layout.card.unlink()
    return layout


def change(path: Path, **entries: Any) -> None:
    content = {**json.loads(path.read_text()), **entries}
    content.pop(SEAL, None)
    path.write_text(json.dumps(content))


def test_everything_is_written_from_the_run_directory(copy: Layout) -> None:
    assert publish(copy, QUIET) == copy.report
    names = {path.name for path in copy.figures.iterdir()}
    assert {"curves.png", "confusion.png", "reliability.png", "per_class.png"} <= names
    page, card = copy.report.read_text("utf-8"), copy.card.read_text("utf-8")
    accuracy = f"{100 * copy.read_metrics().as_json()['test']['accuracy']:.1f} %"
    assert accuracy in page
    assert accuracy in card
    assert copy.read_manifest().as_json()["command"].split()[0] in page
    assert "The pretrained weights it started from: Apache-2.0 (transferkit)." in card


KILLED = """
import os, sys
from pathlib import Path
from transferkit.files import atomic_path
opened = []
for path in map(Path, sys.argv[1:]):
    opened.append(atomic_path(path))
    opened[-1].__enter__().write_text("half")
os._exit(1)
"""


def test_what_a_killed_process_half_wrote_of_report_and_figures_goes_with_the_next_report(copy: Layout) -> None:
    files = (copy.figures / "curves.png", copy.report, copy.card)
    subprocess.run([sys.executable, "-c", KILLED, *map(str, files)], check=False)
    left = list(copy.folder.rglob(".*.tmp*"))
    assert len(left) == len(files)
    publish(copy, QUIET)
    assert not any(path.exists() for path in left)


def test_galleries_show_errors_by_confidence(copy: Layout) -> None:
    content = report_content(copy)
    for name in ("errors", "confident", "uncertain"):
        assert all(e["picture"] is not None for e in content[name])  # type: ignore[literal-required]
    confidence = [e["confidence"] for e in content["errors"]]
    assert confidence == sorted(confidence, reverse=True)
    assert all(e["label"] != e["predicted"] for e in content["errors"])
    assert all(e["label"] == e["predicted"] for e in content["confident"])


def test_pictures_that_moved_are_left_out(copy: Layout, tmp_path: Path) -> None:
    manifest = copy.read_manifest().as_json()
    change(copy.manifest, data={**manifest["data"], "path": str(tmp_path / "gone")})
    content = report_content(copy)
    assert all(e["picture"] is None for e in content["confident"])
    assert publish(copy, QUIET).exists()


def test_what_was_left_out_and_warned_of_is_in_the_report_and_the_card_names_no_folder_of_this_machine(
    copy: Layout,
) -> None:
    manifest = copy.read_manifest().as_json()
    skipped = [{"path": f"3/{name}.png", "reason": "is empty (0 bytes)"} for name in ("<b>", "\x1b[31mx")]
    secret = "/home/somebody/secret/notes.txt was odd"
    change(copy.manifest, data={**manifest["data"], "skipped": skipped}, warnings=["something odd", secret])
    publish(copy, QUIET)
    page, card = copy.report.read_text("utf-8"), copy.card.read_text("utf-8")
    assert "3/&lt;b&gt;.png: is empty" in page
    assert "something odd" in page
    for place in (manifest["data"]["path"], manifest["working_directory"], str(copy.folder), "/home", "x1b", "\x1b"):
        assert place not in card
    assert "left out: " in card
    assert "3/x.png: is empty" in card


def test_without_a_test_split_nothing_is_claimed(copy: Layout) -> None:
    manifest = copy.read_manifest().as_json()
    change(copy.manifest, data={**manifest["data"], "parts": {"train": 140, "val": 30, "test": 0}})
    change(copy.metrics, test={"n": 0}, baselines={})
    copy.predictions.write_text(copy.predictions.read_text().splitlines()[0] + "\n")
    copy.splits.write_text(copy.splits.read_text().replace(",test,", ",train,"))
    reseal(copy.folder)
    publish(copy, QUIET)
    page = copy.report.read_text("utf-8")
    assert "There was no test split" in page
    assert "scored once" not in page


@pytest.mark.parametrize("before", ["drawings", "write_card", "write_report"])
def test_a_run_that_was_renamed_meanwhile_does_not_get_its_old_folder_back(
    before: str, copy: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "drawings", lambda _: {})
    original = getattr(module, before)

    def renamed(*given: Any) -> Any:
        copy.folder.rename(copy.folder.with_name("renamed"))
        return original(*given)

    monkeypatch.setattr(module, before, renamed)
    with pytest.raises(RunError, match="was moved or removed meanwhile; write the report where it is now"):
        publish(copy, QUIET)
    assert not copy.folder.exists()


def test_an_unfinished_or_damaged_run_is_refused(copy: Layout) -> None:
    change(copy.manifest, status="running")
    with pytest.raises(RunError, match="was killed, not complete"):
        publish(copy, QUIET)
    change(copy.manifest, status="complete")
    copy.metrics.unlink()
    with pytest.raises(RunError, match=r"metrics\.json does not exist"):
        publish(copy, QUIET)
    assert not copy.report.exists()


def test_only_pictures_that_are_shown_are_opened(copy: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    real = run_content.open_picture
    monkeypatch.setattr(run_content, "open_picture", lambda path, *how: opened.append(path) or real(path, *how))
    monkeypatch.setattr(run_content, "SHOWN", 2)
    content = report_content(copy)
    assert len(opened) == sum(len(content[key]) for key in ("errors", "confident", "uncertain"))  # type: ignore[literal-required]
    assert len(content["confident"]) == 1


@pytest.mark.parametrize("how", ["a path above", "an absolute path", "a link", "both tables agree"])
def test_no_other_file_gets_into_the_report_of_a_strangers_run(
    how: str, copy: Layout, digits: Path, tmp_path: Path
) -> None:
    """Whatever a run's files say, only pictures whose content the run recorded are opened."""
    from PIL import Image

    secret = tmp_path / "secret.png"
    Image.new("RGB", (40, 40), (1, 200, 1)).save(secret)
    data = shutil.copytree(digits, tmp_path / "data")
    victim = read_csv(copy.predictions)[0]["path"]
    named = str(secret) if how == "an absolute path" else os.path.relpath(secret, data)
    if how == "a link":
        (data / victim).unlink()
        (data / victim).symlink_to(secret)
    else:
        for table in (copy.predictions, *([copy.splits] if how == "both tables agree" else [])):
            table.write_text(table.read_text().replace(victim, named))
    manifest = copy.read_manifest().as_json()
    change(copy.manifest, data={**manifest["data"], "path": str(data)})
    reseal(copy.folder)
    if how in ("a path above", "an absolute path"):  # which the split does not know
        with pytest.raises(RunError, match=r"predictions\.csv is damaged"):
            report_content(copy)
        return
    content = report_content(copy)
    shown = [e for name in ("errors", "confident", "uncertain") for e in content[name]]  # type: ignore[literal-required]
    assert any(e["picture"] is not None for e in shown)
    for example in shown:
        assert example["path"] not in (named, victim) or example["picture"] is None


def test_what_is_shown_are_the_settings_in_effect_and_the_kept_epoch(copy: Layout) -> None:
    manifest = copy.read_manifest().as_json()
    content = report_content(copy)
    assert not {"–", "None", "not set"} & set(content["settings"].values())
    assert content["settings"]["learning_rate"] == f"{manifest['learning_rate']:.3g}"
    row = content["history"][content["kept"]]  # type: ignore[index]
    (phase,) = (p for p in manifest["phases"] if p["name"] == manifest["chosen"])
    assert (row["phase"], row["epoch"]) == (phase["name"], phase["best_epoch"])


def test_the_python_of_the_card_predicts_with_keras_alone(
    digits_run: Any, copy: Layout, digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", digits_run.layout.card.read_text("utf-8"), re.DOTALL)
    assert "transferkit" not in code
    best = max(read_csv(copy.predictions), key=lambda row: float(row["confidence"]))
    shutil.copy(digits / best["path"], copy.folder / "picture.jpg")
    monkeypatch.chdir(copy.folder)
    exec(compile(code, "CARD.md", "exec"), {})
    said = capsys.readouterr().out.split()
    assert said[0] == best["predicted"]
    assert float(said[1]) == pytest.approx(float(best["confidence"]), abs=0.02)


def test_the_matrix_of_many_classes_is_counted_from_the_predictions(copy: Layout, monkeypatch: Any) -> None:
    matrix, found = copy.read_metrics().test.confusion, copy.read_metrics()
    monkeypatch.setattr(scores, "MANY", 5)  # of ten
    found.test.bounded(found.classes)
    change(copy.metrics, **found.as_json())
    reseal(copy.folder)
    assert report_content(copy)["confusion"].tolist() == matrix
    publish(copy, QUIET)
    assert (copy.figures / "confusion.png").exists()
    assert "the counts are in predictions.csv" in copy.report.read_text("utf-8")
