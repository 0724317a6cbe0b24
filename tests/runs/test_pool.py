"""`finetune --unlabeled`: what a pool adds is asked of the labelled pictures, recorded and said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import photo
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.data.source import scan
from transferkit.delivery.reproduce import given_settings
from transferkit.errors import ConfigError, DataError
from transferkit.runs import pool

QUIET = Reporter(quiet=True)


def smudges(folder: Path, classes: int, count: int, seed: int, labelled: bool = True) -> Path:
    """`count` blots of each colour on noise, no two alike; in a folder a class, or all in one."""
    rng = np.random.default_rng(seed)
    for c in range(classes):
        for n in range(count):
            base = np.asarray(photo(int(rng.integers(1 << 30)), 32, 32), np.float64)
            base[..., c % 3] += 40 + 60 * (c // 3)
            place = folder / f"c{c}" if labelled else folder
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(base, 0, 255).astype(np.uint8)).save(place / f"{seed}_{c}_{n}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Labelled pictures, and a pool with copies and look-alikes of some. Shared: read only."""
    folder = tmp_path_factory.mktemp("pool")
    data = smudges(folder / "data", 3, 24, 0)
    others = smudges(folder / "others", 3, 30, 1, labelled=False)
    some = sorted(data.rglob("*.png"))[::9]
    for n, path in enumerate(some):
        with Image.open(path) as image:
            (image if n % 2 else image.resize((64, 64))).save(others / f"copy{n}.png")
    (others / "damaged.png").write_bytes(b"no picture")
    return data, others


def test_copies_of_labelled_pictures_are_left_out_whatever_their_split(folders: tuple[Path, Path]) -> None:
    data, others = folders
    labelled = scan(data).hashed()
    found = pool.take_in(sorted(others.iterdir()), labelled, "others", 0, QUIET)
    record = found.record
    assert record.alike == sum(path.name.startswith("copy") for path in others.iterdir())
    assert (record.unreadable, record.n + record.repeated) == (1, 90)
    assert not any(Path(path).name.startswith(("copy", "damaged")) for path in found.samples.paths)
    assert "left out: 8 like labelled ones" in found.words


def test_frames_of_a_film_that_is_labelled_in_part_are_left_out(tmp_path: Path) -> None:
    # Pictures in folders that are called like films.
    one, other = (smudges(tmp_path / name, 1, 4, seed, labelled=False) for seed, name in enumerate(("a.mp4", "b.mp4")))
    frames = sorted(one.iterdir())
    labelled = replace(pool.without_labels(frames[:2]), classes=("x",)).hashed()
    found = pool.take_in([*frames[2:], *sorted(other.iterdir())], labelled, "films", 0, QUIET)
    assert {Path(path).parent.name for path in found.samples.paths} == {"b.mp4"}
    assert (found.record.n, found.record.alike) == (4, 2)


def test_a_pool_of_nothing_new_is_refused(folders: tuple[Path, Path]) -> None:
    data, _ = folders
    labelled = scan(data).hashed()
    with pytest.raises(DataError, match="none of its 24 pictures can be used: 24 are like labelled ones"):
        pool.take_in(sorted((data / "c0").iterdir()), labelled, "data/c0", 0, QUIET)


def test_of_a_large_pool_a_part_is_drawn(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data, others = folders
    monkeypatch.setattr(pool, "MOST", 20)
    labelled = scan(data).hashed()
    found = [pool.take_in(sorted(others.glob("1_*.png")), labelled, "others", seed, QUIET) for seed in (0, 0, 1)]
    assert found[0].record.n == 20
    assert found[0].record.beyond == 70 - found[0].record.repeated
    assert found[0].samples.paths == found[1].samples.paths != found[2].samples.paths
    assert found[0].record.sha256 == found[1].record.sha256 != found[2].record.sha256


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"head": "mlp"}, "where no classifier is chosen"), ({"epochs": 3}, "where no classifier is chosen"),
        ({"unfreeze": "all"}, "on layers that are trained"), ({"task": "regress"}, "is for one class a picture"),
    ],
)  # fmt: skip
def test_where_it_could_have_no_effect_it_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make({"backbone": "mini", "unlabeled": "pool", **values})


def test_searches_and_data_of_other_kinds_refuse_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, others = folders
    result = call("tune", data, "--backbone", "mini", "--unlabeled", others)
    assert result.code == 2
    assert "--unlabeled" in result.err
    (tmp_path / "t.csv").write_text(
        "path,label\n" + "".join(f"{path},{'a;b' if n % 2 else 'a'}\n" for n, path in enumerate(data.rglob("*.png")))
    )
    result = call("finetune", tmp_path / "t.csv", "--backbone", "mini", "--unlabeled", others, "--quiet")
    assert result.code == 2
    assert "not for --task multilabel" in result.err


def test_a_pool_in_the_network_is_left_there_where_it_is_forbidden(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pool_there, output = "s3://bucket/pool", tmp_path / "run"
    for words in (
        ("finetune", folders[0], "--backbone", "mini", "--unlabeled", pool_there, "--output", output),
        ("label", pool_there, "--output", tmp_path / "t.csv"),
    ):
        result = call(*words, "--offline")
        assert result.code == 2
        assert f"--offline: the data {pool_there} lies in the network" in result.err


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, folders: tuple[Path, Path]) -> Any:
    """A run with a pool. Shared: read only."""
    data, others = folders
    folder = tmp_path_factory.mktemp("with_pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setenv("TRANSFERKIT_STATE", str(folder / "state"))
        return tk.finetune(data, "mini", output=folder / "run", unlabeled=others, augment="none", quiet=True)


@pytest.mark.extended
def test_a_run_says_what_the_pool_was_and_what_came_of_it(run: Any, folders: tuple[Path, Path]) -> None:
    manifest, metrics = run.manifest, run.metrics
    record, found = manifest["data"]["unlabeled"], metrics["unlabeled"]
    assert (record["path"], record["alike"]) == (str(folders[1]), 8)
    assert found["pictures"] == record["n"]
    assert found["kept"] == (found["gain"] > found["gain_se"]) or "neural network" in found["words"]
    assert found["words"] in run.layout.report.read_text("utf-8").replace("&#43;", "+")
    assert "Unlabelled" in run.summary()
    assert f"--unlabeled {folders[1]}" in manifest["command"]


@pytest.mark.extended
def test_such_a_run_is_repeated_bit_by_bit_and_another_pool_is_named(
    run: Any, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
    again = tk.reproduce(run, output=tmp_path / "again", quiet=True)
    assert again.same, str(again)
    # Named by a pattern, as from the folder where the run was begun.
    record = run.layout.read_manifest()
    record.config.__pydantic_extra__["unlabeled"] = "others/*.png"
    record.working_directory = str(folders[1].parent)
    assert given_settings(record)["unlabeled"] == str(folders[1] / "*.png")
    photo(77).save(folders[1] / "one_more.png")
    try:
        other = tk.reproduce(run, output=tmp_path / "other", quiet=True)
    finally:
        (folders[1] / "one_more.png").unlink()
    assert "the unlabelled pictures are others now" in other.reasons


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
@pytest.mark.parametrize("helps", [True, False])
def test_what_is_shipped_learnt_from_the_pool_only_where_it_helped(
    helps: bool, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the rule would say on so few pictures: what it says is what is shipped, and is said."""
    monkeypatch.setattr("transferkit.selection.unlabeled.WayScore.helps", property(lambda self: helps))
    monkeypatch.setattr("transferkit.runs.selecting.Selector._beaten", _never)
    data, others = folders
    run = tk.finetune(data, "mini", output=tmp_path / "run", unlabeled=others, augment="none", quiet=True)
    found = run.metrics["unlabeled"]
    assert found["kept"] is helps
    assert ("are not used" in found["words"]) is not helps
    assert any("and on unlabelled ones" in note for note in run.manifest["notes"]) is helps
    assert json.loads(run.layout.manifest.read_text())["status"] == "complete"


def _never(selector: Any, theirs: Any, val: Any, judge: Any) -> Any:
    from transferkit.evaluation.metrics_record import HeadCandidate

    return False, HeadCandidate(name="mlp on all", features="all", classifier="mlp")
