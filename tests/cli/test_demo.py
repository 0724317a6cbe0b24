"""`transferkit demo`: what it does not show is said."""

from __future__ import annotations

from tests.cli.calls import call


def test_who_asks_for_photographs_is_told_why_there_are_none_and_what_to_do() -> None:
    result = call("demo", "--photos")
    assert result.code == 2
    assert "no photographs ship with the package" in result.err
    assert "transferkit finetune photos/" in result.err
