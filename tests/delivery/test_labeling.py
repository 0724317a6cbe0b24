"""`transferkit label`: a random part is kept for testing first, then what is worth a label is chosen and written."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import folder_of_classes, photo
from tests.records import metrics_of
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.delivery import label_features, labeling
from transferkit.delivery.label_features import Seen
from transferkit.delivery.labels_file import LabelRow
from transferkit.errors import ConfigError, DataError
from transferkit.runs.layout import Layout


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Sixty pictures, and a copy of one."""
    folder_of_classes(tmp_path / "pool", {"a": 30, "b": 30})
    photo(0, 32, 32).save(tmp_path / "pool" / "again.png")
    return tmp_path / "pool"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Features without a network: the pixels, and no answers. Gives the known pictures of each call."""
    asked: list[list[str]] = []

    def seen(run: Any, pool: Any, known: Any, *_: Any) -> Seen:
        asked.append(list(known.paths))
        parts = [[decode(s, DecodeSettings(8)).ravel() for s in part.sources()] for part in (pool, known)]
        rows = [np.array(part, np.float32).reshape(len(part), 192) for part in parts]
        return Seen(pool=rows[0], known=rows[1])

    monkeypatch.setattr(label_features, "seen", seen)
    return asked


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def filled(path: Path, some: int | None = None) -> None:
    """A person names what each picture shows."""
    rows = table(path)
    for row in [row for row in rows if not row["label"]][:some]:
        row["label"] = Path(row["path"]).parent.name
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.usefixtures("plain")
def test_test_pictures_are_drawn_before_and_whatever_is_chosen(pool: Path, tmp_path: Path) -> None:
    one = tk.label(pool, next=10, output=tmp_path / "one.csv", quiet=True)
    other = tk.label(pool, next=3, output=tmp_path / "other.csv", quiet=True)
    again = tk.label(pool, next=10, output=tmp_path / "again.csv", seed=1, quiet=True)
    assert len(one.test) == 20  # a third of 60
    assert [row.path for row in one.test] == [row.path for row in other.test] != [row.path for row in again.test]
    assert not {row.path for row in one.test} & {row.path for row in one.next}
    assert one.left_out == ["1 like another"]
    assert "Judge by the 20 test pictures" in one.bias
    assert sum(row["split"] == "test" for row in table(tmp_path / "one.csv")) == 20


def test_the_table_grows_and_what_a_person_wrote_stays(pool: Path, tmp_path: Path, plain: list[list[str]]) -> None:
    file = tmp_path / "t.csv"
    first = tk.label(pool, next=6, test=10, output=file, quiet=True)
    filled(file, some=13)
    before = table(file)
    second = tk.label(pool, next=6, output=file, quiet=True)
    assert table(file)[: len(before)] == before
    assert not second.test
    assert not {row.path for row in first.next} & {row.path for row in second.next}
    assert (second.labelled, second.waiting, second.tested) == (3, 3, 10)
    assert sorted(plain[-1]) == sorted(row.path for row in first.next)  # labelled or not; of test pictures nothing
    assert "Judge by the 10 test pictures" in second.bias
    with pytest.raises(ConfigError, match="10 test pictures were drawn already"):
        tk.label(pool, next=6, test=5, output=file, quiet=True)
    assert len(table(file)) == 22


@pytest.mark.usefixtures("plain")
def test_without_test_pictures_it_is_said_what_will_not_be_known(pool: Path, tmp_path: Path) -> None:
    found = tk.label(pool, next=5, test=0, output=tmp_path / "t.csv", quiet=True)
    assert not found.test
    assert "will not be known" in found.bias


@pytest.mark.usefixtures("plain")
def test_test_pictures_that_came_from_elsewhere_are_no_part_of_the_pool(pool: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "t.csv", folder_of_classes(tmp_path / "other", {"a": 2}, start=900)
    file.write_text(f"path,label,split\n{other}/a/0.png,a,test\n{other}/a/1.png,a,\n")
    found = tk.label(pool, next=5, output=file, quiet=True)
    assert (found.tested, found.test) == (1, [])
    assert "The 1 test picture was not drawn from it" in found.bias
    drawn = tk.label(pool, next=5, test=7, output=file, quiet=True)
    assert len(drawn.test) == 7
    assert "Judge by the 8 test pictures" in drawn.bias


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("named", "table"), [("pool/*/*.png", "pool"), (".", "pool"), ("..", "{above}"), ("list.csv", "list")]
)
def test_the_table_is_called_after_the_pool(
    pool: Path, monkeypatch: pytest.MonkeyPatch, named: str, table: str
) -> None:
    monkeypatch.chdir(pool.parent if "pool" in named or named == "list.csv" else pool)
    Path("list.csv").write_text("path\n" + "\n".join(map(str, pool.rglob("*.png"))))
    found = tk.label(named, next=1, test=0, quiet=True)
    assert found.file == Path(f"{table.format(above=pool.parent.name)}-labels.csv")


@pytest.mark.usefixtures("plain")
def test_of_many_pictures_the_first_are_shown_and_what_each_stands_for_is_others(pool: Path, tmp_path: Path) -> None:
    one = tk.label(pool, next=1, test=0, output=tmp_path / "one.csv", quiet=True)
    assert one.next[0].why == "typical of 59 others like it"
    many = tk.label(pool, next=60, test=0, output=tmp_path / "t.csv", quiet=True)
    assert {row.why for row in many.next} == {"like none of the others"}
    shown = str(many).splitlines()
    assert (len(shown), shown[-1].strip()) == (22, f"… and 40 more in {tmp_path / 't.csv'}")


@pytest.mark.usefixtures("plain")
def test_frames_of_a_film_are_drawn_together_and_kept_from_what_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pictures in folders that are called like films: frames of three, and a picture of none.
    for n in range(13):
        path = tmp_path / "pool" / ("x" if n == 12 else f"{n // 4}.mp4") / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(n, 32, 32).save(path)
    found = tk.label(tmp_path / "pool", next=3, test=2, output=tmp_path / "t.csv", quiet=True)
    films = {Path(row.path).parent.name for row in found.test}
    assert (len(found.test), len(films)) == (4, 1)
    again = tk.label(tmp_path / "pool", next=9, output=tmp_path / "t.csv", quiet=True)
    chosen = [Path(row.path) for row in (*found.next, *again.next)]
    assert len(chosen) == 9
    assert not films & {path.parent.name for path in chosen}
    groups = {Path(row["path"]).parent.name: Path(row["group"]).name for row in table(tmp_path / "t.csv")}
    assert groups == {"0.mp4": "0.mp4", "1.mp4": "1.mp4", "2.mp4": "2.mp4", "x": ""}


@pytest.mark.usefixtures("plain")
def test_of_a_film_no_frame_is_learnt_from_where_another_is_tested(tmp_path: Path) -> None:
    frames = [tmp_path / "pool" / f"{n // 4}.mp4" / f"{n}.png" for n in range(20)]
    for n, path in enumerate(frames):
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(n, 32, 32).save(path)
    file, gone = tmp_path / "t.csv", tmp_path / "gone.png"  # what is no longer there is not compared with
    file.write_text(f"Path,Label,Split\n{frames[0]},a,test\n{frames[4]},b,\n{gone},b,\n")
    found = tk.label(tmp_path / "pool", next=3, test=9, output=file, quiet=True)
    assert found.left_out == ["3 of films kept for testing"]
    tested, learnt = ({Path(row.path).parent.name for row in rows} for rows in (found.test, found.next))
    assert len(found.test) == 12  # whole films, none of which is begun
    assert tested == {"2.mp4", "3.mp4", "4.mp4"}
    assert learnt == {"1.mp4"}
    whole = tk.label(
        frames[8].parent.parent / "[24].mp4" / "*.png", next=1, test=5, output=tmp_path / "two.csv", quiet=True
    )
    assert len(whole.test) == 4  # the last film stays, to be learnt from


def test_of_what_a_model_is_unsure_of_its_two_likeliest_answers_are_said(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(run: Any, pool: Any, known: Any, *_: Any) -> Seen:
        rows = np.random.default_rng(0).normal(size=(len(pool), 4)).astype(np.float32)
        answers = np.tile([0.1, 0.3, 0.6], (len(pool), 1))
        return Seen(pool=rows, known=rows[:0], answers=answers, classes=("a", "b", "c"))

    monkeypatch.setattr(label_features, "seen", seen)
    monkeypatch.setattr("transferkit.selection.active_learning.FEW", 0)
    found = tk.label(pool, next=2, test=0, output=tmp_path / "t.csv", quiet=True)
    assert [row.why for row in found.next] == ["c 0.60 or b 0.30"] * 2
    monkeypatch.setattr(
        "transferkit.selection.active_learning.FEW", 1
    )  # with so few labels, its answers are not gone by
    few = tk.label(pool, next=1, test=0, output=tmp_path / "few.csv", quiet=True)
    assert few.next[0].why == "typical of 59 others like it"


@pytest.mark.parametrize("wrong", [{"next": 2.5}, {"next": "9"}, {"next": True}, {"test": 1.5}, {"seed": -1}])
def test_numbers_that_are_none_are_refused_before_anything_is_read(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        tk.label(tmp_path / "none", **wrong)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"task": "regress"}, "is for --task regress"), ({"task": "ordinal"}, "is for --task ordinal"),
        ({"ensemble": {"members": [{"network": "mini", "weight": 1.0, "mirrored": True}]}}, "or by mirror images too"),
    ],
)  # fmt: skip
def test_runs_whose_model_is_not_gone_by_are_refused_before_the_pool_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(Layout, "complete", lambda layout: None)
    monkeypatch.setattr(Layout, "read_metrics", lambda layout: metrics_of(metrics))
    with pytest.raises(ConfigError, match=said):
        tk.label(tmp_path / "none", tmp_path / "run", output=tmp_path / "t.csv", quiet=True)


@pytest.mark.usefixtures("plain")
def test_nothing_new_and_options_without_effect_are_refused(pool: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--next", 0), "--next 0"), (("--test", -1), "--test -1"), (("--test", 60), "leave some to choose from"),
        (("--run", tmp_path, "--backbone", "mini"), "no effect with --run"),
    ):  # fmt: skip
        result = call("label", pool, *words, "--output", tmp_path / "t.csv")
        assert (result.code, said in result.err) == (2, True), result.err
    assert not (tmp_path / "t.csv").exists()
    tk.label(pool, next=60, test=0, output=tmp_path / "t.csv", quiet=True)
    with pytest.raises(DataError, match="is new: 1 like one in the file"):
        tk.label(pool, next=1, output=tmp_path / "t.csv", quiet=True)


@pytest.mark.usefixtures("plain")
def test_what_a_run_knows_is_not_said_to_be_in_a_file_that_is_not_there(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the pool is a run's data: the first call has no file yet."""
    other = shutil.copytree(pool, tmp_path / "other")
    monkeypatch.setattr(labeling, "_of_run", lambda layout: [LabelRow(str(p), "a") for p in other.rglob("*.png")])
    with pytest.raises(DataError, match=r"is new: .* like one of the run"):
        tk.label(pool, tmp_path / "run", output=tmp_path / "t.csv", quiet=True)
    with pytest.raises(DataError, match="every picture of the pool is one of the run already"):
        tk.label(other, tmp_path / "run", output=tmp_path / "t.csv", quiet=True)


@pytest.mark.usefixtures("plain")
def test_the_command_shows_a_table_that_fits_the_screen(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("label", "pool", "--next", 4)
    assert result.code == 0, result.err
    assert "4 pictures to label next, and 20 test pictures drawn at random:" in result.out
    assert "transferkit finetune pool-labels.csv" in result.out
    assert max(map(len, result.out.splitlines()[:5])) <= 80
    found = json.loads(call("label", "pool", "--next", 2, "--json").out)
    assert (len(found["next"]), found["tested"], found["waiting"]) == (2, 20, 4)


@pytest.mark.extended
@pytest.mark.usefixtures("unpublished")
def test_from_nothing_to_a_run_and_on(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cold start, labels by a person, a run by the table, and the next ones by what the run is unsure of."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "digits.csv"
    first = tk.label(digits, next=60, test=40, backbone="mini", output=file, quiet=True)
    assert all("like" in row.why for row in first.next)
    filled(file)
    run = tk.finetune(file, "mini", output=tmp_path / "run", quiet=True, head="linear", epochs=3)
    assert run.metrics["test"]["n"] == 40
    monkeypatch.setattr("transferkit.selection.active_learning.FEW", 1)
    second = tk.label(digits, run, next=10, output=file, quiet=True)
    assert all(" or " in row.why for row in second.next)
    assert (second.labelled, second.tested) == (len(first.next), 40)
    alone = tk.label(digits, run, next=5, output=tmp_path / "alone.csv", quiet=True)  # the run says what is labelled
    assert (alone.labelled, alone.tested) == (len(first.next), 40)
