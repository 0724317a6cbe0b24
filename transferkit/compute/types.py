"""What both engines promise, and the little they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Arrays = list[np.ndarray]
LossFunction = Callable[[Any, Any], Any]


class Forward(Protocol):
    """`forward([x, …])` → list of outputs, float32 NumPy, inference mode."""

    def __call__(self, inputs: Sequence[np.ndarray]) -> Arrays:
        """Compute."""


class InputGradient(Protocol):
    """`gradient(x [n, …], weights [n, t])` → (outputs [n, t], gradient of sum(outputs · weights) by x [n, …])."""

    def __call__(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute."""


class Steps(Protocol):
    """`steps(inputs [n,b,…], targets [n,b,t], weights [n,b])` → (mean loss, outputs [n,b,t]), n optimizer steps on."""

    def __call__(
        self, inputs: Sequence[np.ndarray], targets: np.ndarray, weights: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Take the steps."""


def flat(outputs: Any) -> list[Any]:
    """A model's outputs as a list, however many there are."""
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def joined(inputs: Sequence[Any]) -> Any:
    """What a model of these inputs is called with: the one tensor, or the list."""
    return inputs[0] if len(inputs) == 1 else list(inputs)
