"""SIGKILL at random moments and in the middle of random writes; then the result is that of an uninterrupted run."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tortures import shim
from tortures.trying import SMALL, Row, Said, Session, end, finish, left_alive

NAME = "kills"
FIXED = ("`export` that was killed left its half-written folder, and inputs of its check, for six hours",)
OPEN = ("TensorFlow leaves `__autograph_generated_file*.py`, some kilobytes, in the folder for temporary files",)
MEASURED = ("seconds", "features_seconds")  # columns that no two runs share
SEARCH = (*SMALL[:-1], "--search", "learning_rate=1e-3:1e-2:log", "--search", "dropout=0,.3", "--trials", "3",
          "--workers", "2", "--quiet")  # fmt: skip


def rows(session: Session) -> Iterator[Row]:
    """finetune, export, and tune with each algorithm and two workers."""
    data = session.digits()
    algorithms = ("random",) if session.short else ("random", "bayesian", "hyperband", "grid")
    left = len(algorithms)
    yield from _of(session.part(left + 2), "finetune", ("finetune", data, *SMALL, "--seed", 0), 3, 20)
    yield _exports(session.part(left + 1))
    for number, algorithm in enumerate(algorithms):
        words = ("tune", data, *SEARCH, "--algorithm", algorithm, "--seed", 0)
        yield from _of(session.part(left - number), f"tune, {algorithm}, two workers", words, 1, 5)


def _of(session: Session, name: str, words: tuple[Any, ...], short: int, long: int) -> Iterator[Row]:
    """Kills of one command: at random times, and at random changes of the run folder and of the cache."""
    whole = session.fresh("whole") / "run"
    count = session.folder / "count"
    times, changes = Row(f"{name}: at random times"), Row(f"{name}: in the middle of a change of a file")
    operations = {}
    if session.over:
        yield from (times, changes)
        return
    for place in ("tries", "cache"):
        # Each from an empty cache, so that features are computed as in the tries.
        shutil.rmtree(whole, ignore_errors=True)
        under = whole.parent if place == "tries" else session.folder / place
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        with shim.counting(count):
            said = session.command(*words, "--output", whole, env=shim.environment(session, under, count=count))
        if said.code != 0:
            times.add(said, f"the run that nobody kills fails: {said.tail()}", of="undisturbed")
            yield times
            return
        operations[place] = int(count.read_text())
    rng = session.rng(f"kills {name}")
    changes.note = f"{operations['tries']} changes in the run folder and {operations['cache']} in the cache"
    if shim.library() is None:
        changes.note = shim.LACKING
    for number in session.times(2 * short, 2 * long):  # the two kinds by turns
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        run = session.fresh("tries") / "run"
        moment, at_change = rng.uniform(0.1, 1.0) * said.seconds, number % 2 == 1
        if at_change and shim.library() is None:
            continue
        place = rng.choice(("tries", "tries", "cache"))
        at = rng.randint(1, max(1, operations[place]))
        env = shim.environment(session, session.folder / place, at=at, do="kill") if at_change else None
        process = session.start(*words, "--output", run, env=env)
        if at_change:
            finish(process)
        else:
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)  # this one only: what it started has to notice
        faults = [f"outlives it: {line}" for line in left_alive(process.pid)]
        if not at_change:
            end(process)
        where = f"try {number}, " + (f"change {at} below {place}" if at_change else f"after {moment:.2f} s")
        _resume(session, changes if at_change else times, words, run, whole, where, faults)
    yield from (times, changes)


def _resume(
    session: Session, row: Row, words: tuple[Any, ...], run: Path, whole: Path, where: str, faults: list[str]
) -> None:
    """Go on as a user would, and compare with the run that nobody killed."""
    if (run / "run.json").exists():
        said = session.command("resume", run)
    else:
        said = session.command(*words, "--output", run, "--resume")
    row.add(said, *faults, *differences(said, run, whole), *left_over(session, run), where=where)


def differences(said: Said, run: Path, whole: Path) -> list[str]:
    """What is another in a run that was gone on with than in the one that nothing disturbed."""
    if said.code != 0:
        return [f"not resumed ({said.code}): {said.tail()}"]
    found = []
    for name in ("metrics.json", "history.csv", "trials.csv", "splits.csv"):
        one, other = told(run / name), told(whole / name)
        if one != other:
            found.append(f"{name} is another{_where(one, other)}")
    if (run / "predictions.csv").read_bytes() != (whole / "predictions.csv").read_bytes():
        found.append("predictions.csv is another")
    if {p.name for p in run.iterdir()} != {p.name for p in whole.iterdir()}:
        found.append(f"other files: {sorted({p.name for p in run.iterdir()} ^ {p.name for p in whole.iterdir()})}")
    return found


def _where(one: Any, other: Any) -> str:
    """The keys under which two records differ."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return ""
    return f" in {', '.join(sorted(key for key in {*one, *other} if one.get(key) != other.get(key)))}"


def told(path: Path) -> Any:
    """What a file of results says, but for times and places."""
    if not path.exists():
        return None
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as handle:
            return [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(handle)]
    content = json.loads(path.read_text("utf-8"))
    content.get("test_uses", {}).pop("note", None)  # that the looks at the test split could not be counted
    content.pop("search", None)  # seconds of trials; what it says of their scores is in trials.csv
    return content


def left_over(session: Session, run: Path) -> list[str]:
    """Temporary files and locks that are still there after the next run."""
    found = [path for path in run.rglob("*") if path.name.startswith(".") or path.name.endswith(".lock")]
    found += [path for path in (session.folder / "cache").rglob("*") if ".tmp" in path.name]
    found += [path for path in (session.folder / "home").iterdir() if path.name != ".keras"]  # Keras' own settings
    # What TensorFlow writes for its own inspection it removes at its end only.
    found += [path for path in (session.folder / "tmp").iterdir() if not path.name.startswith("__autograph")]
    return [f"left over: {path.relative_to(session.folder)}" for path in found]


def _exports(session: Session) -> Row:
    """Kills while a run is exported; the next export succeeds and leaves nothing else behind."""
    row = Row("export to each format: in the middle of a change of a file")
    if session.over or shim.library() is None:
        row.note = "" if session.over else shim.LACKING
        return row
    run = session.fresh("exported") / "run"
    said = session.command("finetune", session.digits(), *SMALL, "--output", run)
    if said.code != 0:
        row.add(said, said.tail(), of="the run to export")
        return row
    rng = session.rng("kills export")
    formats = ("keras", "litert", "saved_model", "onnx")
    expected: dict[str, tuple[set[str], int]] = {}
    for number in session.times(2, 24):
        form = ("litert", "keras")[number] if session.short else formats[number % 4]
        words = ("export", run, "--format", form)
        count = session.folder / "count"
        if form not in expected:
            shutil.rmtree(run / "exports", ignore_errors=True)
            env = shim.environment(session, run, count=count)
            said = session.command(*words, env=env)
            if said.code != 0:
                row.add(said, said.tail(), of=f"{form} undisturbed")
                continue
            expected[form] = (_names(run / "exports"), int(count.read_text()))
        shutil.rmtree(run / "exports", ignore_errors=True)
        files, operations = expected[form]
        at = rng.randint(1, operations)
        finish(session.start(*words, env=shim.environment(session, run, at=at, do="kill")))
        # The last change may have been behind the whole export.
        said = session.command(*words, *(["--replace"] if (run / "exports").exists() else []))
        there = _names(run / "exports")
        faults = [] if there == files else [f"other files: {sorted(there ^ files)[:6]}"]
        faults += [] if said.code == 0 else [f"not exported: {said.tail()}"]
        row.add(said, *faults, *left_over(session, run), where=f"{form}, change {at}")
    return row


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
