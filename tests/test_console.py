"""What a person reads while a command works."""

from __future__ import annotations

import io

import pytest

from transferkit import console
from transferkit.console import Reporter


def speaker(quiet: bool = False, terminal: bool = False) -> tuple[Reporter, io.StringIO]:
    from rich.console import Console

    text = io.StringIO()
    return Reporter(quiet, Console(file=text, force_terminal=terminal, soft_wrap=True, highlight=False)), text


def test_names_are_never_taken_for_markup() -> None:
    reporter, text = speaker()
    reporter.say("class [red]rose[/red]")
    reporter.heading("[bold]x")
    reporter.warn("[/] unbalanced")
    assert text.getvalue() == "class [red]rose[/red]\n[bold]x\nwarning: [/] unbalanced\n"


def test_quiet_shows_warnings_only_and_keeps_them() -> None:
    reporter, text = speaker(quiet=True)
    reporter.say("a")
    reporter.heading("b")
    with reporter.progress("c", 3) as advance:
        advance(2, "note")
    reporter.warn("d")
    assert text.getvalue() == "warning: d\n"
    assert reporter.warnings == ["d"]


def test_a_pipe_hears_of_progress_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, text = speaker()
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with reporter.progress("reading", 30) as advance:
        for seconds, note in ((1.0, ""), (11.0, "slowly; surely"), (12.0, ""), (20.0, "")):
            now = seconds
            advance(5, note)
    assert text.getvalue() == "reading: 10/30 pictures, slowly, surely, about 40 s left\n"


def test_a_terminal_sees_a_bar() -> None:
    reporter, text = speaker(terminal=True)
    with reporter.progress("reading [x]", 3) as advance:
        advance(3, "done")
    assert "reading [x]" in text.getvalue()


def test_a_step_is_named_in_a_pipe_and_has_a_clock_in_a_terminal() -> None:
    reporter, text = speaker()
    with reporter.step("starting TensorFlow"):
        pass
    assert text.getvalue() == "starting TensorFlow\n"
    reporter, text = speaker(terminal=True)
    with reporter.step("starting [TensorFlow]"), reporter.progress("inside", 3) as advance:
        advance(3)
    assert "starting [TensorFlow]" in text.getvalue()
    assert "inside" not in text.getvalue(), "a terminal has room for one"


def test_a_notebook_has_one_line_that_is_written_over_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    from rich.console import Console

    shown = []

    class Handle:
        def update(self, content: object) -> None:
            shown.append(content.data)

    monkeypatch.setattr(display, "display", lambda content, display_id: shown.append(content.data) or Handle())
    monkeypatch.setattr(console, "CELL_INTERVAL", 0.0)
    reporter = Reporter(False, Console(file=io.StringIO(), force_jupyter=True, width=100))
    with reporter.progress("new classifier", 3, "epochs") as advance:
        advance(1.5, "loss 0.412; best <0.9>")
    assert "epoch 1/3" in shown[0]
    assert "epoch 2/3" in shown[1]
    assert "loss 0.412  best &lt;0.9&gt;" in shown[1]
    assert shown[-1] == ""


def test_progress_ends_where_the_work_fails() -> None:
    reporter, _ = speaker(terminal=True)
    with pytest.raises(ZeroDivisionError), reporter.progress("x", 3):
        raise ZeroDivisionError


class Gone(io.StringIO):
    """A stream whose reader went away, or whose disk is full."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_work_goes_on_when_nobody_reads_any_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(console.sys, "stderr", Gone())
    reporter = Reporter()
    reporter.say("a")
    reporter.warn("b")
    assert reporter.warnings == ["b"]
    print("standard output is untouched")
    assert capsys.readouterr().out == "standard output is untouched\n"


def test_without_a_console_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.sys, "stderr", None)
    Reporter().say("a")


def test_no_terminal_obeys_what_is_said_and_every_encoding_can_hold_it() -> None:
    reporter, text = speaker()
    reporter.say("\x1b[31mrose\u202e\nsecond line")
    assert text.getvalue() == "\\x1b[31mrose\\u202e\nsecond line\n"
    from rich.console import Console

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", errors="strict", write_through=True)
    Reporter(False, Console(file=stream)).say("日本 é")
    assert raw.getvalue().decode("cp1252").strip() == r"\u65e5\u672c é"
