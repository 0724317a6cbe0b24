"""What all tortures share: commands under limits, what counts as a failure, rows of results, and when to stop."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TypeVar

import psutil

Case = TypeVar("Case")
_FINISHED: dict[Path, Said] = {}
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--backbone", "mini", "--head", "linear", "--epochs", "4", "--views", "1", "--quiet")
CODES = (0, 1, 2, 130, 143)  # what a command may end with
# What a terminal would act on; a command whose output is no terminal prints nothing of it.
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
BUGS = (b"Traceback (most recent", b"error: unexpected", b"bug in transferkit", b"Fatal Python error", b"Segmentation")


@dataclass
class Row:
    """One kind of harm: how often it was tried, how often it ended in one clear error, and what went wrong.

    `held` are megabytes at the peak of a process that tried many, where that was watched.
    """

    what: str
    tried: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    note: str = ""
    held: float = 0.0

    def add(self, said: Said, *faults: str, where: str = "") -> None:
        """Count one command: `faults` are what its caller found besides."""
        self.tried += 1
        self.refused += said.code in (1, 2)
        self.slowest = max(self.slowest, said.seconds)
        self.failures += [f"{where}: {fault}" for fault in (*said.faults(), *faults)]


@dataclass(frozen=True)
class Said:
    """How a command ended. A code of None: it was still running at its limit, and was ended."""

    code: int | None
    out: bytes
    err: bytes
    seconds: float

    def faults(self) -> list[str]:
        """What no command may do, whatever it is given."""
        found = [] if self.code is not None else [f"still running after {self.seconds:.0f} s"]
        if self.code is not None and self.code not in CODES:
            found.append(f"ended with {self.code}: {self.tail()}")
        both = self.out + self.err
        found += [f"printed {bug.decode()!r}: {self.tail()}" for bug in BUGS[:3] if bug in both][:1]
        if CONTROL.search(both):
            found.append(f"printed the control character {CONTROL.search(both)[0]!r}")  # type: ignore[index]
        return found

    def tail(self) -> str:
        """The end of what it complained."""
        return self.err.decode("utf-8", "replace").strip()[-300:].replace("\n", " | ")


def unmade(what: str, said: Said, where: str) -> Row:
    """The row of a kind that cannot be tried: what harm is to be done to could not be made."""
    row = Row(what)
    row.add(said, said.tail(), where=where)
    return row


@dataclass(frozen=True)
class Session:
    """Where and how long is tried: a scratch folder, a seed, the short or the long form, an end; and a folder for what
    all kinds read.
    """

    folder: Path
    seed: int
    short: bool
    until: float  # of time.monotonic
    common: Path | None = None

    def rng(self, name: str) -> random.Random:
        """Chance of its own for each kind, so that one kind alone tries what it tries among the others."""
        return random.Random(f"{self.seed} {name}")

    @property
    def over(self) -> bool:
        """Whether the time is."""
        return time.monotonic() > self.until

    def part(self, of: int, least: float = 0.0) -> Session:
        """The same with one of `of` equal parts of the time that is left, so that one row does not use up all of it;
        or `least` seconds, where the row can do nothing with less.

        The short form, which has hardly any, begins at the beginning.
        """
        now = time.monotonic()
        share = max((self.until - now) / of, least)
        return self if self.short else replace(self, until=min(self.until, now + share))

    def times(self, short: int, long: int, least: int = 0) -> Iterable[int]:
        """Numbers of tries, until there are enough or the time is over; in the long form `least` at the least, so that
        what was prepared at some cost is not for nothing.
        """
        for number in range(short if self.short else long):
            if self.over and (self.short or number >= least):
                return
            yield number

    def fresh(self, name: str) -> Path:
        """An empty folder of that name."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def digits(self, per_class: int = 12) -> Path:
        """The handwritten digits, to be read only."""
        from transferkit.data.digits import write_digits

        return write_digits((self.common or self.folder) / f"digits-{per_class}", per_class)

    def finished(self, name: str) -> tuple[Path, Said]:
        """A copy, in an empty folder of that name, of a run of the digits as SMALL has it, with seed 0, that nothing
        disturbed; and how its command ended. The run is made once for all kinds.
        """
        kept, run = (self.common or self.folder) / "finished" / "run", self.fresh(name) / "run"
        if kept not in _FINISHED:
            _FINISHED[kept] = self.command("finetune", self.digits(), *SMALL, "--seed", 0, "--output", kept)
        if kept.exists():
            shutil.copytree(kept, run)
        return run, _FINISHED[kept]

    def environment(self, **more: str) -> dict[str, str]:
        """Caches, state, home and temporary files below the scratch folder; no network; output waits in the process."""
        places = {"TRANSFERKIT_CACHE": "cache", "TRANSFERKIT_STATE": "state", "HOME": "home", "TMPDIR": "tmp"}
        for name in places.values():
            (self.folder / name).mkdir(exist_ok=True)
        own = {key: str(self.folder / name) for key, name in places.items()}
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        return {**usual, "PYTHONPATH": str(ROOT), "TRANSFERKIT_OFFLINE": "1", "NO_COLOR": "1", **own, **more}

    def start(self, *words: object, env: Mapping[str, str] | None = None, **named: object) -> subprocess.Popen[bytes]:
        """Begin a command, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "transferkit", *map(str, words)],
            stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.folder, env=dict(env or self.environment()),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **named},
        )  # type: ignore[call-overload, no-any-return]  # fmt: skip

    def command(
        self, *words: object, env: Mapping[str, str] | None = None, limit: float = 180, **named: object
    ) -> Said:
        """Run a command to its end, or for `limit` seconds."""
        return finish(self.start(*words, env=env, **named), limit)


def finish(process: subprocess.Popen[bytes], limit: float = 180) -> Said:
    """Wait for a command, `limit` seconds at most."""
    started = time.monotonic()
    try:
        out, err = process.communicate(timeout=limit)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        end(process)
        out, err, code = b"", b"", None
    return Said(code, out, err, time.monotonic() - started)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a command and all that it started; its output goes nowhere."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def left_alive(leader: int, seconds: float = 20) -> list[str]:
    """Processes that a command started and that outlive it by `seconds`; they are ended."""

    def found() -> list[psutil.Process]:
        alive = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        return alive

    until = time.monotonic() + seconds
    while found() and time.monotonic() < until:
        time.sleep(0.2)
    names = []
    for process in found():
        try:
            names.append(" ".join(process.cmdline())[:100])
            process.kill()
        except psutil.Error:
            continue
    return names


def in_child(
    cases: Sequence[Case], attempt: Callable[[Case], tuple[bool, list[str]]], row: Row, where: Callable[[Case], str],
    until: float, processor: float = 10, most_mb: int = 2000,
) -> None:  # fmt: skip
    """Count `attempt(case)` (whether it was refused, its faults) for all cases that are begun before `until`, in forked
    processes.

    A crash costs one process and one case. A case may take `processor` seconds of all threads together and a minute in
    all, and the process may never hold more than `most_mb`. What reaches standard error by itself is a fault as well.
    """
    done = 0
    while done < len(cases):
        with tempfile.TemporaryFile("w+") as answers, tempfile.TemporaryFile("w+") as noise:
            pid = os.fork()
            if pid == 0:
                os.dup2(noise.fileno(), 2)
                _serve(cases[done : done + 200], attempt, answers, until, processor)
            _, status = os.waitpid(pid, 0)
            answers.seek(0)
            noise.seek(0)
            said = noise.read()
            lines = answers.read().splitlines()
        before = 0.0
        for case, line in zip(cases[done:], lines, strict=False):
            refused, faults, seconds, peak = json.loads(line)
            # The peak is that of the process: told of the case that raised it.
            faults += [f"held {peak:.0f} MB"] if peak > most_mb >= before else []
            before, row.held = peak, max(row.held, round(peak))
            _count(row, refused, faults, seconds, where(case))
        if said:
            row.failures.append(f"before {where(cases[done])} + {len(lines)}: on standard error: {said[-200:]!r}")
        done += len(lines)
        code = os.waitstatus_to_exitcode(status)
        if code and done < len(cases):
            name = signal.Signals(-code).name if code < 0 else str(code)
            _count(row, False, [f"the process ended with {name}"], 0, where(cases[done]))
            done += 1
        elif time.monotonic() > until:
            return


def _count(row: Row, refused: bool, faults: list[str], seconds: float, where: str) -> None:
    row.tried += 1
    row.refused += refused
    row.slowest = max(row.slowest, seconds)
    row.failures += [f"{where}: {fault}" for fault in faults]


def _serve(
    cases: Sequence[Case], attempt: Callable[[Case], tuple[bool, list[str]]], to: IO[str], until: float, most: float
) -> None:
    """In the forked process: a line for each case; a signal ends it where a case takes too long."""
    import resource

    code = 1
    try:
        for case in cases:
            if time.monotonic() > until:
                break
            signal.setitimer(signal.ITIMER_PROF, most)
            signal.setitimer(signal.ITIMER_REAL, 60)
            before = time.process_time()
            try:
                refused, faults = attempt(case)
            except Exception as error:
                refused, faults = False, [f"{type(error).__name__}: {error}"[:300]]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps([refused, faults, time.process_time() - before, peak]), file=to, flush=True)
        code = 0
    finally:
        os._exit(code)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Damage: flipped bits, other bytes, numbers at their limits, pieces doubled or cut out, an early end."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at, kind = rng.randrange(len(found) or 1), rng.randrange(6)
        if rng.random() < 0.4:  # heads are where the numbers are
            at = min(at, rng.randrange(160))
        if not found:
            break
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at] = rng.randrange(256)
        elif kind == 2:
            limit = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff", b"\0\0\0\x80"))
            found[at : at + len(limit)] = limit
        elif kind == 3:
            found[at:at] = found[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            del found[at : at + rng.randrange(1, 64)]
        elif rng.random() < 0.5:
            del found[at:]
    return bytes(found)
