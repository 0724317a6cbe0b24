"""A real server on the loopback: limits on who, what, how much and how slowly."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from typing import Any

import pytest

from transferkit.delivery.pages import server as room
from transferkit.delivery.pages.messages import PageRequest, RequestError, Response, as_json
from transferkit.delivery.pages.server import Server
from transferkit.errors import ConfigError


class Echo:
    """Says what it was asked."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()

    def largest(self, path: str) -> int:
        return 1000 if path in ("/take", "/fail", "/wrong") else 0

    def answer(self, request: PageRequest) -> Response:
        self.hold.wait(30)
        if request.path == "/fail":
            raise KeyError("secret")
        if request.path == "/wrong":
            raise RequestError("this is wrong")
        return as_json({"path": request.path, "query": request.query, "n": len(request.body)})


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/picture/17", 17), ("/picture/0", 0), ("/picture/1234567890", 123456789), ("/pictures/1", None),
        ("/picture/", None), ("/picture", None), ("/picture/-1", None), ("/picture/1/2", None), ("/picture/²", None),
        ("/picture/١", None),
    ],
)  # fmt: skip
def test_pictures_are_asked_for_by_numbers_alone(path: str, number: int | None) -> None:
    assert PageRequest("GET", path, {}).number("picture") == number


@pytest.fixture
def served() -> Iterator[Server]:
    failures: list[Exception] = []
    server = Server(Echo(), "127.0.0.1", 0, failed=failures.append)
    server.failures = failures  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.app.hold.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)) as connection:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())


def raw(server: Server, sent: bytes, seconds: float = 20.0) -> bytes:
    """Everything that comes back for bytes on the wire."""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=seconds) as connection:
        connection.sendall(sent)
        found = b""
        while piece := connection.recv(1 << 16):
            found += piece
        return found


def test_answers_carry_what_keeps_other_sites_out(served: Server) -> None:
    status, text, headers = ask(served, "GET", "/x?top=3&heat=1")
    assert (status, text) == (200, '{"path": "/x", "query": {"top": "3", "heat": "1"}, "n": 0}')
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in str(headers)


def test_foreign_hosts_origins_and_sites_are_refused(served: Server) -> None:
    here = f"127.0.0.1:{served.server_address[1]}"
    assert ask(served, "POST", "/take", b"abc", Origin=f"http://{here}", Sec_Fetch_Site="same-origin")[0] == 200
    for method, headers in (
        ("GET", {"Host": "evil.example"}),
        ("GET", {"Host": ""}),
        ("POST", {"Origin": "https://evil.example"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": f"http://localhost:{served.server_address[1]}"}),
        ("POST", {"Sec_Fetch_Site": "cross-site"}),
    ):
        assert ask(served, method, "/take", b"abc" if method == "POST" else None, **headers)[0] == 403, headers
    twice = f"GET / HTTP/1.1\r\nHost: {here}\r\nHost: {here}\r\n\r\n"
    assert raw(served, twice.encode()).startswith(b"HTTP/1.1 403")
    assert raw(served, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n", 413),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + "9" * 5000 + "\r\n\r\n", 413),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: ١\r\n\r\n", 400),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\n\r\n", 411),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", 411),
        ("POST /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", 404),
        ("PUT /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\na", 501),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET /" + "x" * 70000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 200 + "Host: localhost\r\n\r\n", 431),
        ("\x00\x01\x02 nonsense\r\n\r\n", 400),
        ("GET /?" + "&".join(["a=b"] * 50) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", 200),
    ],
)
def test_requests_that_are_not_proper_are_refused_and_the_next_is_answered(
    head: str, status: int, served: Server
) -> None:
    found = raw(served, head.encode())
    assert f" {status} ".encode() in found.split(b"\r\n")[0], found[:300]
    assert found.count(b"HTTP/1.1 ") == 1  # one answer a connection: nothing is smuggled behind it
    assert ask(served, "GET", "/")[0] == 200


def test_a_body_too_large_is_refused_before_it_is_sent(served: Server) -> None:
    head = b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
    assert raw(served, head).startswith(b"HTTP/1.1 413")
    # Sent all the same, by one who does not ask: the answer comes through.
    assert raw(served, head.replace(b"Expect: 100-continue\r\n", b"") + bytes(5000)).startswith(b"HTTP/1.1 413")


def test_failures_are_told_here_and_not_there(served: Server) -> None:
    status, text, _ = ask(served, "POST", "/fail", b"x")
    assert (status, "secret" in text) == (500, False)
    assert [str(error) for error in served.failures] == ["'secret'"]  # type: ignore[attr-defined]
    assert ask(served, "POST", "/wrong", b"x")[:2] == (400, "400: this is wrong\n")


def drip(port: int, start: bytes) -> float:
    """Seconds until one who sends `start`, and a byte now and then, is cut off."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(start)
        with pytest.raises((ConnectionError, AssertionError)):  # noqa: PT012 (any of these may notice it)
            for _ in range(100):
                connection.sendall(b"a")  # each well within the time between two pieces
                time.sleep(0.05)
                connection.setblocking(False)
                try:
                    assert connection.recv(4096).startswith(b"nothing but an end or 408 comes")
                except BlockingIOError:
                    connection.setblocking(True)
    return time.monotonic() - begun


def test_slow_senders_are_cut_off_however_they_drip(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SECONDS", 1.0)
    starts = (b"", b"GET / HT", b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n")
    with ThreadPoolExecutor(len(starts)) as senders:
        waited = list(senders.map(lambda start: drip(served.server_address[1], start), starts))
    assert max(waited) < 4.0
    assert ask(served, "GET", "/")[0] == 200


def test_too_many_at_once_are_told_so(served: Server) -> None:
    served.app.hold.clear()  # type: ignore[attr-defined]
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(ask(served, "POST", "/take", b"x")[0]))
               for _ in range(room.POSTS + 4)]  # fmt: skip
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(found) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert found == [503] * 4
    served.app.hold.set()  # type: ignore[attr-defined]
    for thread in threads:
        thread.join(20)
    assert sorted(found) == [200] * room.POSTS + [503] * 4


def test_connections_are_bounded(served: Server) -> None:
    place = ("127.0.0.1", served.server_address[1])
    idle = [socket.create_connection(place, timeout=20) for _ in range(room.MOST)]
    try:
        time.sleep(0.3)
        assert raw(served, b"").startswith(b"HTTP/1.1 503")
    finally:
        for connection in idle:
            connection.close()
    until = time.monotonic() + 10
    while ask(served, "GET", "/")[0] != 200:
        assert time.monotonic() < until


def test_a_port_in_use_is_refused_by_name(served: Server) -> None:
    port = served.server_address[1]
    with pytest.raises(ConfigError, match=f"--port {port} on 127.0.0.1 cannot be used"):
        Server(Echo(), "127.0.0.1", port)
    with pytest.raises(ConfigError, match="cannot be used"):
        Server(Echo(), "no.such.host.invalid", 0)


@pytest.mark.parametrize("browser", [True, False])
def test_a_browser_is_opened_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, browser: bool) -> None:
    shown: list[str] = []
    done = threading.Event()
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr(room, "stopped_by_signals", lambda: nullcontext(done))
    server = Server(Echo(), "127.0.0.1", 0, secret=True)

    def ready(url: str) -> None:
        assert ask(server, "GET", f"{server.secret}/page")[0] == 200
        done.set()

    server.run(ready, browser)
    assert shown == ([server.url] if browser else [])
