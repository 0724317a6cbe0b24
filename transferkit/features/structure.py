"""How a network is put together, as a digest for cache keys: equal for equal functions of equal weights.

Weights and a name do not say it: ours and Keras' code may build another network under the same name tomorrow.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from transferkit.files import digest

if TYPE_CHECKING:
    import keras

# What freezing and training change, none of which matters in inference.
PASSING = ("trainable", "rate", "stddev", "drop_path_rate")


def structure(model: keras.Model) -> str:
    """The digest of a functional model's layers, their settings and wiring.

    Layers count by their place, not by their name: Keras numbers automatic names by what was built before in the
    process.
    """
    config = json.loads(model.to_json())
    names = dict.fromkeys([model.name, *_names(config)])
    return digest(_lasting(config, {name: f"layer {place}" for place, name in enumerate(names)}))


def _names(config: Any) -> list[str]:
    """Names of all layers, nested ones too, in the order of the config."""
    if isinstance(config, list):
        return [name for item in config for name in _names(item)]
    if not isinstance(config, dict):
        return []
    layers = config["layers"] if isinstance(config.get("layers"), list) else []
    own = [str(layer["config"]["name"]) for layer in layers if "name" in layer.get("config", {})]
    return own + [name for value in config.values() for name in _names(value)]


def _lasting(config: Any, places: dict[str, str]) -> Any:
    """A config without what is passing, with places for the names of layers."""
    if isinstance(config, list):
        # [name, node, tensor]: how a config points to what a layer gives
        if len(config) == 3 and isinstance(config[0], str) and all(isinstance(number, int) for number in config[1:]):
            return [places.get(config[0], config[0]), *config[1:]]
        return [_lasting(value, places) for value in config]
    if not isinstance(config, dict):
        return config
    found = {key: _lasting(value, places) for key, value in config.items() if key not in PASSING}
    if isinstance(name := found.get("name"), str):
        found["name"] = places.get(name, name)
    return found
