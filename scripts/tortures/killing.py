"""What kills have in common: a command killed at drawn moments, gone on with, and compared with one that was not."""

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
from tortures.trying import Row, Said, Session, end, finish, left_alive, unmade

MEASURED = ("seconds", "features_seconds")  # columns that no two runs share


def titles(name: str) -> tuple[str, str]:
    """What the two rows of a command are called."""
    return f"{name}: at random times", f"{name}: in the middle of a change of a file"


def killed(
    session: Session, name: str, words: tuple[Any, ...], short: int, long: int, under: str = ""
) -> Iterator[Row]:
    """Kills of a command that makes a run: at random times, and at random changes of its run folder and its cache.

    Each begins with an empty cache, so that features are computed. `under`: only changes in this folder of the two.
    """
    times, changes = map(Row, titles(name))
    if session.over:
        yield from (times, changes)
        return
    whole, operations, said = _undisturbed(session, words, under)
    if said.code != 0:
        yield unmade(times.what, said, "the run that nobody kills")
        return
    rng = session.rng(f"kills {name}")
    changes.note = f"of {operations} changes" if shim.library() else shim.LACKING
    if shim.library() is not None and not operations:
        changes.failures.append("no change of a file was seen, so that none can be killed")
    for number in session.times(2 * short, 2 * long, least=2):  # the two kinds by turns
        tries = session.fresh("tries")
        run, env = tries / "run", session.environment(TRANSFERKIT_CACHE=str(tries / "cache"))
        moment, at_change = rng.uniform(0.1, 1.0) * said.seconds, number % 2 == 1
        at = rng.randint(1, max(1, operations))
        if at_change and shim.library() is None:
            continue
        faulty = shim.faults(tries / under, at=at, do="kill") if at_change else {}
        process = session.start(*words, "--output", run, env=env | faulty)
        if at_change:
            finish(process)
        else:
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)  # this one only: what it started has to notice
        faults = [f"outlives it: {line}" for line in left_alive(process.pid)]
        if not at_change:
            end(process)
        where = f"try {number}, " + (f"change {at}" if at_change else f"after {moment:.2f} s")
        again = ("resume", run) if (run / "run.json").exists() else (*words, "--output", run, "--resume")
        # What is left takes no longer than all of it did, however busy this machine is.
        more = session.command(*again, env=env, limit=max(180, 3 * said.seconds))
        faults += [*differences(more, run, whole), *left_over(session, tries)]
        (changes if at_change else times).add(more, *faults, where=where)
    yield from (times, changes)


def _undisturbed(session: Session, words: tuple[Any, ...], under: str) -> tuple[Path, int, Said]:
    """The run that nothing disturbs, and how many changes it makes in its folders."""
    folder, count = session.fresh("whole"), session.folder / "count"
    env = session.environment(TRANSFERKIT_CACHE=str(folder / "cache")) | shim.faults(folder / under, count=count)
    said = session.command(*words, "--output", folder / "run", env=env)
    return folder / "run", shim.counted(count)[0], said


def differences(said: Said, run: Path, whole: Path) -> list[str]:
    """What is another in a run that was disturbed, or gone on with, than in the one that nothing disturbed."""
    if said.code != 0:
        return [f"not finished ({said.code}): {said.tail()}"]
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
    for key in ("note", "runs"):  # that the looks at the test split could not be counted; how many came since
        content.get("test_uses", {}).pop(key, None)
    content.pop("search", None)  # seconds of trials; what it says of their scores is in trials.csv
    return content


def left_over(session: Session, *folders: Path) -> list[str]:
    """Temporary files and locks that are still there after the next run, in `folders` and in those of the session.

    They are removed, so that each is told of one try: the one that left it.
    """
    found = []
    for folder in (*folders, session.folder / "cache"):
        in_cache = [path for path in folder.rglob("*") if "cache" in path.relative_to(session.folder).parts]
        found += [path for path in in_cache if ".tmp" in path.name]
        found += [path for path in {*folder.rglob("*")} - {*in_cache}
                  if path.name.startswith(".") or path.name.endswith(".lock")]  # fmt: skip
    found += [path for path in (session.folder / "home").iterdir() if path.name != ".keras"]  # Keras' own settings
    # What TensorFlow writes for its own inspection it removes at its end only.
    found += [path for path in (session.folder / "tmp").iterdir() if not path.name.startswith("__autograph")]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return [f"left over: {path.relative_to(session.folder)}" for path in found]
