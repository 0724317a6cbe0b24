"""One runner leaves its networks and compiled heads to the next: the same outcomes, and nothing is built twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.tuning.ray_trials import digits_plan, values
from transferkit import compute
from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.features.precision import Precision
from transferkit.training import recipe
from transferkit.tuning import trial_runner
from transferkit.tuning.records import TrialTask
from transferkit.tuning.trial_runner import Built, TrialRunner

TASK = TrialTask("0", {"head_width": (16,)}, 0)


@pytest.mark.extended
def test_a_network_that_was_trained_on_meanwhile_is_taken_over_as_it_came(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    build = trial_runner.build
    monkeypatch.setattr(trial_runner, "build", lambda *given: made.append(given) or build(*given))
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))
    whole, built, quiet = digits_plan(digits, tmp_path), Built(), Reporter(quiet=True)
    ((train, val),) = whole.pairs
    first = TrialRunner(replace(whole, pairs=((train, val[:9]),)), quiet, built=built)
    assert first.run(TASK).status == "ok"
    first.forget()
    network = built.network(whole.settings(TASK.values, 0))
    assert network is not None
    compute.assign(network.model.weights, [np.zeros_like(value) for value in compute.values(network.model.weights)])
    # The features of the other validation pictures are computed only now.
    found = values(TrialRunner(whole, quiet, built=built).run(TASK))
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "another cache"))  # not those that were just computed
    assert found == values(TrialRunner(whole, quiet).run(TASK))
    assert len(made) == 2, "the first and the last runner build"
    assert len(built.heads) == 1


def test_a_head_that_a_trial_has_trained_is_asked_again_and_not_trained_again(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, built, quiet = digits_plan(digits, tmp_path), Built(), Reporter(quiet=True)
    plan = replace(plan, judged=plan.pairs[0][1][:9])
    assert TrialRunner(plan, quiet, built=built).run(TASK).status == "ok"
    expected = TrialRunner(plan, quiet).answers(TASK)
    other = replace(TASK, values={"learning_rate": 1e-4})  # under the same name, as another search may have it
    assert TrialRunner(plan, quiet, built=built).run(other).status == "ok"  # the same layers, other weights
    monkeypatch.setattr(recipe.Recipe, "head_alone", lambda *_: 1 / 0)
    for own, answers in zip(TrialRunner(plan, quiet, built=built).answers(TASK), expected, strict=True):
        np.testing.assert_array_equal(own, answers)


def test_of_heads_that_take_too_much_memory_the_oldest_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_runner, "TRAINED_BYTES", 100)
    monkeypatch.setattr(compute, "values", lambda weights: weights)
    built = Built()
    for task in (1, 2, 3):
        built.keep(replace(TASK, seed=task), SimpleNamespace(weights=[np.full(10, task, np.float32)]))  # type: ignore[arg-type]
    assert [weights[0][0] for weights in built.trained.values()] == [2, 3]


@pytest.mark.parametrize(("later", "kept"), [("float32", True), ("bfloat16", False)])
def test_rows_in_memory_are_computed_again_where_the_precision_is_another(
    digits: Path, tmp_path: Path, later: str, kept: bool
) -> None:
    prepared: list[Any] = []
    pooled = SimpleNamespace(features="of the runner before")

    def choose_precision(*_: Any) -> None:
        frozen.precision = Precision(later)

    frozen: Any = SimpleNamespace(
        precision=Precision("float32"), choose_precision=choose_precision, source=lambda *_: "source",
        prepare=lambda kinds, *_: prepared.append(kinds[0].features),
    )  # fmt: skip
    plan, built = digits_plan(digits, tmp_path), Built()
    settings, backbone = plan.settings(TASK.values, 0), SimpleNamespace(model=SimpleNamespace(weights=[]))
    network: Any = trial_runner.Network(backbone, SimpleNamespace(count=0), frozen, pooled, [])  # type: ignore[arg-type]
    built.networks[trial_runner._key(settings)] = network
    assert TrialRunner(plan, Reporter(quiet=True), built=built).stand(settings).source == "source"  # type: ignore[comparison-overlap]
    assert prepared == ["of the runner before" if kept else None]


def test_what_failed_leaves_nothing_to_the_next(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise TrainingError("half trained")

    built: Any = Built()
    built.networks["some"] = object()
    runner = TrialRunner(digits_plan(digits, tmp_path), Reporter(quiet=True), built=built)
    monkeypatch.setattr(runner, "_run", failing)
    assert runner.run(TASK).error == "half trained"
    assert not built.networks
