"""Keras' optimizers by the names the field uses, with layer-wise learning rates that work under Adam too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transferkit.compute import keras_private

CLIP_NORM = 5.0  # of the whole gradient: never reached in healthy training, saves a run from one bad batch
ADAMW_DECAY = 1e-4
ADJUSTABLE = ("weight_decay", "ema_momentum")

# name → (class in keras.optimizers, arguments)
OPTIMIZERS: dict[str, tuple[str, dict[str, float | bool]]] = {
    "adamw": ("AdamW", {}),
    "adam": ("Adam", {}),
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
}


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """What settings say of an optimizer; see `build` for what each means."""

    name: str
    learning_rate: Any  # a number or a keras schedule
    weight_decay: float | None
    average_steps: int
    accumulate: int

    def build(
        self, *, rates: Mapping[str, float] | None = None, loss_scale: bool = False, adjustable: bool = False
    ) -> Any:
        """A new optimizer of this kind; see the function `build` for the arguments."""
        return build(
            self.name, self.learning_rate, weight_decay=self.weight_decay, average_steps=self.average_steps,
            accumulate=self.accumulate, rates=rates, loss_scale=loss_scale, adjustable=adjustable,
        )  # fmt: skip

    def numbers(self) -> dict[str, float]:
        """Those of `ADJUSTABLE` that such an optimizer has, with their values."""
        return numbers(self.name, self.weight_decay, self.average_steps)


def build(
    name: str,
    learning_rate: Any,
    *,
    weight_decay: float | None = None,
    rates: Mapping[str, float] | None = None,
    average_steps: int = 0,
    loss_scale: bool = False,
    adjustable: bool = False,
    accumulate: int = 1,
) -> Any:
    """A keras optimizer, which holds the norm of the whole gradient to `CLIP_NORM`.

    Args:
        name: a key of `OPTIMIZERS`.
        learning_rate: a number or a keras schedule.
        weight_decay: of adamw, decoupled from the gradient (Loshchilov & Hutter 2019); None is its usual one.
        rates: a variable's path → the factor of its learning rate (absent: 1). Scaling gradients instead would do
            nothing under Adam, which divides the scale out again.
        average_steps: above 0, an exponential moving average of the weights over about so many steps is kept.
        loss_scale: the loss is multiplied, dynamically, so that small gradients survive float16.
        adjustable: decay and averaging span are variables (`ADJUSTABLE`), so that compiled steps serve other values.
        accumulate: steps whose gradients are averaged into one update.

    Returns:
        An optimizer that has no variables yet; a `LossScaleOptimizer` around it with `loss_scale`.
    """
    import keras

    kind, fixed = OPTIMIZERS[name]
    arguments: dict[str, float | bool | None] = {**fixed, "global_clipnorm": CLIP_NORM}
    if accumulate > 1:
        arguments["gradient_accumulation_steps"] = accumulate
    arguments |= numbers(name, weight_decay, average_steps)
    if average_steps:
        # The averages replace the weights only when asked to (`finalize_variable_values`).
        arguments |= {"use_ema": True, "ema_overwrite_frequency": None}
    base = getattr(keras.optimizers, kind)
    optimizer = (_layer_wise(base, dict(rates)) if rates else base)(learning_rate=learning_rate, **arguments)
    for attribute in ADJUSTABLE if adjustable else ():
        if attribute in arguments:
            variable = keras.Variable(arguments[attribute], dtype="float32", trainable=False, name=attribute)
            keras_private.track(optimizer, variable)  # part of the state, or JAX would compile the value in
            setattr(optimizer, attribute, variable)
    if loss_scale:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def numbers(name: str, weight_decay: float | None, average_steps: int) -> dict[str, float]:
    """Those of `ADJUSTABLE` that an optimizer has, with their values.

    Args:
        name, weight_decay, average_steps: as for `build`.
    """
    found = {}
    if name == "adamw":
        found["weight_decay"] = ADAMW_DECAY if weight_decay is None else weight_decay
    if average_steps:
        found["ema_momentum"] = 1 - 1 / average_steps
    return found


def _layer_wise(base: Any, factors_by_path: dict[str, float]) -> Any:
    """`base`, a class of keras.optimizers, with a factor on the learning rate of each variable."""

    class LayerWise(base):  # type: ignore[misc]
        layer_wise_of, factors = base, factors_by_path

        def build(self, variables: Any) -> None:
            # Keras decays every variable at the full rate; here the decay too goes at the layer's own.
            self.layer_decay: float | None = getattr(self, "weight_decay", None)
            self.weight_decay: float | None = None
            super().build(variables)

        def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
            # TensorFlow hands over its own variable, which knows no path; Keras' optimizer knows which one it is.
            path = self._trainable_variables[self._get_variable_index(variable)].path
            rate = rate * self.factors.get(path, 1.0)
            if self.layer_decay is not None:
                self.assign_sub(variable, variable * rate * self.layer_decay)
            super().update_step(gradient, variable, rate)

    LayerWise.__name__ = f"LayerWise{base.__name__}"
    return LayerWise


def averaging(optimizer: Any) -> Any:
    """The optimizer that keeps the moving average of the weights, behind a loss scale too; None if there is none."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner if inner.use_ema else None


def layer_rates(model: Any, depths: Mapping[str, float], decay: float) -> dict[str, float]:
    """Discriminative fine-tuning (Howard & Ruder 2018): the lower a layer, the more general what it knows, the less it
    should move.

    Args:
        model: whose trainable variables are meant.
        depths: layer name → its distance below the top stage (see `models.depths`).
        decay: the factor per unit of depth, 0…1.

    Returns:
        Variable path → `decay` to the power of the depth of its layer.
    """
    rates: dict[str, float] = {}
    for layer in keras_private.all_layers(model):
        if layer.name in depths:
            for variable in layer.trainable_variables:
                rates[variable.path] = decay ** depths[layer.name]
    return rates
