"""Keras' optimizers by the names the field uses, with layer-wise learning rates that work under Adam too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLIP_NORM = 5.0  # of the whole gradient: never reached in healthy training, saves a run from one bad batch
ADAMW_DECAY = 1e-4

# name → (class in keras.optimizers, arguments)
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "adamw": ("AdamW", {}),
    "adam": ("Adam", {}),
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
}


def build(
    name: str,
    learning_rate: Any,
    *,
    weight_decay: float | None = None,
    rates: Mapping[str, float] | None = None,
    average_steps: int = 0,
) -> Any:
    """A keras optimizer.

    `learning_rate` is a number or a keras schedule; `rates` maps a variable's path to the factor of its learning
    rate (absent = 1). Scaling gradients instead would do nothing under Adam, which divides the scale out again.
    `average_steps` above 0 keeps an exponential moving average of the weights over about that many steps.
    """
    import keras

    kind, arguments = OPTIMIZERS[name]
    arguments = {**arguments, "global_clipnorm": CLIP_NORM}
    if name == "adamw":
        arguments["weight_decay"] = ADAMW_DECAY if weight_decay is None else weight_decay
    if average_steps:
        # The averages replace the weights only when asked to (`finalize_variable_values`).
        arguments |= {"use_ema": True, "ema_momentum": 1 - 1 / average_steps, "ema_overwrite_frequency": None}
    base = getattr(keras.optimizers, kind)
    if not rates:
        return base(learning_rate=learning_rate, **arguments)
    factors = dict(rates)

    class LayerWise(base):  # type: ignore[misc, valid-type]
        """`base` with a factor on the learning rate of each variable."""

        def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
            # TensorFlow hands over its own variable, which knows no path; Keras' optimizer knows which one it is.
            path = self._trainable_variables[self._get_variable_index(variable)].path
            super().update_step(gradient, variable, rate * factors.get(path, 1.0))

    return LayerWise(learning_rate=learning_rate, **arguments)


def layer_rates(model: Any, depths: Mapping[str, float], decay: float) -> dict[str, float]:
    """Factor per variable path: `decay` to the power of the depth of the variable's layer.

    `depths` maps layer names to their distance below the top stage. Discriminative fine-tuning (Howard & Ruder
    2018): the lower the layer, the more general what it knows, the less it should move.
    """
    rates: dict[str, float] = {}
    for layer in model._flatten_layers():
        if layer.name in depths:
            for variable in layer.trainable_variables:
                rates[variable.path] = decay ** depths[layer.name]
    return rates
