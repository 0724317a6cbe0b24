"""How counts, scores and seconds are written."""

from __future__ import annotations

import pytest

from transferkit.quantities import duration, figure, ordinal, plural


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plurals() -> None:
    assert [plural(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert plural(2527, "picture") == "2,527 pictures"


def test_figures_keep_digits_that_mean_something():
    known = {0.0: "0.000", 0.8444: "0.844", 0.00123: "0.00123", -1.234e-7: "-1.23e-07", 41.25: "41.250",
             123.456: "123.5", 12345.6: "12,346", 2.5e9: "2.5e+09"}  # fmt: skip
    assert {value: figure(value) for value in known} == known
    assert figure(1e-4, "+") == "+0.0001"
    assert figure(0.0, "+") == "+0.000"
    assert figure(None) == figure(float("nan")) == "–"


def test_ordinals():
    assert " ".join(ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 112)) == "1st 2nd 3rd 4th 11th 12th 21st 112th"
