"""The plumbing of scripts/bench.py: what is judged, what is recorded, what is run. Only two small forms measure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benches import measuring, page, registry  # noqa: E402 - scripts are no package
from benches.measuring import Bar, measurement, turns  # noqa: E402
from benches.pictures import synthetic  # noqa: E402


def made_up(value: float | None, bars: tuple[Bar, ...]) -> Any:
    @measurement("made-up", bars)
    def measure(quick: bool) -> dict[str, Any]:
        """Measure."""
        return {"ratio": {"a": value}}

    return measure


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(page, "JSON", tmp_path / "figures.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    machine = {"cpu": "x", "cores": 2, "python": "3", "tensorflow": "2", "keras": "3", "pillow": "1", "load": 0.5}
    monkeypatch.setattr(page, "machine", lambda: machine)
    return tmp_path


@pytest.mark.parametrize(
    ("comparison", "value", "reached"),
    [(">=", 5, True), (">=", 4.99, False), ("<=", 5, True), ("<=", 5.01, False), ("<", 5, False), ("<", 4.9, True)],
)
def test_a_bar_is_reached_on_its_side_only(comparison: Any, value: float, reached: bool) -> None:
    bar = Bar("ratio/a", comparison, 5.0, "a")
    assert bar.reached({"ratio": {"a": value}}) is reached
    assert ("MISSED" in page.verdict(bar, {"ratio": {"a": value}})) is not reached


@pytest.mark.parametrize(("value", "code", "mark"), [(6.0, 0, "yes"), (4.0, 1, "**no**"), (None, 0, "not judged")])
def test_a_missed_bar_is_recorded_and_ends_with_1(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, value: float | None, code: int, mark: str
) -> None:
    bars = (Bar("ratio/a", ">=", 5.0, "speed of a"),)
    monkeypatch.setattr(registry, "bars", lambda: {"made-up": bars})
    result = CliRunner().invoke(made_up(value, bars), [])
    assert result.exit_code == code, result.output
    row = next(line for line in page.PAGE.read_text().splitlines() if "speed of a" in line)
    assert row.endswith(f"| {mark} |")
    content = json.loads(page.JSON.read_text())["made-up"]
    assert content["ratio"] == {"a": value}
    assert content["machine"]["cores"] == 2


def test_a_quick_run_is_neither_judged_nor_recorded(recorded: Path) -> None:
    result = CliRunner().invoke(made_up(1.0, (Bar("ratio/a", ">=", 5.0, "a"),)), ["--quick"])
    assert result.exit_code == 0
    assert not list(recorded.iterdir())


def test_what_others_measured_stays(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = (Bar("ratio/a", ">=", 1.0, "a"),)
    monkeypatch.setattr(registry, "bars", lambda: {"first": bars, "second": bars})
    for name in ("second", "first"):
        page.record(name, {"ratio": {"a": 2.0}})
    assert list(json.loads(page.JSON.read_text())) == ["first", "second"]
    assert page.PAGE.read_text().count("## ") == 2


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    found = turns({"a": lambda: side("a"), "b": lambda: side("b")}, 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": [3, 6], "b": [4, 5]}


def test_every_measurement_has_bars_and_is_under_300_lines() -> None:
    bars = registry.bars()
    known = ("decode", "memory", "views", "head", "extraction", "precision", "features-memory", "block5", "frozen")
    assert set(known) <= set(bars)
    assert all(bars.values())
    for path in (SCRIPTS / "benches").glob("*.py"):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) < 300, path
        assert ast.get_docstring(ast.parse(text)), path


def test_the_record_fits_the_bars() -> None:
    """Every recorded measurement still exists, and the committed page says what the committed figures say."""
    content = json.loads((measuring.ROOT / "docs" / "benchmarks.json").read_text("utf-8"))
    bars = registry.bars()
    assert set(content) <= set(bars)
    assert (measuring.ROOT / "docs" / "benchmarks.md").read_text("utf-8") == "\n".join(page.lines(content, bars)) + "\n"


def test_a_child_returns_its_result_and_parts_are_stratified(tmp_path: Path) -> None:
    synthetic(tmp_path / "data", 40, (16, 12), classes=2)
    arguments = {"data": tmp_path / "data", "folder": tmp_path / "parts", "shares": (16, 4, 4), "seed": 0}
    assert measuring.in_child("pictures", "parts", arguments) == {"train": 16, "val": 4, "test": 4}
    for part, each in (("train", 8), ("val", 2), ("test", 2)):
        assert [len(list((tmp_path / "parts" / part / f"class_{c}").iterdir())) for c in (0, 1)] == [each, each]


def test_listing_the_bars_needs_no_tensorflow() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); sys.argv = ['bench.py', 'bars']\n"
        "import runpy\n"
        "try:\n    runpy.run_path(sys.path[0] + '/bench.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "extraction" in done.stdout


def test_what_many_machines_would_need_is_written_into_its_page_from_the_figures(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benches import distributed

    before = (measuring.ROOT / "docs" / distributed.PAGE).read_text("utf-8")
    path = recorded / distributed.PAGE
    path.write_text(before, "utf-8")
    speeds = {"in process": 100.0, "one actor": 45.0, "two actors": 90.0, "four actors": 95.0}
    figures = {
        "pictures": [10_000, 1_000_000], "peak_mb": 1000.0, "growth_mb": 198.0, "milliseconds_a_row": 0.02,
        "pictures_per_second": speeds, "ratio": 0.9,
        "asking": {
            "10000": {"cpu": 3.0, "listing": 2.5, "peak_mb": 802.0},
            "1000000": {"cpu": 22.8, "listing": 12.4, "peak_mb": 1000.0},
        },
    }  # fmt: skip
    page.record("ray", figures)
    after = path.read_text("utf-8")
    assert after.split("<!-- begin")[0] == before.split("<!-- begin")[0]
    assert after.split("<!-- end")[1] == before.split("<!-- end")[1]
    for row in (
        "| processor time, all of it | 3.00 s | 22.80 s | 0.0200 ms |",
        "| four actors | 95 | 0.95 |",
        "| the workers | 45 pictures a second of each core, as of an actor here | 13,889 s |",  # 1e9 / (45 · 1,600)
        "one after the other | 20,000 s, beside the workers |",
        "| its memory | 0.20 KB a picture of a part, above what it has here | 2.7 GB |",  # 1,000 MB + 9 million rows
        "| price | 0.04 $ an hour of a core, all machines to the end | 356 $ |",  # the asking process is the slower one
    ):
        assert row in after


def test_engines_are_shown_as_a_table_beside_the_best_that_tensorflow_does(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "bars", lambda: {"engines": (Bar("slowest", ">=", 0.95, "the least gain"),)})
    row = {"tensorflow": 10.0, "tensorflow_bfloat16": 20.0, "openvino": 12.0, "auto": 19.0, "taken": "graph"}
    page.record("engines", {"amx": False, "networks": {"vgg16": row}, "slowest": 1.9})
    lines = page.PAGE.read_text("utf-8").splitlines()
    assert "| vgg16 | 10 | 20 | 12 | – | its bfloat16 | 19 | 0.95 |" in lines
    assert any(
        "On a processor without AMX; on one with it the engines have not been compared." in line for line in lines
    )
    assert not any(line.startswith("- networks") for line in lines)


def test_growth_is_the_exponent_between_two_sizes_of_stages_that_are_long_enough() -> None:
    from benches import growth

    found = {
        "100": {"seconds": {"check": 1.0, "choice": 2.0, "split": 0.001, "report": 3.0}},
        "1000": {"seconds": {"check": 10.0, "choice": 200.0, "split": 0.9, "report": 3.0}},
    }
    exponents = growth.grown(found, [100, 1000])
    assert exponents == pytest.approx({"check": 1.0, "choice": 2.0, "report": 0.0})


def small_form(name: str) -> dict[str, Any]:
    """The figures of `bench.py NAME --quick`."""
    command = [sys.executable, SCRIPTS / "bench.py", name, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return figures


@pytest.mark.extended
def test_the_small_form_of_growth_measures_every_stage() -> None:
    figures = small_form("growth")
    assert figures["counts"] == [60, 120]
    for found in figures["stages"].values():
        assert set(found["seconds"]) == {"check", "split", "extraction", "choice", "head", "test", "report", "total"}
        assert {"choosing", "computing features", "writing the report"} <= set(found["peak_above_import_mb"])


@pytest.mark.extended
def test_the_small_form_of_accelerator_measures_extraction_and_fine_tuning() -> None:
    figures = small_form("accelerator")
    assert set(figures["networks"]["mini"]["fine_tuning"]) == {"float32, batch 32"}
    for work in figures["networks"]["mini"].values():
        for row in work.values():
            assert row["pictures_per_second"] > 0
            assert row["fed"] == pytest.approx(row["pictures_per_second"] / row["resident"], rel=0.01)


def test_the_share_of_the_time_is_the_lowest_that_was_measured() -> None:
    from benches import accelerator

    rows = {"float32": {"busy": 0.5}, "bfloat16": {"busy": 0.3}, "unknown": {"busy": None}}
    found = accelerator.lowest({"vgg16": {"extraction": rows}}, "extraction")
    assert found == {"vgg16": 0.3, "resnet50": None, "dinov2_small": None}


def test_without_an_accelerator_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from benches import accelerator

    monkeypatch.setattr(accelerator, "in_child", lambda *_: {"count": 0, "backend": "jax"})
    result = CliRunner().invoke(accelerator.measure, [])
    assert result.exit_code == 1
    assert result.output == "Error: Keras' backend jax sees no accelerator here; docs/howto/gpu.md says what it needs\n"


@pytest.mark.extended
@pytest.mark.ray
def test_the_small_form_of_ray_measures_the_asking_process_and_the_actors() -> None:
    figures = small_form("ray")
    assert [found["rows"] for found in figures["asking"].values()] == [200]
    assert all(found["peak_mb"] > found["before_mb"] * 0.9 > 0 for found in figures["asking"].values())
    if figures["ratio"] is not None:  # the real pictures are here
        assert set(figures["pictures_per_second"]) == {"in process", "two actors"}
