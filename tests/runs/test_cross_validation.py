"""The answers of candidates have to have room, in memory or on disk, before anything is tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.runs import cross_validation, tapped_rows


@pytest.mark.parametrize(
    ("classes", "width", "memory", "said"),
    [
        (10, 9, 8 << 30, ""),
        (
            1000,
            9,
            8 << 30,
            "12 candidates' answers for 85,000 pictures and 1,000 classes would take 19.0 GB, and 2.1 GB of memory are "
            "given to them",
        ),
        (1000, 8000, 8 << 30, "would take 19.0 GB, and 17.3 GB of disk are given to them"),
        (500, 8000, 8 << 30, ""),
        (960, 2000, 2 << 30, "would take 18.3 GB, and 18.0 GB of disk are given to them"),
    ],
    ids=["few classes", "many", "many, on disk", "on disk, where there is room", "on disk, all views"],
)
def test_candidates_whose_answers_have_no_room_are_refused(
    classes: int, width: int, memory: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapped_rows, "machine_memory", lambda: memory)
    monkeypatch.setattr(cross_validation, "free_on_disk", lambda: 20 * 10**9)
    taps = SimpleNamespace(sets=lambda: {"last": (0, 4), "all": (0, 9)})
    work: Any = SimpleNamespace(
        problem=SimpleNamespace(
            train=np.arange(70_000), val=np.arange(70_000, 85_000), outputs=classes,
            samples=SimpleNamespace(task="classify", kind=tasks.of("classify")),
        ),
        settings=SimpleNamespace(choice_views=2),
        frozen=SimpleNamespace(tapped=lambda: (taps, SimpleNamespace(width=width))),
    )  # fmt: skip
    if not said:
        cross_validation.require_room(work)
        return
    with pytest.raises(DataError, match=said):
        cross_validation.require_room(work)
