"""`transferkit label`: pictures of a pool that are worth a label next, beside a random part of it kept for testing.

The test pictures are drawn before anything is chosen. What is chosen is no random sample of the pool, so that only
these say how good a model is on it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferkit import tasks
from transferkit.console import Reporter
from transferkit.data.audit.newcomers import newcomers
from transferkit.data.containers.films import film_of
from transferkit.data.samples import Samples, shown
from transferkit.delivery import label_features
from transferkit.delivery.inputs import find
from transferkit.delivery.label_check import own_samples
from transferkit.delivery.labels_file import TEST, LabelRow, LabelsFile, of_samples
from transferkit.errors import ConfigError, DataError, raise_problems
from transferkit.quantities import plural
from transferkit.runs import pool as pools
from transferkit.runs import preflight
from transferkit.runs.layout import Layout
from transferkit.selection.active_learning import Pick, worth_labelling

DRAWN = 50  # test pictures that are drawn where nothing else is asked for, but no more than a third of the pool
DRAWN_WHY = "drawn at random, for testing"
LISTED = 20  # pictures of one call that are shown; the file has all


@dataclass(frozen=True, kw_only=True)
class Labeling:
    """What was found: `next` to label, most useful first, and the `test` pictures that were drawn now, all in `file`.

    `labelled`, `waiting` and `tested` count what the file holds besides; `drawn` how many of all test pictures are a
    random part of a pool, not a run's own; `left_out` says what of the pool is not new.
    """

    file: Path
    next: list[LabelRow]
    test: list[LabelRow]
    labelled: int
    waiting: int
    tested: int
    left_out: list[str]
    drawn: int

    @property
    def bias(self) -> str:
        """What scores on pictures that were chosen are worth."""
        chosen = "Pictures that are chosen are no random sample: cross-validation and validation on them say little of "
        chosen += "the pool. "
        count = self.tested + len(self.test)
        if not count:
            return chosen + "No test pictures were drawn: how good a model is on the pool will not be known (--test)."
        there, is_one = plural(count, "test picture"), count == 1
        if not self.drawn:
            what = "was not drawn from it: it tells" if is_one else "were not drawn from it: they tell"
            return chosen + f"The {there} {what} of the pool only if it is alike; --test N draws some of it."
        return chosen + f"Judge by the {there}, which {'was' if is_one else 'were'} not."

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "file": str(self.file), "next": [{"path": row.path, "why": row.why} for row in self.next],
            "test": [row.path for row in self.test], "labelled": self.labelled, "waiting": self.waiting,
            "tested": self.tested, "left_out": self.left_out, "bias": self.bias,
        }  # fmt: skip

    def __str__(self) -> str:
        some = self.next[:LISTED]
        width = min(44, max((len(_brief(row.path)) for row in some), default=0))
        rows = [f"{n:>4}  {_brief(row.path):<{width}}  {row.why}" for n, row in enumerate(some, 1)]
        if len(some) < len(self.next):
            rows.append(f"      … and {len(self.next) - len(some):,} more in {shown(self.file)}")
        drawn = f", and {plural(len(self.test), 'test picture')} drawn at random" if self.test else ""
        return "\n".join([f"{plural(len(self.next), 'picture')} to label next{drawn}:", *rows])


def label(
    pool: Sequence[Path], run: Path | None, *, count: int, test: int | None, output: Path, backbone: str | None,
    seed: int, offline: bool, reporter: Reporter,
) -> Labeling:  # fmt: skip
    """Choose, and write `output`: rows of an earlier call keep their place and their labels.

    Args:
        pool: files, folders, patterns or lists of pictures.
        run: a finished run of one class a picture, whose model says what it is unsure of; None: typical pictures only.
        count: how many to choose.
        test: how many to draw at random for testing; None: `DRAWN` where there are no test pictures yet.
        output: the table.
        backbone: without a run, the network whose features are gone by; None chooses it.
        seed: of drawing and clustering.
        offline: never download weights.
        reporter: is told.

    Raises:
        ConfigError: options without effect.
        DataError: nothing of the pool is new, or a table of another kind.
    """
    remote = [problem for place in pool for problem in preflight.remote(place, offline)]
    raise_problems(ConfigError, _problems(run, count, test, backbone, seed) + remote)
    file = LabelsFile.read(output)
    if run is not None:
        file.add(_of_run(Layout(run)))
    already = sum(row.why == DRAWN_WHY for row in file.tested)
    if test and already:
        raise ConfigError(f"--test {test}: {plural(already, 'test picture')} were drawn already; drop it")
    places = ["of the run"] * (run is not None) + ["in the file"] * output.exists()
    fresh, left_out = _fresh(file, pools.without_labels(find(pool, reporter.warn)), " or ".join(places), reporter)
    known = pools.without_labels([Path(row.path) for row in file.there() if not row.tested]).hashed()
    labelled, waiting, tested = len(file.labelled), len(file.waiting), len(file.tested)
    drawn, rest = _drawn(fresh.paths, {film_of(row.path) for row in file.rows.values()}, test, bool(tested), seed)
    file.add(
        tests := [LabelRow(path, "", TEST, film_of(path), DRAWN_WHY) for path in map(fresh.paths.__getitem__, drawn)]
    )
    others = fresh.select(rest)
    seen = label_features.seen(run, others, known, backbone, seed, offline, reporter)
    picks = worth_labelling(seen.pool, seen.known, count, seen.answers, labelled, seed)
    found = [(others.paths[pick.index], _why(pick, seen)) for pick in picks]
    chosen = [LabelRow(path, group=film_of(path), why=why) for path, why in found]
    file.add(chosen)
    file.write()
    return Labeling(
        file=output, next=chosen, test=tests, labelled=labelled, waiting=waiting, tested=tested, left_out=left_out,
        drawn=already + len(tests),
    )  # fmt: skip


def _problems(run: Path | None, count: object, test: object, backbone: str | None, seed: object) -> list[str]:
    found = []
    if not _is_whole(count, 1):
        found.append(f"--next {count}: choose at least one picture; give a whole number")
    if test is not None and not _is_whole(test, 0):
        found.append(f"--test {test}: give 0 for none, or how many to draw, a whole number")
    if not _is_whole(seed, 0):
        found.append(f"--seed {seed} is not a whole number from 0 up")
    if run is not None and backbone is not None:
        found.append(f"--backbone {shown(backbone)} has no effect with --run, which has its network; drop one of them")
    return found


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def _of_run(layout: Layout) -> list[LabelRow]:
    """The pictures that a run was made from. Raises ConfigError where they have not one class each."""
    layout.complete()
    metrics = layout.read_metrics()
    if not tasks.of(metrics.task).plain_classes:
        raise ConfigError(
            f"--run {shown(layout.folder)} is for --task {metrics.task}; label is for one class a picture"
        )
    if metrics.ensemble is not None:
        raise ConfigError(
            f"--run {shown(layout.folder)} answers by several networks, or by mirror images too; give a run of one "
            "network that looks once"
        )
    samples, parts = own_samples(layout), {picture.path: picture.split for picture in layout.read_splits()}
    return list(of_samples(samples, [parts[path] == "test" for path in samples.paths]))


def _fresh(file: LabelsFile, pool: Samples, known_of: str, reporter: Reporter) -> tuple[Samples, list[str]]:
    """The pictures of the pool that are like none that are known (`known_of`: of the run, in the file), each kind
    once, and of no film of which a frame is kept for testing; and what the others are, in words."""
    known = pools.without_labels([Path(row.path) for row in file.there()])
    mine, films = set(file.rows), {film_of(row.path) for row in file.tested} - {""}
    pool = pool.select([i for i, path in enumerate(pool.paths) if path not in mine])
    kept = [i for i, path in enumerate(pool.paths) if film_of(path) not in films]
    tested, pool = len(pool) - len(kept), pool.select(kept)
    if not len(pool) and not tested:
        raise DataError(f"every picture of the pool is one {known_of} already; give more pictures")
    with reporter.progress("comparing pictures", len(known) + len(pool)) as advance:
        found = newcomers(known, pool, progress=lambda done, total: advance(1))
    out = {
        "of films kept for testing": tested,
        f"like one {known_of}": found.known,
        "like another": found.repeated,
        "unreadable": len(found.faults),
    }
    left_out = [f"{count:,} {what}" for what, count in out.items() if count]
    if not len(found.fresh):
        raise DataError(
            f"none of the {plural(len(pool) + tested, 'picture')} of the pool is new: {', '.join(left_out)}"
        )
    return found.fresh, left_out


def _drawn(
    paths: Sequence[str], begun: Set[str], test: int | None, known: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions that are drawn for testing, and all others. Frames of a film are drawn together, as they are alike,
    and none of those films that are `begun`."""
    total = len(paths)
    wanted = (0 if known else min(DRAWN, total // 3)) if test is None else test
    if wanted and wanted >= total:
        raise ConfigError(f"--test {wanted}: the pool has {plural(total, 'new picture')}; leave some to choose from")
    names, unit = np.unique([film_of(path) or path for path in paths], return_inverse=True)
    order = [n for n in np.random.default_rng(seed).permutation(len(names)) if names[n] not in begun]
    enough = int(np.searchsorted(np.cumsum(np.bincount(unit)[order]), wanted)) + 1 if wanted else 0
    taken = order[:enough]
    if len(taken) == len(names):  # of films the last one stays, or there would be nothing to choose from
        taken = taken[:-1]
    drawn = np.isin(unit, taken)
    return np.flatnonzero(drawn), np.flatnonzero(~drawn)


def _why(pick: Pick, seen: label_features.Seen) -> str:
    if pick.stands_for or seen.answers is None:
        others = pick.stands_for - 1
        return f"typical of {plural(others, 'other')} like it" if others > 0 else "like none of the others"
    row = seen.answers[pick.index]
    first, second = np.argsort(-row, kind="stable")[:2]
    return f"{seen.classes[first]} {row[first]:.2f} or {seen.classes[second]} {row[second]:.2f}"


def _brief(path: str) -> str:
    """The end of a path, from the working folder where it lies below that."""
    here = os.path.join(os.getcwd(), "")
    text = shown(path.removeprefix(here))
    return text if len(text) <= 44 else "…" + text[-43:]
