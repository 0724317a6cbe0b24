from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.data.pictures import photo
from transferkit.data.source import scan
from transferkit.data.splitting.lookalike_groups import group_look_alikes
from transferkit.data.splitting.split import split


def with_second_shots(root: Path) -> Path:
    """20 pictures a class, the first five of each again: larger, lighter and recompressed."""
    for number in range(40):
        folder = root / ("a" if number < 20 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        picture = photo(number, 64, 64, detail=16)
        picture.save(folder / f"{number % 20}.png")
        if number % 20 < 5:
            lighter = picture.resize((96, 96)).point([min(255, v + 8) for v in range(256)] * 3)
            lighter.save(folder / f"again{number % 20}.jpg", quality=75)
    return root


def test_look_alikes_are_split_together(tmp_path: Path) -> None:
    samples, joined = group_look_alikes(scan(with_second_shots(tmp_path)))
    assert joined == 20
    assert "20 pictures look like another one" in samples.notes[-1]
    place = {path: i for i, path in enumerate(samples.paths)}
    torn = 0
    for seed in range(5):
        plain = split(scan(tmp_path), (0.5, 0.25, 0.25), seed=seed)
        kept = split(samples, (0.5, 0.25, 0.25), seed=seed)
        for name in ("a", "b"):
            for number in range(5):
                one, two = place[f"{name}/{number}.png"], place[f"{name}/again{number}.jpg"]
                assert kept.assignment[one] == kept.assignment[two]
                torn += plain.assignment[one] != plain.assignment[two]
    assert torn > 10  # what would have leaked


def test_groups_of_the_user_are_merged_not_lost(tmp_path: Path) -> None:
    samples = scan(with_second_shots(tmp_path))
    place = {path: i for i, path in enumerate(samples.paths)}
    group: list[str | None] = [None] * len(samples)
    for path in ("a/0.png", "a/7.png"):
        group[place[path]] = "plant"
    grouped, _ = group_look_alikes(replace(samples, group=tuple(group)))
    assert len({grouped.group[place[path]] for path in ("a/0.png", "a/7.png", "a/again0.jpg")}) == 1
    assert grouped.group[place["a/9.png"]] is None


def test_nothing_alike_changes_nothing() -> None:
    samples = scan(([np.asarray(photo(i, 40, 40)) for i in range(30)], [i % 2 for i in range(30)]))
    grouped, joined = group_look_alikes(samples)
    assert (grouped.group, grouped.notes, joined) == (samples.group, samples.notes, 0)
