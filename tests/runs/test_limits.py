"""What is shipped costs no more than was allowed, and what cost more is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.config import make
from transferkit.errors import ConfigError
from transferkit.runs.limits import Account, ClassifierCost, CostLimits


@pytest.mark.parametrize(
    ("limits", "cost", "words"),
    [
        (CostLimits(None, None), ClassifierCost(None, None), ""),
        (CostLimits(5, 2), ClassifierCost(5.0, 2.0), ""),
        (CostLimits(5, None), ClassifierCost(5.4, None), "5.4 ms a picture (--max-latency 5)"),
        (CostLimits(5, 2), ClassifierCost(5.4, 2.5), "5.4 ms a picture (--max-latency 5) and 2.5 MB (--max-size 2)"),
    ],
)
def test_what_is_above_a_limit_is_said(limits: CostLimits, cost: ClassifierCost, words: str) -> None:
    assert limits.excess(cost) == words


def test_each_kind_is_measured_once_and_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []

    def cost(self: CostLimits, model: Any) -> ClassifierCost:
        measured.append(model)
        return ClassifierCost(float(model), None)

    monkeypatch.setattr(CostLimits, "cost", cost)
    said: list[str] = []
    account = Account(CostLimits(5, None), said.append)
    assert not account.admits("kernel", "kernel machine", lambda: 9)  # type: ignore[arg-type,return-value]
    assert not account.admits("kernel", "kernel machine, other", lambda: 1)  # type: ignore[arg-type,return-value]
    assert account.admits("linear", "ridge", lambda: 3)  # type: ignore[arg-type,return-value]
    assert measured == [9, 3]
    assert len(said) == len(account.left_out) == 2
    assert account.record().latency == 3.0
    assert Account(CostLimits(None, None), said.append).record() is None


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
def test_the_file_is_no_larger_than_was_allowed_and_what_would_be_is_left_out(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever is no line of numbers a class is far too large here.
    inner = CostLimits.cost
    monkeypatch.setattr(
        CostLimits,
        "cost",
        lambda self, model: ClassifierCost(None, 99.0) if "supports" in names(model) else inner(self, model),
    )
    run = tk.finetune(digits, "mini", output=tmp_path / "run", max_size=3.0, quiet=True)
    cost = run.metrics["cost"]
    actual = run.layout.model.stat().st_size / 1e6
    assert cost["size"] == pytest.approx(actual, abs=0.05)
    assert actual <= 3.0
    chosen = next(row for row in run.metrics["candidates"] if row["chosen"])
    assert chosen["classifier"] != "kernel"
    assert all("99 MB (--max-size 3)" in text for text in cost["left_out"])
    assert cost["words"] in " ".join(run.summary().split())


def names(model: Any) -> set[str]:
    return {layer.name for layer in model._flatten_layers()}


@pytest.mark.parametrize(("option", "unit"), [("--max-latency", "ms a picture"), ("--max-size", "MB")])
def test_a_network_that_costs_too_much_by_itself_is_refused_before_anything_is_written(
    option: str, unit: str, digits: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    found = call("finetune", digits, "--backbone", "mini", option, "0.0001", "--output", run)
    assert found.code == 2
    assert "mini with the plainest classifier already takes" in found.err
    assert f"{unit} ({option} 0.0001)" in found.err
    assert not run.exists()


def test_limits_are_for_a_choice_only(digits: Path) -> None:
    with pytest.raises(ConfigError, match="--max-latency 5 has no effect where no classifier is chosen"):
        make({"backbone": "mini", "head": "mlp", "max_latency": 5})
    with pytest.raises(ConfigError, match="--max-size"):
        make({"backbone": "mini", "max_size": 0})
    found = call("tune", digits, "--backbone", "mini", "--max-size", "5")
    assert found.code == 2
    assert "tune does not make" in found.err
