"""Another process draws what this one would, byte for byte; where it does not, this one does."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runs.sealing import put_manifest, reseal
from tests.tuning.job import search
from transferkit import importing
from transferkit.api import Run
from transferkit.console import Reporter
from transferkit.delivery.report import publish as publishing
from transferkit.delivery.report.beside import Draughtsman, draughtsman
from transferkit.delivery.report.content import ReportContent
from transferkit.delivery.report.drawings import drawings, facts_of_test, facts_of_training
from transferkit.delivery.report.publish import publish
from transferkit.delivery.report.run_content import content_of_test, content_of_training, report_content
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import CountedScores
from transferkit.files import read_json
from transferkit.runs.layout import Layout
from transferkit.tuning.importance import importance
from transferkit.tuning.search_space.space import parse_search

LITTLE = ReportContent(
    metrics=MetricsRecord.read({
        "task": "classify", "classes": ["a", "b"], "goal": "accuracy", "baselines": {},
        "test": {"n": 4, "accuracy": 0.75, "confusion": [[2, 0], [1, 1]]},
    }),
)  # fmt: skip


def test_another_process_draws_the_same(tmp_path: Path) -> None:
    drawing = Draughtsman(tmp_path)
    try:
        assert drawing.drawn(facts_of_test(LITTLE)) is None, "it was not asked"
        drawing.ask(facts_of_test(LITTLE))
        found = drawing.drawn(facts_of_test(LITTLE))
        assert drawing.drawn(facts_of_training(LITTLE)) is None, "others were asked"
    finally:
        drawing.close()
    assert found is not None
    expected = drawings(LITTLE)
    assert found.keys() == expected.keys() == {"confusion"}
    for name, one in found.items():
        assert (one.png(), one.alt, one.wide) == (expected[name].png(), expected[name].alt, expected[name].wide)
        assert one.addresses() == expected[name].addresses()


def test_another_process_says_what_settings_mattered_as_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = parse_search(["learning_rate=1e-4:1e-1:log", "pooling=avg,max", "head_width=64,256x128"])
    rng = np.random.default_rng(0)
    tried = [
        ({"learning_rate": rate, "pooling": kind, "head_width": width}, rate if kind == "avg" else None)
        for rate in 10 ** rng.uniform(-4, -1, 8)
        for kind, width in (("avg", [64]), ("avg", (256, 128)), ("max", [64]))
    ]
    expected, few = importance(space, tried, 3), tried[:3]
    drawing = Draughtsman(tmp_path, weighs=True)
    try:
        with monkeypatch.context() as patch:  # a failure there is made up for here, which would tell nothing
            patch.setattr("transferkit.tuning.importance.importance", None)
            assert drawing.weigh(space, tried, 3) == expected
            assert drawing.weigh(space, few, 3) is None
        drawing._process.kill()
        assert drawing.weigh(space, tried, 4) == importance(space, tried, 4), "by this process"
    finally:
        drawing.close()


def test_what_the_figures_show_is_known_before_the_run_is_done(digits_run: Run, tmp_path: Path) -> None:
    layout = Layout(shutil.copytree(digits_run.folder, tmp_path / "run"))
    record, metrics, done = layout.read_manifest(), layout.read_metrics(), report_content(layout)
    layout.metrics.unlink()
    running = read_json(layout.manifest)
    put_manifest(layout.folder, {**running, "status": "running", "files": {}})
    assert facts_of_test(content_of_test(layout, metrics)) == facts_of_test(done)
    layout.predictions.unlink()
    metrics.test = CountedScores(n=0)
    assert facts_of_training(content_of_training(layout, record, metrics)) == facts_of_training(done), "before the test"


def test_a_process_that_died_leaves_the_figures_to_this_one(digits_run: Run, tmp_path: Path) -> None:
    layout = Layout(shutil.copytree(digits_run.folder, tmp_path / "run"))
    drawing = Draughtsman(None)
    facts = facts_of_test(report_content(layout))
    drawing.ask(facts)
    drawing.close()
    assert drawing.drawn(facts) is None
    shutil.rmtree(layout.figures)
    publish(layout, Reporter(quiet=True), None, drawing)
    assert {path.name for path in layout.figures.iterdir()} >= {"confusion.png", "reliability.png"}


def test_there_is_none_in_a_program_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_ours", False)
    with draughtsman(None) as drawing:
        assert drawing is None


def test_there_is_none_without_a_core_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_ours", True)
    monkeypatch.setattr("transferkit.delivery.report.beside.available_threads", lambda: 1)
    with draughtsman(None) as drawing:
        assert drawing is None


def test_no_code_is_taken_from_the_folder_of_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "matplotlib.py").write_text("raise SystemExit")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    drawing = Draughtsman(tmp_path)
    try:
        drawing.ask(facts_of_test(LITTLE))
        assert drawing.drawn(facts_of_test(LITTLE)) is not None
    finally:
        drawing.close()


@pytest.mark.extended
def test_the_figures_of_a_search_and_its_run_were_drawn_when_the_page_is_made(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(content: Any) -> Any:
        raise AssertionError("drawn here")

    monkeypatch.setattr(importing, "_ours", True)
    monkeypatch.setattr("transferkit.delivery.report.beside.available_threads", lambda: 2)
    monkeypatch.setattr(publishing, "drawings", late)
    run = search(
        digits, tmp_path / "run", "random", trials=2, seeds=1, finalists=1, head="linear", search=["dropout=0:0.5"]
    )
    names = {path.stem for path in run.layout.figures.iterdir()}
    assert names >= {"curves", "confusion", "reliability", "search_over_time", "search_settings"}
    assert run.layout.report.read_text().count("data:image/svg") > 8


def test_an_epoch_without_a_score_is_drawn_here(digits_run: Run, tmp_path: Path) -> None:
    """A metric may say nothing of an epoch, which is kept as infinity; JSON, which the other reads, lacks it."""
    layout = Layout(shutil.copytree(digits_run.folder, tmp_path / "run"))
    head, first, *rest = layout.history.read_text().splitlines()
    place = head.split(",").index("val_accuracy")
    values = first.split(",")
    values[place] = "-inf"
    layout.history.write_text("\n".join([head, ",".join(values), *rest]) + "\n")
    reseal(layout.folder)
    shutil.rmtree(layout.figures)
    with pytest.raises(ValueError, match=r"inf|JSON"):
        facts_of_training(report_content(layout))
    drawing = Draughtsman(None)
    try:
        publish(layout, Reporter(quiet=True), None, drawing)
    finally:
        drawing.close()
    assert (layout.figures / "confusion.png").exists()


def test_a_thread_that_is_refused_leaves_the_figures_to_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Draughtsman(None)

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    try:
        monkeypatch.setattr(drawing._line, "submit", refused)
        drawing.ask(facts_of_test(LITTLE))
        assert drawing.drawn(facts_of_test(LITTLE)) is None
    finally:
        drawing.close()


def test_a_process_that_hangs_leaves_the_figures_to_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.delivery.report.beside.PATIENCE", 0.1)
    drawing = Draughtsman(None)
    try:
        os.kill(drawing._process.pid, signal.SIGSTOP)
        drawing.ask(facts_of_test(LITTLE))
        assert drawing.drawn(facts_of_test(LITTLE)) is None
    finally:
        drawing.close()
