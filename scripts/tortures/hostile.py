"""What strangers make on purpose: models with code, pickles, bombs, names that are commands, links that lead away."""

from __future__ import annotations

import base64
import csv
import io
import json
import marshal
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tortures.texts import NAMES, called
from tortures.trying import SMALL, Row, Session, in_child, unmade

NAME = "hostile"
FIXED = (
    "links that lead out of the data folder were followed without a word",
    "`report`, `export` and `explain` wrote through `figures`, `exports`, `explained` of a run where these were links",
)
OPEN = ("CSV files hold class names exactly: one that begins with = is told, and a spreadsheet would compute it",)
WAYS = ("../out", "a/../../out", "/tmp/out", "..\\out", "a/b", ".", "..", "~", "-", "\x01x")
Members = dict[str, bytes]
Change = Callable[[Members, Path], None]


def rows(session: Session) -> Iterator[Row]:
    """Models, then names, then links."""
    data = session.digits()
    run, said = session.finished("kept")
    if said.code != 0:
        yield unmade("hostile files", said, "the run that they are made of")
        return
    yield from _names(session.part(3), data)
    yield from _links(session.part(2), data, run)
    yield from _models(session, data, run)


# ------------------------------------------------------------------------------------------ models


def _code(sign: Path) -> str:
    return base64.b64encode(marshal.dumps(compile(f"open({str(sign)!r}, 'w').close()", "x", "exec"))).decode()


def _layer(**layer: Any) -> Change:
    """The last layer replaced."""

    def change(members: Members, sign: Path) -> None:
        content = json.loads(members["config.json"])
        told = json.dumps(layer).replace("SIGN", str(sign)).replace("CODE", _code(sign))
        last = content["config"]["layers"][-1]
        content["config"]["layers"][-1] = last | json.loads(told)
        members["config.json"] = json.dumps(content).encode()

    return change


def _activation(**found: Any) -> Change:
    """A function of any module in the place of an activation."""

    def change(members: Members, sign: Path) -> None:
        told = json.loads(json.dumps(found).replace("SIGN", str(sign)).replace("CODE", _code(sign)))
        content = json.loads(members["config.json"])
        for layer in content["config"]["layers"]:
            if "activation" in layer.get("config", {}):
                layer["config"]["activation"] = told
        members["config.json"] = json.dumps(content).encode()

    return change


def _member(name: str, content: Callable[[Path], bytes]) -> Change:
    def change(members: Members, sign: Path) -> None:
        members[name.replace("SIGN", str(sign))] = content(sign)

    return change


class _Pickled:
    """Pickles to a call of os.system."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sign}",)


def _object_array(sign: Path) -> bytes:
    buffer = io.BytesIO()
    array = np.empty(1, object)
    array[0] = _Pickled(sign)
    np.savez(buffer, a=array)
    return buffer.getvalue()


def _hdf5(**options: Any) -> Callable[[Path], bytes]:
    def made(sign: Path) -> bytes:
        import h5py

        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            if "external" in options:
                file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
                file.create_dataset("x", (100,), "u1", external=[("/etc/passwd", 0, 100)])
            else:
                file.create_dataset("layers/x/vars/0", (10**10,), "f4", chunks=(1 << 16,), compression="gzip")
        return buffer.getvalue()

    return made


LAMBDA = {"class_name": "__lambda__", "config": {"code": "CODE", "defaults": None, "closure": None}}
MODELS: dict[str, Change] = {
    "a Lambda layer": _layer(module="keras.layers", class_name="Lambda", config={"name": "l", "function": LAMBDA}),
    "a Lambda layer of old": _layer(module="keras.layers", class_name="Lambda", registered_name=None,
                                    config={"name": "l", "function": ["CODE", None, None], "function_type": "lambda"}),
    "a lambda as activation": _activation(**LAMBDA),
    "os.system as activation": _activation(module="os", class_name="function", config="system"),
    "a process in place of a layer": _layer(module="subprocess", class_name="Popen",
                                            config={"args": ["touch", "SIGN"]}),
    "safe mode put off": _activation(module="keras.config", class_name="function",
                                     config="enable_unsafe_deserialization"),
    "a download": _layer(module="keras.utils", class_name="get_file", config={"fname": "SIGN", "origin": "file:///etc/passwd"}),
    "a saved model inside": _layer(module="keras.layers", class_name="TFSMLayer", config={"filepath": "SIGN"}),
    "a PyTorch module": _layer(module="keras.layers", class_name="TorchModuleWrapper",
                               config={"module": "gASVCg==", "name": "t"}),
    "an unknown class": _layer(module="evil", class_name="Evil", registered_name="evil>Evil"),
    "a pickle as weights": _member("model.weights.h5", lambda sign: pickle.dumps(_Pickled(sign))),
    "pickled arrays as weights": _member("model.weights.npz", _object_array),
    "weights from other files": _member("model.weights.h5", _hdf5(external=True)),
    "weights of 40 GB": _member("model.weights.h5", _hdf5()),
    "a member above": _member("../out", lambda _: b"x"),
    "a member of any place": _member("SIGN", lambda _: b"x"),
    "a member named for Windows": _member("..\\out", lambda _: b"x"),
    "a member that is a command": _member("\x1b]0;x\x07", lambda _: b"x"),
    "facts that nest": _member("transferkit.json", lambda _: b"[" * 100_000),
    "settings that nest": _member("config.json", lambda _: b'{"a":' * 100_000),
    "facts of 300 MB": _member("transferkit.json", lambda _: bytes(300 << 20)),
    "settings of 300 MB": _member("config.json", lambda _: b" " * (300 << 20)),
    "facts without types": _member("transferkit.json", lambda _: b'{"classes": {"a": 1}, "task": 7, "decode": []}'),
}  # fmt: skip


PLAIN = "the run's own model"  # which every command has to take


def _written(path: Path, members: Members) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _models(session: Session, data: Path, run: Path) -> Iterator[Row]:
    """Each hostile model in the place of a run's, and as a network to be fine-tuned."""
    from tests.runs.sealing import reseal

    place = session.fresh("models")
    own, sign = place / "run", place / "was-run"
    with zipfile.ZipFile(run / "model.keras") as archive:
        plain = {name: archive.read(name) for name in archive.namelist()}
    picture = next(data.glob("*/*.png"))
    commands = (
        ("predict", own, picture), ("evaluate", own), ("explain", own, picture), ("summary", own),
        ("export", own, "--format", "keras", "--output", place / "exported"),
        ("finetune", data, "--backbone", own / "model.keras", *SMALL[2:], "--output", place / "mine"),
    )  # fmt: skip

    def attempt(name: str) -> tuple[bool, list[str]]:
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(run, own)
        members = dict(plain)
        if name != PLAIN:
            MODELS[name](members, sign)
        _written(own / "model.keras", members)
        reseal(own)
        before, refused, faults = set(place.parent.iterdir()), False, []
        for words in commands:
            for made in ("exported", "mine"):
                shutil.rmtree(place / made, ignore_errors=True)
            one, more, _ = called(*words)
            refused, faults = refused or one, faults + more
            if one and name == PLAIN:
                faults.append(f"{words[0]}: refused, so that it proves nothing of the others")
            if sign.exists():
                faults.append(f"{words[0]}: its code was run")
                sign.unlink()
            if set(place.parent.iterdir()) != before or Path("/tmp/out").exists():  # nosec B108 (must not be there)
                faults.append(f"{words[0]}: it wrote outside")
        return refused, faults

    which = list(MODELS)[::6] if session.short else list(MODELS)
    row = Row(f".keras files: {', '.join(which)}; {len(commands)} commands on each")
    cases = which if session.short else [PLAIN, *which]
    in_child(cases, attempt, row, str, session.until, 240, 4000)
    yield row


# ------------------------------------------------------------------------------------------ names


def _names(session: Session, data: Path) -> Iterator[Row]:
    """Classes with the names of commands: through every command, in this process where TensorFlow is not needed."""
    row = Row("class names of markup, formulas, escapes, paths: every command that shows or writes them")
    place = session.fresh("names")
    for number, folder in enumerate(sorted(data.iterdir())):
        shutil.copytree(folder, place / "of" / str(number))
    labels = [*NAMES, *WAYS]
    with open(place / "of" / "data.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "label"])
        for number, picture in enumerate(sorted((place / "of").glob("*/*.png"))):
            writer.writerow([picture.relative_to(place / "of"), labels[number % len(labels)]])
    run, picture = place / "run", next((place / "of").glob("*/*.png"))
    commands: list[tuple[Any, ...]] = [
        ("data", "summary", place / "of" / "data.csv"), ("data", "check", place / "of" / "data.csv"),
        ("finetune", place / "of" / "data.csv", *SMALL[:-1], "--output", run), ("summary", run), ("diagnose", run),
        ("predict", run, picture), ("predict", run, picture, "--format", "csv"), ("report", run), ("compare", run, run),
        ("predict", run, place / "of", "--copy-to", place / "sorted"), ("evaluate", run),
        ("export", run, "--format", "keras"), ("explain", run, picture),
    ]  # fmt: skip
    for words in commands[:4] if session.short else commands:
        if session.over:
            break
        before = {path for path in session.folder.rglob("*") if "cache" not in path.parts}
        said = session.command(*words)
        if words[-1] == "csv":  # into a pipe, as into a file: names exactly, for a program
            said = replace(said, out=b"")
        new = {path for path in session.folder.rglob("*") if "cache" not in path.parts} - before
        known = (run, place / "sorted", session.folder / "home", session.folder / "state", session.folder / "tmp")
        stray = [path for path in new if not any(path == top or top in path.parents for top in known)]
        faults = [f"{words[0]} wrote {path.relative_to(session.folder)}" for path in stray[:3]]
        faults += [f"ended with {said.code}: {said.tail()}"] if said.code not in (0, 1, 2) else []
        row.add(said, *faults, where=" ".join(map(str, words[:2])))
    for page in run.rglob("*.html"):
        text = page.read_text("utf-8")
        row.failures += [f"{page.name} holds {name!r} as it is" for name in NAMES if name[0] == "<" and name in text]
    row.note = f"{len(labels)} names"
    yield row


# ------------------------------------------------------------------------------------------ links


def _links(session: Session, data: Path, run: Path) -> Iterator[Row]:
    """Links in data are told where they lead away; nothing is written through links in a run folder."""
    away = Row("links in a data folder to files and folders outside, to devices, pipes, nothing and themselves")
    place = session.fresh("links")
    outside = shutil.copytree(data / "7", place / "outside")
    secret = place / "secret.png"
    secret.write_text("root:x:0:0\n")
    links: dict[str, Path | None] = {
        "a picture": next(outside.glob("*.png")), "a folder": outside, "a text": secret, "nothing": place / "gone",
        "itself": None, "the folder above": place, "/dev/zero": Path("/dev/zero"), "/etc/passwd": Path("/etc/passwd"),
        "/proc/self/mem": Path("/proc/self/mem"),
    }  # fmt: skip
    for number in session.times(3, len(links)):
        name, target = list(links.items())[number]
        own = shutil.copytree(data, place / "data")
        link = own / "3" / ("linked" if target is not None and target.is_dir() else "linked.png")
        link.symlink_to(link.name if target is None else target)
        for words in (("data", "summary", own), ("data", "check", own)):
            said = session.command(*words, limit=60)
            told = said.code == 2 or b"out of the folder" in said.out + said.err or b"leads back" in said.out + said.err
            faults = [] if told or target is None else ["nothing was said"]
            faults += ["what is there was shown"] if b"root:x" in said.out + said.err else []
            away.add(said, *faults, where=f"{name}, {words[1]}")
        shutil.rmtree(own)
    yield away
    yield _through(session, run, place)


WRITERS = (
    ("figures", "report"), ("exports", "export"), ("report.html", "report"), ("explained", "explain"),
    ("CARD.md", "report"), ("run.json", "report"), ("metrics.json", "evaluate"), ("figures", "evaluate"),
    ("history.csv", "resume"),
)  # fmt: skip


def _through(session: Session, run: Path, place: Path) -> Row:
    row = Row("links in a run folder to files and folders outside: report, evaluate, explain, export, resume")
    kept, own = place / "precious", place / "linked"
    for number in session.times(2, len(WRITERS)):
        target, command = WRITERS[number]
        for folder in (kept, own):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run, own)
        kept.mkdir()
        there, mine = own / target, kept / "mine"
        mine.write_bytes(there.read_bytes() if there.is_file() else b"mine")
        if there.is_dir():
            shutil.rmtree(there)
        there.unlink(missing_ok=True)
        there.symlink_to(kept if target in ("figures", "exports", "explained") else mine)
        before = mine.read_bytes()
        said = session.command(command, own, *(("--format", "keras") if command == "export" else ()))
        new = [path.name for path in kept.iterdir() if path != mine]
        faults = [f"it wrote {sorted(new)[:3]} through the link"] if new else []
        faults += [] if mine.exists() and mine.read_bytes() == before else ["the file it led to is another"]
        row.add(said, *faults, where=f"{target}, {command}")
    return row
