"""What stands between the served page and the network: whose requests are answered, and which uploads are needed still.

A page on this machine is reached by every site that the same browser shows: by a name of the attacker's that is made
to point here (DNS rebinding), or by a form that posts from elsewhere. Both say so in their headers, Host and Origin.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Any, Send], Awaitable[None]]

UPLOAD = "/gradio_api/upload"


class Uploads:
    """Files that visitors sent, by path. Visitors who send the same picture share one file: it goes with the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: Counter[str] = Counter()  # answers still to be given
        self._arriving = 0  # requests that may be about to put a file in place
        self._spent: set[str] = set()

    def begin(self) -> None:
        """A visitor starts to send something: nothing is removed until it is known what."""
        with self._lock:
            self._arriving += 1

    def end(self, paths: Collection[str] = ()) -> None:
        """It has arrived at `paths`."""
        with self._lock:
            self._arriving -= 1
            self._wanted.update(paths)
            self._sweep()

    def answered(self, path: str) -> None:
        """Somebody had the answer for the file at `path`, which is removed unless somebody else waits for his."""
        with self._lock:
            self._wanted[path] -= 1
            self._spent.add(path)
            self._sweep()

    def _sweep(self) -> None:
        if self._arriving:
            return
        for path in [path for path in self._spent if self._wanted[path] <= 0]:
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)
            del self._wanted[path]
            self._spent.discard(path)


class Guard:
    """ASGI middleware: refuses foreign hosts and origins with 403, and tells `uploads` what arrives."""

    def __init__(self, app: App, host: str, allowed: Collection[str], uploads: Uploads) -> None:
        self.app, self.uploads = app, uploads
        self.allowed = {name.lower() for name in allowed}
        self.names = names_of(host.lower()) | self.allowed

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is not None:
            await _refuse(scope, send, problem)
        elif scope.get("method") == "POST" and scope["path"].endswith(UPLOAD):
            await self._upload(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _problem(self, scope: Message) -> str | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not is_ours(_name(host), self.names):
            return "this page is not served under that name; transferkit serve --allow-host NAME allows it"
        origin = headers.get("origin")
        if origin is None:
            return None
        theirs = origin.partition("://")[2]
        # Behind a proxy the Host may be another than the one in the browser's address.
        if theirs.lower() != host.lower() and _name(theirs) not in self.allowed:
            return "requests from other pages are refused"
        return None

    async def _upload(self, scope: Message, receive: Any, send: Send) -> None:
        body = bytearray()

        async def listen(message: Message) -> None:
            if message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
            await send(message)

        self.uploads.begin()
        try:
            await self.app(scope, receive, listen)
        finally:
            self.uploads.end(_paths(bytes(body)))


def names_of(host: str) -> set[str]:
    """Names under which a server on address `host` is meant to be reached, besides addresses (see `is_ours`)."""
    found = {"localhost"}
    if is_loopback(host):
        return found
    if not _address(host):
        found.add(host)
    elif ipaddress.ip_address(host).is_unspecified:
        found |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    # An address as Host means that the browser was sent to it: no name was made to point here.
    return found | {"*"}


def is_ours(name: str, names: Collection[str]) -> bool:
    """Whether a request to `name` is meant for us: one of `names`, or an address ("*" among them: any, else ours)."""
    if _address(name):
        return "*" in names or is_loopback(name) or name in names
    return bool(name) and name != "*" and name in names


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches that name or address."""
    return name == "localhost" or (_address(name) and ipaddress.ip_address(name).is_loopback)


def _address(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _name(host: str) -> str:
    """Without the port, and without the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and ":" in host else host).lower()


def _paths(body: bytes) -> list[str]:
    """What an upload's answer lists; nothing where it was refused."""
    with suppress(ValueError):
        found = json.loads(body)
        return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []
    return []


async def _refuse(scope: Message, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"403: {why}\n".encode()})
