"""What stands beside a bar fits every terminal, and its estimate is steady."""

from __future__ import annotations

import pytest

from transferkit import progress

FACTS = ["epoch 3/30", "about 25 s left"]
NOTES = ["loss 0.412", "validation balanced accuracy 0.867", "best 0.889"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("title", ["new classifier", "upper layers from:block5_conv3", "computing features"])
def test_no_line_is_wider_than_the_terminal_and_no_note_is_cut(title: str, width: int) -> None:
    found = progress.lines(title, 0.1, list(FACTS), list(NOTES), width, False)
    whole = "\n".join(found)
    assert all(note in whole for note in NOTES)
    widest = max(width, len(title), *(2 + len(note) for note in NOTES))
    assert all(len(line) <= widest for line in found)
    assert len(found) == 1 or width < 200


def test_a_wide_terminal_has_all_in_one_line() -> None:
    (line,) = progress.lines("new classifier", 0.5, list(FACTS), ["loss 0.412", "best 0.889"], 120, False)
    assert line == "new classifier  ━━━━━━━━━━━━━━━───────────────  epoch 3/30  about 25 s left  loss 0.412  best 0.889"
    assert progress.bar(0.5, 4, plain=True) == "##.."


def test_counts() -> None:
    assert progress.count(192, 1465, "pictures") == "192/1,465 pictures"
    assert [progress.count(done, 3, "epochs") for done in (0, 0.5, 1, 2.9, 3)] == [
        "epoch 1/3", "epoch 1/3", "epoch 2/3", "epoch 3/3", "epoch 3/3",
    ]  # fmt: skip


def test_the_estimate_is_steady_and_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    estimate = progress.Estimate(100)
    assert estimate.seconds() is None
    now = 60.0  # the first piece takes a minute: a graph is traced
    estimate.advance(1)
    assert estimate.seconds() is None
    said = []
    for step in range(2, 12):
        now = 60.0 + step
        estimate.advance(1)
        said.append(estimate.seconds())
    expected = [(100 - done) * (done + 0) / (done - 1) for done in range(2, 12)]
    assert said == pytest.approx(expected)
    before = estimate.seconds()
    now += 3
    assert estimate.seconds() == pytest.approx((before or 0) - 3)
    assert progress.Estimate(100, 90).total == 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (1, "about 5 s left"),
        (23, "about 25 s left"),
        (200, "about 3 min left"),
        (4000, "about 1 h 07 min left"),
    ],
)
def test_estimates_in_words(seconds: float | None, text: str) -> None:
    assert progress.left(seconds) == text
