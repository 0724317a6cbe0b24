"""Load: generated pictures in up to 1,000 classes through every command; time a picture and memory, size by size."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benches.pictures import synthetic

from tortures.trying import Row, Said, Session, end

NAME = "load"
FIXED = (
    "a split held tables of pictures times classes: some 1.7 GB for 100,000 pictures in 1,000 classes",
    "metrics.json grew with the square of the classes: 18.9 MB at 500",
    "the baseline by nearest neighbours held 50 votes a class and test picture: 6 GB for 15,000 in 1,000 classes",
    "writing and reading predictions.csv held every cell as text: about 1 GB for 15,000 pictures in 1,000 classes",
    "`data summary` printed a line for each class, off the screen",
    "wrong labels, near-copies and neighbours were looked for by comparing all pictures with all",
    "all pictures voted in the candidate that goes by similar ones: most of the time of a choice from 100,000",
    "vectors, projected vectors and candidates' answers took memory up to a quarter of the machine's",
    "the probe that a model is compared with held several tables of training pictures times classes",
    "vectors of all depths were held to the end of a run, where those of the last layer are asked for",
    "`data check` held facts and thumbnails of pictures as objects, 3.4 kB each: 412 MB of 100,000, now 149",
    "answers to test pictures were scored as several float64 tables, and read back from predictions.csv held as text",
    "answers to validation and test pictures were whole tables in each stage after training, 4 to 8 kB a picture and "
    "several at a time: 1,692 MB for 100,000 pictures in 1,000 classes",
    "the search for wrong labels held its kernel and its standardised vectors in several copies",
    "the search for look-alikes took 900 ns for each pair that it compared, half an hour for a million pictures, and "
    "listed all pairs: of 2,000 blank pages in 144 s of processor time and 600 MB",
    "the 182 MB that this page told of `data summary`, `data split` and `summary` were the test's own: a process "
    "begins with the peak of the one that starts it",
)  # fmt: skip
OPEN = (
    "the answers of all candidates are pictures times classes times settings: beyond 256 MB they lie on disk, and "
    "where they would be more than a quarter of the memory a head is trained instead, and the run says so; `best` is "
    "not bounded so",
    "`finetune` of 100,000 pictures in 1,000 classes holds more than of 10,000: vectors of the training pictures once "
    "(0.7 to 0.9 kB a picture here); paths, hashes and names of rows (0.5 kB a picture); targets and answers of one "
    "call in training, up to 48 MB each, which fewer pictures do not fill; and what only long work begins (XLA, "
    "another engine for features, some 80 MB)",
    "what `predict` holds, 0.7 to 1.0 GB, depends on the engine that is found to be the faster one at the time",
)  # fmt: skip
SIZE = (32, 32)
MOST_MB, MOST_METRICS = 2000, 2e6  # of a process, and bytes of metrics.json
STEEPEST, NOISE = 2.0, 20.0  # times the time a picture of the size before; seconds below which that is chance
LIMIT = 5400.0


def rows(session: Session) -> Iterator[Row]:
    """A row for each number of pictures and each command."""
    before: dict[str, float] = {}
    for count in (2000,) if session.short else (1000, 10_000, 100_000):
        if session.over:
            yield Row(f"{count:,} pictures")
            continue
        classes = min(1000, count // 10)
        folder = session.fresh("load")
        synthetic(folder / "data", count, SIZE, classes)
        for name, words in _commands(folder, session.short).items():
            row = Row(f"{count:,} pictures in {classes:,} classes of {SIZE[0]} pixels: {name}")
            said, row.held = _measured(session, words)
            faults = [] if said.code == 0 else [f"ended with {said.code}: {said.tail()}"]
            faults += [f"held {row.held:.0f} MB"] if row.held > MOST_MB else []
            each = said.seconds / count
            if name in before and said.seconds > NOISE and each > STEEPEST * before[name]:
                faults.append(f"{1000 * each:.1f} ms a picture, {1000 * before[name]:.1f} of fewer")
            before[name] = each
            row.note = f"{1000 * each:.2f} ms a picture"
            faults += _large(folder / "run" / "metrics.json") if name == "finetune" else []
            row.add(said, *faults, where=name)
            yield row
            if said.code:
                break
        shutil.rmtree(folder)


def _commands(folder: Path, short: bool) -> dict[str, tuple[object, ...]]:
    data, run = folder / "data", folder / "run"
    found: dict[str, tuple[object, ...]] = {
        "data summary": ("data", "summary", data),
        "data check": ("data", "check", data),
        "data split": ("data", "split", data, "--output", folder / "splits.csv"),
    }
    if short:
        return found
    train = ("--backbone", "mini", "--head", "linear", "--epochs", 5, "--augment", "none", "--quiet")
    return found | {
        "finetune": ("finetune", data, *train, "--output", run),
        "summary": ("summary", run),
        "report": ("report", run),
        "predict": ("predict", run, data, "--format", "csv", "--quiet"),
    }


def _large(metrics: Path) -> list[str]:
    size = metrics.stat().st_size if metrics.exists() else 0
    return [f"metrics.json has {size / 1e6:.1f} MB"] if size > MOST_METRICS else []


def _measured(session: Session, words: tuple[object, ...]) -> tuple[Said, float]:
    """How a command ended, and the megabytes that it held at the peak. What it prints goes to a file."""
    out, err, started = session.folder / "out", session.folder / "err", time.monotonic()
    with open(out, "wb") as to, open(err, "wb") as complaints:
        process = session.start(*words, stdout=to, stderr=complaints)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.monotonic() - started
            if pid or seconds > LIMIT:
                break
            time.sleep(0.05)
    if not pid:
        end(process)
        return Said(None, b"", err.read_bytes(), seconds), 0.0
    process.returncode = os.waitstatus_to_exitcode(status)
    with open(out, "rb") as file:  # never all of it: what this process has held counts as held by those it starts
        said = file.read(100_000)
    return Said(process.returncode, said, err.read_bytes(), seconds), usage.ru_maxrss / 1024
