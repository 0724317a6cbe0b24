"""`--views auto`: as many views as left-out pictures gain by, and no pass of the network beyond."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.errors import DataError
from transferkit.features.row_sources import Views
from transferkit.runs import view_count
from transferkit.runs.run_record import ViewsRecord


@dataclass(frozen=True)
class Context:
    """As much of a run's context as measuring looks at."""

    samples: Any
    settings: Any
    views: Views
    splits: Any = None


def context(head: str = "mlp") -> Any:
    views = Views(DecodeSettings(8), augmentation("light"), 4, 0)
    kind = SimpleNamespace(tta_measure="log loss")
    return Context(SimpleNamespace(kind=kind), tk.Settings(backbone="mini", head=head, views="auto"), views)


def measured(monkeypatch: pytest.MonkeyPatch, worth: dict[int, float | None], noise: float = 0.01) -> Any:
    """What is found where the mean loss of 400 pictures with so many views is `worth`; and the steps that were made."""
    asked: list[int] = []
    rng = np.random.default_rng(0)

    def losses(count: int, *_: Any) -> Any:
        asked.append(count)
        mean = worth[count]
        return None if mean is None else mean + noise * rng.standard_normal(400)

    monkeypatch.setattr(view_count, "rounds_of_folds", lambda *_: [[np.arange(200), np.arange(200, 400)]])
    monkeypatch.setattr(view_count, "_recipe", lambda context, cache, count, pool: count)
    monkeypatch.setattr(view_count, "_by_heads", losses)
    monkeypatch.setattr(view_count, "_by_ridge", losses)
    return view_count.measure(context("auto" if None in worth.values() else "mlp"), None, lambda *_: None), asked  # type: ignore[arg-type, return-value]


def test_extraction_stops_where_more_views_no_longer_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = measured(monkeypatch, {0: 0.7, 2: 0.6, 4: 0.55, 8: 0.55, 16: 0.1})
    assert (found.chosen, asked) == (4, [0, 2, 4, 8]), "what sixteen would bring nobody paid for"
    assert [point.views for point in found.curve] == [0, 2, 4, 8]
    assert found.curve[1].gain == pytest.approx(0.1, abs=0.01)
    assert found.words.startswith("4 of each training picture; log loss of 400 left-out pictures by the head: 0.")
    assert found.words.endswith("; 8 do not pay")


def test_pictures_that_gain_nothing_are_learnt_from_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = measured(monkeypatch, {0: 0.5, 2: 0.6})
    assert (found.chosen, asked) == (0, [0, 2])


def test_a_gain_within_a_standard_error_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = measured(monkeypatch, {0: 0.5, 2: 0.499}, noise=1.0)
    point = found.curve[1]
    assert abs(point.gain) < 0.2, "the test's own premise"
    assert (found.chosen, len(asked)) == ((0, 2) if point.gain <= point.gain_se else (2, 3))


def test_the_last_step_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = measured(monkeypatch, {0: 0.7, 2: 0.6, 4: 0.5, 8: 0.4, 16: 0.3})
    assert (found.chosen, asked) == (16, list(view_count.STEPS))
    assert found.words.endswith("more are not tried")


def test_views_that_do_not_fit_into_memory_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = measured(monkeypatch, {0: 0.7, 2: 0.6, 4: None})
    assert (found.chosen, found.by) == (2, "ridge regression")


def test_rows_of_one_view_stand_for_views_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_count, "tapped_rows", lambda work: SimpleNamespace(x=np.zeros((5, 1, 3))))
    work = SimpleNamespace(problem=None, settings=None, views=SimpleNamespace(count=2))
    assert view_count._by_ridge(work, []) is None  # type: ignore[arg-type]


def test_heads_answer_for_training_pictures_that_they_did_not_see_and_for_no_others() -> None:
    learnt: list[tuple[list[int], list[int]]] = []

    def part(train: np.ndarray, out: np.ndarray) -> Any:
        learnt.append((train.tolist(), out.tolist()))
        return SimpleNamespace(units=None, val=out)

    kind = SimpleNamespace(
        answers=lambda logits, temperature, units: logits, surprise=lambda targets, answers: targets - answers
    )
    samples = SimpleNamespace(kind=kind, targets=10.0 * np.arange(7))
    work = SimpleNamespace(
        problem=SimpleNamespace(train=np.arange(4), samples=samples),
        left_out=lambda problems: [1.0 * problem.val for problem in problems],
    )
    folds = [np.array(fold) for fold in ([0, 4], [1, 2, 5], [6])]  # 4, 5 and 6 are for validation
    losses = view_count._by_heads(work, folds, part)  # type: ignore[arg-type]
    assert learnt == [([1, 2, 3], [0]), ([0, 3], [1, 2])]
    assert losses.tolist() == [0.0, 9.0, 18.0], "of 0, 1 and 2, each with its own target"


def test_where_nothing_can_be_measured_the_usual_number_stands_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small(*_: Any) -> Any:
        raise DataError("class 'rose' has 1 picture")

    monkeypatch.setattr(view_count, "rounds_of_folds", small)
    found = view_count.measure(context(), None, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert (found.chosen, found.curve) == (4, [])
    assert "class 'rose' has 1 picture" in found.words


def test_a_run_that_goes_on_keeps_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*_: Any) -> Any:
        raise AssertionError("it was measured before")

    monkeypatch.setattr(view_count, "measure", again)
    record: Any = SimpleNamespace(views=ViewsRecord(chosen=8, measure="log loss"))
    settings, views = view_count.found(context(), record, None, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert (settings.views, settings.used_views, views.count) == (8, 8, 8)


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("finetune", ("--augment", "none"), "--views auto has no effect with --augment none"),
        ("finetune", ("--unfreeze", "all"), "--views auto has no effect with --unfreeze all: nothing is kept there"),
        ("tune", ("--search", "head_width=8,16"), "e.g. --search views=0,2,4,8"),
        ("best", (), "best compares networks on the same number of views"),
    ],
)
def test_where_it_has_no_effect_it_is_refused(
    command: str, options: tuple[str, ...], words: str, digits: Path, tmp_path: Path
) -> None:
    result = call(command, digits, "--backbone", "mini", "--views", "auto", *options, "--output", tmp_path / "run")
    assert result.code == 2
    assert words in " ".join(result.err.split())
    assert not (tmp_path / "run").exists()


def test_a_search_over_it_is_refused(digits: Path, tmp_path: Path) -> None:
    result = call("tune", digits, "--backbone", "mini", "--search", "views=auto,4", "--output", tmp_path / "run")
    assert result.code == 2
    assert "a search compares numbers" in " ".join(result.err.split())


@pytest.mark.extended
@pytest.mark.parametrize("head", ["linear", "auto"])
def test_a_run_finds_says_records_and_repeats_it(
    head: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))
    more = {"epochs": 3, "patience": 2} if head == "linear" else {}
    runs = []
    for name in ("first", "second"):
        runs.append(tk.finetune(digits, "mini", head=head, views="auto", output=tmp_path / name, quiet=True, **more))  # type: ignore[arg-type]
        monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)  # that of the first is read
    first, second = (run.layout.read_manifest() for run in runs)
    assert first.views is not None
    steps = [point.views for point in first.views.curve]
    assert steps == list(view_count.STEPS[: len(steps)])
    paid = [point.views for point in first.views.curve if point.pays]
    assert first.views.chosen == paid[-1]
    assert first.views.n == (140 if head == "linear" else 170), "training pictures; where one is chosen, validation too"
    assert second.views is not None
    assert second.views.as_json() == first.views.as_json()
    assert runs[0].metrics["test"] == runs[1].metrics["test"]
    assert "--views auto" in first.command
    said = runs[0].metrics["diagnosis"]
    assert not any(f"--views {count} " in f"{remedy['command']} " for remedy in said["remedies"] for count in range(17))
    assert f"{first.views.chosen} (auto)" in runs[0].layout.report.read_text("utf-8")
    fixed = tk.finetune(
        digits, "mini", head=head, views=first.views.chosen, output=tmp_path / "fixed", quiet=True,
        **({"augment": "none"} if first.views.chosen == 0 else {}), **more,  # type: ignore[arg-type]
    )  # fmt: skip
    assert fixed.metrics["test"] == runs[0].metrics["test"], "it trains as the number does"
