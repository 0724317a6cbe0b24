"""What is wrong with a search space, all of it, before the first trial. Pure Python."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from transferkit import config
from transferkit.errors import ConfigError, nearest
from transferkit.tuning.search_space import combinations
from transferkit.tuning.search_space.dimensions import SEARCHABLE, Dimension, Values, spelled

TRIED = 400  # combinations gone through in full; of more, every pair of settings
MOST = 10  # problems of combinations that are listed
REMEDY = "a condition keeps settings apart that exclude each other, e.g. --search 'views=2,4 if augment=light'"


def problems(dimensions: Sequence[Dimension], given: Values) -> list[str]:
    """Unknown names, conditions that cannot hold, values that the settings refuse: alone, then together.

    Args:
        dimensions: of the space.
        given: settings that are not searched.
    """
    if not dimensions:
        return ["nothing to search; name a setting, e.g. --search learning_rate=1e-4:1e-2:log"]
    found = [*_names(dimensions, given), *_conditions(dimensions), *_overlaps(dimensions)]
    if found:
        return list(dict.fromkeys(found))
    return _alone(dimensions) or _together(dimensions, given)


def _names(dimensions: Sequence[Dimension], given: Mapping[str, Any]) -> list[str]:
    found = []
    for d in dimensions:
        if d.name not in SEARCHABLE:
            near = nearest(d.name, SEARCHABLE) or f"; searchable are {', '.join(SEARCHABLE)}"
            found.append(f"'{d.name}' cannot be searched{near}")
        elif d.name in given and d.name != "backbone":
            flag = f"--{d.name.replace('_', '-')} {spelled(given[d.name])}"
            found.append(f"{d.name} is both searched and fixed by {flag}; drop one of them")
        if d.kind == "choice" and not d.values:
            found.append(f"{d.name} has no values to choose from")
        elif d.kind != "choice" and (d.low is None or d.high is None or d.low >= d.high):
            found.append(f"{d.name}: the range {d.low}:{d.high} is empty; the low end comes first")
    return found


def _conditions(dimensions: Sequence[Dimension]) -> list[str]:
    found = []
    for place, d in enumerate(dimensions):
        if d.when is None:
            continue
        name, wanted = d.when
        parents = [p for p in dimensions if p.name == name]
        if not parents:
            found.append(f"{d}: {name} is not searched; search it too, or drop the condition")
        elif len(parents) > 1:
            found.append(f"{d}: {name} is itself searched in several ways; make it one")
        elif parents[0] not in dimensions[:place]:  # `ordered` places parents first wherever it can
            found.append(f"{d}: the conditions run in a circle")
        elif parents[0].kind == "float":
            found.append(f"{d}: {name} is continuous; only listed values can be a condition")
        else:
            possible = parents[0].points()
            found += [
                f"{d}: {name} never is {spelled(v)}, only {', '.join(map(spelled, possible))}"
                for v in wanted
                if v not in possible
            ]
    return found


def _overlaps(dimensions: Sequence[Dimension]) -> list[str]:
    """One setting in several ways needs conditions that exclude one another."""
    found = []
    for a, b in itertools.combinations(dimensions, 2):
        if a.name != b.name:
            continue
        apart = a.when and b.when and a.when[0] == b.when[0] and not set(a.when[1]) & set(b.when[1])
        if not apart:
            found.append(f"{a.name} is searched twice ({a}; {b}); give each its own condition on one parent")
    return found


def _alone(dimensions: Sequence[Dimension]) -> list[str]:
    found = []
    for d in dimensions:
        for value in d.points(2) if d.kind != "choice" else d.values:
            # Only the value itself is judged here; what it has no effect beside may not be active with it.
            own = (f"{_flag(d.name)} ", f"{_flag(d.name)}:")
            refused = _refused({"backbone": "mini", d.name: value})
            found += [text for text in refused if text.startswith(own) and " has no effect " not in text]
    return list(dict.fromkeys(found))


def _together(dimensions: Sequence[Dimension], given: Values) -> list[str]:
    few = (combinations.count(dimensions, 2) or TRIED + 1) <= TRIED
    tried = combinations.combinations(dimensions, 2) if few else combinations.pairs(dimensions)
    found: dict[str, str] = {}
    for values in tried:
        shown = ", ".join(f"{name}={spelled(value)}" for name, value in values.items())
        for problem in _refused({"backbone": "mini"} | given | values):
            found.setdefault(problem, f"{problem} (as in the trial {shown})")
    listed = list(found.values())
    if len(listed) > MOST:
        listed = [*listed[:MOST], f"and {len(listed) - MOST} more of the kind"]
    return [*listed, REMEDY] if listed else []


def _refused(values: Values) -> list[str]:
    try:
        config.make(values)
    except ConfigError as error:
        text = str(error.args[0])  # in the words of the command line also where Python asks: `_alone` looks for them
        return [line.removeprefix("  - ") for line in text.split("\n")[1:]] if "\n" in text else [text]
    return []


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
