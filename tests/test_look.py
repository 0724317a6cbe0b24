"""The colours of every page: enough contrast in light, dark and print (WCAG 2.2, level AA, for text and graphics)."""

import re

import pytest

from transferkit import look

TEXT, GRAPHIC = 4.5, 3.0
PAIRS = [  # ink, paper, the least contrast
    *((ink, paper, TEXT) for ink in ("ink", "soft", "own", "bad", "care") for paper in ("paper", "page")),
    *((bar, paper, GRAPHIC) for bar in ("bar", "other") for paper in ("paper", "page")),
    *(("ink", bar, GRAPHIC) for bar in ("bar", "other")),  # a whisker over its bar
]


def themes():
    """Name → colours by name, of each block of variables."""
    blocks = re.findall(r":root \{([^}]*)\}", look.style())
    return dict(
        zip(("light", "dark", "print"), (dict(re.findall(r"--(\w+): (#\w{6})", b)) for b in blocks), strict=True)
    )


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_measured_as_the_standard_does():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize(("ink", "paper", "least"), PAIRS)
def test_every_pair_of_colours_can_be_told_apart(theme, ink, paper, least):
    colours = themes()[theme]
    assert contrast(colours[ink], colours[paper]) >= least


def test_no_colour_is_written_outside_the_tables():
    rest = re.sub(r":root \{[^}]*\}", "", look.style())
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s])|rgba?\(|opacity", rest) == []


def test_the_themes_have_the_same_colours_and_each_that_is_used_exists():
    known = themes()
    assert known["light"].keys() == known["dark"].keys() == known["print"].keys()
    assert set(re.findall(r"var\(--(\w+)\)", look.style())) <= known["light"].keys()


def test_the_style_asks_nothing_of_any_server():
    assert not re.search(r"url\(|@import|http", look.style() + look.SCRIPT)
    assert look.policy() == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
