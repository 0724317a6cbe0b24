"""Stratified, seeded, group-aware splits. Pure: hashes files where asked to, never opens a picture.

What must stay together (a user's group, exact duplicates) is one unit. Units are ordered by a hash of the
seed and their content, so that neither machine nor file order changes a split, and a renamed picture keeps
its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from transferkit.csv_files import read_csv, write_csv
from transferkit.data.readers.cells import column, same_target
from transferkit.data.samples import PARTS, Part, Samples, listed, shown
from transferkit.data.splitting.strata import distribute
from transferkit.data.splitting.units import Units, label_counts, per_sample, refuse_small, shuffled, sizes_of, units_of
from transferkit.errors import ConfigError, DataError, raise_problems
from transferkit.tasks.task import Strata

COLUMNS = ("path", "label", "split", "fold", "sha256")
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Splits:
    """Where each of N samples belongs.

    `assignment`: "train", "val" or "test"; `fold`: 0 … folds-1 for train and val samples where folds were
    asked for, else -1; `notes`: what was decided beyond the request.
    """

    assignment: tuple[Part, ...]
    fold: tuple[int, ...]
    seed: int
    folds: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.assignment)

    def indices(self, *parts: Part) -> Indices:
        """Positions of the samples of one or several parts, ascending, int64."""
        return np.flatnonzero(np.isin(self.assignment, parts)).astype(np.int64)

    def counts(self) -> dict[Part, int]:
        """Samples per part."""
        return {part: self.assignment.count(part) for part in PARTS}


def split(samples: Samples, ratios: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0, folds: int = 0) -> Splits:
    """Assign every sample to train, val or test, and train + val to folds.

    Classes keep their shares within one picture (groups permitting), multi-label data by iterative stratification
    (Sechidis et al. 2011), regression by quantiles. A split the user gave is respected; parts it lacks are carved out
    of train.

    Args:
        samples: the data; groups and exact copies stay together.
        ratios: three fractions that sum to 1, or three whole numbers of pictures that sum to N; train above 0.
        seed: what is drawn by, 0 or more.
        folds: how many; 0 for none.

    Returns:
        A part and a fold (-1: none) for each sample.

    Raises:
        DataError: a class is too small to appear in every part, or a given split leaks.
        ConfigError: ratios, seed or folds make no sense.
    """
    samples = samples.hashed()
    wanted = _fractions(ratios, len(samples))
    _check_seed(seed, folds)
    units = units_of(samples)
    order = shuffled(samples, units, seed, "split")
    notes: list[str] = []
    given = _given(samples, units)
    labels = samples.kind.strata(samples.targets)
    parts = _assign(samples, units, order, labels, wanted, given, notes)
    assignment = tuple(PARTS[p] for p in per_sample(units, parts, len(samples)))
    fold = _fold(samples, units, labels, parts, folds, seed) if folds else np.full(len(samples), -1)
    return Splits(assignment, tuple(int(f) for f in fold), seed, folds, tuple(notes))


def fold_indices(splits: Splits) -> list[tuple[Indices, Indices]]:
    """Positions to train and to validate on, for every fold. Test never appears.

    Args:
        splits: with folds.

    Returns:
        (train, val) int64 positions, fold by fold; together they cover train + val.

    Raises:
        ConfigError: the splits have no folds.
    """
    if splits.folds < 2:
        raise ConfigError("these splits have no folds; make them with split(…, folds=5)")
    fold = np.asarray(splits.fold)
    return [(np.flatnonzero((fold >= 0) & (fold != k)), np.flatnonzero(fold == k)) for k in range(splits.folds)]


def rounds_of_folds(samples: Samples, splits: Splits, folds: int = 5, rounds: int = 2) -> list[list[Indices]]:
    """Folds for repeated cross-validation over train + val, drawn again in each round.

    Args:
        samples: the data.
        splits: whose test part is left out, and whose seed is drawn by.
        folds: how many, or fewer, down to 2, where a class has fewer pictures (or groups of them).
        rounds: how many.

    Returns:
        For each round, the positions int64 that each fold holds out.

    Raises:
        DataError: a class is too small even for two folds.
        ConfigError: fewer than two folds are asked for.
    """
    samples = samples.hashed()
    for count in range(folds, 1, -1):
        try:
            drawn = [_repeated(samples, replace(splits, folds=count), 1 + r) for r in range(rounds)]
        except DataError:
            if count == 2:
                raise
            continue
        return [[np.flatnonzero(fold == k) for k in range(count)] for fold in drawn]
    raise ConfigError(f"{folds} folds are too few; give 2 or more")


def save_splits(path: Path, samples: Samples, splits: Splits) -> None:
    """Write `splits.csv`, which `scan` reads back: path,label,split,fold,sha256, and group where there are groups.

    Args:
        path: of the file, which is replaced.
        samples: the data.
        splits: of the same samples; the cell of a fold is empty where there is none.
    """
    samples = samples.hashed()
    fold = ["" if number < 0 else number for number in splits.fold]
    columns = [samples.paths, column(samples), splits.assignment, fold, samples.sha256 or ()]
    header: tuple[str, ...] = COLUMNS
    if any(samples.group):
        header, columns = (*COLUMNS, "group"), [*columns, [group or "" for group in samples.group]]
    write_csv(path, header, zip(*columns, strict=True))


def load_splits(path: Path, samples: Samples, seed: int = 0) -> Splits:
    """The splits that `save_splits` wrote.

    Args:
        path: of the file.
        samples: the data as it is now, in whose order they are given.
        seed: that they were drawn by; the file does not say it.

    Raises:
        DataError: shows which pictures are missing, new, changed or relabelled since it was written.
    """
    samples = samples.hashed()
    try:
        rows = {row["path"]: row for row in read_csv(Path(path))}
        saved = {name: (row["label"], row["sha256"], row["split"], row["fold"]) for name, row in rows.items()}
        fold = {name: int(row[3] or -1) for name, row in saved.items()}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{shown(path)} is no splits file ({error!r}); its columns are {','.join(COLUMNS)}") from error
    raise_problems(DataError, _differences(path, samples, saved))
    assignment = tuple(cast(Part, saved[name][2]) for name in samples.paths)
    folds = tuple(fold[name] for name in samples.paths)
    return Splits(assignment, folds, seed, max(folds, default=-1) + 1)


def _differences(path: Path, samples: Samples, saved: dict[str, tuple[str, str, str, str]]) -> list[str]:
    hashes = samples.sha256 or ()
    known = [(i, name) for i, name in enumerate(samples.paths) if name in saved]
    kinds = {
        "are in the data but not in the file": [n for n in samples.paths if n not in saved],
        "are in the file but not in the data": sorted(saved.keys() - set(samples.paths)),
        "have other content": [name for i, name in known if saved[name][1] != hashes[i]],
        "have another label": [
            f"{name} ({saved[name][0]} → {samples.label(i)})"
            for i, name in known
            if not same_target(saved[name][0], samples, i)
        ],
        f"have a split other than {', '.join(PARTS)}": [n for _, n in known if saved[n][2] not in PARTS],
    }
    return [f"{shown(path)}: {len(names)} pictures {kind}: {listed(names)}" for kind, names in kinds.items() if names]


def _fractions(ratios: Sequence[float], total: int) -> npt.NDArray[np.float64]:
    """Three shares that sum to 1, whether fractions or numbers of pictures were given."""
    advice = "give three fractions that sum to 1, such as .7,.15,.15, or three numbers of pictures"
    if len(ratios) != 3 or min(ratios) < 0 or ratios[0] <= 0 or not np.isfinite(ratios).all():
        raise ConfigError(f"split {tuple(ratios)} is not train, val, test with a train part; {advice}")
    counts = [int(r) for r in ratios]  # settings hold floats
    if counts == list(ratios) and sum(counts) != 1:
        if sum(counts) != total:
            raise ConfigError(f"split {tuple(counts)} sums to {sum(counts)}, the data has {total} pictures; {advice}")
        return np.asarray(counts, dtype=np.float64) / total
    if abs(sum(ratios) - 1) > 1e-6:
        raise ConfigError(f"split {tuple(ratios)} sums to {sum(ratios):g}; {advice}")
    return np.asarray(ratios, dtype=np.float64)


def _check_seed(seed: int, folds: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed {seed!r} is not a whole number from 0 up")
    if folds < 0 or folds == 1:
        raise ConfigError(f"folds {folds} is not possible; give 0 for none, or 2 or more")


def _given(samples: Samples, units: Units) -> list[int]:
    """The part each unit was given by the user, or -1. Refuses units that lie in two parts."""
    if all(part is None for part in samples.split):
        return [-1] * len(units)
    given, torn = [], []
    for members in units:
        parts = {samples.split[i] for i in members} - {None}
        if len(parts) > 1:
            torn.append(" = ".join(f"{shown(samples.paths[i])} ({samples.split[i]})" for i in members[:3]))
        given.append(PARTS.index(cast(Part, min(p for p in parts if p))) if parts else -1)
    if torn:
        raise DataError(
            f"{len(torn)} pictures (or groups) lie in more than one of your splits, so that scores would be "
            f"too good: {'; '.join(torn[:5])}{' …' if len(torn) > 5 else ''}. Keep each in one split, or "
            "list the copies to leave out: transferkit data check DATA --write-exclusions FILE, then pass "
            "--exclude-file FILE"
        )
    return given


def _assign(
    samples: Samples,
    units: Units,
    order: list[int],
    labels: Strata,
    wanted: npt.NDArray[np.float64],
    given: list[int],
    notes: list[str],
) -> npt.NDArray[np.int64]:
    """The part (0 train, 1 val, 2 test) of each unit."""
    parts = np.asarray(given, dtype=np.int64)
    present = set(given) - {-1}
    if not present:
        _check_small(samples, units, order, wanted, "a {n}-way split")
        parts[order] = distribute(label_counts(units, order, labels), sizes_of(units, order), wanted)
        return parts
    free = int((parts == -1).sum())
    if free:
        notes.append(f"{free} pictures without a given split are taken as train")
        parts[parts == -1] = 0
    lacking = [p for p in (1, 2) if p not in present and wanted[p] > 0]
    if 0 not in present and not free:
        only = listed([PARTS[p] for p in sorted(present)])
        raise DataError(f"the given split has {only} only; there is no train part")
    if lacking:
        shares = np.zeros(3)
        shares[[0, *lacking]] = wanted[[0, *lacking]]
        shares /= shares.sum()
        pool = [u for u in order if parts[u] == 0]
        _check_small(samples, units, pool, shares, "carving {n} parts out of train")
        parts[pool] = distribute(label_counts(units, pool, labels), sizes_of(units, pool), shares)
        names = " and ".join(PARTS[p] for p in lacking)
        amounts = " and ".join(f"{share:.0%}" for share in shares[lacking])
        notes.append(f"the given split has no {names}; {amounts} of train carved out for it")
    return parts


def _check_small(samples: Samples, units: Units, chosen: list[int], shares: npt.NDArray[np.float64], what: str) -> None:
    """Every class must be able to appear in every part: one unit each."""
    need = int((shares > 0).sum())
    refuse_small(samples, [units[u] for u in chosen], need, what.format(n={2: "two", 3: "three"}.get(need, need)))


def _fold(
    samples: Samples,
    units: Units,
    labels: Strata,
    parts: npt.NDArray[np.int64],
    folds: int,
    seed: int,
    repeat: int = 0,
) -> npt.NDArray[np.int64]:
    order = shuffled(samples, units, seed, f"fold {repeat}")
    pool = [u for u in order if parts[u] != PARTS.index("test")]
    refuse_small(samples, [units[u] for u in pool], folds, f"{folds} folds over train and val")
    fold = np.full(len(units), -1, dtype=np.int64)
    fold[pool] = distribute(label_counts(units, pool, labels), sizes_of(units, pool), np.full(folds, 1 / folds))
    return per_sample(units, fold, len(samples))


def _repeated(samples: Samples, splits: Splits, repeat: int) -> npt.NDArray[np.int64]:
    units = units_of(samples)
    parts = np.array([PARTS.index(splits.assignment[members[0]]) for members in units], dtype=np.int64)
    labels = samples.kind.strata(samples.targets)
    return _fold(samples, units, labels, parts, splits.folds, splits.seed, repeat)
