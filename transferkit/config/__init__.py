"""Every setting of a fine-tuning run: frozen, validated once, all problems reported together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError, model_validator

from transferkit import synonyms
from transferkit.config.contradictions import contradictions
from transferkit.config.declarations import Declarations
from transferkit.config.values import shown
from transferkit.errors import ConfigError, nearest, raise_problems
from transferkit.files import digest
from transferkit.text import clipped

# Settings as people give them (options, files, Python's keywords) before they are checked: anything, under any name.
Given = dict[str, Any]


class Settings(Declarations):
    """What `finetune` does with its data. Immutable; two equal settings give equal runs.

    Numbers are plain floats; rates are per step; `budget` is in seconds; `image_size` is in pixels. None means the
    recipe's own choice (see `transferkit.training.recipe`).
    """

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        problems = list(contradictions(self))
        if problems:
            # One ValueError can carry one text; `make` takes the list apart again.
            raise ValueError("\x1e".join(problems))
        return self

    def key(self) -> str:
        """Hex digest of every setting: equal keys, equal runs (given equal data)."""
        return digest(self.model_dump(mode="json"))


def make(values: Given, more_problems: list[str] | None = None) -> Settings:
    """Validated settings of plain values.

    Args:
        values: name → value, as people give them.
        more_problems: those found elsewhere (the backbone's, the metric's).

    Raises:
        ConfigError: lists every problem: invalid values, contradictions, unknown names, and `more_problems`.
    """
    settings, problems = _try(values)
    raise_problems(ConfigError, [*problems, *(more_problems or [])])
    assert settings is not None
    return settings


def _try(values: Given) -> tuple[Settings | None, list[str]]:
    """Settings, or every problem: of the values by themselves, then of the sound ones among each other."""
    try:
        return Settings(**values), []
    except ValidationError as error:
        problems = _explain(error)
        bad = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
    if not bad:
        return None, problems
    try:
        Settings(**{"backbone": "mini"} | {k: v for k, v in values.items() if k not in bad})
    except ValidationError as error:
        # A setting that was left out because it is wrong stands at its default here: what follows from that is noise.
        flags = ["--" + name.replace("_", "-") for name in bad]
        problems += [found for found in _explain(error) if not any(flag in found for flag in flags)]
    return None, problems


# What pydantic says of a union names each member in turn; this says it once.
EXPECTED = {
    "learning_rate": "must be a number above 0, at most 10, or auto",
    "batch_size": "must be a whole number from 1 to 4096, or auto",
    "views": "must be a whole number from 0 to 1000, or auto",
    "head_width": "must be whole numbers from 1 to 65536, e.g. 256 or 256,128",
    "split": "must be three numbers: train,validation,test, e.g. .7,.15,.15",
    "exclude": "must be a list of patterns",
}


def _meant(field: str) -> str:
    """What a setting of that name is called here, by meaning, else by spelling."""
    ours = synonyms.OPTIONS.get(field.lower().replace("_", "-"), "").replace("-", "_")
    answer = synonyms.answer(field, "finetune")
    if ours in Settings.model_fields:
        return f"; it is called {ours} here"
    return f": {answer}" if answer else nearest(field, Settings.model_fields)


def must_be(item: Mapping[str, Any]) -> str:
    """What pydantic says of one wrong value, in plain words: `"must be a whole number"`."""
    kinds = {
        "string": "must be text",
        "tuple": "must be several, as a list",
        "int": "must be a whole number",
        "float": "must be a number",
        "bool": "must be true or false",
    }
    kind, _, how = str(item["type"]).partition("_")
    if kind in kinds and how in ("type", "parsing", "from_float"):
        return kinds[kind]
    return str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _explain(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for item in error.errors():
        path = [str(p) for p in item["loc"]]
        field = path[0] if path else ""
        name = "--" + field.replace("_", "-")
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown setting '{clipped(field)}'{_meant(field)}")
        elif item["type"] == "value_error":
            text = str(item["msg"]).removeprefix("Value error, ")
            problems += [f"{name}: {text}"] if field else text.split("\x1e")
        elif item["type"] == "missing":
            problems.append(
                f"{name} is required; `transferkit backbones list` shows the names, `backbones recommend` ranks them"
            )
        elif field in EXPECTED:
            problems.append(f"{name} {shown(item['input'])}: {EXPECTED[field]}")
        else:
            problems.append(f"{name} {shown(item['input'])}: {must_be(item)}")
    return problems
