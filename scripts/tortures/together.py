"""Two at once: on one cache, on one run, the cache cleared while it is read. None hangs, none spoils another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tortures.killing import differences, left_over
from tortures.trying import SMALL, Row, Said, Session, end, finish, unmade

NAME = "together"
FIXED = (
    "`cache clear` took features that a running job reads, which then computed them again",
    'where the folder of the cache was deleted, a run could end in "a bug in transferkit"',
)
OPEN: tuple[str, ...] = ()


def rows(session: Session) -> Iterator[Row]:
    """What users do by accident: two terminals."""
    words = ("finetune", session.digits(), *SMALL, "--seed", 0)
    whole, said = session.finished("whole")
    pairs = Row("two runs that fill one empty cache")
    if said.code != 0:
        yield unmade(pairs.what, said, "undisturbed")
        return
    for number in session.part(4).times(1, 10):
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        folder = session.fresh("pair")
        both = [session.start(*words, "--output", folder / name) for name in "ab"]
        for name, process in zip("ab", both, strict=True):
            said = finish(process)
            pairs.add(said, *differences(said, folder / name, whole), where=f"{number} {name}")
    yield pairs
    yield _resumes(session.part(3), words, whole)
    yield _cleared(session.part(2), words, whole)
    yield _deleted(session, words, whole)


def _resumes(session: Session, words: tuple[Any, ...], whole: Any) -> Row:
    """Two resumes of one run: one does it, the other is refused or finds it complete."""
    row, rng = Row("two resumes of one killed run"), session.rng("together")
    for number in session.times(1, 10):
        run = session.fresh("one") / "run"
        process = session.start(*words, "--output", run)
        until = time.monotonic() + 120
        while not (run / "run.json").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 1))
        end(process)
        both = [session.start("resume", run) for _ in range(2)]
        said = [finish(one) for one in both]
        winners = [one for one in said if one.code == 0]
        faults = [] if winners else [f"none went through: {said[0].tail()}"]
        faults += [f"refused without a word of the other: {one.tail()}" for one in said
                   if one.code and b"another process" not in one.err]  # fmt: skip
        for one in said:
            row.add(one, where=str(number))
        if winners:
            faults += [*differences(winners[0], run, whole), *left_over(session, run)]
        row.failures += [f"{number}: {fault}" for fault in faults]
    return row


def _cleared(session: Session, words: tuple[Any, ...], whole: Any) -> Row:
    """`cache clear`, again and again, from the start of a run to its end."""
    row = Row("the cache cleared without pause during a run")

    def clear() -> None:
        said = session.command("cache", "clear")
        faults = said.faults() + ([f"ended with {said.code}: {said.tail()}"] if said.code else [])
        row.failures += [f"cache clear: {fault}" for fault in faults]

    for where, run, said in _beside(session, words, row, clear):
        row.add(said, *differences(said, run, whole), where=where)
    return row


def _deleted(session: Session, words: tuple[Any, ...], whole: Any) -> Row:
    """The folder of the cache removed, again and again, in use or not, as `cache clear` does not."""
    row = Row("the folder of the cache deleted without pause during a run")

    def delete() -> None:
        shutil.rmtree(session.folder / "cache", ignore_errors=True)
        time.sleep(0.05)

    for where, run, said in _beside(session, words, row, delete):
        row.add(said, where=where)  # an error is allowed, a wrong result is not
        more = said if said.code == 0 else session.command("resume", run)
        row.failures += [f"{where}: {fault}" for fault in (*more.faults(), *differences(more, run, whole))]
    return row


def _beside(
    session: Session, words: tuple[Any, ...], row: Row, harm: Callable[[], None]
) -> Iterator[tuple[str, Path, Said]]:
    """Runs, each with `harm` done again and again from its start to its end: number, folder and what it said."""
    times = 0
    for number in session.times(1, 5):
        run, started = session.fresh("beside") / "run", time.monotonic()
        process = session.start(*words, "--output", run)
        while process.poll() is None:
            harm()
            times += 1
        row.note = f"{times} times"
        # finish() begins to count at the end of it.
        yield str(number), run, replace(finish(process), seconds=time.monotonic() - started)
