"""Long training of small heads on a CPU: all steps of an epoch compiled into one program by XLA.

On a small head TensorFlow's dispatch of some eighty kernels a step costs more than what they compute; XLA makes a few
loops of them (measured on 1,024 × 256 weights and batches of 32: 0.46 ms a step against 0.85). But it compiles for a
second, for one batch size and one table of rows, and draws random numbers slowly. So it is for long phases only, and
what their dropout keeps is drawn before, by TensorFlow's own kernels: the very numbers of the short way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

LONG = 4000  # steps from which half a second more of compiling pays whatever the size
LARGEST = 1 << 29  # multiplications of a step; above, XLA's products are no faster than oneDNN's
NOISE_BYTES = 32 << 20  # of what dropout keeps, drawn at once
ANSWER_BYTES = 16 << 20  # of answers in training, in one call

Step = Callable[[Sequence[Any], dict[str, tf.Tensor]], tuple[Any, Any]]


@cache
def available() -> bool:
    """Whether this TensorFlow has XLA for the CPU, and the CPU is what it computes on."""
    if tf.config.list_logical_devices("GPU"):
        return False
    try:
        tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.constant(0.0))
    except (tf.errors.OpError, ValueError):
        return False
    return True


def pays(steps: int, batch: int, weights: Callable[[], int]) -> bool:
    """Whether steps are sooner done when compiled whole.

    Args:
        steps: how many there will be.
        batch: rows of each.
        weights: tells how many the model has.
    """
    return steps >= LONG and 3 * batch * weights() <= LARGEST and available()


def limited(gradients: list[Any], limit: float) -> list[Any]:
    """Gradients scaled so that their joint norm is at most `limit`; NaN in one makes all NaN, as in Keras.

    Args:
        gradients: tensors, of sizes that may be known only when they are compiled.
        limit: of the norm, above 0.
    """
    # XLA sums up all elements of a matrix one by one, but a matrix times ones in vectors.
    squares = [tf.reshape(g * g, (-1, tf.shape(g)[-1])) for g in gradients]
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.linalg.matvec(s, tf.ones(tf.shape(s)[-1:]))) for s in squares]))
    scale = tf.where(norm < limit, 1.0, limit / norm)
    return [gradient * scale for gradient in gradients]


class Program:
    """`run(inputs, batches)` → (losses [n], outputs [n, b, t]) of the n steps that `batches` hold.

    `step(inputs, now)` takes one, `now` being its row of `batches`. Layers of `noisy` draw what they keep by
    `draw(batch, units)`, bool [batch, units], and take it from `given` where that is set; their `units` may change
    between calls.
    """

    def __init__(self, step: Step, noisy: Sequence[Any]) -> None:
        self._step, self._noisy = step, noisy
        self._compiled: dict[Any, Any] = {}

    def __call__(self, inputs: Sequence[Any], batches: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Take the steps."""
        count, batch = batches["rows"].shape
        units = tuple(layer.units for layer in self._noisy)
        form = (batch, units, tuple(batches), *(tuple(x.shape) for x in inputs))
        if form not in self._compiled:
            answer = 4 * math.prod(batches["targets"].shape[1:])  # bytes of a step's; of all there are several copies
            slots = max(1, min(count, NOISE_BYTES // max(1, batch * sum(units)), ANSWER_BYTES // max(1, answer)))
            self._compiled[form] = slots, tf.function(lambda *given: self._several(slots, *given), autograph=False)
        slots, run = self._compiled[form]
        losses, outputs = np.empty(count, np.float32), np.empty(batches["targets"].shape, np.float32)
        for first in range(0, count, slots):
            some = {name: content[first : first + slots] for name, content in batches.items()}
            taken = len(some["rows"])
            found = run(inputs, {k: tf.constant(_filled(v, slots)) for k, v in some.items()}, tf.constant(taken))
            for whole, part in zip((losses, outputs), found, strict=True):
                whole[first : first + taken] = part.numpy()[:taken]
        return losses, outputs

    def _several(self, slots: int, inputs: Sequence[Any], batches: dict[str, tf.Tensor], count: Any) -> tuple[Any, Any]:
        noise = self._drawn(slots, batches["rows"].shape[1], count)
        found: tuple[Any, Any] = tf.function(self._loop, autograph=False, jit_compile=True)(
            slots, inputs, batches, noise, count
        )
        return found

    def _drawn(self, slots: int, batch: int, count: Any) -> list[Any]:
        """What each noisy layer keeps in each of `count` steps, bool [slots, batch, units]."""
        if not self._noisy:
            return []

        def body(i: Any, *arrays: Any) -> tuple[Any, ...]:
            drawn = [layer.draw(batch, layer.units) for layer in self._noisy]
            return (i + 1, *[array.write(i, kept) for array, kept in zip(arrays, drawn, strict=True)])

        empty = [tf.TensorArray(tf.bool, slots, element_shape=(batch, x.units)) for x in self._noisy]
        found = tf.while_loop(lambda i, *_: i < count, body, (tf.constant(0), *empty), parallel_iterations=1)
        return [array.stack() for array in found[1:]]

    def _loop(
        self, slots: int, inputs: Sequence[Any], batches: dict[str, tf.Tensor], noise: Any, count: Any
    ) -> tuple[Any, Any]:
        def body(i: Any, losses: Any, outputs: Any) -> tuple[Any, Any, Any]:
            now = {name: content[i] for name, content in batches.items()}
            for layer, kept in zip(self._noisy, noise, strict=True):
                layer.given = kept[i]
            batch = [tf.gather(x, now["rows"]) for x in inputs]
            value, out = self._step(batch, now)
            return i + 1, losses.write(i, value), outputs.write(i, out)

        shape = batches["targets"].shape[1:]
        arrays = (
            tf.TensorArray(tf.float32, slots, element_shape=()),
            tf.TensorArray(tf.float32, slots, element_shape=shape),
        )
        try:
            found = tf.while_loop(lambda i, *_: i < count, body, (tf.constant(0), *arrays), parallel_iterations=1)
        finally:
            for layer in self._noisy:
                layer.given = None
        return found[1].stack(), found[2].stack()


def _filled(content: np.ndarray, slots: int) -> np.ndarray:
    """`content` [n ≤ slots, …] with zeros behind it: XLA compiles for one length."""
    if len(content) == slots:
        return content
    return np.concatenate([content, np.zeros((slots - len(content), *content.shape[1:]), content.dtype)])
