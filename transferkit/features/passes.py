"""Compiled passes of frozen networks: each made once, in the format and by the engine that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit.compute import engines
from transferkit.compute.engines import EngineError
from transferkit.console import Reporter
from transferkit.data.threads import available_threads
from transferkit.features.precision import Precision

if TYPE_CHECKING:
    import keras


@dataclass
class Passes:
    """What a probe has compiled serves the work after it. Other engines than TensorFlow compute one picture on one
    thread, or, where they come one at a time (`together`), on all of them."""

    reporter: Reporter
    together: bool = False
    _made: dict[tuple[int, Precision], tuple[keras.Model, compute.Forward]] = field(default_factory=dict)

    def of(self, model: keras.Model, precision: Precision) -> compute.Forward:
        """The forward pass of `model`, Keras' own in halves where memory runs out. To be called, the first time, inside
        `precision.applied`. Raises EngineError, as its calls do, where an engine fails."""
        key = id(model), replace(precision, reason="")
        if key not in self._made:
            if precision.engine:
                run = engines.forward(precision.engine, model, available_threads(), self.together)
            else:
                plain = compute.forward(model, graph_bfloat16=precision.how == "graph")
                run = compute.halving(plain, self.reporter.warn)
            self._made[key] = model, run
        return self._made[key][1]

    def keep(self, precision: Precision) -> None:
        """Let go of other engines than that of `precision`, which lost: each holds the network's weights once more."""
        self._made = {key: made for key, made in self._made.items() if key[1].engine in ("", precision.engine)}

    def guarded(self, model: keras.Model, precision: Precision) -> compute.Forward:
        """As `of`, and TensorFlow from where the engine fails, to take the network too: for who cannot begin again."""
        if not precision.engine:
            return self.of(model, precision)
        try:
            now = [self.of(model, precision)]
        except EngineError as error:
            return self.of(model, self.failed(error))

        def call(inputs: Sequence[Any], rows: np.ndarray | None = None) -> compute.Arrays:
            try:
                return now[0](inputs, rows)
            except EngineError as error:
                now[0] = self.of(model, self.failed(error))
                return now[0](inputs, rows)

        return call

    def failed(self, error: EngineError) -> Precision:
        """What is computed in from now on, which is said."""
        self.reporter.warn(f"{error}; going on with TensorFlow")
        return Precision(reason=str(error))
