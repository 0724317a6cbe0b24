"""Odd surroundings: closed or full streams, other encodings, few addresses, few files, strict masks, planted code."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tortures.killing import differences, told
from tortures.trying import SMALL, Row, Said, Session, finish, unmade

NAME = "surroundings"
FIXED = (
    "a run ended, with exit code 0 or 1, when nobody read standard error any more or its disk was full",
    "a run beside a stranger's keras.json was only asked to end, not to be the run that it is without it",
    '`ulimit -f` and a removed working directory ended `finetune` in "a bug in transferkit"',
)
OPEN = ()
# What is put before and behind a command in a shell, and whether it has to end well all the same.
SHELLS = {
    "stdout closed": ("", ">&-", True), "stdin closed": ("", "<&-", True),
    "all three closed": ("", "<&- >&- 2>&-", True),
    "stdout full": ("", ">/dev/full", False), "the reader leaves": ("", "| head -c 1", True),
    "stderr full": ("", "2>/dev/full", True), "the reader of both leaves": ("", "2>&1 | head -c 1", True),
    "LANG=C": ("export LANG=C LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0;", "", True),
    "PYTHONOPTIMIZE=2": ("export PYTHONOPTIMIZE=2;", "", True), "umask 077": ("umask 077;", "", True),
    "umask 777": ("umask 777;", "", False),
    "ulimit -v 1.5 GB": ("ulimit -v 1500000;", "", False), "ulimit -v 4 GB": ("ulimit -v 4000000;", "", False),
    "ulimit -v 8 GB": ("ulimit -v 8000000;", "", False),
    "ulimit -n 64": ("ulimit -n 64;", "", False), "ulimit -f 8 kB": ("ulimit -f 8;", "", False),
    "ulimit -s 512 kB": ("ulimit -s 512;", "", False), "no PATH": ("export PATH=;", "", True),
    "no HOME": ("unset HOME;", "", True), "another time zone": ("export TZ=Etc/GMT+12;", "", True),
    "a removed working directory": ("mkdir gone; cd gone; rmdir ../gone;", "", False),
}  # fmt: skip


def rows(session: Session) -> Iterator[Row]:
    """A command that needs no TensorFlow, and a run, in each of the surroundings."""
    data = session.digits()
    yield _shells(session.part(4), "data summary", ("data", "summary", data), list(SHELLS))
    few = ["stdout closed", "LANG=C", "ulimit -v 4 GB"] if session.short else list(SHELLS)
    yield _planted(session)
    yield _shells(session, "finetune", ("finetune", data, *SMALL[:-1], "--seed", 0), few)  # not quiet


def _shells(session: Session, name: str, words: tuple[object, ...], which: list[str]) -> Row:
    row, tried = Row(name), []
    env = session.environment()
    for shell in which:
        if session.over:
            break
        tried.append(shell)
        before, behind, fine = SHELLS[shell]
        output = session.fresh("surrounded") / "run"
        own = [*words, "--output", output] if words[0] == "finetune" else [*words]
        command = f"{before} {shlex.join([sys.executable, '-m', 'transferkit', *map(str, own)])} {behind}"
        process = subprocess.Popen(
            ["/bin/bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, cwd=session.folder, env=env,
        )  # fmt: skip
        said = finish(process)
        faults = [f"ended with {said.code}: {said.tail()}"] if fine and said.code else []
        # A message may be lost with its stream; without it a failure has to be seen in the exit code alone.
        if not fine and said.code and not said.err.strip():
            faults.append(f"ended with {said.code} without a word")
        row.add(said, *faults, where=shell)
        if said.code == 0 and words[0] == "finetune" and not told(output / "metrics.json"):
            row.failures.append(f"{shell}: no metrics")
        if shell == "umask 077":
            open_ = [path for path in output.rglob("*") if path.stat().st_mode & 0o077]
            row.failures += [f"{shell}: {path.name} may be read by others" for path in open_[:3]]
    row.note = ", ".join(tried)
    return row


def _planted(session: Session) -> Row:
    """Modules, settings and a keras.json beside the data: nothing of it is run or obeyed unasked."""
    from tests.hostile import plant, signs

    row = Row("modules, settings and keras.json in the data and in the working directory")
    place = session.fresh("planted") / "here"
    shutil.copytree(session.digits(), place)
    # Settings of a stranger that are obeyed give another run than the one of these pictures before they lay there.
    alone = _within(session, place, _trained("../whole"))
    if alone.code != 0:
        return unmade(row.what, alone, "the run of the pictures by themselves")
    sign = plant(place)
    (place / "keras.json").write_text('{"backend": "torch", "floatx": "float16"}')
    (place / ".keras").mkdir()
    shutil.copy(place / "keras.json", place / ".keras" / "keras.json")
    for name in ("transferkit.toml", "setup.cfg", "pyproject.toml", "conftest.py"):
        (place / name).write_text("[tool.transferkit]\nepochs = 1\n")
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    for words in (("data", "summary", "."), ("data", "check", "."), _trained("../run")):
        said = _within(session, place, words)
        faults = [f"run: {signs(sign)[:200]}"] if signs(sign) else []
        if words[0] == "finetune":
            faults += differences(said, place.parent / "run", place.parent / "whole")
        elif said.code != 0:
            faults.append(f"ended with {said.code}: {said.tail()}")
        if {path: path.stat().st_mtime_ns for path in place.rglob("*")} != before:
            faults.append("the data folder was changed")
        row.add(said, *faults, where=" ".join(words[:2]))
    return row


def _trained(output: str) -> tuple[str, ...]:
    return ("finetune", ".", *SMALL, "--seed", "0", "--output", output)


def _within(session: Session, place: Path, words: tuple[str, ...]) -> Said:
    """A command in the folder `place`, as it is installed: no path of ours says where modules are."""
    program = str(Path(sys.executable).with_name("transferkit"))
    process = subprocess.Popen(
        [program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, cwd=place,
        env={key: value for key, value in session.environment().items() if key != "PYTHONPATH"},
    )  # fmt: skip
    return finish(process)
