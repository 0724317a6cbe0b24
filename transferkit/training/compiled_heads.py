"""Heads trained again and again through one compiled trace: trials of the same shape compile nothing.

Tracing a step costs several tenths of a second, about what training a head on features takes. So the head of a trial
is not trained itself but by a *reusable head*: a model of the same layers whose numbers (dropout, penalties,
standardisation) are variables, with an optimizer whose decay and averaging span are variables too. It takes the
head's weights and numbers, is trained, and gives the best weights back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from transferkit import compute, heads
from transferkit.compute import keras_private
from transferkit.training.losses import LOSSES
from transferkit.training.optimizers import ADJUSTABLE, OptimizerConfig

if TYPE_CHECKING:
    import keras

CAPACITY = 16  # reusable heads kept; the one that has waited longest goes first
T = TypeVar("T")


class HeadPool:
    """Reusable heads, kept by shape. Not for several threads at once: each trains one head at a time.

    Give one pool to every `Trainer` (or `Recipe`) of a search: `Trainer(..., pool=pool)`. Trials may differ in
    learning rate, schedule, batch size, epochs, dropout, L1 and L2, weight decay, label smoothing, class weights, seed,
    pictures and views, and still share one, and in head widths where the engine lets them (`compute.loosens`);
    features' length, number of layers, optimizer kind, loss, averaging and whether there is dropout or a penalty at all
    make another.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._heads: OrderedDict[Any, ReusableHead] = OrderedDict()
        self._bodies: OrderedDict[Any, tuple[keras.Model, list[np.ndarray]]] = OrderedDict()  # and their first weights

    def __len__(self) -> int:
        return len(self._heads)

    def head_for(self, head: keras.Model, loss_key: tuple[str, str], optimizer: OptimizerConfig) -> ReusableHead | None:
        """What trains in the place of a head, loaded with its weights and numbers.

        Args:
            head: features float32 [b, d] → logits [b, t].
            loss_key: a key of `losses.LOSSES`.
            optimizer: what it is trained by.

        Returns:
            A reusable head of this shape, which is this head's until the next call; None where the head has layers that
            it cannot have.
        """
        layers = _chain(head)
        if layers is None:
            return None
        key = (*_form(layers, compute.loosens()), loss_key, *_kind(optimizer))
        found = self._kept(self._heads, key, lambda: ReusableHead(layers, loss_key, optimizer))
        found.take(layers, optimizer)
        return found

    def body(
        self, width: int, outputs: int, settings: heads.HeadSettings,
        moments: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> keras.Model:  # fmt: skip
        """What `heads.body` gives, of one kind the same model each time, as it was when it was built: the caller's till
        the next call. To build it takes a fifth of the time that its training does.

        Args:
            width, outputs, settings, moments: as there.
        """

        def built() -> tuple[keras.Model, list[np.ndarray]]:
            model = heads.body(width, outputs, settings, moments)
            return model, compute.values(model.variables)

        key = (width, outputs, settings, moments and tuple(part.tobytes() for part in moments))
        model, first = self._kept(self._bodies, key, built)
        compute.assign(model.variables, first)
        return model

    def _kept(self, kept: OrderedDict[Any, T], key: Any, make: Callable[[], T]) -> T:
        """What was made for `key`, where it is there still: of more than the capacity the oldest go first."""
        if key not in kept:
            while len(kept) >= self.capacity:
                kept.popitem(last=False)
            kept[key] = make()
        kept.move_to_end(key)
        return kept[key]

    def clear(self) -> None:
        """Forget all of them, and with them their compiled steps."""
        self._heads.clear()
        self._bodies.clear()


class ReusableHead:
    """A model, its optimizer and their compiled functions, for one head after the other."""

    def __init__(self, layers: list[Any], loss_key: tuple[str, str], optimizer: OptimizerConfig) -> None:
        import keras

        x = inputs = keras.Input(layers[0].shape[1:] if hasattr(layers[0], "shape") else layers[0].batch_shape[1:])
        self._layers = [_adjustable(layer) for layer in layers[1:]]
        for layer in self._layers:
            x = layer(x)
        self.model = keras.Model(inputs, x)
        self.optimizer = optimizer.build(adjustable=True)
        noisy = [layer for layer in self._layers if hasattr(layer, "draw")]
        shapes = _open_shapes(self._layers) if compute.loosens() else {}
        for variable in self.model.trainable_variables if shapes else ():
            compute.loosen(variable, shapes[variable.path])
        self.steps = compute.steps(self.model, self.optimizer, LOSSES[loss_key], noisy)
        self._slots = keras_private.slots(self.optimizer)  # place → the variable that has the same shape
        for place, variable in self._slots.items() if shapes else ():
            compute.loosen(self.optimizer.variables[place], shapes[variable.path])
        self.forward = compute.forward(self.model)

    def take(self, layers: list[Any], optimizer: OptimizerConfig) -> None:
        """Stand in for the head of these layers, with an optimizer that has not taken a step."""
        self._place = layers[-1]
        for own, layer in zip(self._layers, layers[1:], strict=True):
            own.take(layer)
        state = self.optimizer.variables
        like = [self._slots.get(place, variable) for place, variable in enumerate(state)]
        compute.assign(state, [np.zeros_like(value) for value in compute.values(like)])
        fresh = optimizer.numbers()
        for name in ADJUSTABLE:
            if name in fresh:
                getattr(self.optimizer, name).assign(fresh[name])
        self.optimizer.learning_rate = optimizer.learning_rate

    def stands_for(self, head: keras.Model) -> bool:
        """Whether it answers what `head` does: it has its place, and weights that are still the same."""
        if head.layers[-1] is not self._place:
            return False
        own, others = (compute.values(model.trainable_variables) for model in (self.model, head))
        return all(map(np.array_equal, own, others))

    def give(self, head: keras.Model) -> keras.Model:
        """Leave the weights with `head`, and where dropout's random numbers have got to; returns `head`."""
        compute.assign(head.trainable_variables, compute.values(self.model.trainable_variables))
        for own, layer in zip(self._layers, head.layers[1:], strict=True):
            if type(layer).__name__ == "Dropout":
                compute.assign([layer.seed_generator.state], compute.values([own.seeds.state]))
        return head


def _chain(head: keras.Model) -> list[Any] | None:
    """The layers of a head on vectors, first to last; None where they are of other kinds, or no chain."""
    kinds = ["InputLayer", "Rescaling", "Dense", "Dropout"]
    layers = list(head.layers)
    known = all(type(layer).__name__ in kinds for layer in layers)
    chained = all(keras_private.calls(layer) == 1 for layer in layers)
    return layers if known and chained and len(head.inputs) == 1 and len(head.input_shape) == 2 else None


def _form(layers: list[Any], loose: bool) -> tuple[Any, ...]:
    """What layers of a reusable head cannot change; `loose`: the widths of all but the last one can."""
    return tuple(_form_of(layer, loose and layer is not layers[-1]) for layer in layers)


def _form_of(layer: Any, loose: bool) -> tuple[Any, ...]:
    kind = type(layer).__name__
    if kind == "InputLayer":
        return kind, tuple(layer.batch_shape[1:])
    if kind == "Dense":
        units = None if loose else layer.units
        return kind, units, layer.activation.__name__, layer.dtype_policy.name, bool(layer.kernel_regularizer)
    return (kind,)


def _open_shapes(layers: list[Any]) -> dict[str, tuple[int | None, ...]]:
    """Of each weight of the dense layers, by its path, the shape that it has whatever the widths are."""
    dense = [layer for layer in layers if hasattr(layer, "kernel")]
    shapes: dict[str, tuple[int | None, ...]] = {}
    for layer in dense:
        before, units = layer.kernel.shape
        before, units = None if layer is not dense[0] else before, None if layer is not dense[-1] else units
        shapes |= {layer.kernel.path: (before, units), layer.bias.path: (units,)}
    return shapes


def _kind(optimizer: OptimizerConfig) -> tuple[Any, ...]:
    """What compiled steps cannot change about an optimizer."""
    return (optimizer.name, optimizer.accumulate, *sorted(optimizer.numbers()))


def _adjustable(layer: Any) -> Any:
    """A layer that computes what `layer` does, with variables for its numbers.

    Such layers are for reusable heads only: what is shipped is made of Keras' own.
    """
    kind = type(layer).__name__
    if kind == "Rescaling":
        return _standardise()(dtype="float32")
    if kind == "Dropout":
        return _thinning()()
    return _penalised()(layer.units, activation=layer.activation, dtype=layer.dtype_policy.name)


@cache
def _standardise() -> type:
    import keras

    class Standardise(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.scale, self.offset = (self.add_weight(shape=shape[1:], trainable=False) for _ in range(2))

        def call(self, x: Any) -> Any:
            return x * self.scale + self.offset

        def take(self, other: Any) -> None:
            self.scale.assign(np.asarray(other.scale, np.float32))
            self.offset.assign(np.asarray(other.offset, np.float32))

    return Standardise


@cache
def _thinning() -> type:
    import keras
    from keras import ops

    class Thinning(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(0)
            self.rate = self.add_weight(shape=(), trainable=False)
            self.given: Any = None  # what a step keeps, where it was drawn before

        def draw(self, batch: Any, units: Any) -> Any:
            """What one step keeps of `batch` rows, bool [batch, units]."""
            drawn = keras.random.uniform((batch, units), seed=self.seeds, dtype="float32")
            return drawn >= ops.cast(self.rate, "float32")

        def call(self, x: Any, training: bool = False) -> Any:
            if not training:
                return x
            # Inverted dropout (Srivastava et al. 2014); keras.random.dropout takes no variable for its rate.
            kept = self.draw(*ops.shape(x)) if self.given is None else self.given
            # A product, not a choice: its gradient is one product more, and no sum over what was not kept.
            return x * ops.cast(ops.cast(kept, "float32") / (1 - ops.cast(self.rate, "float32")), x.dtype)

        def take(self, other: Any) -> None:
            self.rate.assign(other.rate)
            self.units = other.output.shape[-1]
            compute.assign([self.seeds.state], compute.values([other.seed_generator.state]))

    return Thinning


@cache
def _penalised() -> type:
    import keras
    from keras import ops

    class Penalised(keras.layers.Dense):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            super().build(shape)
            self.input_spec = None  # the length of what comes in may change
            self.l1, self.l2 = (self.add_weight(shape=(), trainable=False, initializer="zeros") for _ in range(2))

        def call(self, x: Any, training: bool = False) -> Any:
            return self.activation(compute.biased(ops.matmul(x, self.kernel), self.bias))

        def take(self, other: Any) -> None:
            compute.assign([self.kernel, self.bias], compute.values([other.kernel, other.bias]))
            if other.kernel_regularizer:
                self.l1.assign(other.kernel_regularizer.l1)
                self.l2.assign(other.kernel_regularizer.l2)
                self.kernel.regularizer = lambda kernel: (
                    self.l1 * ops.sum(ops.abs(kernel)) + self.l2 * ops.sum(ops.square(kernel))
                )

    return Penalised
