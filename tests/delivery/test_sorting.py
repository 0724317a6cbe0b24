"""Copies sorted by class: whole, never over something else, and the originals stay as they were."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import call, tree
from tests.data.containers.test_films import film
from transferkit.delivery.predict import Prediction
from transferkit.delivery.sorting import Sorter, folder_names
from transferkit.errors import ConfigError, StorageError


def answered(path: Path, label: str, **more: Any) -> Prediction:
    return Prediction(str(path), label, 0.9, ((label, 0.9),), **more)


def picture(folder: Path, name: str, content: bytes = b"picture") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_each_picture_goes_to_its_class_and_stays_where_it_was(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "in", "1.png"), picture(tmp_path / "in", "2.png", b"other")
    unsure, bad = picture(tmp_path / "in", "3.png"), picture(tmp_path / "in", "4.png")
    before = tree(tmp_path / "in")
    sorter = Sorter(tmp_path / "out", "classify", ["rose", "iris"])
    answers = [answered(one, "rose"), answered(two, "iris"), answered(unsure, "", abstained=True),
               Prediction(str(bad), "", None, (), "is empty")]  # fmt: skip
    assert list(sorter.sort(answers)) == answers
    assert names(tmp_path / "out") == ["_abstained/3.png", "iris/2.png", "rose/1.png"]
    assert (tmp_path / "out/iris/2.png").read_bytes() == b"other"
    assert tree(tmp_path / "in") == before
    assert (sorter.copied, sorter.present) == (3, 0)


def test_a_copy_is_on_the_disk_before_it_has_a_name(tmp_path: Path, synced: dict[int, int]) -> None:
    one = picture(tmp_path / "in", "1.png")
    list(Sorter(tmp_path / "out", "classify", ["rose"]).sort([answered(one, "rose")]))
    assert synced == {(tmp_path / "out/rose/1.png").stat().st_ino: len(b"picture")}


def test_a_picture_in_an_archive_is_copied_out_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr("day/1.png", b"picture")
    list(Sorter(tmp_path / "out", "classify", ["rose"]).sort([answered(tmp_path / "new.zip/day/1.png", "rose")]))
    assert (tmp_path / "out/rose/1.png").read_bytes() == b"picture"


def test_nothing_is_overwritten_and_a_repetition_copies_nothing(tmp_path: Path) -> None:
    same = [picture(tmp_path / d, "a.png", d.encode()) for d in ("x", "y", "z")]
    sorter = Sorter(tmp_path / "out", "classify", ["rose"])
    for _ in range(2):
        list(sorter.sort(answered(path, "rose") for path in same))
    assert names(tmp_path / "out") == ["rose/a-2.png", "rose/a-3.png", "rose/a.png"]
    assert {(tmp_path / "out/rose" / n).read_bytes() for n in ("a.png", "a-2.png", "a-3.png")} == {b"x", b"y", b"z"}
    assert (sorter.copied, sorter.present) == (3, 3)
    mine = picture(tmp_path / "out" / "rose", "b.png", b"thesis")
    list(sorter.sort([answered(picture(tmp_path / "x", "b.png"), "rose")]))
    assert mine.read_bytes() == b"thesis"
    assert (tmp_path / "out/rose/b-2.png").read_bytes() == b"picture"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    test_nothing_is_overwritten_and_a_repetition_copies_nothing(tmp_path)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "No space left"), (errno.EFBIG, "ulimit -f")])
def test_a_disk_that_refuses_is_named_and_leaves_no_half_copy(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture(tmp_path / "in", "1.png")

    def full(_: Path, to: Path) -> None:
        to.write_bytes(b"pic")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageError, match=words):
        list(Sorter(tmp_path / "out", "classify", ["rose"]).sort([answered(source, "rose")]))
    assert names(tmp_path / "out") == []


def test_what_a_killed_process_left_is_cleared_but_not_anothers_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = picture(tmp_path / "in", "1.png")
    left = picture(tmp_path / "out" / "rose", f".{'0' * 32}.partial")
    mine = picture(tmp_path / "out" / "rose", ".mine.partial")
    list(Sorter(tmp_path / "out", "classify", ["rose"]).sort([answered(source, "rose")]))
    assert left.exists()
    monkeypatch.setattr("transferkit.delivery.sorting.STALE", -1.0)
    list(Sorter(tmp_path / "out", "classify", ["rose"]).sort([answered(source, "rose")]))
    assert not left.exists()
    assert mine.exists()


def test_several_labels_and_none(tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "out", "multilabel", ["sky", "a;b", "sea"])
    both, odd, none = (picture(tmp_path / "in", f"{i}.png", b"%d" % i) for i in range(3))
    list(sorter.sort([answered(both, "sky;sea"), answered(odd, "a;b;sea"), answered(none, "")]))
    assert names(tmp_path / "out") == ["_no_label/2.png", "a;b/1.png", "sea/0.png", "sea/1.png", "sky/0.png"]


def test_folder_names_stay_inside_and_apart() -> None:
    hostile = [
        "..",
        "../../etc",
        "a/b",
        "a%2Fb",
        "Rose",
        "rose",
        "",
        "_abstained",
        "x" * 300,
        "x" * 301,
        ".git",
        "日本",
        "end.",
    ]
    found = folder_names(hostile)
    assert len({name.casefold() for name in found}) == len(hostile)
    assert all(Path("out", name).resolve().parent == Path("out").resolve() for name in found)
    assert all(len(os.fsencode(name)) < 256 and not name.startswith(".") for name in found)
    assert found[2:5] == ["a%2Fb", "a%252Fb", "Rose"]
    assert found[11] == "日本"


def test_from_the_command_line(digits_run: Any, digits: Path, tmp_path: Path) -> None:
    before = tree(digits)
    result = call("predict", digits_run.folder, digits / "3", "--copy-to", tmp_path / "out", "--format", "csv")
    assert result.code == 0, result.err
    assert "20 copied to" in result.err
    rows = [line.split(",")[:2] for line in result.out.splitlines()[1:]]
    assert names(tmp_path / "out") == sorted(f"{label}/{Path(path).name}" for path, label in rows)
    assert tree(digits) == before
    again = call("predict", digits_run.folder, digits / "3", "--copy-to", tmp_path / "out", "--format", "csv")
    assert "0 copied to" in again.err
    assert "20 were there already" in again.err


def test_copies_never_go_where_pictures_are_read(digits_run: Any, digits: Path, tmp_path: Path) -> None:
    result = call("predict", digits_run.folder, digits, "--copy-to", digits / "sorted")
    assert result.code == 2
    assert "lies inside" in result.err
    assert not (digits / "sorted").exists()
    (tmp_path / "file").write_text("")
    assert "is a file" in call("predict", digits_run.folder, digits, "--copy-to", tmp_path / "file").err
    with pytest.raises(ConfigError, match="predicts numbers"):
        Sorter(tmp_path / "out", "regress", ["y"])


def test_frames_are_called_by_their_films_too(tmp_path: Path) -> None:
    frames = []
    for name in ("a.mp4", "b.mp4"):
        frames += [film(tmp_path / "in" / name, 2, ground=100 * len(frames)) / f"{second}s.png" for second in "01"]
    sorter = Sorter(tmp_path / "out", "classify", ["rose", "iris"])
    list(sorter.sort([answered(frame, "rose") for frame in frames]))
    assert names(tmp_path / "out") == ["rose/a_0s.png", "rose/a_1s.png", "rose/b_0s.png", "rose/b_1s.png"]
