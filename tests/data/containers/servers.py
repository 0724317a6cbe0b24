"""Servers on this machine that play the stores of pictures: a plain web server, Google's and Azure's, the hub.

Each answers what the stores' own libraries ask when they list and read, from a dictionary of files; and fails as told.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Store:
    """What a server has, how it fails, and what it was asked."""

    files: dict[str, bytes]
    failures: list[str] = field(default_factory=list)  # of the next answers with content: "reset", "stall", "503", …
    heads: bool = False  # fail as well where a file is only asked about
    headers: bool = True  # say ETag and Last-Modified
    ranges: bool = True
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def mark(self, name: str) -> str:
        """What changes with a file."""
        return hashlib.md5(self.files[name]).hexdigest()

    def below(self, prefix: str) -> tuple[list[str], list[str]]:
        """Files directly below a prefix that ends with `/` (or is empty), and folders."""
        rest = [name[len(prefix) :] for name in self.files if name.startswith(prefix)]
        files = [prefix + name for name in rest if "/" not in name]
        return files, sorted({prefix + name.split("/")[0] for name in rest if "/" in name})


class Handler(BaseHTTPRequestHandler):
    """A plain web server."""

    store: Store
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.store.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        url = urlsplit(self.path)
        self.answer(unquote(url.path), {name: values[0] for name, values in parse_qs(url.query).items()})

    def answer(self, path: str, query: dict[str, str]) -> None:
        self.content(path.lstrip("/"))

    def content(self, name: str) -> None:
        """A file, or the part asked for, or how it fails."""
        if name not in self.store.files:
            self.reply(404, b"not found")
            return
        counts = self.command == "GET" or self.store.heads
        failure = self.store.failures.pop(0) if self.store.failures and counts else ""
        if failure.isdecimal():
            self.reply(int(failure), b"failed")
            return
        body, status, headers = self.store.files[name], 200, self.facts(name)
        asked = self.headers.get("x-ms-range") or self.headers.get("Range")
        if asked and self.store.ranges and (found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked)):
            start, end = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            body, status = body[start : end + 1], 206
        if failure in ("reset", "stall") and self.command == "GET":
            self.begin(status, len(body), headers)
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if failure == "stall":
                self.server.ended.wait(20)  # type: ignore[attr-defined]
            else:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.reply(status, body, headers)

    def facts(self, name: str) -> dict[str, str]:
        if not self.store.headers:
            return {}
        return {"ETag": f'"{self.store.mark(name)}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}

    def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.begin(status, len(body), headers or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def told(self, content: Any) -> None:
        self.reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


class Google(Handler):
    """The JSON interface of Google Cloud Storage."""

    def answer(self, path: str, query: dict[str, str]) -> None:
        path = self.path.split("?")[0]  # `/` in names comes as %2F
        found = re.fullmatch(r"(?:/download)?/storage/v1/b/[^/]+/o(?:/(.+))?", path)
        if found is None:
            self.told({"name": "garden", "kind": "storage#bucket"})
        elif found[1] is None:
            files, folders = self.store.below(query.get("prefix", ""))
            self.told({"items": [self.item(name) for name in files], "prefixes": [f"{name}/" for name in folders]})
        elif query.get("alt") == "media":
            self.content(unquote(found[1]))
        elif unquote(found[1]) in self.store.files:
            self.told(self.item(unquote(found[1])))
        else:
            self.reply(404, json.dumps({"error": {"code": 404, "message": "No such object"}}).encode())

    def item(self, name: str) -> dict[str, str]:
        size, mark = str(len(self.store.files[name])), self.store.mark(name)
        return {"name": name, "bucket": "garden", "size": size, "etag": mark, "md5Hash": mark, "kind": "storage#object"}


class Azure(Handler):
    """Azure's Blob service."""

    def answer(self, path: str, query: dict[str, str]) -> None:
        name = path.removeprefix("/account/garden").lstrip("/")
        if query.get("comp") == "list":
            files, folders = self.store.below(query.get("prefix", ""))
            blobs = "".join(
                f"<Blob><Name>{escape(file)}</Name><Properties><Etag>{self.store.mark(file)}</Etag><Content-Length>"
                f"{len(self.store.files[file])}</Content-Length><BlobType>BlockBlob</BlobType><Last-Modified>"
                "Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified></Properties></Blob>"
                for file in files
            )
            blobs += "".join(f"<BlobPrefix><Name>{escape(name)}/</Name></BlobPrefix>" for name in folders)
            body = (
                f'<?xml version="1.0"?><EnumerationResults ContainerName="garden"><Blobs>{blobs}</Blobs><NextMarker/>'
            )
            self.reply(200, f"{body}</EnumerationResults>".encode(), {"Content-Type": "application/xml"})
        elif name in self.store.files:
            self.content(name)
        elif not name:
            self.reply(200, b"", self.facts(next(iter(self.store.files))))
        else:
            self.reply(404, b"", {"x-ms-error-code": "BlobNotFound"})

    def facts(self, name: str) -> dict[str, str]:
        return super().facts(name) | {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-01-01"}


class Hub(Handler):
    """The hub of data sets, of which it has `gardener/flowers`."""

    def answer(self, path: str, query: dict[str, str]) -> None:
        own = "/api/datasets/gardener/flowers"
        if path in (own, f"{own}/revision/main"):
            self.told({"id": "gardener/flowers", "sha": "0" * 40, "private": False, "siblings": [], "tags": []})
        elif path.startswith(f"{own}/tree/main"):
            folder = path.removeprefix(f"{own}/tree/main").strip("/")
            files, folders = self.store.below(f"{folder}/" if folder else "")
            if not files and not folders:
                self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                return
            found = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders]
            self.told(found + [self.item(name) for name in files])
        elif path.startswith("/datasets/gardener/flowers/resolve/main/"):
            self.content(path.removeprefix("/datasets/gardener/flowers/resolve/main/"))
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def item(self, name: str) -> dict[str, Any]:
        return {"type": "file", "path": name, "oid": self.store.mark(name), "size": len(self.store.files[name])}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is none."""


@contextmanager
def serving(store: Store, kind: type[Handler] = Handler) -> Iterator[Store]:
    """`store` behind a server on this machine, at `store.port`."""
    server = _Server(("127.0.0.1", 0), type("Bound", (kind,), {"store": store}))
    server.ended = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    store.port = int(server.server_address[1])
    try:
        yield store
    finally:
        server.ended.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
