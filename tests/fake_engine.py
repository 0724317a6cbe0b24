"""An engine for tests: TensorFlow's numbers, changed as a test wants them, by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transferkit import compute
from transferkit.compute import engines
from transferkit.compute.engines import Engine
from transferkit.features import engine_choice as choosing

Outputs = list[np.ndarray]


class Fake:
    """TensorFlow takes a second a call, this engine `speed`. `asked` counts networks it compiled, `called` calls;
    `together` is whether the last was to compute one picture on all threads."""

    def __init__(self) -> None:
        self.speed, self.now = 0.3, 0.0
        self.asked, self.called, self.together = 0, 0, False
        self.change: Callable[[Outputs], Outputs] = lambda outputs: outputs
        self.compiled: Callable[[], None] = lambda: None


def faked(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The only engine beside TensorFlow is "fake", and no job is too short for a trial."""
    made = Fake()
    plain = compute.forward

    def tensorflow(model: Any, graph_bfloat16: bool = False) -> Any:
        run = plain(model)

        def call(inputs: Any, rows: Any = None) -> Outputs:
            made.now += 1.0
            return run(inputs, rows)

        return call

    def forward(name: str, model: Any, threads: int, together: bool = False) -> Any:
        assert name == "fake"
        made.together = together
        assert threads > 0
        made.asked += 1
        made.compiled()
        run = plain(model)

        def call(inputs: Any, rows: Any = None) -> Outputs:
            made.now, made.called = made.now + made.speed, made.called + 1
            return made.change([np.copy(x) for x in run(inputs, rows)])

        return call

    monkeypatch.setattr(engines, "ENGINES", {"fake": Engine("Fake", "keras", ("keras",))})
    monkeypatch.setattr(engines, "installed", lambda: ["fake"])
    monkeypatch.setattr(engines, "forward", forward)
    monkeypatch.setattr(compute, "forward", tensorflow)
    monkeypatch.setattr(choosing.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(choosing, "LITTLE", 0)
    monkeypatch.setattr(choosing, "START", 0)
    monkeypatch.setattr(choosing, "SHARES", {False: 1e9, True: 1e9})
    return made
