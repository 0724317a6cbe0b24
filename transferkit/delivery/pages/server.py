"""A server for pages on this machine: standard library only, one answer a connection, everything bounded.

A request is answered only if it is meant for us (see `guard`). Headers and body must arrive within `SECONDS` (a large
body within what a slow line takes for it besides), however they are dripped. No more than `MOST` connections are held
and `POSTS` bodies; nothing is written to disk. What other sites may do with the answers is forbidden to them by the
headers of every answer.
"""

from __future__ import annotations

import hmac
import io
import secrets
import signal
import socket
import socketserver
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from transferkit.delivery.guard import Guard
from transferkit.delivery.pages.messages import App, PageRequest, RequestError, Response, text
from transferkit.errors import ConfigError

SECONDS = 60.0  # for a whole request to arrive, and for an answer to be taken
SLOWEST = 200_000  # bytes a second at which a body may come, besides
IDLE = 15.0  # between two pieces of it
MOST = 64  # connections at once
POSTS = 16  # bodies at once


class Server(ThreadingHTTPServer):
    """`app` on `host`:`port` (0: a free one). With `secret`, only who knows the address gets an answer.

    `failed(error)` is told of exceptions of the app. Raises ConfigError where the port cannot be used.
    """

    daemon_threads = True
    request_queue_size = MOST

    def __init__(
        self, app: App, host: str, port: int, *, secret: bool = False, allowed: Sequence[str] = (),
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:  # fmt: skip
        self.app, self.failed = app, failed
        self.guard = Guard(host, allowed)
        self.secret = f"/{secrets.token_urlsafe(24)}" if secret else ""
        self.slots, self.posts = threading.BoundedSemaphore(MOST), threading.BoundedSemaphore(POSTS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"--port {port} on {host} cannot be used ({reason}); choose another --port, or --host"
            ) from error
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.server_address[1]}{self.secret}/"

    def server_bind(self) -> None:
        """Without the search for this machine's name, which may wait for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """On a thread of its own, if one is free."""
        if self.slots.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(1.0)
            request.sendall(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As in the library; then the place is free again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; errors of the app were told already."""

    def run(self, ready: Callable[[str], None] | None = None, browser: bool = False) -> None:
        """Serve until Ctrl-C or SIGTERM; when the page answers, `ready(url)` is called, and `browser` opens it."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        with stopped_by_signals() as done:
            thread.start()
            try:
                if ready is not None:
                    ready(self.url)
                if browser:
                    webbrowser.open(self.url)
                while not done.wait(1.0):
                    pass
            finally:
                self.shutdown()
                self.server_close()
        for _ in range(MOST):  # what is being answered may end
            if not self.slots.acquire(timeout=5.0):
                break


class stopped_by_signals:  # noqa: N801 (a context manager, used like a function)
    """An event that Ctrl-C and SIGTERM set while it is entered, instead of what they did before."""

    def __enter__(self) -> threading.Event:
        done = threading.Event()
        numbers = (signal.SIGINT, signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        self.before = {n: signal.signal(n, lambda *_: done.set()) for n in numbers} if main else {}
        return done

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, max_num_fields=20))
    except ValueError as error:
        raise RequestError("too many fields in the address") from error


class _Hurried(io.RawIOBase):
    """The bytes of a connection until a deadline, however slowly they come."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self.connection, self.until = connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        self.connection.settimeout(min(left, IDLE))
        return self.connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "transferkit", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.hurried = _Hurried(self.connection, time.monotonic() + SECONDS)
        self.rfile = io.BufferedReader(self.hurried)

    def handle(self) -> None:
        with suppress(OSError):  # gone, or too slow to say what is wanted
            self.handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: names of pictures are nobody's business."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As text, without what was asked for."""
        self._send(text(code, f"{code}: {self.responses.get(code, ('refused',))[0]}"))

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def handle_expect_100(self) -> bool:
        """Ask for the body only where it will be taken."""
        refused = self._refused()
        if refused is not None:
            self._send(refused)
            return False
        return super().handle_expect_100()

    def _answer(self) -> None:
        refused = self._refused()
        if refused is not None:
            self._send(refused)
            if self.command == "POST":
                self._drain()
            return
        if self.command == "GET":
            self._send(self._asked(b""))
            return
        if not self.server.posts.acquire(blocking=False):
            self._send(text(503, "503: too many pictures at once; try again in a moment"))
            self._drain()
            return
        try:
            length = int(self.headers["Content-Length"])
            self.hurried.until += length / SLOWEST
            body = self.rfile.read(length)
            if len(body) < length:
                return  # it hung up
            self._send(self._asked(body))
        except TimeoutError:
            self._send(text(408, "408: the request came too slowly"))
        finally:
            self.server.posts.release()

    def _refused(self) -> Response | None:
        """What is wrong with the head of the request."""
        if not self.request_version.startswith("HTTP/1."):
            return text(505, "505: HTTP/1.1 is spoken here")
        site = self.headers.get("Sec-Fetch-Site", "none")
        problem = self.server.guard.problem(self.headers.get_all("Host") or [], self.headers.get("Origin"))
        if problem is None and self.command == "POST" and site not in ("same-origin", "none"):
            problem = "requests from other pages are refused"
        if problem is not None:
            return text(403, f"403: {problem}")
        secret = self.server.secret
        if not hmac.compare_digest(self.path[: len(secret) + 1].encode("utf-8", "replace"), f"{secret}/".encode()):
            return text(404, "404: there is no such page; open the whole address that the command printed")
        return self._wrong_body() if self.command == "POST" else None

    def _wrong_body(self) -> Response | None:
        lengths = self.headers.get_all("Content-Length") or []
        largest = self.server.app.largest(self._path())
        if not largest:
            return text(404, "404: nothing is taken here")
        if self.headers.get("Transfer-Encoding") is not None or not lengths:
            return text(411, "411: say how long the body is (Content-Length), and send it whole")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            return text(400, "400: Content-Length is no number")
        if len(lengths[0]) > 15 or int(lengths[0]) > largest:
            return text(413, f"413: larger than the {largest / 1_000_000:g} MB that are taken at once")
        return None

    def _path(self) -> str:
        return self.path.partition("?")[0].removeprefix(self.server.secret)

    def _asked(self, body: bytes) -> Response:
        try:
            query = _query(self.path.partition("?")[2])
            kind = self.headers.get("Content-Type", "")
            return self.server.app.answer(PageRequest(self.command, self._path(), query, kind, body))
        except RequestError as error:
            return text(400, f"400: {error}")
        except Exception as error:
            self.server.failed(error)
            return text(500, "500: this failed; the terminal says how")

    def _send(self, response: Response) -> None:
        self.close_connection = True
        self.request_version = self.protocol_version  # a status line also where the request had no proper one
        self.connection.settimeout(SECONDS)
        self.send_response(response.status)
        common = {
            "Content-Type": response.kind, "Content-Length": str(len(response.body)), "Connection": "close",
            "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        }  # fmt: skip
        for name, value in (common | response.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def _drain(self) -> None:
        """Take what is still on its way, for a moment: a connection reset at once would lose the answer."""
        self.hurried.until = time.monotonic() + 2.0
        with suppress(OSError, ValueError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(1 << 16):
                pass
