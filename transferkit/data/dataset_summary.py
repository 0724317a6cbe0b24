"""What data is, in numbers: how it was read, and the pictures of each class, split and group."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np

from transferkit.data.samples import PARTS, Samples, shown

PICTURES = 10
MANY = 20  # classes above which a screen shows only some:
ENDS = 5  # those with the fewest and the most pictures


class Summary(TypedDict):
    """What `data summary --json` says."""

    data: str
    reader: dict[str, Any]
    task: str
    pictures: int
    classes: dict[str, int]
    given_split: dict[str, int]
    groups: int
    notes: list[str]


def summarized(samples: Samples) -> Summary:
    """What `samples` are."""
    parts: dict[str, int] = {part: samples.split.count(part) for part in PARTS if part in samples.split}
    return {
        "data": samples.origin,
        "reader": dict(samples.reader),
        "task": samples.task,
        "pictures": len(samples),
        "classes": samples.counts(),
        "given_split": parts,
        "groups": len(set(samples.group) - {None}),
        "notes": list(samples.notes),
    }


def shown_pictures(samples: Samples) -> list[int]:
    """Which pictures are shown of `samples`: ten, spread over all."""
    return [int(i) for i in np.unique(np.linspace(0, len(samples) - 1, min(PICTURES, len(samples))).astype(int))]


def text(result: Summary) -> str:
    """The same in lines."""
    lines = [f"{shown(result['data'])}: {result['pictures']} pictures, {result['task']}"]
    if read := result["reader"]:
        lines.append(f"read by '{read['name']}': {read['why']}")
        lines += [f"  {said}" for said in read.get("said", ())]
    lines += _counts(result["classes"])
    if result["given_split"]:
        lines.append("given split: " + ", ".join(f"{part} {n}" for part, n in result["given_split"].items()))
    if result["groups"]:
        lines.append(f"groups: {result['groups']}")
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])


def _counts(classes: dict[str, int]) -> list[str]:
    """Pictures of each class; of many classes, of those with the fewest and with the most."""
    if len(classes) <= MANY:
        return [_count(*item) for item in classes.items()]
    ordered = sorted(classes.items(), key=lambda item: -item[1])
    middle = int(np.median(list(classes.values())))
    return [
        f"{len(classes):,} classes of {ordered[-1][1]:,} to {ordered[0][1]:,} pictures, {middle:,} in the middle",
        *(_count(*item) for item in ordered[:ENDS]),
        f"  {'…':>7}  {len(classes) - 2 * ENDS:,} more (--json lists all)",
        *(_count(*item) for item in ordered[-ENDS:]),
    ]


def _count(name: str, number: int) -> str:
    return f"  {number:>7}  {shown(name)}"
