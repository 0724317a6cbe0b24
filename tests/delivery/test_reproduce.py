"""A run is repeated from its manifest: equal to the last bit here and now, and refused where its inputs are others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.console import Reporter
from transferkit.delivery import reproduce as room
from transferkit.delivery import reproduction
from transferkit.errors import DataError, RunError, WeightsError
from transferkit.runs.layout import Layout

pytestmark = pytest.mark.usefixtures("unpublished")

SETTINGS: dict[str, Any] = {"epochs": 2, "patience": 1, "views": 1, "head_width": 8, "unfreeze": "from:block3"}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    root = tmp_path_factory.mktemp("few") / "few"
    for digit in "137":
        shutil.copytree(digits / digit, root / digit)
    return root


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, few: Path) -> tk.Run:
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        return tk.finetune(few, "mini", output=folder / "run", quiet=True, seed=3, **SETTINGS)


def changed(run: tk.Run, to: Path, **entries: Any) -> tk.Run:
    """A copy of the run with other entries in its run.json."""
    shutil.copytree(run.folder, to)
    layout = Layout(to)
    layout.manifest.write_text(json.dumps({**layout.read_manifest().as_json(), **entries}))
    return tk.Run(to)


def test_the_same_numbers_to_the_last_bit_from_data_that_was_moved(original: tk.Run, few: Path, tmp_path: Path) -> None:
    data, output = shutil.copytree(few, tmp_path / "moved"), tmp_path / "again"
    result = call("reproduce", original.folder, "--data", data, "--output", output, "--fresh", "--quiet")
    assert result.code == 0, result.out + result.err
    assert "bit by bit" in result.out
    again = tk.Run(tmp_path / "again")
    # How many runs were scored on the pictures is no number of the run's own: each test has a count of its own.
    found = json.loads(json.dumps(again.metrics).replace(str(data), str(few)))  # in commands that are advised
    assert {**found, "test_uses": None} == {**original.metrics, "test_uses": None}
    assert again.manifest["config"] == original.manifest["config"]
    assert again.manifest["given"] == original.manifest["given"]
    saved = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    assert (saved["same"], saved["largest"], saved["differences"]) == (True, 0.0, [])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "again",
        "moved",
    ]  # the fresh cache is gone, the usual one not made


def sources(run: tk.Run) -> list[str]:
    return [phase["source"] for phase in run.manifest["phases"]]


@pytest.mark.extended
def test_with_and_without_the_cache_is_one_run_and_which_it_was_is_repeated(original: tk.Run, tmp_path: Path) -> None:
    assert original.manifest["cache"] is None
    assert sources(original) == ["cached", "cached"]
    # What was stored is repeated without the store: not a bit differs, though everything was computed otherwise.
    other = changed(original, tmp_path / "other", cache=False)
    found = tk.reproduce(other, output=tmp_path / "again", quiet=True)
    assert found.same, str(found)
    again = tk.Run(tmp_path / "again")
    assert again.manifest["cache"] is False
    assert sources(again) == ["held in memory", "computed each epoch"]
    assert " --no-cache --output " in again.manifest["command"]


@pytest.mark.extended
def test_a_run_without_the_cache_is_resumed_without_it_to_the_same_result(
    original: tk.Run, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("transferkit.runs.scoring.predictions", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tk.finetune(few, "mini", output=tmp_path / "run", quiet=True, seed=3, cache=False, **SETTINGS)
    run = tk.finetune(few, "mini", output=tmp_path / "run", quiet=True, seed=3, resume=True, **SETTINGS)
    assert run.manifest["cache"] is False
    assert sources(run) == ["held in memory", "computed each epoch"]
    assert run.metrics == original.metrics


def test_differences_are_shown_and_are_a_failure(original: tk.Run, tmp_path: Path) -> None:
    config = {**original.manifest["config"], "seed": 4}
    other = changed(original, tmp_path / "other", config=config)
    # The same splits, so that the data check has nothing to say; what was trained with seed 3 cannot come out.
    result = call("reproduce", other.folder, "--output", tmp_path / "again", "--json")
    assert result.code == 1, result.err
    found = json.loads(result.out)
    assert not found["same"]
    assert not found["weights_same"]
    assert not found["reproduced"]
    assert any(name.startswith(("val.", "train.")) for name, _, _ in found["differences"])
    text = str(reproduction.compare(original.layout, Layout(tmp_path / "again"), []))
    assert "not the same" in text
    assert "please report it" in text


@pytest.mark.extended
def test_other_versions_and_machines_are_named(original: tk.Run, tmp_path: Path) -> None:
    versions = {**original.manifest["versions"], "keras": "3.10.0"}
    hardware = {**original.manifest["hardware"], "cpu": "Zuse Z3"}
    run = changed(original, tmp_path / "old", versions=versions, hardware=hardware)
    found = run.reproduce(output=tmp_path / "again")
    assert found.same
    assert any("keras 3.10.0 then" in reason for reason in found.reasons)
    assert any("cpu Zuse Z3 then" in reason for reason in found.reasons)


def test_data_that_is_not_that_of_then_is_refused_by_name(original: tk.Run, few: Path, tmp_path: Path) -> None:
    data = shutil.copytree(few, tmp_path / "data")
    first, second, third, fourth = sorted((data / "3").iterdir())[:4]
    first.unlink()
    second.write_bytes(third.read_bytes())
    shutil.copy(fourth, data / "7" / "new.png")
    result = call("reproduce", original.folder, "--data", data, "--output", tmp_path / "again")
    assert result.code == 2
    for words in (f"1 missing (3/{first.name})", f"1 changed (3/{second.name})", "1 new (7/new.png)"):
        assert words in result.err
    assert not (tmp_path / "again").exists()
    gone = changed(original, tmp_path / "gone", data={**original.manifest["data"], "path": str(tmp_path / "no")})
    with pytest.raises(DataError, match="--data"):
        gone.reproduce(output=tmp_path / "again")


def test_data_in_an_archive_is_found_there(original: tk.Run, few: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", few.parent, few.name)
    inside = tmp_path / "packed.zip" / few.name
    run = changed(original, tmp_path / "old", data={**original.manifest["data"], "path": str(inside)})
    data, _ = room.check(Layout(run.folder), None, True, Reporter(quiet=True))
    assert data == str(inside)


def test_other_weights_are_refused(original: tk.Run, tmp_path: Path) -> None:
    run = changed(original, tmp_path / "run", weights={"source": "pretrained", "sha256": "0" * 64})
    with pytest.raises(WeightsError, match="not those of then"):
        run.reproduce(output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_cannot_be_reproduced_is_refused_first(original: tk.Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds a run"):
        original.reproduce(output=original.folder)
    with pytest.raises(RunError, match="a run of tune"):
        changed(original, tmp_path / "tune", kind="tune").reproduce()
    with pytest.raises(RunError, match="does not know: magic"):
        changed(original, tmp_path / "old", given=["backbone", "magic"],
                config={**original.manifest["config"], "magic": 1}).reproduce()  # fmt: skip
    with pytest.raises(RunError, match="not complete"):
        changed(original, tmp_path / "dead", status="failed").reproduce()


@pytest.mark.extended
def test_arrays_are_given_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 255, (30, 16, 16, 3), np.uint8), np.arange(30) % 2
    run = tk.finetune((x, y), "mini", epochs=1, augment="none", head_width=4, output=tmp_path / "run", quiet=True)
    with pytest.raises(DataError, match=r"run\.reproduce\(\(x, y\)\)"):
        run.reproduce()
    assert run.reproduce((x, y)).same
    assert (tmp_path / "run-reproduced" / "reproduction.json").exists()
    with pytest.raises(DataError, match="changed"):
        run.reproduce((x[::-1].copy(), y))


def test_defaults_that_changed_since_are_given_as_they_were(original: tk.Run, tmp_path: Path) -> None:
    config = {**original.manifest["config"], "dropout": 0.1}  # then the default, as if
    assert room.settings_of(changed(original, tmp_path / "run", config=config).layout)["dropout"] == 0.1


def test_files_are_found_from_where_the_run_was_started(original: tk.Run, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out.txt").write_text("# nothing\n")
    config, given = original.manifest["config"], [*original.manifest["given"], "exclude_file"]
    run = changed(original, tmp_path / "run", config={**config, "exclude_file": "out.txt"}, given=given,
                  working_directory=str(tmp_path / "work"))  # fmt: skip
    assert room.settings_of(run.layout)["exclude_file"] == str(tmp_path / "work" / "out.txt")
