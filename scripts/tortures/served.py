"""The served page under load and abuse: many at once, wrong hosts, slow and broken clients, bodies of any size."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tortures.trying import Row, Said, Session, end, mutated, unmade

NAME = "served"
FIXED = ("a Host whose bracket does not close (`[::1`) was answered",)
OPEN: tuple[str, ...] = ()
HOSTS = (
    "evil.example", "evil.example:80", "169.254.169.254", "127.0.0.1.evil.example", "localhost.evil.example", "", "*",
    "[::1", "2130706433", "0x7f000001", "xn--lcalhost-", "localhost:1:2", "127.0.0.1 evil.example",
)  # fmt: skip
BOUNDARY = b"xyz"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"
MEGABYTES = 2  # that are taken at once
GROWTH = 600  # megabytes that the server may hold at the most beyond what it held at first


@dataclass(frozen=True)
class Page:
    """A page that is served, a picture to send and what is answered to it."""

    port: int
    process: psutil.Process
    picture: bytes
    truth: object
    held: float

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Status and answer to one body."""
        named = {"Content-Type": FORM} | headers
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", "/predict", body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def well(self) -> list[str]:
        """Faults of the page as an ordinary visitor finds it now."""
        found = []
        try:
            status, content = self.post(form(("a.png", self.picture)))
            if status != 200 or json.loads(content) != self.truth:
                found.append(f"afterwards the page answers {status}: {content[:200]!r}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            found.append(f"afterwards the page answers nothing: {type(error).__name__}: {error}")
        with suppress(psutil.Error):
            held = self.process.memory_info().rss / 1e6
            found += [f"the server holds {held:.0f} MB, {self.held:.0f} at first"] if held > self.held + GROWTH else []
        return found


Visit = Callable[[Page, random.Random, int], list[str]]  # what one does, and its faults


def form(*files: tuple[str, bytes]) -> bytes:
    """A multipart body."""
    parts = [b"--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n\r\n%s\r\n"
             % (BOUNDARY, name.encode(), content) for name, content in files]  # fmt: skip
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def rows(session: Session) -> Iterator[Row]:
    """Each kind of visitor in turn; after each try an ordinary one is answered as at first."""
    run, said = session.finished("served")
    if said.code != 0:
        yield unmade("the served page", said, "the run to serve")
        return
    server = _started(session, run)
    try:
        page = _page(session, server)
        visits: tuple[tuple[str, Visit, int, int], ...] = (
            ("eight visitors at once, each with the same picture", _crowd, 4, 60),
            ("names and origins of other hosts (DNS rebinding), requests that are none", _foreign, 13, 300),
            ("bodies that are damaged, of any type, with pictures that are damaged", _damaged, 40, 1000),
            ("bodies of up to a gigabyte, by what they say or by what they send", _huge, 4, 60),
            ("slow senders and visitors who hang up, sixty at once", _slow, 1, 8),
        )  # fmt: skip
        for number, (what, visit, short, long) in enumerate(visits):
            yield _visited(session.part(len(visits) - number), page, what, visit, short, long)
        if server.poll() is not None:
            yield Row("the server", 1, 0, [f"ended with {server.returncode}"])
    finally:
        end(server)


def _visited(session: Session, page: Page, what: str, visit: Visit, short: int, long: int) -> Row:
    row, rng = Row(what), session.rng(f"served {what}")
    for number in session.times(short, long):
        started = time.monotonic()
        try:
            faults = visit(page, rng, number)
        except (OSError, http.client.HTTPException) as error:
            faults = [f"{type(error).__name__}: {error}"]
        said = Said(0, b"", b"", time.monotonic() - started)
        row.add(said, *faults, *(page.well() if number % 10 == 0 or faults else []), where=str(number))
    row.failures += [f"at the end: {fault}" for fault in page.well()]
    return row


def _started(session: Session, run: Path) -> subprocess.Popen[bytes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return session.start("serve", run, "--port", port, "--json", "--max-upload", MEGABYTES)


def _page(session: Session, server: subprocess.Popen[bytes]) -> Page:
    assert server.stdout is not None
    port = int(json.loads(server.stdout.readline())["url"].rstrip("/").rpartition(":")[2])
    picture, process = next(session.digits().glob("7/*.png")).read_bytes(), psutil.Process(server.pid)
    page = Page(port, process, picture, None, 0)
    truth = json.loads(page.post(form(("a.png", picture)))[1])
    return Page(port, process, picture, truth, process.memory_info().rss / 1e6)


def _crowd(page: Page, rng: random.Random, number: int) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: page.post(form(("a.png", page.picture))), range(8)))
    wrong = [(status, content[:100]) for status, content in answers
             if status not in (200, 503) or (status == 200 and json.loads(content) != page.truth)]  # fmt: skip
    return [f"answered {wrong[0]}"] if wrong else []


def _raw(page: Page, request: bytes, seconds: float = 20.0) -> bytes:
    """The first bytes of the answer to a request, whatever it is."""
    with closing(socket.create_connection(("127.0.0.1", page.port), timeout=seconds)) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        with suppress(ConnectionError, TimeoutError):
            return connection.recv(4096)
    return b""


def _foreign(page: Page, rng: random.Random, number: int) -> list[str]:
    """A page of a foreign name never gets an answer but a refusal; neither does what is no request."""
    host = HOSTS[number % len(HOSTS)]
    own = f"127.0.0.1:{page.port}"
    kind = number // len(HOSTS) % 4
    if kind == 0:
        request = f"GET /about HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    elif kind == 1:
        body = form(("a.png", page.picture))  # that would be answered
        head = f"POST /predict HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{host}\r\nContent-Length: {len(body)}\r\n"
        request = f"{head}Content-Type: {FORM}\r\n\r\n".encode() + body
    elif kind == 2:
        request = f"GET /about HTTP/1.1\r\nHost: {own}\r\nHost: {host}\r\n\r\n".encode()
    else:
        request = mutated(f"GET /about HTTP/1.1\r\nHost: {host or 'evil.example'}\r\n\r\n".encode(), rng)
    answer = _raw(page, request, 2)
    return [f"{request[:120]!r} was answered {answer[:60]!r}"] if b" 200 " in answer.partition(b"\r\n")[0] else []


def _damaged(page: Page, rng: random.Random, number: int) -> list[str]:
    whole = form(("a.png", mutated(page.picture, rng)), ("<b>x</b>\x1b[31m.png", page.picture))
    body = mutated(whole, rng) if number % 2 else whole
    kinds = (
        FORM,
        "multipart/form-data",
        "text/plain",
        "multipart/form-data; boundary=" + "x" * 90,
    )
    status, content = page.post(body, **{"Content-Type": kinds[0 if rng.random() < 0.8 else rng.randrange(4)]})
    found = [] if status in (200, 400, 413) else [f"answered {status}: {content[:100]!r}"]
    return found + (["an escape sequence in the answer"] if b"\x1b" in content else [])


def _huge(page: Page, rng: random.Random, number: int) -> list[str]:
    """More than is taken: told in the head, hidden behind a small number, or without any."""
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Type: text/plain\r\n"
    told = (1_000_000_000, 10**18, MEGABYTES * 1_000_000 + 100_000, 100)[number % 4]
    sent = bytes(rng.randrange(1, 8) << 20)
    answer = _raw(page, f"{head}Content-Length: {told}\r\n\r\n".encode() + sent)
    status = answer.split(b" ")[1:2]
    # A connection that is closed on the sender's further bytes may lose the answer.
    return [] if status in ([b"413"], [b"400"], [b"411"], []) else [f"{told} bytes were answered {answer[:60]!r}"]


def _slow(page: Page, rng: random.Random, number: int) -> list[str]:
    """Sixty who send a byte now and then, or nothing; meanwhile others are answered, or told to come again."""
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Length: 100000\r\n\r\n".encode()
    held = []
    for _ in range(60):
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", page.port), timeout=5)
            held.append(connection)
            connection.sendall(head[: rng.randrange(len(head) + 1)])
    found = []
    for _ in range(10):
        for connection in rng.sample(held, len(held) // 2):
            with suppress(OSError):
                connection.sendall(b"x")
        time.sleep(0.1)
        status, _ = page.post(form(("a.png", page.picture)))
        found += [] if status in (200, 503) else [f"another was answered {status}"]
    for connection in held:
        connection.close()
    until = time.monotonic() + 90  # what they held is given up
    while page.post(form(("a.png", page.picture)))[0] != 200 and time.monotonic() < until:
        time.sleep(1)
    return found
