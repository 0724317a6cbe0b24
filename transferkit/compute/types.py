"""What both engines promise, and the little they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from transferkit.compute import keras_private

Arrays = list[np.ndarray]
LossFunction = Callable[[Any, Any], Any]


class Forward(Protocol):
    """`forward([x, …])` → list of outputs, float32 NumPy, inference mode.

    `rows` int32 [n], where given, says that the inputs are tensors (best those of `hold`) of which these rows are
    taken; any number of them is one trace on TensorFlow.
    """

    def __call__(self, inputs: Sequence[Any], rows: np.ndarray | None = None) -> Arrays:
        """Compute."""


class InputGradient(Protocol):
    """`gradient(x [n, …], weights [n, t])` → (outputs [n, t], gradient of sum(outputs · weights) by x [n, …])."""

    def __call__(self, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute."""


class Steps(Protocol):
    """`steps(inputs [n,b,…], targets [n,b,t], weights [n,b])` → (mean loss, outputs [n,b,t]), n optimizer steps on.

    `rates` float32 [n], where given, are the learning rates of the steps; the optimizer must then have a plain number
    for its rate, not a schedule. `rows` int32 [n,b], where given, says that `inputs` are tensors [R,…] (best those of
    `hold`) from which each step takes these rows. `planned` is how many steps the whole phase may come to: by it the
    engine decides how much compiling is worth. With `wait` False what comes back may still be computing: `float` and
    `np.asarray` wait for it, and the next steps may be asked for before.
    """

    def __call__(
        self, inputs: Sequence[Any], targets: np.ndarray, weights: np.ndarray,
        rates: np.ndarray | None = None, rows: np.ndarray | None = None, planned: int = 0, wait: bool = True,
    ) -> tuple[float, np.ndarray]:  # fmt: skip
        """Take the steps."""


def flat(outputs: Any) -> list[Any]:
    """A model's outputs as a list, however many there are."""
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def joined(inputs: Sequence[Any]) -> Any:
    """What a model of these inputs is called with: the one tensor, or the list."""
    return inputs[0] if len(inputs) == 1 else list(inputs)


def rate_variable(optimizer: Any) -> Any:
    """The variable that holds an optimizer's learning rate, behind a loss scale too; None if it is a schedule."""
    import keras

    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = keras_private.rate(inner)
    return rate if isinstance(rate, keras.Variable) else None
