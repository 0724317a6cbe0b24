"""A disk that is full from a random change on, folders that may not be written: a clear error, and a run to resume."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from typing import Any

from tortures import shim
from tortures.kills import differences, left_over
from tortures.trying import SMALL, Row, Session

NAME = "disk"
FIXED: tuple[str, ...] = ()
OPEN = ("with no room in the state folder a look at the test split is not counted; the summary of the run says so",)
PLACES = ("tries", "cache", "state", "home", "tmp")


def rows(session: Session) -> Iterator[Row]:
    """A full disk below each folder in turn, while a run is made; then folders without permission."""
    words = ("finetune", session.digits(), *SMALL, "--seed", 0)
    if shim.library() is None:
        yield Row("full disk", note=shim.LACKING)
    else:
        yield from _full(session, words)
    yield from _forbidden(session, words)


def _full(session: Session, words: tuple[Any, ...]) -> Iterator[Row]:
    whole, count = session.fresh("whole") / "run", session.folder / "count"
    found = {place: Row(f"full below the {_name(place)}: finetune, then resume with room again") for place in PLACES}
    operations = {}
    for place in PLACES:
        shutil.rmtree(whole, ignore_errors=True)
        _empty(session)
        count.write_text("0")
        under = whole.parent if place == "tries" else session.folder / place
        said = session.command(*words, "--output", whole, env=shim.environment(session, under, count=count))
        operations[place] = int(count.read_text())
        found[place].note = "" if operations[place] else "a run writes nothing there"
        if said.code != 0:
            found[place].add(said, said.tail(), of="undisturbed")
    rng = session.rng("disk")
    used = [place for place in PLACES if operations[place]]
    for number in session.times(4, 60):
        place = used[number % len(used)]
        _empty(session)
        run, at = session.fresh("tries") / "run", rng.randint(1, operations[place])
        env = shim.environment(session, session.folder / place, at=at, do="full")
        said = session.command(*words, "--output", run, env=env)
        faults = []
        if said.code not in (0, 1, 2) or (said.code and b"space" not in said.err):
            faults.append(f"no word of the disk ({said.code}): {said.tail()}")
        row, where = found[place], f"change {at} of {operations[place]}"
        row.add(said, *faults, where=where)
        again = ("resume", run) if (run / "run.json").exists() else (*words, "--output", run, "--resume")
        said = session.command(*again)
        row.failures += [f"{where}, with room again: {fault}" for fault in
                         (*said.faults(), *differences(said, run, whole), *left_over(session, run))]  # fmt: skip
    yield from found.values()


def _name(place: str) -> str:
    return {"tries": "output folder", "tmp": "folder for temporary files"}.get(place, f"{place} folder")


def _empty(session: Session) -> None:
    for name in PLACES[1:]:
        shutil.rmtree(session.folder / name, ignore_errors=True)


def _forbidden(session: Session, words: tuple[Any, ...]) -> Iterator[Row]:
    """As an ordinary user: where this is root, the command does without root's right to pass over permissions."""
    row = Row("folders and pictures without permission, as an ordinary user: finetune")
    data = session.digits()
    for place in ("output", "cache", "state", "home", "tmp", "data", "picture"):
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
        if said.code and target.name not in said.err.decode("utf-8", "replace"):
            faults.append(f"the error does not name {target.name}: {said.tail()}")
        row.add(said, *faults, where=place)
    yield row


def _ordinary() -> None:
    """Leave the capabilities to pass over permissions and to search any folder behind, at the next exec."""
    library = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        library.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
