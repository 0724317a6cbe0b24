"""Whose requests a page on this machine answers."""

from __future__ import annotations

import pytest

from transferkit.delivery.guard import Guard


def answers(guard: Guard, host: str, origin: str | None = None) -> bool:
    return guard.problem([host], origin) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost:7860", "localhost", "LOCALHOST", "[::1]:7860", "127.0.0.9"]
)
def test_this_machine_asks_itself(host: str) -> None:
    assert answers(Guard("127.0.0.1"), host)
    assert answers(Guard("127.0.0.1"), host, f"http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "*",
        "[::1",
    ],
)
def test_other_names_are_refused(host: str) -> None:
    assert not answers(Guard("127.0.0.1"), host)


def test_a_request_has_one_host() -> None:
    assert Guard("127.0.0.1").problem([], None) is not None
    assert Guard("127.0.0.1").problem(["localhost", "localhost"], None) is not None


def test_served_to_everybody_addresses_are_answered_and_foreign_names_are_not() -> None:
    assert answers(Guard("0.0.0.0"), "192.168.1.7:7860")
    assert answers(Guard("box.lan"), "BOX.lan:7860")
    for host in ("0.0.0.0", "192.168.1.7", "box.lan"):
        assert not answers(Guard(host), "evil.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8888", "https://localhost:7860"])
def test_pages_of_other_sites_are_refused(origin: str) -> None:
    assert not answers(Guard("127.0.0.1"), "127.0.0.1:7860", origin)


def test_a_name_that_is_allowed_is_answered_and_may_be_a_proxys() -> None:
    guard = Guard("127.0.0.1", ["Page.example"])
    assert answers(guard, "page.example")
    assert answers(guard, "127.0.0.1:7860", "https://page.example")
    assert not answers(guard, "127.0.0.1:7860", "https://other.example")
