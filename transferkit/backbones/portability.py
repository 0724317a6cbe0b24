"""What a saved model may be made of: Keras' own layers and functions. And initialisers that draw from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transferkit.compute import keras_private

if TYPE_CHECKING:
    import keras

REMEDY = "a saved model is made of Keras' own layers and functions, so that it loads without the plugin"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let initialisers draw from `seed`: Keras seeds each from Python's `random`, which is put back after."""
    state: Any = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def foreign(model: keras.Model) -> str | None:
    """What of a functional model would not load in Keras' safe mode elsewhere, in words; None if all of it would."""
    for layer in keras_private.all_layers(model):
        # The serialised form of a layer of one's own depends on how it was registered; its class does not.
        if not _is_kerass(type(layer).__module__):
            return f"has the layer '{layer.name}' of class {type(layer).__module__}.{type(layer).__name__}; {REMEDY}"
    try:
        found = next(_strange(model.get_config()), None)
    except (NotImplementedError, TypeError, ValueError) as error:
        return f"cannot be saved ({error}); {REMEDY}"
    return None if found is None else f"uses {found}; {REMEDY}"


def _strange(config: Any) -> Iterator[str]:
    """Names of what in a config is neither plain data nor Keras' own."""
    if isinstance(config, list | tuple):
        for item in config:
            yield from _strange(item)
    elif isinstance(config, dict):
        name, module = str(config.get("class_name", "")), config.get("module")
        if name in ("Lambda", "__lambda__", "function"):
            what = config.get("config")
            yield f"the function {what}" if name == "function" else "a Lambda"
        elif "class_name" in config and isinstance(module, str) and not _is_kerass(module):
            yield f"{module}.{name}"
        for value in config.values():
            yield from _strange(value)


def _is_kerass(module: str) -> bool:
    return module.split(".")[0] == "keras"
