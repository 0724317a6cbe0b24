"""The journal: nothing that was appended is lost, whatever moment the process dies at."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.marks import extended
from tests.tuning.test_search import searching
from transferkit.errors import ConfigError, RunError, StorageError
from transferkit.tuning.journal import Journal, require_sound
from transferkit.tuning.search_space.space import parse_search

HEADER = {
    "format": 1,
    "space": parse_search(["batch_size=16,32", "head_width=64,128x64"]).as_dict(),
    "algorithm": "random",
    "seed": 0,
    "data": {"sha256": "ab", "split": "cd"},
}


def filled(path, count=5):
    with Journal.open(path, HEADER, resume=False) as journal:
        for i in range(count):
            journal.append({"event": "ask", "trial": f"{i:04d}", "values": {"head_width": (128, 64)}, "rung": 0})
    return path


def test_events_come_back_in_order_and_as_json(tmp_path):
    path = filled(tmp_path / "run" / "journal.jsonl")
    with Journal.open(path, HEADER, resume=True) as journal:
        assert [e["trial"] for e in journal.events] == ["0000", "0001", "0002", "0003", "0004"]
        assert journal.events[0]["values"] == {"head_width": [128, 64]}
        journal.append({"event": "tell", "score": np.float32(0.5), "seconds": float("nan"), "error": "a\nb\u2028 ünï"})
        assert journal.events[-1] == {"event": "tell", "score": 0.5, "seconds": None, "error": "a\nb\u2028 ünï"}
    header, events = Journal.read(path)
    assert header["seed"] == 0
    assert len(events) == 6
    assert len(path.read_text().splitlines()) == 7


def test_an_event_is_on_the_disk_when_append_returns(tmp_path, synced):
    with Journal.open(tmp_path / "journal.jsonl", HEADER, resume=False) as journal:
        for _ in range(2):
            journal.append({"event": "tell", "trial": "x"})
            status = journal.path.stat()
            assert synced[status.st_ino] == status.st_size


def test_whatever_byte_the_file_ends_at_whole_events_are_kept_and_appending_goes_on(tmp_path):
    whole = filled(tmp_path / "whole").read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) + 1):
        path = tmp_path / "torn"
        path.write_bytes(whole[:end])
        with Journal.open(path, HEADER, resume=True) as journal:
            assert len(journal.events) == whole[:end].count(b"\n") - 1
            journal.append({"event": "tell", "trial": "x"})
        assert Journal.read(path)[1][-1] == {"event": "tell", "trial": "x"}
        assert len(Journal.read(path)[1]) == whole[:end].count(b"\n")


def test_zeros_after_a_power_cut_are_cut_off(tmp_path):
    path = filled(tmp_path / "journal")
    with open(path, "ab") as handle:
        handle.write(b"\0" * 100 + b"\n")
    with Journal.open(path, HEADER, resume=True) as journal:
        assert len(journal.events) == 5
    assert b"\0" not in path.read_bytes()


def test_damage_in_the_middle_is_refused_with_its_line_and_left_alone(tmp_path):
    path = filled(tmp_path / "journal")
    lines = path.read_bytes().split(b"\n")
    lines[2] = b'{"event": "as'
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with pytest.raises(RunError, match="line 3"):
        Journal.open(path, HEADER, resume=True)
    assert path.read_bytes() == before
    path.write_text("path,label\n")
    with pytest.raises(RunError, match="damaged or of another version"):
        Journal.open(path, HEADER, resume=True)


def search_journal(folder):
    """The journal of a small search with its finals, as it goes to disk, and its lines without line breaks."""
    searching(folder, "random", 2, 0)
    path = folder / "trials.jsonl"
    return path, path.read_bytes().split(b"\n")[:-1]


def damages(line):
    """One line with each digit of its numbers another one, with other letters, cut, and with a bit of each byte."""
    for found in re.finditer(rb"\d", line):
        yield line[: found.start()] + b"%d" % ((int(found[0]) + 1) % 10) + line[found.end() :]
    for found in list(re.finditer(rb"[a-z]", line))[::5]:
        yield line[: found.start()] + (b"q" if found[0] == b"z" else b"z") + line[found.end() :]
    for place in range(0, len(line), 7):
        yield line[:place]
        yield line[:place] + bytes([line[place] ^ 1 << place % 8]) + line[place + 1 :]


def accepted(path, lines):
    """What is read of these lines; None where they are refused."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        return Journal.read(path)
    except RunError:
        return None


@pytest.mark.parametrize("step", extended([1, 11], [1]))
def test_a_damaged_line_is_never_taken_for_another(step, tmp_path):
    """In the middle it is refused; the last one may be torn, and what it told is done again."""
    path, lines = search_journal(tmp_path)
    header, events = Journal.read(path)
    assert {event["event"] for event in events} == {"ask", "tell", "final"}
    assert all("crc" not in event for event in events)
    for number in {*range(0, len(lines), step), len(events)}:
        for damaged in damages(lines[number]):
            found = accepted(path, [*lines[:number], damaged, *lines[number + 1 :]])
            assert found == ((header, events[:-1]) if number == len(events) else None), damaged


def test_lines_that_are_lost_doubled_or_moved_are_refused(tmp_path):
    path, lines = search_journal(tmp_path)
    header, events = Journal.read(path)
    for number in range(len(lines) - 1):
        swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
        lost, doubled = [*lines[:number], *lines[number + 1 :]], [*lines[: number + 1], *lines[number:]]
        for others in (swapped, lost, doubled):
            found = accepted(path, others)
            # Of the last two lines one may have been torn: what is kept was written in this order.
            assert found is None or found == (header, events[: len(found[1])]), number
            assert found is None or number >= len(events) - 1
    assert accepted(path, [*lines, lines[-1]]) == (header, events), "as if torn"


def test_a_search_goes_on_from_a_damaged_last_line_to_the_same_end(tmp_path):
    path, lines = search_journal(tmp_path)
    whole = Journal.read(path)[1]
    for kept in range(2, len(lines), 3):
        score = re.sub(rb'"score":0\.(\d)', lambda m: b'"score":0.%d' % ((int(m[1]) + 1) % 10), lines[kept])
        damaged = score if score != lines[kept] else lines[kept].replace(b'"event":"', b'"event":"x')
        path.write_bytes(b"\n".join([*lines[:kept], damaged, b""]))
        searching(tmp_path, "random", 2, 0)
        by_trial = [{e["trial"]: e["score"] for e in events if e["event"] in ("tell", "final")}
                    for events in (whole, Journal.read(path)[1])]  # fmt: skip
        assert by_trial[0] == by_trial[1], kept


def test_a_journal_without_checksums_stays_readable_and_gets_them_from_then_on(tmp_path):
    path, lines = search_journal(tmp_path)
    header, events = Journal.read(path)
    old = [re.sub(rb',"crc":"[0-9a-f]{8}"\}$', b"}", line) for line in lines]
    assert accepted(path, old) == (header, events)
    with Journal.open(path, header, resume=True) as journal:
        journal.append({"event": "start"})
    added = path.read_bytes().split(b"\n")[-2]
    assert b'"crc"' in added
    assert accepted(path, [*old, added, added]) == (header, [*events, {"event": "start"}])
    changed = old[5].replace(b"0", b"1", 1)
    assert accepted(path, [*old[:5], changed, *old[6:], added, b"{}"]) is None, "vouched for by the line behind it"
    assert accepted(path, [*lines[:5], old[5], *lines[6:]]) is None, "a checksum was lost"


def test_a_search_of_before_goes_on_where_its_settings_mean_what_they_meant(tmp_path):
    now = {"dropout": 0.3, "adapt": "all"}
    old = {**HEADER, "settings": {"dropout": 0.3, "clip_norm": 5.0, "warmup": None}}  # before `adapt`, with two more
    Journal.open(tmp_path / "journal", old, resume=False).close()
    Journal.open(tmp_path / "journal", {**HEADER, "settings": now}, resume=True).close()
    with pytest.raises(ConfigError, match=r"settings.adapt was \"all\", now \"lora\""):
        Journal.open(tmp_path / "journal", {**HEADER, "settings": {**now, "adapt": "lora"}}, resume=True)
    old["settings"]["accumulate"] = 4
    Journal.open(tmp_path / "other", old, resume=False).close()
    with pytest.raises(ConfigError, match=r"begun with accumulate 4, no setting any more: a batch that"):
        Journal.open(tmp_path / "other", {**HEADER, "settings": now}, resume=True)


def test_an_existing_search_is_not_overwritten_and_none_may_be_resumed(tmp_path):
    path = filled(tmp_path / "journal")
    with pytest.raises(RunError, match="--resume"):
        Journal.open(path, HEADER, resume=False)
    assert len(Journal.read(path)[1]) == 5
    # A search that was killed before its journal was begun.
    with Journal.open(tmp_path / "new", HEADER, resume=True) as journal:
        assert journal.events == []


def test_another_search_is_refused_with_every_difference_in_words(tmp_path):
    path = filled(tmp_path / "journal")
    changed = {
        **HEADER,
        "space": parse_search(["batch_size=16,64", "head_width=64,128x64"]).as_dict(),
        "seed": 1,
        "data": {"sha256": "ab", "split": "ef"},
        "folds": 5,
    }
    with pytest.raises(ConfigError) as refused:
        Journal.open(path, changed, resume=True)
    text = str(refused.value)
    assert text.startswith("5 problems")
    for words in (
        "no longer searched: batch_size=16,32",
        "newly searched: batch_size=16,64",
        "seed was 0, now 1",
        'data.split was "cd", now "ef"',
        "folds was not given, now 5",
    ):
        assert words in text
    assert "head_width" not in text
    assert "algorithm" not in text


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EFBIG, "ulimit -f"), (errno.EIO, "cannot write")]
)
def test_half_a_line_is_taken_back_when_the_disk_refuses(number, words, tmp_path, monkeypatch):
    path = filled(tmp_path / "journal")
    real = os.write
    with Journal.open(path, HEADER, resume=True) as journal:

        def full(handle, content):
            if len(content) > 10:
                return real(handle, content[:10])
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StorageError, match=f"{words}.*then resume"):
                journal.append({"event": "tell", "trial": "0"})
        assert len(journal.events) == 5
        journal.append({"event": "tell", "trial": "1"})
    assert [e["trial"] for e in Journal.read(path)[1]][-2:] == ["0004", "1"]
    with pytest.raises(RunError, match="is closed"):
        journal.append({"event": "tell"})


def test_kill_nine_while_appending_loses_nothing_that_append_returned_from(tmp_path):
    code = (
        "import sys\n"
        "from transferkit.tuning.journal import Journal\n"
        "journal = Journal.open(sys.argv[1], {'seed': 0}, resume=True)\n"
        "i = len(journal.events)\n"
        "while True:\n"
        "    journal.append({'event': 'tell', 'trial': i, 'error': 'x' * 5000})\n"
        "    print(i, flush=True)\n"
        "    i += 1\n"
    )
    path = tmp_path / "journal"
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}
    for pause in (0.1, 0.25):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, env=env)
        first = int(child.stdout.readline())
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        said = [first, *(int(line) for line in child.stdout.read().split("\n")[:-1])]
        child.wait()
        child.stdout.close()
        with Journal.open(path, {"seed": 0}, resume=True) as journal:
            kept = [e["trial"] for e in journal.events]
        assert kept == list(range(len(kept)))
        assert len(kept) > said[-1] > 0
    assert json.loads(path.read_text().splitlines()[0])["header"] == {"seed": 0}


@pytest.mark.parametrize(
    "event",
    [
        {"event": "tell", "trial": "0001", "score": 0.5},
        {"event": "tell", "trial": "0000"},
        {"event": "tell", "trial": "0000", "score": "x"},
        {"event": "tell", "trial": "0000", "score": 1, "scores": ["x"]},
        {"event": "ask", "trial": 3, "proposal": {"values": {}, "epochs": 1}},
        {"event": "ask", "trial": "0001", "proposal": {"values": [], "epochs": 1}},
        {"event": "ask", "trial": "0001", "proposal": None},
        {"event": None},
        {},
    ],
)
def test_events_that_lack_what_is_read_of_them_are_named_by_line(event):
    good = {"event": "ask", "trial": "0000", "proposal": {"values": {"dropout": 0.1}, "epochs": 3}}
    require_sound(Path("trials.jsonl"), [good, {"event": "tell", "trial": "0000", "score": None}, {"event": "start"}])
    with pytest.raises(RunError, match=r"trials\.jsonl is damaged \(line 3\)"):
        require_sound(Path("trials.jsonl"), [good, event])


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "trials.jsonl").mkdir()
    for path in (tmp_path / "trials.jsonl", tmp_path / "absent.jsonl"):
        with pytest.raises(RunError, match=path.name):
            Journal.read(path)
