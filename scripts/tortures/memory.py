"""Little memory: bounds on addresses (`ulimit -v`) of any size, and groups that the kernel kills in (cgroups)."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tortures.killing import differences
from tortures.trying import SMALL, Row, Said, Session, unmade

NAME = "memory"
FIXED = (
    "below 3 GB of `ulimit -v` TensorFlow's libraries and oneDNN's refusals ended in \"a bug in transferkit\"",
    "below 3.5 GB TensorFlow crashed without a word (SIGSEGV, exit code 127): bounded commands are watched now",
    'threads that `ulimit -v` refuses ended in "a bug in transferkit"',
    "at 2.7 GB `finetune` stood still for ever in SciPy's L-BFGS: OpenBLAS up to 0.3.30 asks again without end for the "
    "32 MB of its first product or triangular system; they are taken at the start now, or it is said that they are not "
    "to be had",
    "at 0.2 GB `compare` never came back from importing SciPy, whose OpenBLAS takes as much for each of its threads: "
    "such imports are refused before, and OpenBLAS has one thread where addresses are few",
    'SciPy that `ulimit -v` refuses to load ended in "a bug in transferkit" where nothing needs TensorFlow',
    "of TensorFlow's logs and of what Python says of a crash, a page came before the one clear error",
    "between 0.1 and 2 GB the import of TensorFlow failed in many ways, some of them told as bugs, or as pages of "
    "MemoryError; some addresses are kept for the error itself",
    "a run that was killed was listed as running",
    "shares of the machine's memory were not those of a job's cgroup, which was only looked for at the root",
)
OPEN = (
    "below 3.5 GB of `ulimit -v` a Python program may end with TensorFlow's crash: it is warned when Keras is started",
    "a run whose cgroup is full is killed by the kernel without a word; `transferkit resume` goes on with it",
)
SIZES = (3.0, 2.0, 4.0, 2.7, 6.0, 3.3, 1.5, 2.4, 5.0, 8.0)  # GB; many more are not told from no bound
FIRST_GROUP, SECOND_GROUP = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def rows(session: Session) -> Iterator[Row]:
    """A network trained, a head chosen, and commands on the run, each in less and less memory."""
    yield _frozen(session.part(4, least=150))
    yield _unfrozen(session.part(3, least=150))
    yield _commands(session.part(2, least=120))
    yield _groups(session)


def _frozen(session: Session) -> Row:
    row = Row("finetune, the head chosen, with a bound on memory (ulimit -v) between 1.5 and 4 GB")
    data, rng, tried = session.digits(), session.rng("frozen"), []
    for _ in session.times(1, 24):
        # Half of them where the libraries fit, and hardly more.
        size = 2.7 if session.short else rng.choice((rng.uniform(1.5, 4), rng.uniform(2.3, 3)))
        words = ("finetune", data, "--backbone", "mini", "--quiet", "--output", session.fresh("frozen") / "run")
        tried.append(_tried(session, row, words, size))
    row.note = ", ".join(tried)
    return row


def _unfrozen(session: Session) -> Row:
    """All layers trained on large batches, with less and less memory: the batch is halved, or one clear error."""
    row, halved = Row("finetune --unfreeze all --batch-size 256 with a bound on memory (ulimit -v)"), 0
    data, tried = session.digits(60), []
    words = ("finetune", data, *SMALL[:4], "--epochs", 1, "--views", 1, "--unfreeze", "all", "--batch-size", 256)
    sizes = (2.0,) if session.short else SIZES
    for number in session.times(len(sizes), len(sizes)):
        before = len(_HALVED)
        tried.append(_tried(session, row, (*words, "--output", session.fresh("bounded") / "run"), sizes[number]))
        halved += len(_HALVED) > before
    row.note = f"{', '.join(tried)}; the batch was halved in {halved}"
    return row


def _commands(session: Session) -> Row:
    """Commands on pictures and on a finished run, with any bound."""
    row = Row("commands on pictures and on a run, in turn, with a bound on memory (ulimit -v)")
    run, said = session.finished("bounded-run")
    if said.code:
        return unmade(row.what, said, "the run for it")
    data, rng, tried = session.digits(), session.rng("bounded commands"), []
    for number in session.times(1, 48):
        out = session.fresh("bounded-out")
        light = ("data", "check", data), ("report", run), ("diagnose", run), ("summary", run)
        heavy = (
            ("predict", run, data, "--output", out / "answers.csv"), ("evaluate", run),
            ("explain", run, "--output", out / "seen"), ("export", run, "--format", "onnx", "--output", out / "model"),
            ("tune", data, *SMALL[:2], "--trials", 2, "--epochs", 2, "--quiet", "--output", out / "search"),
        )  # fmt: skip
        every = [(one, rng.uniform(0.2, 1)) for one in light] + [(one, rng.uniform(0.3, 4)) for one in heavy]
        words, size = every[number % len(every)]
        tried.append(f"{words[0]} {_tried(session, row, words, size)}")
    row.note = ", ".join(tried)
    return row


_HALVED: list[float] = []  # bounds under which a batch was


def _tried(session: Session, row: Row, words: tuple[object, ...], size: float) -> str:
    """One command with `size` GB of addresses: it ends well, or in an error that speaks of memory."""
    limit, env = int(size * 2**30), session.environment(TRANSFERKIT_CACHE=str(session.fresh("bounded-cache")))
    said = session.command(*words, env=env, limit=300, preexec_fn=_bounded(limit))
    if b"out of memory with" in said.err:
        _HALVED.append(size)
    # Not in what was said beforehand: a warning names the memory that is left.
    error = said.err.partition(b"error: ")[2].lower()
    faults = [] if said.code == 0 or b"memory" in error else [f"no word of memory: {said.tail()}"]
    row.add(said, *faults, where=f"{words[0]} {size:.3f} GB")
    return f"{size:.2f} GB"


def _bounded(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _groups(session: Session) -> Row:
    """A run in a group with less memory than it takes: the kernel kills it, and what is left is gone on with."""
    row, killed = Row("finetune in a cgroup that is too small, then resumed without one"), 0
    data, rng, tried = session.digits(), session.rng("groups"), []
    with _group() as found:
        if found is None:
            row.note = "no cgroup can be made here"
            return row
        words, whole = ("finetune", data, *SMALL, "--seed", 0), session.fresh("group-whole") / "run"
        session.command(*words, "--output", whole)
        for _ in session.times(1, 12):
            size = int(rng.uniform(250, 480) if not session.short else 380)
            run = session.fresh("grouped") / "run"
            env = session.environment(TRANSFERKIT_CACHE=str(session.fresh("grouped-cache")))
            said = session.command(*words, "--output", run, env=env, preexec_fn=_within(found, size << 20))
            killed += said.code == -signal.SIGKILL
            tried.append(f"{size} MB")
            more = _gone_on_with(session, words, run, env) if said.code else said
            row.add(more, *differences(more, run, whole), where=f"{size} MB")
            if said.code not in (0, -signal.SIGKILL):
                row.failures += [f"{size} MB: {fault}" for fault in said.faults()]
    row.note = f"{', '.join(tried)}; killed in {killed}"
    return row


def _gone_on_with(session: Session, words: tuple[object, ...], run: Path, env: dict[str, str]) -> Said:
    again = ("resume", run) if (run / "run.json").exists() else (*words, "--output", run)
    return session.command(*again, env=env)


@contextmanager
def _group() -> Iterator[Path | None]:
    """An empty group for memory, of either version; None where nobody may make one."""
    parent = FIRST_GROUP if (FIRST_GROUP / "memory.limit_in_bytes").exists() else SECOND_GROUP
    place = parent / f"transferkit-torture-{os.getpid()}"
    try:
        place.mkdir()
    except OSError:
        yield None
        return
    try:
        usable = any((place / name).exists() for name in ("memory.max", "memory.limit_in_bytes"))
        yield place if usable else None
    finally:
        with suppress(OSError):
            place.rmdir()


def _within(group: Path, limit: int) -> Callable[[], None]:
    """What puts a process that is about to begin into `group`, bounded to `limit` bytes."""
    name = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
    (group / name).write_text(str(limit))
    return lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None
