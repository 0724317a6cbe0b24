from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.data.pictures import TRASHNET, folder_of_classes, needs_trashnet
from transferkit.data.samples import PARTS, Samples
from transferkit.data.source import scan
from transferkit.data.splitting.split import Splits, fold_indices, load_splits, rounds_of_folds, save_splits, split
from transferkit.errors import ConfigError, DataError

RATIOS = (0.7, 0.15, 0.15)


def table(
    labels: list[int],
    contents: list[int] | None = None,
    groups: list[int | None] | None = None,
    given_split: list[str | None] | None = None,
    targets: np.ndarray[Any, Any] | None = None,
    task: Any = "classify",
) -> Samples:
    count = len(labels)
    contents = contents or list(range(count))
    number = max(labels, default=0) + 1 if targets is None else targets.shape[1]
    return Samples(
        root=None,
        paths=tuple(f"{i}.png" for i in range(count)),
        targets=np.array(labels, dtype=np.int64) if targets is None else targets,
        classes=tuple(f"class{c}" for c in range(number)),
        task=task,
        split=tuple(given_split or [None] * count),
        group=tuple(None if g is None else f"g{g}" for g in (groups or [None] * count)),
        sha256=tuple(f"{content:064d}" for content in contents),
        pixels=None,
        origin="table",
    )


def class_counts(samples: Samples, splits: Splits) -> dict[str, Counter[int]]:
    return {part: Counter(samples.targets[splits.indices(part)].tolist()) for part in PARTS}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(sizes=[24, 50, 50, 18], seed=0, shares=RATIOS)
@given(
    sizes=st.lists(st.integers(7, 80), min_size=2, max_size=6),
    seed=st.integers(0, 10**6),
    shares=st.sampled_from([RATIOS, (0.6, 0.2, 0.2), (0.5, 0.25, 0.25), (0.8, 0.2, 0.0)]),
)
def test_every_class_keeps_its_share_within_one_picture(
    sizes: list[int], seed: int, shares: tuple[float, float, float]
) -> None:
    labels = [c for c, size in enumerate(sizes) for _ in range(size)]
    samples = table(labels)
    splits = split(samples, shares, seed=seed)
    counts = class_counts(samples, splits)
    for c, size in enumerate(sizes):
        for part, share in zip(PARTS, shares, strict=True):
            assert abs(counts[part][c] - size * share) <= 1 + 1e-9
            assert counts[part][c] > 0 or share == 0
    for part, share in zip(PARTS, shares, strict=True):
        assert abs(splits.counts()[part] - len(labels) * share) <= 1 + 1e-9
    assert len(splits) == len(labels)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), seed=st.integers(0, 1000))
def test_groups_and_duplicates_never_straddle(data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(40, 120))
    labels = [i % 3 for i in range(count)]
    groups = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=count, max_size=count))
    contents = data.draw(st.lists(st.integers(0, 2 * count), min_size=count, max_size=count))
    samples = table(labels, contents, groups)
    try:
        splits = split(samples, RATIOS, seed=seed, folds=3)
    except DataError:  # so many links that a class is one unit
        assume(False)
    for keys in (samples.sha256 or (), samples.group):
        for key in set(keys) - {None}:
            members = [i for i, k in enumerate(keys) if k == key]
            assert len({splits.assignment[i] for i in members}) == 1
            assert len({splits.fold[i] for i in members}) == 1
    assert {f for f, part in zip(splits.fold, splits.assignment, strict=True) if part == "test"} <= {-1}
    covered = [0] * count
    for train, val in fold_indices(splits):
        assert not set(train) & set(val)
        assert sorted([*train, *val]) == splits.indices("train", "val").tolist()
        for i in val:
            covered[i] += 1
    assert all(covered[i] == (splits.assignment[i] != "test") for i in range(count))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rate=st.floats(0.05, 0.5))
def test_multilabel_shares(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((300, 5)) < rate).astype(np.float32)
    samples = table([0] * 300, targets=targets, task="multilabel")
    splits = split(samples, RATIOS, seed=seed)
    off = []
    for part, share in zip(PARTS, RATIOS, strict=True):
        chosen = splits.indices(part)
        assert abs(len(chosen) - 300 * share) <= 12
        off.append(np.abs(targets[chosen].sum(0) - targets.sum(0) * share))
    # The method is greedy: single labels may be some pictures off, a label as a rule is not.
    assert np.max(off) <= 15
    assert np.mean(off) <= 2.5


def test_regression_is_split_by_quantiles() -> None:
    values = np.random.default_rng(0).exponential(size=(400, 1)).astype(np.float32)
    splits = split(table([0] * 400, targets=values, task="regress"), RATIOS)
    means = [values[splits.indices(part)].mean() for part in PARTS]
    assert max(means) - min(means) < 0.12
    assert splits.counts() == {"train": 280, "val": 60, "test": 60}
    two = np.column_stack([values[:, 0], values[::-1, 0] * 100])
    splits = split(table([0] * 400, targets=two, task="regress"), RATIOS)
    means = [two[splits.indices(part)].mean(0) / two.mean(0) for part in PARTS]
    np.testing.assert_allclose(means, 1, atol=0.15)


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_files() -> None:
    samples = table([i % 4 for i in range(200)], groups=[i // 3 if i < 60 else None for i in range(200)])
    first = split(samples, RATIOS, seed=0, folds=4)
    assert first.assignment == split(samples, RATIOS, seed=0, folds=4).assignment
    assert first.assignment != split(samples, RATIOS, seed=1).assignment
    shuffled = np.random.default_rng(3).permutation(200)
    again = split(samples.select(shuffled), RATIOS, seed=0, folds=4)
    assert [first.assignment[i] for i in shuffled] == list(again.assignment)
    assert [first.fold[i] for i in shuffled] == list(again.fold)


def test_numbers_of_pictures() -> None:
    samples = table([i % 3 for i in range(100)])
    assert list(split(samples, (60, 30, 10)).counts().values()) == [60, 30, 10]
    floats = split(samples, (60.0, 30.0, 10.0))  # as settings hold them
    assert floats.assignment == split(samples, (60, 30, 10)).assignment
    with pytest.raises(ConfigError, match="sums to 101, the data has 100"):
        split(samples, (61, 30, 10))


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (0.7, 0.2, 0.2), (0, 0.5, 0.5), (0.9, 0.3, -0.2), (float("nan"), 0, 0)])
def test_ratios_that_make_no_sense(ratios: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="three fractions that sum to 1"):
        split(table([0, 1] * 10), ratios)


def test_small_classes_are_all_named_with_the_remedy() -> None:
    samples = table([0] * 20 + [1] * 2 + [2])
    with pytest.raises(DataError) as caught:
        split(samples)
    remedy = "Add images or pass --exclude class1."
    assert f"class 'class1' has 2 images; a three-way split needs at least 3. {remedy}" in str(caught.value)
    assert "class 'class2' has 1 image;" in str(caught.value)
    with pytest.raises(DataError, match="only 1 of them distinct"):
        split(table([0] * 20 + [1] * 4, contents=[*range(20), 99, 99, 99, 99]))
    with pytest.raises(DataError, match="5 folds over train and val needs at least 5"):
        split(table([0] * 20 + [1] * 5), folds=5)
    three = split(table([0] * 20 + [1] * 3))
    assert all(three.assignment[20:].count(part) == 1 for part in PARTS)


def test_a_given_split_is_respected_and_what_it_lacks_is_carved_out_of_train() -> None:
    given_split = ["train"] * 80 + ["test"] * 20
    samples = table([i % 2 for i in range(100)], given_split=given_split)
    splits = split(samples)
    assert splits.assignment[80:] == ("test",) * 20
    assert 12 <= splits.counts()["val"] <= 16
    assert "the given split has no val; 18% of train carved out for it" in splits.notes
    everything = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    complete = split(table([i % 2 for i in range(100)], given_split=everything))
    assert list(complete.assignment) == everything
    assert complete.notes == ()
    partly = split(table([i % 2 for i in range(100)], given_split=["test"] * 20 + [None] * 80))
    assert partly.assignment[:20] == ("test",) * 20
    assert "80 pictures without a given split are taken as train" in partly.notes
    with pytest.raises(DataError, match="there is no train part"):
        split(table([0, 1] * 5, given_split=["test"] * 10))


def test_a_given_split_that_leaks_is_refused_by_name() -> None:
    given_split = ["train"] * 50 + ["test"] * 50
    contents = [*range(50), 3, *range(51, 100)]
    with pytest.raises(DataError, match=r"3\.png \(train\) = 50\.png \(test\).*--exclude-file"):
        split(table([i % 2 for i in range(100)], contents, given_split=given_split))


def test_folds_of_every_round_differ_and_cover() -> None:
    samples = table([i % 3 for i in range(120)])
    splits = split(samples, RATIOS, seed=4, folds=4)
    own = [val for _, val in fold_indices(splits)]
    rounds = [own, *rounds_of_folds(samples, splits, folds=4, rounds=2)]
    for held in rounds:
        assert sorted(np.concatenate(held)) == splits.indices("train", "val").tolist()
        assert max(map(len, held)) - min(map(len, held)) <= 3
    for one, other in itertools.combinations(rounds, 2):
        assert not np.array_equal(one[0], other[0])
    with pytest.raises(ConfigError, match="folds"):
        fold_indices(split(samples))


def test_saved_splits_come_back_and_changed_data_is_shown(tmp_path: Path) -> None:
    data = folder_of_classes(tmp_path / "data", {"a": 8, "b": 9})
    samples = scan(data)
    splits = split(samples, folds=3)
    path = tmp_path / "splits.csv"
    save_splits(path, samples, splits)
    assert path.read_text().splitlines()[0] == "path,label,split,fold,sha256"
    again = load_splits(path, scan(data))
    assert (again.assignment, again.fold, again.folds) == (splits.assignment, splits.fold, 3)
    shuffled = scan(data).select(range(16, -1, -1))
    assert load_splits(path, shuffled).assignment == splits.assignment[::-1]

    (data / "a" / "0.png").rename(data / "b" / "new.png")
    (data / "a" / "1.png").write_bytes((data / "a" / "2.png").read_bytes())
    with pytest.raises(DataError) as caught:
        load_splits(path, scan(data))
    message = str(caught.value)
    assert "1 pictures are in the data but not in the file: b/new.png" in message
    assert "1 pictures are in the file but not in the data: a/0.png" in message
    assert "1 pictures have other content: a/1.png" in message
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="its columns are path,label,split,fold,sha256"):
        load_splits(path, scan(data))


def test_a_splits_file_beside_the_pictures_is_data_itself(tmp_path: Path) -> None:
    data = folder_of_classes(tmp_path / "data", {"a": 8, "b": 9})
    splits = split(scan(data), seed=3)
    save_splits(data / "splits.csv", scan(data), splits)
    again = split(scan(data / "splits.csv"))
    assert again.assignment == splits.assignment
    assert again.notes == ()


@needs_trashnet
def test_trashnet_is_split_in_proportion() -> None:
    samples = scan(TRASHNET).hashed()
    splits = split(samples, seed=0)
    counts = class_counts(samples, splits)
    for c, total in enumerate(samples.counts().values()):
        assert abs(counts["train"][c] - 0.7 * total) <= 2  # three pairs of exact copies stay together
    assert splits.counts() == {"train": 1769, "val": 379, "test": 379}


def test_a_split_takes_no_table_of_pictures_by_classes() -> None:
    labels = [i % 2000 for i in range(8000)]
    samples = table(labels)
    tracemalloc.start()
    found = split(samples, (0.5, 0.25, 0.25))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.counts() == {"train": 4000, "val": 2000, "test": 2000}
    assert most < 20e6  # 8,000 × 2,000 numbers of four bytes would be 64 MB


def test_of_many_small_classes_the_error_names_some() -> None:
    with pytest.raises(DataError) as raised:
        split(table([i % 400 for i in range(800)]))
    lines = str(raised.value).splitlines()
    assert len(lines) == 12
    assert "class 'class0' has 2 images" in lines[1]
    assert lines[-1] == "  - and 390 more classes that are as small"
