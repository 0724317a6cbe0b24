"""`--max-latency` and `--max-size`: what a network that is shipped may cost, measured as it will be shipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit.backbones.build import LoadedBackbone
from transferkit.config import Settings
from transferkit.errors import ConfigError
from transferkit.evaluation.metrics_record import CostRecord
from transferkit.features.taps import tapped, taps
from transferkit.runs.half_weights import halve
from transferkit.selection import shipping
from transferkit.selection.fitted import Affine
from transferkit.selection.projection import Projection
from transferkit.storage import own_temporaries, scratch

if TYPE_CHECKING:
    import keras

CALLS = 25  # of which the median counts, so that a busy moment of the machine does not
WARM_UP = 5
MB = 1e6


@dataclass(frozen=True)
class CostLimits:
    """Most milliseconds for one picture and most megabytes of the file; None for no limit."""

    latency: float | None
    size: float | None

    @classmethod
    def of(cls, settings: Settings) -> CostLimits:
        """Those of a run."""
        return cls(settings.max_latency, settings.max_size)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.latency is not None or self.size is not None

    def cost(self, model: keras.Model) -> ClassifierCost:
        """What `model` (uint8 pictures → outputs) costs of what is limited."""
        return ClassifierCost(
            None if self.latency is None else latency(model, compute.forward(model)),
            None if self.size is None else size(model),
        )

    def excess(self, cost: ClassifierCost) -> str:
        """How `cost` is above the limits, in words; empty where it is not."""
        found = []
        if self.latency is not None and cost.latency is not None and cost.latency > self.latency:
            found.append(f"{cost.latency:.3g} ms a picture (--max-latency {self.latency:g})")
        if self.size is not None and cost.size is not None and cost.size > self.size:
            found.append(f"{cost.size:.3g} MB (--max-size {self.size:g})")
        return " and ".join(found)


@dataclass(frozen=True)
class ClassifierCost:
    """Milliseconds for one picture, and megabytes of the file; None where they were not measured."""

    latency: float | None
    size: float | None

    def __str__(self) -> str:
        parts = [] if self.latency is None else [f"{self.latency:.3g} ms a picture on this machine"]
        return ", ".join(parts if self.size is None else [*parts, f"{self.size:.3g} MB"])


@dataclass
class Account:
    """What was measured of candidates, each kind once, and which of them cost too much. `last` is the cost of what was
    admitted last."""

    limits: CostLimits
    say: Callable[[str], None]
    left_out: list[str] = field(default_factory=list)
    last: ClassifierCost = ClassifierCost(None, None)
    _known: dict[Hashable, ClassifierCost] = field(default_factory=dict)

    def admits(self, kind: Hashable, what: str, model: Callable[[], keras.Model]) -> bool:
        """Whether the network that `model` makes is within the limits; networks of one `kind` cost the same."""
        if not self.limits.any:
            return True
        if kind not in self._known:
            self._known[kind] = self.limits.cost(model())
        cost = self._known[kind]
        excess = self.limits.excess(cost)
        if excess:
            self.left_out.append(f"{what}: {excess}")
            self.say(f"left out: {self.left_out[-1]}")
            return False
        self.last = cost
        return True

    def record(self) -> CostRecord | None:
        """The entry of metrics.json; None where there are no limits."""
        if not self.limits.any:
            return None
        last = self.last
        return CostRecord(latency=last.latency, size=last.size, words=str(last), left_out=self.left_out)


def latency(model: keras.Model, run: compute.Forward) -> float:
    """Milliseconds from one picture in memory to its answer: the median of `CALLS` calls of the compiled graph.

    Args:
        model: what is shipped, which says the size of pictures.
        run: its compiled pass.
    """
    one = [np.zeros((1, *model.input_shape[1:]), np.uint8)]
    seconds = []
    for _ in range(WARM_UP + CALLS):
        started = time.perf_counter()
        run(one)
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds[WARM_UP:])


def size(model: Any) -> float:
    """Megabytes (10⁶ bytes) of the file that `model` is saved in."""
    with own_temporaries(), scratch() as folder:
        path = folder / "model.keras"
        model.save(path)
        halve(path, exact=True)
        return path.stat().st_size / MB


def check(backbone: LoadedBackbone, outputs: int, settings: Settings) -> None:
    """Raise where a network with the plainest classifier already costs more than is allowed.

    Args:
        backbone: the network.
        outputs: of the classifier.
        settings: of the run, with the limits.

    Raises:
        ConfigError: with what it costs.
    """
    import keras

    limits = CostLimits.of(settings)
    if not limits.any:
        return
    found = taps(backbone)
    start, stop = found.sets()["last"]
    ones = np.ones(stop - start, np.float32)
    nothing = Affine(np.zeros((stop - start, outputs), np.float32), np.zeros(outputs, np.float32))
    body = shipping.body(Projection(start, stop, ones, 0 * ones, None), nothing)
    inputs = keras.Input((backbone.size, backbone.size, 3), dtype="uint8", name="picture")
    model = keras.Model(inputs, body(tapped(backbone, found, inputs, (start, stop))))
    excess = limits.excess(limits.cost(model))
    if excess:
        raise ConfigError(
            f"{backbone.row.name} with the plainest classifier already takes {excess}; allow more, make pictures "
            "smaller with --image-size, or name a smaller network with --backbone (transferkit backbones list)"
        )
