"""Damaged tables, settings, runs, journals and features: each is read, or one clear error; never a wrong number."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from tortures.trying import BUGS, CONTROL, Row, Session, in_child, mutated, unmade

NAME = "texts"
FIXED = (
    "a stored chunk of features, an `.npy` or `.npz` whose header does not close ended in a bare TokenError",
    "a digit of a score that was changed in a journal was taken by `--resume`, and one in `run.json` by `summary`",
    "`reproduce` trained a whole run again before it said that `model.keras` was damaged",
    "a `data.yaml` that is nested or grows without end was taken for another file, JSON of exports with values of "
    "another kind ended in Python's own errors, and cells of 100,000 letters were printed whole",
    "names, rows and settings of 5,000 digits ended in a bare ValueError",
)
OPEN: tuple[str, ...] = ()
NAMES = ("<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "\x1b[31mred", "a;b,c\t\"d\"", "..", "@SUM(1)", "-rf",
         "{{7*7}}", "%s%n", "\u202egnp", "line\nbreak", "C:\\x", "con", "' OR 1=1 --",
         "</script><script>x()</script>")  # fmt: skip
SETTINGS = {
    "run.toml": 'backbone = "mini"\nepochs = 4\nlearning_rate = 0.003\nhead_width = [64, 32]\naugment = "light"\n',
    "search.toml": 'backbone = "mini"\nepochs = 4\ntrials = 8\n[search]\ndropout = "0:0.3"\n',
}
REACHED = "TensorFlow was reached"  # where a command ends here: it took what it was given
Case = tuple[int, str, bytes]


def rows(session: Session) -> Iterator[Row]:
    """Tables and settings as given by strangers, then the files of a run, of a search, and of the cache."""
    yield from _tables(session.part(5))
    yield from _settings(session.part(4))
    yield _journals(session.part(3))
    yield _features(session.part(2))
    yield from _runs(session)


def _cases(session: Session, name: str, sources: dict[str, bytes], short: int, long: int) -> list[Case]:
    rng = session.rng(f"texts {name}")
    names = sorted(sources)
    found = []
    for number in session.times(short, long):
        source = names[number % len(names)]
        found.append((number, source, mutated(sources[source], rng)))
    return found


def _where(case: Case) -> str:
    return f"{case[1]} number {case[0]}"


def called(*words: object) -> tuple[bool, list[str], Any]:
    """A command in this process: whether it was refused, its faults, and the JSON it printed."""
    from tests.cli.calls import call

    said = call(*words)
    both = (said.out + said.err).encode("utf-8", "replace")
    faults = [f"{words[0]}: {said.err[-300:]}" for bug in BUGS if bug in both][:1]
    if CONTROL.search(both):
        faults.append(f"{words[0]}: a control character in {said.err[-200:]!r}")
    try:
        content = json.loads(said.out) if said.code == 0 and "--json" in words else None
    except ValueError:
        content, faults = None, [*faults, f"{words[0]}: no JSON: {said.out[:200]!r}"]
    return said.code != 0 and REACHED not in said.err, faults, content


def _tables(session: Session) -> Iterator[Row]:
    data = session.digits()
    pictures = sorted(data.glob("*/*.png"))[:60]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["path", "label", "split"])
    for number, picture in enumerate(pictures):
        writer.writerow([picture.relative_to(data), NAMES[number % len(NAMES)] if number < 2 * len(NAMES) else "x", ""])
    place = session.fresh("tables")
    shutil.copytree(data, place / "of", dirs_exist_ok=True)

    def attempt(case: Case) -> tuple[bool, list[str]]:
        (place / "of" / "table.csv").write_bytes(case[2])
        refused, faults, _ = called("data", "summary", place / "of" / "table.csv", "--json")
        return refused, faults

    row = Row("tables of pictures, with labels of markup, formulas and escapes: data summary")
    cases = _cases(session, "tables", {"csv": buffer.getvalue().encode()}, 60, 500)
    in_child(cases, attempt, row, _where, session.until)
    yield row


def _settings(session: Session) -> Iterator[Row]:
    data, place = session.digits(), session.fresh("settings")

    def attempt(case: Case) -> tuple[bool, list[str]]:
        path = place / case[1]
        path.write_bytes(case[2])
        refused, faults, _ = called("config", "validate", path)
        if case[1] == "search.toml":
            return refused, faults
        other, more, _ = called("finetune", data, "--config", path, "--output", place / "no", "--dry-run")
        made = ["a run was made by --dry-run"] if (place / "no").exists() else []
        return refused or other, faults + more + made

    row = Row("settings of runs and of searches: config validate, finetune --dry-run")
    sources = {name: text.encode() for name, text in SETTINGS.items()}
    in_child(_cases(session, "settings", sources, 30, 500), _without_tensorflow(attempt), row, _where, session.until)
    yield row


def _without_tensorflow(attempt: Callable[[Case], tuple[bool, list[str]]]) -> Callable[[Case], tuple[bool, list[str]]]:
    """Commands end where they would load TensorFlow: what lies before is what is tried."""

    def stopped(case: Case) -> tuple[bool, list[str]]:
        from transferkit import compute
        from transferkit.errors import RunError

        def start(*_: object, **__: object) -> None:
            raise RunError(REACHED)

        compute.start = start  # type: ignore[assignment]
        return attempt(case)

    return stopped


def _journals(session: Session) -> Row:
    from transferkit.errors import TransferKitError
    from transferkit.tuning.journal import Journal

    place = session.fresh("journals")
    journal = Journal.open(place / "trials.jsonl", {"space": {"dropout": [0, 0.3]}, "algorithm": "random"}, False)
    for number in range(4):
        journal.append({"event": "started", "trial": f"{number:04}", "settings": {"dropout": 0.3}})
        journal.append({"event": "finished", "trial": f"{number:04}", "score": 0.5 + number / 10})
    content = (place / "trials.jsonl").read_bytes()
    header, whole = journal.header, journal.events

    def attempt(case: Case) -> tuple[bool, list[str]]:
        (place / "damaged.jsonl").write_bytes(case[2])
        try:
            found, events = Journal.read(place / "damaged.jsonl")
        except TransferKitError:
            return True, []
        return False, [] if (found, events) == (header, whole[: len(events)]) else ["another journal was read"]

    row = Row("journals of searches: read as a resumed search reads them")
    in_child(_cases(session, "journals", {"jsonl": content}, 200, 2000), attempt, row, _where, session.until)
    return row


def _features(session: Session) -> Row:
    """A stored row is what was stored, or missing."""
    import numpy as np

    from transferkit.features import store

    place = session.fresh("rows")
    kept = store.FeatureSet(place / "kept", {"network": "x"}, [(8,)])
    values = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    kept.append(["a", "b", "c"], values)
    sources = {path.name: path.read_bytes() for path in (place / "kept").iterdir() if path.suffix in (".json", ".npy")}

    def attempt(case: Case) -> tuple[bool, list[str]]:
        folder = place / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in sources.items():
            (folder / name).write_bytes(case[2] if name == case[1] else content)
        found = store.FeatureSet(folder, {"network": "x"}, [(8,)])
        there = [name for name in "abc" if not found.missing([name])]
        if not there:
            return True, []
        read = found.gather(*found.places(there))
        same = np.array_equal(read, values[["abc".index(name) for name in there]])
        return len(there) < 3, [] if same else ["another number than was stored"]

    row = Row("stored features: the numbers that were stored, or none")
    in_child(_cases(session, "features", sources, 200, 2000), attempt, row, _where, session.until)
    return row


def _runs(session: Session) -> Iterator[Row]:
    data, (run, said) = session.digits(), session.finished("kept")
    if said.code != 0:
        yield unmade("files of a run", said, "the run to be damaged")
        return
    names = ("run.json", "metrics.json", "splits.csv", "predictions.csv", "history.csv", "model.keras", "typical.npz")
    sources = {name: (run / name).read_bytes() for name in names if (run / name).exists()}
    damaged = session.folder / "damaged"
    shutil.copytree(run, damaged)
    truth = _score(json.loads((run / "metrics.json").read_text("utf-8")))
    picture = next(data.glob("*/*.png"))
    commands = (
        ("summary", damaged, "--json"), ("diagnose", damaged, "--json"), ("compare", damaged, run, "--json"),
        ("evaluate", damaged), ("predict", damaged, picture), ("report", damaged), ("explain", damaged),
        ("export", damaged, "--format", "litert"), ("reproduce", damaged, "--output", session.folder / "again"),
        ("resume", damaged), ("data", "check", "--run", damaged),
    )  # fmt: skip

    def attempt(case: Case) -> tuple[bool, list[str]]:
        for name, content in sources.items():
            (damaged / name).write_bytes(case[2] if name == case[1] else content)
        refused, faults = False, []
        for words in commands:
            one, more, content = called(*words)
            refused, faults = refused or one, faults + more
            if words[0] == "summary" and content is not None and _score(content) != truth:
                faults.append(f"summary tells {_score(content)} instead of {truth}")
        return refused, faults

    row = Row(f"files of a run ({', '.join(sources)}), {len(commands)} commands on each")
    cases = _cases(session, "runs", sources, 30, 500)
    in_child(cases, _without_tensorflow(attempt), row, _where, session.until, processor=60)
    yield row


def _score(metrics: dict[str, Any]) -> Any:
    return (metrics.get("metrics", metrics).get("test") or {}).get("accuracy")
