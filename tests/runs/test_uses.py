"""A test split remembers how many runs were scored on it; the same run counts once, and nothing here fails a run."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.csv_files import write_csv
from transferkit.files import read_json, write_json
from transferkit.runs import uses
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord
from transferkit.storage import state_folder

SPLIT = uses.test_digest(["b", "a"])


def manifest(seed: int, **changes: Any) -> RunRecord:
    return RunRecord.read({
        "status": "complete", "kind": "finetune", "command": "", "config": {"seed": seed},
        "data": {"path": "d", "sha256": "d"}, "split_sha256": "s", "weights": {"source": "w", "sha256": "w"},
        "started": f"2026-01-{seed + 1:02d}T00:00:00", **changes,
    })  # fmt: skip


def count(layout: Layout, record: RunRecord, split: str) -> dict[str, Any]:
    return uses.count(layout, record, split).as_json()


def test_runs_are_counted_in_order_and_a_repeated_one_keeps_its_place(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "runs" / "x")
    assert [count(layout, manifest(seed), SPLIT) for seed in (0, 1, 2)] == [{"run": 1}, {"run": 2}, {"run": 3}]
    assert count(layout, manifest(1, status="running", started="later"), SPLIT) == {"run": 2}
    assert count(layout, manifest(1, kind="tune"), SPLIT) == {"run": 2}  # a search says so when it is done
    assert count(layout, manifest(0), SPLIT) == {"run": 1, "runs": 3}, "others have been scored since"
    assert count(layout, manifest(3), uses.test_digest(["a"])) == {"run": 1}


def test_a_split_goes_by_content_not_by_order_or_name() -> None:
    assert uses.test_digest(["a", "b"]) == SPLIT != uses.test_digest(["a", "b", "b"])


def test_runs_beside_count_where_the_state_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine, a cleared home: what lies beside still tells; of earlier versions by their splits.csv."""
    new = manifest(0, test_split={"sha256": SPLIT})
    for name, content in (("new", new), ("old", manifest(1)), ("failed", manifest(2, status="failed"))):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "run.json", content.as_json())
        rows = [["x", "c", "test", "", "a"], ["y", "c", "test", "", "b"], ["z", "c", "train", "", "c"]]
        write_csv(tmp_path / name / "splits.csv", ["path", "label", "split", "fold", "sha256"], rows)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    own = Layout(tmp_path / "own")
    assert count(own, manifest(5), SPLIT) == {"run": 3}
    monkeypatch.setenv("TRANSFERKIT_STATE", str(tmp_path / "file" / "state"))
    (tmp_path / "file").write_text("no folder can be made in a file")
    found = count(own, manifest(6), SPLIT)
    assert found["run"] == 3
    assert "is not known" in found["note"]
    monkeypatch.setenv("TRANSFERKIT_STATE", "~nobody-of-this-name/state")
    assert count(own, manifest(7), SPLIT)["run"] == 3


def test_a_damaged_count_begins_again(tmp_path: Path) -> None:
    path = state_folder() / "test-splits" / f"{SPLIT}.json"
    path.parent.mkdir(parents=True)
    for damaged in ("{", "[1]", '{"runs": 3}', ""):
        path.write_text(damaged)
        assert count(Layout(tmp_path / "r" / "x"), manifest(0), SPLIT) == {"run": 1}
    assert read_json(path)["runs"] == [uses.identity(manifest(0))]


def test_what_a_killed_process_half_counted_goes_with_the_next(tmp_path: Path) -> None:
    count(Layout(tmp_path / "runs" / "x"), manifest(0), SPLIT)
    folder = state_folder() / "test-splits"
    half = folder / f".{SPLIT}.1-aaaaaaaa.tmp.json"
    half.write_text("{")
    assert count(Layout(tmp_path / "runs" / "y"), manifest(1), SPLIT)["run"] == 2
    assert not half.exists()


def test_processes_that_count_at_once_lose_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "runs" / "x")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: count(layout, manifest(seed), SPLIT)["run"], range(16)))
    assert sorted(found) == list(range(1, 17))


def test_the_second_run_on_a_split_says_so(digits: Path, digits_run: tk.Run, tmp_path: Path) -> None:
    assert "never used before" in digits_run.summary() or digits_run.metrics["test_uses"]["run"] > 1
    shutil.copytree(digits_run.folder, tmp_path / "first")
    how = {"epochs": 2, "patience": 1, "views": 0, "augment": "none", "quiet": True}
    second = tk.finetune(digits, "mini", output=tmp_path / "second", **how)
    assert second.metrics["test_uses"] == {"run": 2}
    assert second.manifest["test_split"]["run"] == 2
    said = "2nd run scored on these pictures: the best of several looks better than it is"
    assert said in second.summary()
    assert "never used before" not in second.summary()
    assert said in second.layout.report.read_text("utf-8")
    assert said in second.layout.card.read_text("utf-8")
    assert count(second.layout, second.layout.read_manifest(), second.manifest["test_split"]["sha256"]) == {"run": 2}
    # What the pair tests rest on, and what was made of them, is in metrics.json.
    edge = second.metrics["baselines"]["majority"]["against"]["accuracy"]
    own, majority = second.metrics["test"]["accuracy"], second.metrics["baselines"]["majority"]["accuracy"]
    assert edge["gain"] == pytest.approx(own - majority)
    assert np.isfinite(list(edge.values())).all()
