"""Whose requests the served page answers, and when an upload may go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from transferkit.delivery.guard import Guard, Uploads


def ask(guard: Guard, host: str, origin: str | None = None, kind: str = "http", **more: Any) -> list[dict[str, Any]]:
    """What goes back for one request."""
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
    scope = {"type": kind, "method": "GET", "path": "/config", "headers": headers, **more}
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, None, send))
    return sent


def guarding(host: str = "127.0.0.1", *allowed: str, body: bytes = b"page", uploads: Uploads | None = None) -> Guard:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for start in range(0, len(body), 5):
            await send({"type": "http.response.body", "body": body[start : start + 5], "more_body": True})

    return Guard(page, host, allowed, uploads or Uploads())


def answers(guard: Guard, host: str, origin: str | None = None) -> bool:
    return bool(ask(guard, host, origin)[0]["status"] == 200)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "localhost", "LOCALHOST", "[::1]:7860", "127.0.0.9"]
)
def test_this_machine_asks_itself(host: str) -> None:
    assert answers(guarding(), host)
    assert answers(guarding(), host, f"http://{host}")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "*"],
)
def test_other_names_are_refused(host: str) -> None:
    assert not answers(guarding(), host)


def test_served_to_everybody_addresses_are_answered_and_foreign_names_are_not() -> None:
    assert answers(guarding("0.0.0.0"), "192.168.1.7:7860")
    assert answers(guarding("box.lan"), "BOX.lan:7860")
    for host in ("0.0.0.0", "192.168.1.7", "box.lan"):
        assert not answers(guarding(host), "evil.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8888", "https://localhost:7860"])
def test_pages_of_other_sites_are_refused(origin: str) -> None:
    assert not answers(guarding(), "127.0.0.1:7860", origin)


def test_a_name_that_is_allowed_is_answered_and_may_be_a_proxys() -> None:
    guard = guarding("127.0.0.1", "Page.example")
    assert answers(guard, "page.example")
    assert answers(guard, "127.0.0.1:7860", "https://page.example")
    assert not answers(guard, "127.0.0.1:7860", "https://other.example")


def test_sockets_are_closed_and_start_up_is_let_through() -> None:
    assert ask(guarding(), "evil.example", kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    assert ask(guarding(), "", kind="lifespan")[0]["status"] == 200


def test_a_shared_upload_goes_with_its_last_answer(tmp_path: Path) -> None:
    path, uploads = tmp_path / "a.png", Uploads()
    path.write_bytes(b"x")
    body = f'["{path}"]'.encode()
    for _ in range(2):
        ask(guarding(body=body, uploads=uploads), "localhost", method="POST", path="/gradio_api/upload")
    uploads.answered(str(path))
    assert path.exists()
    uploads.answered(str(path))
    assert not path.exists()


def test_nothing_goes_while_somebody_is_sending(tmp_path: Path) -> None:
    path, uploads = tmp_path / "a.png", Uploads()
    path.write_bytes(b"x")
    uploads.begin()
    uploads.end([str(path)])
    uploads.begin()  # the same picture again, put in place already
    uploads.answered(str(path))
    assert path.exists()
    uploads.end([str(path)])
    assert path.exists()
    uploads.answered(str(path))
    assert not path.exists()


def test_a_refused_or_broken_upload_holds_nothing_back(tmp_path: Path) -> None:
    path, uploads = tmp_path / "a.png", Uploads()
    path.write_bytes(b"x")
    ask(guarding(body=b"too large", uploads=uploads), "localhost", method="POST", path="/gradio_api/upload")

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ask(Guard(fails, "127.0.0.1", (), uploads), "localhost", method="POST", path="/gradio_api/upload")
    uploads.answered(str(path))
    assert not path.exists()
