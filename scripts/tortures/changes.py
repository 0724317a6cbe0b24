"""Data that changes between runs or during one, and clocks that are wrong: detected and said, or nothing is changed."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tortures import shim
from tortures.killing import differences, left_over
from tortures.trying import SMALL, Row, Said, Session, end, finish, unmade

NAME = "changes"
FIXED = (
    "under a clock before 1980 no model could be saved: zip archives know no day before that",
    "of pictures that changed, went or came during a run, after they were read for the last time, nothing was said",
)
OPEN: tuple[str, ...] = ()
YEAR = 365 * 86_400


def rows(session: Session) -> Iterator[Row]:
    """Pictures changed under a run that is gone on with, repeated, evaluated; under one that is made; clocks."""
    words = (*SMALL, "--seed", 0)
    whole, said = session.finished("whole")
    if said.code != 0:
        yield unmade("finetune", said, "undisturbed")
        return
    yield from _between(session.part(3), words)
    yield _during(session.part(2), words, said.seconds)
    yield from _clocks(session, words, whole, said.seconds)


# ------------------------------------------------------------------------------------------ what is done to the data


def _other_content(path: Path) -> None:
    """Another picture's bytes under the name, with the time of the file as it was."""
    other = next(file for file in sorted(path.parent.parent.glob("*/*.png")) if file.parent != path.parent)
    _replace(path, other.read_bytes())


def _one_bit(path: Path) -> None:
    """One bit behind the pixels, with size and time as they were."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _replace(path, bytes(content))


def _replace(path: Path, content: bytes) -> None:
    """Other bytes and the old time, at once: who reads meanwhile sees the one picture or the other, and no third."""
    before, made = path.stat(), path.parents[2] / f"new-{path.name}"
    made.write_bytes(content)
    os.utime(made, ns=(before.st_atime_ns, before.st_mtime_ns))
    made.replace(path)


def _removed(path: Path) -> None:
    path.unlink()


def _moved(path: Path) -> None:
    """To another class."""
    path.rename(next(folder for folder in path.parent.parent.iterdir() if folder != path.parent) / path.name)


def _added(path: Path) -> None:
    """One more, of a content that is there already in another class."""
    place = next(folder for folder in path.parent.parent.iterdir() if folder != path.parent) / "added.png"
    shutil.copy(path, path.parents[2] / place.name).rename(place)


def _touched(path: Path) -> None:
    """Nothing but its time: no change."""
    os.utime(path, (0, 0))


HARMS: dict[str, Callable[[Path], None]] = {
    "another picture under its name": _other_content, "removed": _removed, "one more": _added, "one bit": _one_bit,
    "moved to another class": _moved, "a new time only": _touched,
}  # fmt: skip
TOLD = (b"changed", b"not what", b"other content", b"differ", b"no longer", b"missing", b"not there", b"gone")
WHILE = b"the data was changed while this ran"
HARMLESS = ("a new time only",)


def _picture(run: Path, data: Path, part: str, rng: random.Random) -> Path:
    with open(run / "splits.csv", newline="", encoding="utf-8") as handle:
        return data / rng.choice([row["path"] for row in csv.DictReader(handle) if row["split"] == part])


# ------------------------------------------------------------------------------------------ rows


def _between(session: Session, words: tuple[Any, ...]) -> Iterator[Row]:
    """A run of a copy of the data, a change, and then each command that reads the pictures again."""
    found = {name: Row(f"{name}, pictures changed since") for name in ("reproduce", "evaluate", "resume")}
    found["resume"].what = "a killed run, pictures changed, then resume"
    rng, own = session.rng("changes between"), session.fresh("between")
    data = shutil.copytree(session.digits(), own / "digits")
    said = session.command("finetune", data, *words, "--output", own / "run")
    if said.code != 0:
        yield unmade(found["reproduce"].what, said, "undisturbed")
        return
    kept = shutil.copytree(data, own / "kept")
    for number in session.times(2, 36, least=3 * len(HARMS)):  # each with each command
        command = tuple(found)[number % 3]
        name = tuple(HARMS)[(number // 3) % len(HARMS)]
        shutil.rmtree(data)
        shutil.copytree(kept, data)
        run = own / "run"
        if command == "resume":
            run = own / "killed"
            shutil.rmtree(run, ignore_errors=True)
            _killed(session, ("finetune", data, *words, "--output", run), run)
        HARMS[name](_picture(own / "run", data, "test" if command == "evaluate" else "train", rng))
        output = ("--output", session.fresh("again") / "run") if command == "reproduce" else ()
        said = session.command(command, run, *output)
        faults = _judged(said, name)
        if said.code == 0 and command == "resume":
            faults += differences(said, run, own / "run")  # of the same folder, which advice names
        found[command].add(said, *faults, where=name)
    for row in found.values():
        row.note = ", ".join(tuple(HARMS)[: row.tried])  # which go through in their order
    yield from found.values()


def _judged(said: Said, name: str) -> list[str]:
    if name in HARMLESS:
        return [] if said.code == 0 else [f"refused although nothing changed: {said.tail()}"]
    if name == "one more":  # not of the run: it may be left out
        return [] if said.code in (0, 2) else [f"ended with {said.code}: {said.tail()}"]
    told = any(word in said.err for word in TOLD)
    if said.code == 0:
        return ["not detected"]
    return [] if told else [f"refused without saying that the data changed: {said.tail()}"]


def _killed(session: Session, words: tuple[Any, ...], run: Path) -> None:
    """Begin a run and kill it once its split is written."""
    process, until = session.start(*words), time.monotonic() + 120
    while not (run / "splits.csv").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    end(process)


def _during(session: Session, words: tuple[Any, ...], seconds: float) -> Row:
    """A change at a random moment of a run: refused, or said by a run of what splits.csv tells, or not yet read."""
    row, rng = Row("pictures changed at a random moment of a finetune"), session.rng("changes during")
    names = [name for name in HARMS if name not in HARMLESS]
    for number in session.times(1, 30):
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        own, name = session.fresh("during"), names[number % len(names)]
        data = shutil.copytree(session.digits(), own / "digits")
        before = _hashes(data)
        process = session.start("finetune", data, *words, "--output", own / "run")
        moment = rng.uniform(0.05, 1.0) * seconds
        time.sleep(moment)
        harmed = time.time()
        HARMS[name](rng.choice(sorted(data.glob("*/*.png"))))
        said = finish(process)
        faults = []
        if said.code == 0:
            faults += _of_one_state(own / "run", before, _hashes(data), said, harmed)
        elif said.code not in (1, 2):
            faults.append(f"ended with {said.code}: {said.tail()}")
        row.add(said, *faults, where=f"{name} after {moment:.1f} s")
    row.note = ", ".join(names[: row.tried])
    return row


def _of_one_state(run: Path, before: dict[str, str], after: dict[str, str], said: Said, harmed: float) -> list[str]:
    """What is wrong with a finished run whose data was changed at the time `harmed`."""
    with open(run / "splits.csv", newline="", encoding="utf-8") as handle:
        told = {item["path"]: item["sha256"] for item in csv.DictReader(handle)}
    if told == after:
        return []
    if told != before:
        return ["splits.csv is neither of the data before nor of the data after"]
    late = harmed > (run / "metrics.json").stat().st_mtime  # nothing is read after it, and the last look comes then
    return [] if late or WHILE in said.err else ["changed, and nothing is said"]


def _hashes(data: Path) -> dict[str, str]:
    return {str(p.relative_to(data)): hashlib.sha256(p.read_bytes()).hexdigest() for p in data.glob("*/*.png")}


def _clocks(session: Session, words: tuple[Any, ...], whole: Path, seconds: float) -> Iterator[Row]:
    """A run that is killed and gone on with under a clock that was set back, or on."""
    row, rng = Row("killed, then resumed with the clock set back or on by years"), session.rng("changes clock")
    if shim.library() is None:
        yield Row(row.what, note=shim.LACKING)
        return
    data = session.digits()
    for number in session.times(1, 20):
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        run, shift = session.fresh("clock") / "run", (-YEAR, -55 * YEAR, 20 * YEAR)[number % 3]
        process = session.start("finetune", data, *words, "--output", run)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        end(process)
        env = session.environment() | shim.clock(shift)
        again = ("resume", run) if (run / "run.json").exists() else ("finetune", data, *words, "--output", run)
        said = session.command(*again, env=env)
        more = session.command("summary", run)
        faults = [*differences(said, run, whole), *left_over(session, run)]
        faults += more.faults() + ([f"summary ends with {more.code}: {more.tail()}"] if more.code else [])
        row.add(said, *faults, where=f"{number}, by {shift // YEAR} years")
    yield row
