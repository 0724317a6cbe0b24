"""SIGKILL at random moments and in the middle of random writes; then the result is that of an uninterrupted run."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tortures import page, shim
from tortures.killing import killed, left_over, titles
from tortures.trying import SMALL, Row, Session, end, finish, unmade

NAME = "kills"
FIXED = (
    "`export` that was killed left its half-written folder, and inputs of its check, for six hours",
    "a killed `weights fetch` or `weights add` left its temporary file in the store, however large",
    "`predict --output` and `data convert` that were killed left their half-written file beside the output for ever",
    "`weights fetch` killed right after the file had its name left a note of the transfer beside it for ever",
    "a half-written description of a set of features (`.set.….tmp.json`) stayed in the cache for an hour",
    "a figure, report or card that was being written when the process was killed left its temporary file for ever",
    "ONNX Runtime's own statistics of use left files in the home folder and the one for temporary files",
)
OPEN = ("TensorFlow leaves `__autograph_generated_file*.py`, some kilobytes, in the folder for temporary files",)
FORMATS = ("litert", "keras", "saved_model", "onnx")
ALGORITHMS = {
    "random": ("--search", "learning_rate=1e-3:1e-2:log", "--search", "dropout=0,.3", "--trials", "3"),
    "bayesian": ("--search", "learning_rate=1e-3:1e-2:log", "--search", "dropout=0,.3", "--trials", "3"),
    "hyperband": ("--search", "learning_rate=1e-3:1e-2:log", "--search", "dropout=0,.3", "--trials", "4"),
    "grid": ("--search", "learning_rate=1e-3,1e-2", "--search", "dropout=0,.3"),
}
FETCH = "weights fetch from a server on this machine: at random times, and at random changes of a file"
LEAST = 150.0  # seconds for a row: less is hardly one try
WEIGHTS = "mobilenet_0.25"  # whose file is checked for being whole, for want of a published hash


def rows(session: Session) -> Iterator[Row]:
    """Weights, exports, finetune frozen and not, extraction, then searches without and with workers; with a seed other
    than 0 in an order that is drawn. What was never tried comes first, so that runs of little time come to all of them
    in the end.
    """
    data = session.digits()
    words = {
        "finetune": ("finetune", data, *SMALL, "--seed", 0),
        "finetune, all layers": ("finetune", data, *SMALL[:2], "--unfreeze", "all", *SMALL[4:], "--seed", 0),
        "extraction of features": ("finetune", data, *SMALL[:6], "--augment", "light", "--views", 4, "--seed", 1),
    }
    for algorithm, workers in ((name, n) for name in ALGORITHMS for n in (1, 2)):
        name = f"tune, {algorithm}, {'in one process' if workers == 1 else 'two workers'}"
        search = (*ALGORITHMS[algorithm], "--algorithm", algorithm, "--workers", workers, "--seed", 0)
        words[name] = ("tune", data, *SMALL, *search)
    chosen = ["finetune", "tune, random, two workers"] if session.short else list(words)
    groups: list[tuple[tuple[str, ...], Callable[[Session], Iterator[Row]]]]
    groups = [((FETCH,), _fetches), (tuple(map(_title, FORMATS)), _exports)]
    for name in chosen:
        short, long = (1, 5) if name.startswith("tune") else (3, 20)
        under = "cache" if name.startswith("extraction") else ""
        group = functools.partial(killed, name=name, words=words[name], short=short, long=long, under=under)
        groups.append((titles(name), group))
    if session.seed:
        session.rng("order of kills").shuffle(groups)
    if not session.short:
        groups.sort(key=lambda group: page.untried(NAME).isdisjoint(group[0]))
    for number, (_, group) in enumerate(groups):
        yield from group(session.part(len(groups) - number, least=LEAST))


def _title(form: str) -> str:
    return f"export to {form}: in the middle of a change of a file"


def _exports(session: Session) -> Iterator[Row]:
    """Kills while a run is exported; the next export succeeds and leaves nothing else behind."""
    found = {form: Row(_title(form)) for form in FORMATS}
    if session.over or shim.library() is None:
        for row in found.values():
            row.note = "" if session.over else shim.LACKING
        yield from found.values()
        return
    run, said = session.finished("exported")
    if said.code != 0:
        yield unmade(found["keras"].what, said, "the run to export")
        return
    rng, expected = session.rng("kills export"), dict[str, tuple[set[str], int]]()
    forms = list(FORMATS)
    if session.seed:
        rng.shuffle(forms)
    for number in session.times(2, 24, least=len(FORMATS)):
        form = forms[number % 4]
        if form not in expected:
            expected[form] = _exported(session, run, form, found[form])
        _export_killed(session, run, form, rng.random(), expected[form], found[form])
    yield from found.values()


def _exported(session: Session, run: Path, form: str, row: Row) -> tuple[set[str], int]:
    """The files of an export that nobody kills, and how many changes it makes."""
    shutil.rmtree(run / "exports", ignore_errors=True)
    count = session.folder / "count"
    said = session.command("export", run, "--format", form, env=session.environment() | shim.faults(run, count=count))
    operations = shim.counted(count)[0]
    if said.code != 0 or not operations:
        row.add(said, said.tail() or "no change of a file was seen", where=f"{form} undisturbed")
    return _names(run / "exports"), operations


def _export_killed(
    session: Session, run: Path, form: str, share: float, expected: tuple[set[str], int], row: Row
) -> None:
    files, operations = expected
    shutil.rmtree(run / "exports", ignore_errors=True)
    words, at = ("export", run, "--format", form), 1 + int(share * operations)
    finish(session.start(*words, env=session.environment() | shim.faults(run, at=at, do="kill")))
    # The last change may have been behind the whole export.
    said = session.command(*words, *(["--replace"] if (run / "exports").exists() else []))
    there = _names(run / "exports")
    faults = [] if there == files else [f"other files: {sorted(there ^ files)[:6]}"]
    faults += [] if said.code == 0 else [f"not exported: {said.tail()}"]
    row.add(said, *faults, *left_over(session, run), where=f"{form}, change {at} of {operations}")


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _fetches(session: Session) -> Iterator[Row]:
    """Kills while weights come slowly from a server on this machine; the next fetch goes on and the file is whole."""
    row = Row(FETCH)
    content, rng = _weights(), session.rng("kills fetch")
    digest = hashlib.sha256(content).hexdigest()
    with _serving(content) as address:
        for number in session.times(2, 40):
            home = session.fresh("store")
            env = session.environment(KERAS_HOME=str(home), TRANSFERKIT_OFFLINE="0", no_proxy="127.0.0.1")
            words = ("weights", "fetch", WEIGHTS, "--mirror", address)
            if number % 2 and shim.library() is not None:
                at = rng.randint(1, 40)
                finish(session.start(*words, env=env | shim.faults(home, at=at, do="kill")))
                where = f"change {at}"
            else:
                moment = rng.uniform(0.2, 2.0)
                process = session.start(*words, env=env)
                time.sleep(moment)
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                end(process)
                where = f"after {moment:.2f} s"
            said = session.command(*words, env=env)
            faults = [] if said.code == 0 else [f"not fetched ({said.code}): {said.tail()}"]
            files = [*home.glob("models/*.h5")]
            right = [path for path in files if hashlib.sha256(path.read_bytes()).hexdigest() == digest]
            faults += [] if files and files == right else ["the file is not what the server has"]
            faults += [f"left over: {path.name}" for path in home.rglob("*") if ".part" in path.name]
            row.add(said, *faults, *left_over(session), where=f"try {number}, {where}")
    yield row


def _weights() -> bytes:
    """Two megabytes with the outline of Keras weights."""
    import h5py
    import numpy as np

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = ["conv"]
        file["conv"] = np.random.default_rng(0).random(500_000, dtype="float32")
    return buffer.getvalue()


@contextmanager
def _serving(content: bytes) -> Iterator[str]:
    """The address of a server that sends `content`, or the rest of it, within a second."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range") if self.headers.get("If-Range") == '"v1"' else None
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", '"v1"')
            self.end_headers()
            with suppress(OSError):
                for at in range(start, len(content), 1 << 16):
                    self.wfile.write(content[at : at + (1 << 16)])
                    time.sleep(0.03)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
