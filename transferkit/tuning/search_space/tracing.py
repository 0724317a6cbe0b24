"""What a function of `keras_tuner.HyperParameters` asks for, found by running it through its branches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from transferkit.errors import ConfigError
from transferkit.tuning.search_space.dimensions import Dimension, Values, parse, spelled

RUNS = 500  # combinations of choices that are tried; a function with more is refused
Condition = tuple[str, tuple[Any, ...]]


def dimensions(build: Callable[[Any], Any]) -> list[Dimension]:
    """Every dimension that `build` asks for; what it asks for only after some choice is conditional on it.

    Raises ConfigError where it asks for nothing, in more branches than can be tried, or for what cannot be searched.
    """
    runs = _explore(build)
    asked: dict[Dimension, list[Values]] = {}
    for values, found in runs:
        for dimension in found:
            asked.setdefault(dimension, []).append(values)
    if not asked:
        raise ConfigError("the function asks for no hyperparameter; call e.g. hp.Float('learning_rate', 1e-4, 1e-2)")
    everywhere = [values for values, _ in runs]
    return [_conditional(d, where, everywhere) for d, where in asked.items()]


def _explore(build: Callable[[Any], Any]) -> list[tuple[Values, list[Dimension]]]:
    """Values and what was asked for, of one run for each combination of choices."""
    from keras_tuner import HyperParameters

    waiting, seen, runs = [Values()], set[str](), list[tuple[Values, list[Dimension]]]()
    while waiting:
        values = waiting.pop(0)
        hp = HyperParameters()
        hp.values = dict(values)
        build(hp)
        found = [_dimension(item) for item in hp.space]
        runs.append(({d.name: d.read(hp.values[d.name]) for d in found if d.name in hp.values}, found))
        choices = {item.name: list(item.values) for item in hp.space if type(item).__name__ in ("Choice", "Boolean")}
        for picked in itertools.product(*choices.values()):
            following = dict(zip(choices, picked, strict=True))
            key = repr(sorted(following.items()))
            if key not in seen:
                seen.add(key)
                waiting.append(following)
        if len(seen) > RUNS:
            raise ConfigError(
                f"the function has more than {RUNS} combinations of choices, too many to find its branches; "
                "write the space as a file or as --search options"
            )
    return runs


def _dimension(item: Any) -> Dimension:
    kind, name = type(item).__name__, item.name
    when = _scope(item)
    if kind in ("Choice", "Boolean", "Fixed"):
        values = tuple(dict.fromkeys(parse(name, value) for value in item.values))
        return Dimension(name, "choice", values, when=when)
    if item.sampling not in ("linear", "log"):
        raise ConfigError(f"{name}: sampling '{item.sampling}' is not supported; use linear or log")
    if item.min_value == item.max_value:
        return Dimension(name, "choice", (parse(name, item.min_value),), when=when)
    # Keras Tuner gives whole numbers on a linear scale a step of 1.
    step = None if kind == "Int" and item.step == 1 else item.step
    log = item.sampling == "log"
    return Dimension(
        name, "int" if kind == "Int" else "float", low=float(item.min_value), high=float(item.max_value),
        step=None if step is None else float(step), log=log, when=when,
    )  # fmt: skip


def _scope(item: Any) -> Condition | None:
    if not item.conditions:
        return None
    inner = item.conditions[-1]  # the outer ones are the parent's own
    return inner.name, tuple(parse(inner.name, value) for value in inner.values)


def _conditional(dimension: Dimension, where: list[Values], everywhere: list[Values]) -> Dimension:
    """With the condition that Python's own `if` amounts to, where it is one choice that decides."""
    if dimension.when or len(where) == len(everywhere):
        return dimension
    for name in dict.fromkeys(itertools.chain.from_iterable(where)):
        if name == dimension.name or not all(name in values for values in where):
            continue
        inside = tuple(dict.fromkeys(values[name] for values in where))
        if all(values.get(name) not in inside for values in everywhere if values not in where):
            return Dimension(**{**_fields(dimension), "when": (name, inside)})
    raise ConfigError(
        f"the function asks for {dimension.name} ({', '.join(map(spelled, dimension.values)) or 'a range'}) under a "
        "condition that no single choice decides; use hp.conditional_scope(parent, values)"
    )


def _fields(dimension: Dimension) -> Mapping[str, Any]:
    return {name: getattr(dimension, name) for name in Dimension.__dataclass_fields__}
