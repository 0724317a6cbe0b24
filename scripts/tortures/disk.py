"""A disk that is full from a random change on, folders that may not be written: a clear error, and a run to resume."""

from __future__ import annotations

import ctypes
import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tortures import page, shim
from tortures.killing import differences, left_over
from tortures.trying import SMALL, Row, Session, finish, unmade

NAME = "disk"
FIXED = (
    "where the folder for temporary files was full, Keras left a folder of its own there",
    "where that folder was full, an empty one of transferkit's own stayed in it",
    "where the disk became full while weights were halved, HDF5 crashed the process (SIGSEGV)",
    'an output folder withdrawn between its check and the run\'s beginning ended in "a bug in transferkit"',
    "where the cache was withdrawn, matplotlib's folder stayed in the one for temporary files",
)
OPEN = ("with no room in the state folder a look at the test split is not counted; the summary of the run says so",)
SHARED_MEMORY = Path("/dev/shm")  # nosec B108 (a file system of its own, where there is one)
PLACES = ("tries", "cache", "state", "home", "tmp")


def rows(session: Session) -> Iterator[Row]:
    """A full disk below each folder in turn, while a run is made; other disks; folders without permission."""
    words = ("finetune", session.digits(), *SMALL, "--seed", 0)
    whole, count = session.fresh("whole") / "run", session.folder / "count"
    folders = [_place(session, place) for place in PLACES]
    env = session.environment() | shim.faults(*folders, count=count)
    said = session.command(*words, "--output", whole, env=env)
    if said.code != 0:
        yield unmade("finetune", said, "undisturbed")
        return
    operations = dict(zip(PLACES, shim.counted(count, len(PLACES)), strict=True))
    groups: list[Callable[[Session], Iterator[Row]]] = [functools.partial(_forbidden, words=words)]
    if not session.short:
        groups.append(functools.partial(_withdrawn, words=words, whole=whole, seconds=said.seconds))
        groups.append(functools.partial(_elsewhere, words=words, whole=whole))
    full = functools.partial(_full, words=words, whole=whole, operations=operations)
    groups.append(full)
    # With another seed another begins, so that runs of little time come to all of them in the end.
    groups = [groups[(number - session.seed) % len(groups)] for number in range(len(groups))]
    if not session.short and not page.untried(NAME).isdisjoint(map(_title, PLACES)):
        groups.remove(full)
        groups.insert(0, full)
    for number, group in enumerate(groups):
        yield from group(session.part(len(groups) - number, least=150))


def _title(place: str) -> str:
    return f"full below the {_name(place)}: finetune, then resume with room again"


def _place(session: Session, place: str) -> Path:
    return session.folder / ("whole" if place == "tries" else place)


def _full(session: Session, words: tuple[Any, ...], whole: Path, operations: dict[str, int]) -> Iterator[Row]:
    if shim.library() is None:
        yield Row("full disk", note=shim.LACKING)
        return
    found = {place: Row(_title(place)) for place in PLACES}
    for place in PLACES:
        found[place].note = f"of {operations[place]} changes" if operations[place] else "a run writes nothing there"
    rng = session.rng("disk")
    turned = session.seed % len(PLACES)
    used = [place for place in (*PLACES[turned:], *PLACES[:turned]) if operations[place]]
    if not session.short:  # what was never tried first
        used.sort(key=lambda place: _title(place) not in page.untried(NAME))
    for number in session.times(4, 60):
        place = used[number % len(used)]
        _empty(session)
        run, at = session.fresh("tries") / "run", rng.randint(1, operations[place])
        env = session.environment() | shim.faults(session.folder / place, at=at, do="full")
        said = session.command(*words, "--output", run, env=env)
        faults = []
        if said.code not in (0, 1, 2) or (said.code and b"space" not in said.err):
            faults.append(f"no word of the disk ({said.code}): {said.tail()}")
        row, where = found[place], f"change {at} of {operations[place]}"
        row.add(said, *faults, where=where)
        row.failures += [f"{where}, with room again: {fault}" for fault in _again(session, words, run, whole)]
    yield from found.values()


def _again(session: Session, words: tuple[Any, ...], run: Path, whole: Path) -> list[str]:
    """Faults of going on once all is well again."""
    said = session.command(*(("resume", run) if (run / "run.json").exists() else (*words, "--output", run, "--resume")))
    return [*said.faults(), *differences(said, run, whole), *left_over(session, run)]


def _withdrawn(session: Session, words: tuple[Any, ...], whole: Path, seconds: float) -> Iterator[Row]:
    """The permission to write is taken from a folder while a run is made; with it again the run is gone on with."""
    row = Row("the permission to write removed from the output or the cache during a finetune, then given again")
    rng = session.rng("disk withdrawn")
    for number in session.times(0, 30):
        place = ("tries", "cache")[number % 2]
        _empty(session)
        run, env = session.fresh("tries") / "run", session.environment()
        process = session.start(*words, "--output", run, env=env, preexec_fn=_ordinary)
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        folders = [path for path in ((session.folder / place), *(session.folder / place).rglob("*")) if path.is_dir()]
        for folder in folders:
            folder.chmod(0o555)
        said = finish(process)
        for folder in folders:
            folder.chmod(0o755)
        faults = []
        if said.code and b"ermission" not in said.err and b"cannot" not in said.err:
            faults.append(f"no word of the permission ({said.code}): {said.tail()}")
        if said.code == 0:
            faults += differences(said, run, whole)
        row.add(said, *faults, where=f"{number} {_name(place)}")
        row.failures += [f"{number} {_name(place)}, given again: {fault}"
                         for fault in (() if said.code == 0 else _again(session, words, run, whole))]  # fmt: skip
    yield row


def _elsewhere(session: Session, words: tuple[Any, ...], whole: Path) -> Iterator[Row]:
    """Folders on another file system, to which nothing can be renamed or linked."""
    row = Row("output, cache, home, state and temporary files on another file system: finetune")
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == session.folder.stat().st_dev:
        row.note = "there is only one"
        yield row
        return
    names = {"cache": "TRANSFERKIT_CACHE", "home": "HOME", "state": "TRANSFERKIT_STATE", "tmp": "TMPDIR"}
    with tempfile.TemporaryDirectory(prefix="transferkit-torture-", dir=SHARED_MEMORY) as other:
        for number in session.times(0, len(PLACES)):
            place = PLACES[number]
            _empty(session)
            there = Path(other) / place
            there.mkdir()
            run = (there if place == "tries" else session.fresh("tries")) / "run"
            env = session.environment(**({names[place]: str(there)} if place in names else {}))
            said = session.command(*words, "--output", run, env=env)
            stray = [path for path in there.rglob("*") if ".tmp" in path.name] if place in ("tries", "cache") else []
            row.add(said, *differences(said, run, whole), *(f"left over: {path}" for path in stray), where=place)
    yield row


def _name(place: str) -> str:
    return {"tries": "output folder", "tmp": "folder for temporary files"}.get(place, f"{place} folder")


def _empty(session: Session) -> None:
    for name in PLACES[1:]:
        shutil.rmtree(session.folder / name, ignore_errors=True)


def _forbidden(session: Session, words: tuple[Any, ...]) -> Iterator[Row]:
    """As an ordinary user: where this is root, the command does without root's right to pass over permissions."""
    row = Row("folders and pictures without permission, as an ordinary user: finetune")
    data = session.digits()
    places = ("output", "data", "picture", "cache", "state", "home", "tmp")
    for number in session.times(len(places), len(places)):
        place = places[number]
        _empty(session)
        env = session.environment()
        own = session.fresh("forbidden")
        copied = shutil.copytree(data, own / "digits")
        (own / "output").mkdir()
        target = {"output": own / "output", "data": copied / "3", "picture": next(copied.glob("4/*.png"))}.get(
            place, session.folder / place
        )
        mode = target.stat().st_mode
        target.chmod(0o000 if place in ("data", "picture") else 0o555)
        said = session.command(
            "finetune", copied, *words[2:], "--output", own / "output" / "run", env=env, preexec_fn=_ordinary
        )
        target.chmod(mode)
        needed = place in ("output", "data", "picture")
        faults = [f"exit {said.code}, not 2: {said.tail()}"] if needed and said.code != 2 else []
        named = str(target.relative_to(copied) if place == "picture" else target)
        if said.code and named not in said.err.decode("utf-8", "replace"):
            faults.append(f"the error does not name {named}: {said.tail()}")
        row.add(said, *faults, where=place)
    yield row


def _ordinary() -> None:
    """Leave the capabilities to pass over permissions and to search any folder behind, at the next exec."""
    library = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        library.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
