"""What an app of pages is asked, and what it answers: text, JSON, pictures and the pages themselves.

Of a page only its own script and style run, which a nonce made for each answer lets in.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

from transferkit.files import to_json

POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RequestError(ValueError):
    """What was sent is not what is taken; the message says what is."""


@dataclass(frozen=True)
class PageRequest:
    """One request: `path` below the page's own address, beginning with `/`; `kind` is the type of `body`."""

    method: str
    path: str
    query: dict[str, str]
    kind: str = ""
    body: bytes = b""

    def number(self, kind: str) -> int | None:
        """N where the path is /`kind`/N, N a number in ASCII digits (of more than nine the first nine); else None."""
        given, _, number = self.path.removeprefix("/").partition("/")
        return int(number[:9]) if given == kind and number.isascii() and number.isdecimal() else None


@dataclass(frozen=True)
class Response:
    """An answer: text by default."""

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class App(Protocol):
    """What is served."""

    def largest(self, path: str) -> int:
        """Most bytes that may be posted to `path`; 0 where nothing may."""

    def answer(self, request: PageRequest) -> Response:
        """The answer; called on several threads at once."""


def text(status: int, message: str) -> Response:
    """A line of text, for what went wrong.

    Args:
        status: of HTTP.
        message: one line.
    """
    return Response(f"{message}\n".encode("utf-8", "backslashreplace"), status=status)


def as_json(content: Any, status: int = 200) -> Response:
    """JSON.

    Args:
        content: plain values.
        status: of HTTP.
    """
    return Response(to_json(content).encode(), "application/json", status)


def jpeg(content: bytes) -> Response:
    """A picture, which stays the same for as long as the page is open."""
    return Response(content, "image/jpeg", headers={"Cache-Control": "private, max-age=600"})


def page(name: str) -> Response:
    """The HTML of `templates/NAME`, with the common head and style inside; only its own script runs."""
    nonce = secrets.token_urlsafe(18)
    folder = files("transferkit.delivery") / "templates"
    html, head, style = ((folder / file).read_text("utf-8") for file in (name, "head.html", "page.css"))
    html = html.replace("<!-- head.html -->\n", head).replace("/* page.css */", style).replace("NONCE", nonce)
    return Response(
        html.encode(), "text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY.format(nonce)}
    )
