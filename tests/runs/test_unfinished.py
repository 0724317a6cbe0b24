"""Files of a run that was killed, and rows that it keeps in the store, damaged: it ends as if nothing had been, or one
error names the file."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call
from tests.marks import extended
from tests.runs.conftest import again
from transferkit.runs.layout import Layout
from transferkit.training import checkpoint

pytestmark = pytest.mark.usefixtures("unpublished", "one_cache")

# What a run has on disk when this function is called for the n-th time is what a kill then would leave.
MOMENTS = {
    "features are there": ("transferkit.training.phase", "Trainer", "train", 1),
    "in training": ("transferkit.training.fit", "Loop", "_train", 5),
    "metrics are to be written": ("transferkit.runs.assessment", "", "write_json", 1),
}


def photograph(patch: pytest.MonkeyPatch, moment: str, run: Path, to: Path) -> None:
    """Have a copy of `run` made at the moment."""
    module, owner, name, number = MOMENTS[moment]
    home = importlib.import_module(module)
    home = getattr(home, owner) if owner else home
    original, calls = getattr(home, name), [0]

    def counted(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            shutil.copytree(run, to, ignore=shutil.ignore_patterns(".lock"))
        return original(*given, **named)

    patch.setattr(home, name, counted)


@pytest.fixture(scope="module")
def taken(store: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what a run left at each moment, and of the run itself, `whole`."""
    folder = tmp_path_factory.mktemp("moments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(store))
        patch.setenv("TRANSFERKIT_STATE", str(folder / "state"))
        patch.setattr(checkpoint, "SAVE_EVERY_SECONDS", -1.0)  # after every epoch
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        for moment in MOMENTS:
            photograph(patch, moment, folder / "whole" / "run", folder / moment / "run")
        done = again(digits, folder / "whole" / "run", "--seed", 0)
    assert done.code == 0, done.err
    for moment in MOMENTS:
        assert json.loads((folder / moment / "run" / "run.json").read_text())["status"] == "running"
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def digit(path: Path) -> None:
    """The last digit of a text; of what is none, the first of its last third."""
    content = bytearray(path.read_bytes())
    text = path.suffix in (".json", ".csv")
    begin = 0 if text else len(content) * 2 // 3
    at = [found.start() for found in re.finditer(rb"\d", content[begin:])][-1 if text else 0] + begin
    content[at] = ord("0") + (content[at] - ord("0") + 1) % 10
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut, "one bit": bit, "one digit": digit, "emptied": lambda path: path.write_bytes(b""),
    "removed": Path.unlink,
}  # fmt: skip


def files(folder: Path) -> Iterator[Path]:
    """Of a run, by their names in it."""
    return (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())


def result(run: Path) -> dict[str, object]:
    """All that a run says, but for how long it took and how often it was begun."""
    layout = Layout(run)
    record = layout.complete().as_json()
    for name in ("started", "timings", "files", "resumed", "command", "hardware", "options", "warnings"):
        record.pop(name, None)
    history: list[dict[str, Any]] = [dict(row) for row in layout.read_history()]
    for row in (*record["phases"], *history):
        del row["seconds"]
    tables = {path.name: path.read_bytes() for path in (layout.splits, layout.predictions)}
    return {"run.json": record, "metrics.json": layout.read_metrics().as_json(), "history.csv": history, **tables}


@pytest.mark.parametrize(
    ("moment", "damage"),
    extended(
        [(moment, damage) for moment in MOMENTS for damage in DAMAGES],
        [(m, d) for m in MOMENTS for d in DAMAGES if (m, d) != ("in training", "one digit")],
        spread=True,
    ),
)
def test_what_goes_on_from_a_damaged_file_ends_as_the_whole_run(
    moment: str, damage: str, taken: Path, digits: Path, tmp_path: Path
) -> None:
    refused, expected = [], result(taken / "whole" / "run")
    for name in files(taken / moment / "run"):
        run = tmp_path / str(name).replace(os.sep, "-") / "run"
        shutil.copytree(taken / moment / "run", run)
        DAMAGES[damage](run / name)
        resumed = again(digits, run, "--seed", 0, "--resume")
        if resumed.code == 2:
            assert resumed.err.count("error:") == 1, resumed.err
            assert name.name in resumed.err, resumed.err
            refused.append(name.name)
        else:
            assert resumed.code == 0, (name, resumed.err)
            assert result(run) == expected, name
    # Whatever else is damaged is made again.
    assert refused == ["run.json"] + ["splits.csv"] * (damage != "removed")


CHUNKS = {
    "one bit of the rows": (".npy", bit),
    "a digit of the index": (".json", digit),
    "half an index": (".json", cut),
}


@pytest.mark.parametrize("damage", extended(CHUNKS, ["a digit of the index", "half an index"]))
@pytest.mark.parametrize("command", extended(["resume", "reproduce"], ["reproduce"]))
def test_rows_that_are_damaged_in_the_store_are_computed_again(
    command: str, damage: str, taken: Path, digits: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "store")
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "store"))
    suffix, inflict = CHUNKS[damage]
    chunks = sorted((tmp_path / "store").rglob(f"chunk-*{suffix}"))
    assert chunks
    for chunk in chunks:
        inflict(chunk)
    run = tmp_path / "alone" / "run"
    if command == "resume":
        shutil.copytree(taken / "features are there" / "run", run)
        done = again(digits, run, "--seed", 0, "--resume")
    else:
        done = call("reproduce", taken / "whole" / "run", "--output", run, "--quiet")
    assert done.code == 0, done.err
    assert result(run) == result(taken / "whole" / "run")
    assert not [chunk for chunk in chunks if chunk.exists()], "used as they were"
