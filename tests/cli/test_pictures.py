"""Pictures in a terminal: only where it can show them, in its width, and no label moves anything."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from transferkit.cli._pictures import drawn, way_of

COLOUR = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        (COLOUR, "blocks"),
        (COLOUR | {"NO_COLOR": "1"}, None),
        (COLOUR | {"TERM": "dumb"}, None),
        (COLOUR | {"TERM": "xterm-kitty"}, "kitty"),
        (COLOUR | {"KITTY_WINDOW_ID": "1"}, "kitty"),
        (COLOUR | {"KITTY_WINDOW_ID": "1", "TERM": "tmux-256color"}, "blocks"),
        (COLOUR | {"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        (COLOUR | {"TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/x"}, "blocks"),
    ],
)
def test_what_a_terminal_shows_is_what_it_says_that_it_knows(environment: dict[str, str], by: str | None) -> None:
    assert way_of(environment) == by


def tiles(count: int = 10) -> list[tuple[Image.Image | None, str]]:
    return [(Image.new("RGB", (60, 30), (200, 10 * i, 40)), f"label {i}") for i in range(count)]


@pytest.mark.parametrize("columns", [24, 40, 80, 200])
def test_rows_of_blocks_fit_and_stand_over_their_labels(columns: int) -> None:
    lines = ESCAPES.sub("", "".join(drawn(tiles(), "blocks", columns))).split("\n")
    assert max(map(cell_len, lines)) <= columns
    heads = [line for line in lines if "label" in line]
    assert " ".join(heads).split() == " ".join(f"label {i}" for i in range(10)).split()
    at = heads[0].index("label 1")
    assert {line[at - 1] for line in lines[: lines.index(heads[0])]} == {" "}


def test_blocks_have_the_colours_of_the_picture_and_nothing_beside_it() -> None:
    text = "".join(drawn([(Image.new("RGB", (40, 20), (200, 100, 50)), "x")], "blocks", 12))
    assert set(re.findall(r"38;2;(\d+;\d+;\d+)", text)) == {"200;100;50"}
    plain = ESCAPES.sub("", text).split("\n")
    assert not plain[0].strip()  # above a wide picture
    assert plain[2].strip() == "▀" * 12


@pytest.mark.parametrize(("by", "pattern"), [("kitty", r"\x1b_G[^;]*;([^\x1b]*)\x1b\\"), ("iterm", r"0:([^\a]*)\a")])
def test_the_protocols_carry_a_png_of_the_row(by: str, pattern: str) -> None:
    text = next(iter(drawn(tiles(2), by, 24)))  # type: ignore[arg-type]
    pieces = re.findall(pattern, text)
    assert all(len(piece) <= 4096 for piece in pieces) or by == "iterm"
    with Image.open(io.BytesIO(base64.b64decode("".join(pieces)))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (100, 220, 4)
    assert pixels[50, 50].tolist() == [200, 0, 40, 255]
    assert pixels[0, 0, 3] == 0


def test_no_label_is_obeyed_by_the_terminal() -> None:
    text = "".join(drawn([(None, "\x1b]0;title\a\nbad" * 5)], "blocks", 40))
    assert set(re.findall(r"\x1b.", text)) == {"\x1b["}
    assert "\\x1b]0;" in text
    assert "\a" not in text
