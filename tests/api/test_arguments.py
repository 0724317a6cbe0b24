"""Arguments of another type are refused at once, all of them, with what they may be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.api.arguments import checked
from transferkit.data.augmentation import processes
from transferkit.errors import ConfigError


def test_all_wrong_arguments_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        tk.finetune(tmp_path / "absent", cache="/big/disk", quiet="no", output=3, epochs=1)  # type: ignore[call-overload]
    told = str(refused.value).splitlines()
    assert told == [
        "output=3: must be a path or None",
        "cache='/big/disk': must be True or False or None; the folder of the cache is that of the variable "
        "TRANSFERKIT_CACHE",
        "quiet='no': must be True or False",
    ]


@pytest.mark.parametrize(
    ("verb", "argument", "value"),
    [
        (tk.tune, "resume", "yes"),
        (tk.best, "offline", 1),
        (tk.extract_features, "quiet", None),
        (tk.predict, "tta", "yes"),
        (tk.evaluate, "quiet", 0),
        (tk.reproduce, "fresh", "yes"),
        (tk.label, "next", 2.5),
        (tk.compare, "seed", True),
    ],
)
def test_each_verb_asks_for_its_types(verb: Any, argument: str, value: Any) -> None:
    first = () if verb is tk.compare else ("data", "pictures") if verb is tk.predict else ("data",)
    with pytest.raises(ConfigError, match=f"{argument}={value!r}: must be "):
        verb(*first, **{argument: value})


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: tk.compare(3, "run"), "runs=3: must be a path"),
        (lambda: tk.label("pool", 3), "run=3: must be a path or None"),
        (lambda: tk.reproduce(3), "run=3: must be a path"),
        (lambda: tk.backbone(3), "name=3: must be text"),
        (lambda: tk.finetune("data", exclude=3), "exclude=3: must be text, or a list of texts"),
        (lambda: tk.finetune("data", unlabeled=3), "unlabeled=3: must be a path"),
    ],
)
def test_runs_networks_and_what_is_read_first_are_asked_for_too(ask: Any, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ask()
    assert str(refused.value) == told


def test_what_is_meant_is_taken() -> None:
    @checked
    def verb(data: object, *, quiet: bool = False, seed: int = 0, output: str | Path | None = None) -> object:
        return data, quiet, seed, output

    given: Any = {"quiet": True, "seed": np.int64(3), "output": Path("a")}
    assert verb("x", **given) == ("x", True, 3, Path("a"))
    assert verb(3, output=None) == (3, False, 0, None)
    with pytest.raises(TypeError, match="unknown"):
        verb(3, unknown=1)  # type: ignore[call-arg]


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no processes draw on this system")
def test_processes_that_drew_views_end_with_the_verb() -> None:
    begun: list[bool] = []

    def verb() -> None:
        processes.begin(1)
        begun.append(processes.drawers() is not None)

    checked(verb)()
    assert begun == [True]
    assert processes.drawers() is None
