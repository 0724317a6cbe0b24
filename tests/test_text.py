"""Which characters of a stranger's names are printed as they are."""

from __future__ import annotations

import pytest

from transferkit.errors import nearest
from transferkit.text import clipped, safe, shown, wrapped

HOSTILE = {
    "\x1b[31mred": r"\x1b[31mred", "\x1b]8;;http://x\x07": r"\x1b]8;;http://x\x07", "a\rb": r"a\rb", "\x08": r"\x08",
    "\x9b2J": r"\x9b2J", "\x7f": r"\x7f", "\u202egnp": r"\u202egnp", "\u2066x\u2069": r"\u2066x\u2069",
    "\u200b": r"\u200b", "\ufeff": r"\ufeff", "\u2028": r"\u2028", "\udcff": r"\udcff", "\U000e0041": r"\U000e0041",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_terminal_obeys_a_name(name: str) -> None:
    assert shown(name) == safe(name) == HOSTILE[name]


def test_names_stand_on_one_line_and_texts_keep_their_lines_and_spaces() -> None:
    assert shown("a\nb\tc\xa0d") == r"a\nb\tc\xa0d"
    assert safe("a\nb\tc\xa0d\u2009%") == "a\nb\tc\xa0d\u2009%"


@pytest.mark.parametrize("name", ["rose", "日本 😀", "שלום", "a'b\"[red]<b>$x$"])
def test_other_names_are_printed_as_they_are(name: str) -> None:
    assert shown(name) == safe(name) == name


def test_what_an_encoding_lacks_appears_as_an_escape() -> None:
    assert safe("日本 é ─", "cp1252") == r"\u65e5\u672c é \u2500"
    assert safe("é", "ascii") == safe("é", "no such encoding") == r"\xe9"


def test_long_values_are_cut_and_their_length_said() -> None:
    assert clipped("x" * 200) == "x" * 200
    assert clipped("\x1b" + "x" * 999) == r"\x1b" + "x" * 199 + "… (1,000 characters)"


def test_the_nearest_name_is_one_too() -> None:
    assert nearest("\x1b[1mrose", ["\x1b[2mrose"]) == r"; nearest: '\x1b[2mrose'"


def test_lines_are_broken_between_words_and_commands_are_not() -> None:
    text = "error: one of the words is long; do this:\n  transferkit finetune a --with many --options of its own"
    first, *more, command = wrapped(text, 30).split("\n")
    assert all(len(line) <= 30 for line in (first, *more))
    assert all(line.startswith("  ") for line in more)
    assert command == text.split("\n")[1]
    assert wrapped(text, None) == text
    assert "95 %" in wrapped("a share of exactly 95 % of all", 22).split("\n")[1]


def test_a_line_ends_neither_before_a_percent_sign_nor_inside_a_quotation() -> None:
    text = "to see them: transferkit data check 'my photos of 2026' and that is don't worry, 95 % of all"
    for width in range(30, 90):
        lines = wrapped(text, width).split("\n")
        assert any("'my photos of 2026'" in line for line in lines)
        assert any("95 %" in line for line in lines)
        assert " ".join(" ".join(lines).split()) == text
