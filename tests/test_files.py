"""Whole files or none; names that are not valid UTF-8."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from transferkit import csv_files, files
from transferkit.errors import ConfigError, StorageError

ODD = os.fsdecode(b"na\xffme")


def test_a_failure_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(TypeError), files.atomic_path(path) as temporary:
        temporary.write_text(b"no text")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    with files.atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_is_written_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, done, replace = tmp_path / "a.txt", [], os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(("synced", os.fstat(handle).st_ino)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append(("renamed", 0)), replace(*names)))
    files.write_text(path, "new")
    assert done == [("synced", path.stat().st_ino), ("renamed", 0), ("synced", tmp_path.stat().st_ino)]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path; from transferkit import files\n"
        "with files.atomic_path(Path(sys.argv[1])) as t: t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    files.remove_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space"),
        (errno.EACCES, "cannot write"),
        (errno.EFBIG, "ulimit -f"),
    ],
)
def test_a_refusing_disk_is_a_storage_error(number: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=words), files.atomic_path(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def test_a_folder_that_was_there_is_not_made_again_and_those_below_it_are(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    with files.only_below(run):
        files.write_text(run / "figures" / "wide" / "a.txt", "x")
        files.write_text(other / "below" / "a.txt", "x")
        run.rename(tmp_path / "moved")
        for place in (run / "a.txt", run / "figures" / "a.txt"):
            with pytest.raises(FileNotFoundError):
                files.write_text(place, "x")
        files.write_text(other / "b" / "a.txt", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved", "other"]
    files.write_text(run / "a.txt", "x")
    assert (run / "a.txt").is_file()


def test_a_folder_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot write"):
        files.write_text(tmp_path / "file" / "a.txt", "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_json_round_trips_and_is_always_valid_utf8(tmp_path: Path) -> None:
    content = {"ä": [1, 0.1, None], "name": ODD}
    files.write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_bytes().decode("utf-8")) == content
    assert files.read_json(tmp_path / "a.json") == content
    assert "ä" in files.to_json({"ä": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_csv_keeps_every_name(tmp_path: Path) -> None:
    names = ["a,b", 'quo"te', "line\nbreak", "carriage\rreturn", "both\r\n", "=cmd()", "<script>", "🌹", ODD]
    csv_files.write_csv(tmp_path / "a.csv", ["path", "n"], [(name, i) for i, name in enumerate(names)])
    assert [row["path"] for row in csv_files.read_csv(tmp_path / "a.csv")] == names


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "a") == files.sha256_bytes(b"abc")
    assert files.sha256_bytes(b"abc").startswith("ba7816bf")
    assert files.digest({"a": 1, "b": 2}) == files.digest({"b": 2, "a": 1}) != files.digest({"a": 1, "b": 3})


# ----------------------------------------------------------------------------------------- files of settings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_settings_are_read_as_editors_save_them(tmp_path, encoding):
    (tmp_path / "a.toml").write_bytes('backbone = "é"\r\n'.encode(encoding))
    assert files.settings_text(tmp_path / "a.toml", "--config") == 'backbone = "é"\r\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a = '\xe9'", "is not UTF-8 text (byte 5"), (b" " * ((16 << 20) + 1), "larger than 16 MB"), (None, "Is a dir")],
)
def test_what_is_no_text_is_one_clear_error(tmp_path, content, said):
    path = tmp_path / "a.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(said)):
        files.settings_text(path, "--config")


def test_json_of_any_depth_is_damaged_not_a_crash(tmp_path):
    (tmp_path / "run.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        files.read_json(tmp_path / "run.json")


def test_our_own_files_survive_an_editor_that_marks_them(tmp_path):
    (tmp_path / "run.json").write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    (tmp_path / "splits.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\nx,y\r\n")
    assert files.read_json(tmp_path / "run.json") == {"a": 1}
    assert csv_files.read_csv(tmp_path / "splits.csv") == [{"path": "x", "label": "y"}]


def test_every_reader_of_arrays_takes_a_header_that_does_not_close_for_damage(tmp_path: Path) -> None:
    """NumPy falls back on Python's tokenizer there, whose error is no ValueError."""
    from transferkit.data.containers import pixels
    from transferkit.errors import DataError

    np.save(tmp_path / "whole.npy", np.zeros((3, 4)))
    damaged = (tmp_path / "whole.npy").read_bytes().replace(b"}", b" ")
    (tmp_path / "x.npy").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", damaged)
    with pytest.raises(files.ARRAY_DAMAGE):
        np.load(tmp_path / "x.npy", allow_pickle=False)
    for content in (None, damaged):
        with pytest.raises(DataError, match=r"x\.npy"):
            pixels.npy(tmp_path / "x.npy", content)
    with pytest.raises(DataError, match=r"x\.npz"):
        pixels.npz(tmp_path / "x.npz")


def test_temporaries_of_one_file_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "a[1].json"
    own, recent = tmp_path / ".a[1].7-aaaaaaaa.tmp.json", tmp_path / ".a[1].8-aaaaaaaa.tmp.json"
    names = (".a1.7-aaaaaaaa.tmp.json", ".a[1].7-aaaaaaaa.tmp.csv", "a[1].json", ".a[1].part")
    others = [tmp_path / name for name in names]
    for file in (own, recent, *others):
        file.write_text("x")
    os.utime(own, (0, 0))
    files.remove_temporaries_of(path, idle=60)
    assert [own.exists(), recent.exists()] == [False, True]
    files.remove_temporaries_of(path)
    assert not recent.exists()
    assert all(file.exists() for file in others)


KILLED = """
import os, sys
from pathlib import Path
from transferkit.files import output_path
with output_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(1)
"""


def test_what_a_killed_process_left_of_an_output_goes_and_what_others_write_stays(tmp_path: Path) -> None:
    output, other = tmp_path / "answers[1].csv", tmp_path / "answers.csv"
    for path in (output, other):
        subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    elsewhere = tmp_path / ".answers[1].1-aaaaaaaa.tmp.csv"  # of another machine
    elsewhere.touch()
    with files.output_path(output) as mine:
        mine.write_text("whole")
        with files.output_path(output) as second:  # as another that lives: it takes nothing away
            assert mine.exists()
            second.write_text("whole")
    left = sorted(path.name for path in tmp_path.iterdir() if path not in (output, elsewhere))
    assert len(left) == 1
    assert left[0].startswith(".answers.")
    assert output.read_text() == "whole"
    assert elsewhere.exists()
