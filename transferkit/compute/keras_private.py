"""What we use of Keras that Keras does not promise: each in one place, so that a new version of it is met here.

Tested against the lowest and the newest version that setup.cfg allows. Nothing is imported at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Limit = Callable[[list[Any]], list[Any]]  # gradients to gradients


def all_layers(model: Any) -> list[Any]:
    """Every layer of a model or layer, itself and those of nested models included, in Keras' own order."""
    return list(model._flatten_layers())


def operation_of(tensor: Any) -> Any:
    """The layer or operation whose output a symbolic `tensor` is."""
    return tensor._keras_history.operation


def node_of(tensor: Any) -> Any:
    """The call that made a symbolic `tensor`; its `input_tensors` are what it read, its `operation` what was called."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def calls(layer: Any) -> int:
    """How often a layer was called on symbolic tensors."""
    return len(layer._inbound_nodes)


def put(variable: Any, value: Any) -> None:
    """Let a variable hold an array of its backend that has its shape and dtype.

    Assigning looks at both, in Python: 3 ms for the weights and moments of a ResNet50, after every step.

    Args:
        variable: a keras.Variable.
        value: what a compiled function made of the variable's value.
    """
    variable._direct_assign(value)


def loosen(variable: Any, value: Any) -> None:
    """Let a variable hold arrays of any size; what Keras says of its shape is that of now, ever after.

    Args:
        variable: a keras.Variable.
        value: the backend's own variable to take the place of that inside, which has the shape of now.
    """
    variable._value = value


def rate(optimizer: Any) -> Any:
    """What an optimizer holds as its learning rate: a variable, or a schedule."""
    return optimizer._learning_rate


def track(optimizer: Any, variable: Any) -> None:
    """Make `variable` part of an optimizer's state.

    Args:
        optimizer: Keras'.
        variable: a keras.Variable.
    """
    optimizer._track_variable(variable)


def clip_by(optimizer: Any, wrap: Callable[[Limit], Limit]) -> None:
    """Replace how an optimizer limits its gradients by `wrap` of it.

    Args:
        optimizer: Keras'.
        wrap: what limits gradients → what is to limit them.
    """
    optimizer._clip_gradients = wrap(optimizer._clip_gradients)


def trained(optimizer: Any) -> Sequence[Any]:
    """The variables an optimizer was built for, in its order."""
    return list(optimizer._trainable_variables)


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether weight decay applies to `variable`.

    Args:
        optimizer: Keras'.
        variable: one of those it trains.
    """
    return bool(optimizer._use_weight_decay(variable))


def iterations(optimizer: Any) -> Any:
    """The variable that counts steps; the public property adds what gradient accumulation holds back."""
    return optimizer._iterations


def moments(optimizer: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """First and second moments of Adam and AdamW, in the order of `trained`."""
    return optimizer._momentums, optimizer._velocities


def slots(optimizer: Any) -> dict[int, Any]:
    """Of each variable of an optimizer's state that has the shape of one that it trains: place among its variables →
    the trained one. Keras names the one after the other."""
    prefixes = {f"{variable.path.replace('/', '_')}_": variable for variable in trained(optimizer)}
    found = {}
    for place, variable in enumerate(optimizer.variables):
        named = [prefix for prefix in prefixes if variable.name.startswith(prefix)]
        if named:
            found[place] = prefixes[max(named, key=len)]
    return found


def averages(optimizer: Any) -> Sequence[Any]:
    """Moving averages of the weights, in the order of `trained`."""
    averages: Sequence[Any] = optimizer._model_variables_moving_average
    return averages
