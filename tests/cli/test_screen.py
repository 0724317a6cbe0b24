"""What a person sees of a training, on a pseudo-terminal: at once, moving, in whole words, within the screen."""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import pytest

from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from tests.marks import extended

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from tests.terminal import Screen, Session, drive

RUN = [sys.executable, "-m", "transferkit"]
# So many epochs that a fast machine, too, draws some of them.
LENGTH = ["--epochs", "60", "--patience", "59"]
TRAIN = [*RUN, "finetune", "flowers", "--backbone", "mini", *LENGTH, "--views", "1", "--unfreeze", "last:1"]
SCRIPT = (
    "import transferkit as tk\ntk.finetune('flowers', 'mini', epochs=1, views=0, output='by-script', offline=True)\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screen")
    folder_of_classes(folder / "flowers", {"iris": 16, "rose": 16, "tulip": 16})
    return folder


@pytest.fixture(scope="module")
def session(place: Path) -> Session:
    found = drive([*TRAIN, "--output", "run"], place)
    assert found.code == 0, found.screen.lines
    return found


def whole(screen: Screen) -> None:
    """No line was broken by the terminal, unless it is a command or a path that is to be copied."""
    cut = [line for line in screen.folded if " " in line.strip() and "transferkit " not in line]
    assert cut == [], "lines wider than the terminal"


def test_something_is_said_before_tensorflow_is_there(place: Path) -> None:
    """Within a second and a half of the start. On a busy machine, eight calls for help: TensorFlow takes twenty."""
    spent, start = [], []
    for _ in range(3):
        spent.append(drive([*TRAIN, "--output", "first"], place, until="reading flowers").first)
        start.append(drive([*RUN, "finetune", "--help"], place).first)
    assert statistics.median(spent) <= max(1.5, 8 * statistics.median(start))


def test_lines_are_whole_and_the_summary_fits(session: Session) -> None:
    whole(session.screen)
    lines = [line.rstrip() for line in session.screen.lines]
    start = next(number for number, line in enumerate(lines) if line.startswith("Result "))
    summary = [line for line in lines[start:] if line]
    assert len(summary) <= 22
    assert max(map(len, summary)) <= 80
    assert re.match(r"Result     \d+ of \d+ test pictures right: \d+\.\d %", summary[0])
    assert any(line.startswith("Use        transferkit predict run PICTURES") for line in summary)


def test_what_is_being_done_is_said_and_moves(session: Session) -> None:
    seen = "\n".join("\n".join(frame[-4:]) for frame in session.frames())
    for words in ("starting Keras", "choosing  ━", "upper layers  ━", "writing the report"):
        assert words in seen, words
    assert re.search(r"epoch \d+/60  loss \d\.\d+|loss \d\.\d+  validation accuracy \d\.\d{3}  best \d\.\d{3}", seen)
    assert not re.search(r"[IWE]0000 |absl|oneDNN", seen)
    assert all("━" not in line for line in session.screen.lines), "bars are gone in the end"


@pytest.mark.extended
@pytest.mark.parametrize("columns", [60, 120])
def test_other_widths(place: Path, columns: int) -> None:
    found = drive([*TRAIN, "--output", f"run-{columns}"], place, columns)
    assert found.code == 0
    whole(found.screen)
    for frame in found.frames():
        assert all(len(line) <= columns for line in frame if "━" in line or "─" in line)


@pytest.mark.extended
def test_a_script_shows_nothing_of_tensorflow(place: Path) -> None:
    (place / "train.py").write_text(SCRIPT)
    found = drive([sys.executable, "train.py"], place)
    assert found.code == 0, found.screen.lines
    said = "".join(text for _, text in found.events)
    assert not re.search(r"[IWEF]0000 |absl|oneDNN|cuda", said)
    assert "reading flowers" in said
    assert found.first <= 5.0


MISTAKES = {
    "a command that there is not": ["fuotine"],
    "an option that there is not": ["tune", "flowers", "--number-of-trials-per-configuration", "3"],
    "a word that an argument does not take": ["open", "run", "nowhere"],
    "a network that there is not": ["finetune", "flowers", "--backbone", "nope"],
    "several at once": ["finetune", "flowers", "--epochs", "0", "--head", "linear", "--head-width", "64"],
}


WIDTHS = [(name, columns) for columns in (80, 50) for name in MISTAKES]


@pytest.mark.parametrize(
    ("name", "columns"),
    extended(WIDTHS, [(name, 80) for name in MISTAKES if name != "several at once"], spread=True),
)
def test_errors_break_between_words_and_hang(
    name: str, columns: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = MISTAKES[name]
    found = drive([*RUN, *words], place, columns)
    assert found.code == 2
    assert [line for line in found.screen.folded if " " in line.strip()] == []
    monkeypatch.chdir(place)
    piped = call(*words)
    lines = [line.rstrip() for line in found.screen.lines if line.strip()]
    written = piped.err.strip().splitlines()
    message = next(line for line in written if line.lower().startswith("error"))
    start = next(number for number, line in enumerate(lines) if line.lower().startswith("error"))
    assert len(message) <= columns or lines[start + 1].startswith("  ")
    assert all(line.startswith("  ") for line in lines[start + 1 :])
    # A program reads the same words, each message on one line.
    assert " ".join(" ".join(lines[start:]).split()) == " ".join(" ".join(written[written.index(message) :]).split())


def test_what_a_newcomer_leaves_out_or_mistypes_is_answered_with_the_way(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on its own; what to do is in the answer."""
    folder_of_classes(place / "my flowers", {"iris": 6, "rose": 6})
    answers = {
        "finetune": "DATA is missing: your pictures",
        "predict": "RUN is missing: the folder of a finished run",
        "predict run": "PATHS is missing: pictures",
        "finetune my flowers": "has to stand in quotes: 'my flowers'",
        "finetune flowers/rose": "give the folder above (flowers)",
        "finetune flowers --epochs ten": "--epochs ten: must be a whole number",
        "tune flowers --trials x": "--trials x: must be a whole number",
    }
    monkeypatch.chdir(place)
    for words, wanted in answers.items():
        done = call(*words.split())
        assert done.code == 2
        assert wanted in done.err, words
        if "is missing" in wanted:
            assert f"Example:  transferkit {words.split()[0]} " in done.err


def test_tables_and_findings_fit_the_screen_and_hold_no_escapes(
    session: Session, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runs` is drawn by a library that would colour it; findings are sentences."""
    table = drive([*RUN, "runs", "."], place)
    assert "run" in table.screen.lines[0].split()
    assert not any("x1b" in line for line in table.screen.lines)
    whole(table.screen)
    (place / "flowers" / "rose" / "what somebody once wrote about these flowers.txt").write_text("x")
    whole(drive([*RUN, "data", "check", "flowers"], place).screen)
    whole(drive([*RUN, "backbones", "show", "vgg16"], place, 60).screen)
    monkeypatch.chdir(place)
    assert "runs in it: " in call("predict", ".", "flowers").err


def test_answers_stand_alone_on_the_screen(session: Session, place: Path) -> None:
    """At once it is said what is done; no bar is left between the answers."""
    found = drive([*RUN, "predict", "run", "flowers/rose"], place)
    assert found.code == 0
    lines = [line.rstrip() for line in found.screen.lines if line.strip()]
    assert len(lines) == len(list((place / "flowers" / "rose").glob("*.png")))
    assert all(line.startswith("flowers/rose/") for line in lines)
    assert any("starting Keras" in text for _, text in found.events)
