"""Test-time augmentation, used only where it helps: whether mirrored pictures and crops make a run's answers better.

Found on the run's own validation pictures, proved by their hashes, by a paired test; the test split is not looked at.
The finding is kept in RUN/tta.json under the hash of the model, so that it goes wherever the run's folder goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import Field

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.containers import places
from transferkit.data.images.decode import DECODER_VERSION, DecodeSettings
from transferkit.data.samples import Pixels, Samples, listed, shown
from transferkit.data.splitting.units import group_codes_of
from transferkit.data.threads import map_ordered
from transferkit.delivery.members import Member
from transferkit.delivery.tta_views import CANDIDATES, PLAIN, SHARE, Look, looked
from transferkit.errors import ConfigError, DataError
from transferkit.evaluation.intervals import paired_bootstrap
from transferkit.files import only_below, sha256_file
from transferkit.record import Interval, Record
from transferkit.runs import model_file, pictures
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.scoring import BATCH
from transferkit.runs.tables import Picture
from transferkit.seals import recalled, remember

FEWEST = 30  # validation pictures below which nothing could be told apart
MOST = 2000  # that are looked at
LEVEL = 0.05  # of the test, shared by the candidates (Bonferroni)
REPEATS = 2000
EVERY = tuple(dict.fromkeys(look for looks in CANDIDATES.values() for look in looks))


class Tried(Record):
    """What one candidate does on validation: its loss, the loss of plain prediction taken from it, and the test."""

    name: str
    loss: float
    difference: float
    ci95: Interval
    p: float
    accuracy: float | None = None


class TtaRecord(Record):
    """The content of tta.json. `chosen` is the candidate that is used, None where plain prediction is."""

    model_sha256: str
    decoder: int
    crop: float
    n: int
    measure: str
    plain: float
    plain_accuracy: float | None = None
    candidates: list[Tried] = Field(default_factory=list)
    chosen: str | None = None

    @property
    def looks(self) -> tuple[Look, ...]:
        """How each picture is looked at."""
        return CANDIDATES.get(self.chosen or "", (PLAIN,))

    def __str__(self) -> str:
        if self.n < FEWEST:
            return f"{self.n} validation pictures are too few to tell whether it helps; plain prediction is used"
        if self.chosen is None:
            return f"flips and crops do not help on the {self.n} validation pictures; plain prediction is used"
        best = next(tried for tried in self.candidates if tried.name == self.chosen)
        return (
            f"{self.chosen} is used: {self.measure} {self.plain:.4f} → {best.loss:.4f} on {self.n} validation pictures "
            f"(p = {best.p:.2g}); each picture is looked at {len(self.looks)} times"
        )


def choose(run: Path, reporter: Reporter) -> TtaRecord:
    """What helps the run's model, found at the first call and remembered in the run; it is said.

    Args:
        run: its folder.
        reporter: is told.

    Raises:
        ConfigError: the run cannot tell (a model file alone, or one that learnt from its validation pictures).
        DataError: those pictures are gone or changed.
    """
    if run.suffix == ".keras":
        raise ConfigError(f"--tta needs the run directory, not {shown(run)} alone: validation pictures decide; drop it")
    layout = Layout(run)
    manifest = layout.complete()
    layout.check_model()
    found = _remembered(layout, sha256_file(layout.model))
    if found is None:
        if "train+val" in (manifest.learnt_from, manifest.config.refit):
            raise ConfigError(
                f"--tta: the model of {shown(run)} has learnt from its validation pictures too, so none are left to "
                "tell whether it helps; predict without --tta, or train with --refit train"
            )
        found = _found(layout, reporter)
        with only_below(run):
            remember(layout.tta, found.as_json())
    reporter.say(f"test-time augmentation, {shown(run)}: {found}")
    return found


def _remembered(layout: Layout, model: str) -> TtaRecord | None:
    """What tta.json says of this very model; None where it says nothing, or nothing that can be used."""
    with suppress(OSError, ValueError):
        found = TtaRecord.read(recalled(layout.tta))
        same = (found.model_sha256, found.decoder, found.crop) == (model, DECODER_VERSION, SHARE)
        if same and (found.chosen is None or found.chosen in {t.name for t in found.candidates} & CANDIDATES.keys()):
            return found
    return None


def _found(layout: Layout, reporter: Reporter) -> TtaRecord:
    facts = model_file.facts(layout.model)
    samples = _validation(layout, facts)
    compute.start(reporter=reporter)
    by_look = dict(zip(EVERY, _answers(layout, facts, samples, reporter), strict=True))
    plain = losses(by_look[PLAIN], samples)
    tried = [
        _tried(name, np.stack([by_look[look] for look in looks]).mean(axis=0, dtype=np.float64), plain, samples)
        for name, looks in CANDIDATES.items()
    ]
    right = accuracy(by_look[PLAIN], samples)
    helps = [t for t in tried if t.difference < 0 and t.p < LEVEL / len(tried) and not _below(t.accuracy, right)]
    chosen = min(helps, key=lambda t: t.loss).name if helps and len(samples) >= FEWEST else None
    return TtaRecord(
        model_sha256=sha256_file(layout.model), decoder=DECODER_VERSION, crop=SHARE, n=len(samples),
        measure=samples.kind.tta_measure, plain=float(plain.mean()), plain_accuracy=right,
        candidates=tried, chosen=chosen,
    )  # fmt: skip


def _tried(name: str, outputs: np.ndarray, plain: np.ndarray, samples: Samples) -> Tried:
    ours = losses(outputs, samples)
    told = paired_bootstrap(
        lambda _, some: float(some.mean()), np.zeros(len(ours)), ours, plain, repeats=REPEATS,
        groups=group_codes_of(samples),
    )  # fmt: skip
    return Tried(
        name=name, loss=float(ours.mean()), difference=told.difference, ci95=[told.low, told.high], p=told.p,
        accuracy=accuracy(outputs, samples),
    )  # fmt: skip


def _below(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def losses(outputs: np.ndarray, samples: Samples) -> np.ndarray:
    """What each picture adds to the loss: log loss, or the error in deviations of the targets.

    Args:
        outputs: answers [n, t].
        samples: the pictures.

    Returns:
        float64 [n].
    """
    return samples.kind.surprise(np.asarray(samples.targets), outputs)


def accuracy(outputs: np.ndarray, samples: Samples) -> float | None:
    """Share of pictures whose top class is right, for single-label runs.

    Args:
        outputs: answers [n, t].
        samples: the pictures.
    """
    if not samples.kind.exclusive:
        return None
    return float((samples.kind.decide(outputs) == samples.targets).mean())


def _answers(layout: Layout, facts: ModelFacts, samples: Samples, reporter: Reporter) -> np.ndarray:
    """Answers [looks, n, t] of the run's model to each of `EVERY` look at the pictures."""
    member = Member(model_file.load(layout.model), facts, looks=EVERY)
    found = []
    with reporter.progress("flips and crops", len(samples)) as advance:
        for pixels in _batches(samples, member.settings):
            found.append(member.by_look(pixels))
            advance(len(pixels))
    return np.concatenate(found, axis=1)


def _batches(samples: Samples, settings: DecodeSettings) -> Iterator[Pixels]:
    waiting: list[Pixels] = []
    sources = (samples.pinned(i) for i in range(len(samples)))
    for pixels in map_ordered(lambda source: looked(source, settings, EVERY), sources, window=2 * BATCH):
        waiting.append(pixels)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def _validation(layout: Layout, facts: ModelFacts) -> Samples:
    """The run's validation pictures, at most `MOST` of them evenly spread, unchanged since then."""
    rows = [row for row in layout.read_splits() if row.split == "val"]
    rows = [rows[i * len(rows) // min(len(rows), MOST)] for i in range(min(len(rows), MOST))]
    origin, remedy = layout.complete().data.path, "or predict without --tta"
    why = f"--tta is decided by the validation pictures of {shown(layout.folder)}"
    if origin is None:
        raise DataError(f"{why}, which were arrays that a run does not keep; predict without --tta")
    if not rows:
        raise DataError(f"{why}, and it has none; predict without --tta")
    if not places.exists(Path(origin).expanduser()):
        raise DataError(f"{why}, and its data {shown(origin)} is no longer there; put it back, {remedy}")
    samples = pictures.own(layout, rows, facts.task, facts.classes)
    changed = _changed(rows, samples)
    if changed:
        raise DataError(
            f"{why}, and {len(changed)} of the {len(rows)} are missing or changed: {listed(changed)}; put them back as "
            f"they were, {remedy}"
        )
    return samples


def _changed(rows: Sequence[Picture], samples: Samples) -> list[str]:
    hashes = dict(zip(samples.paths, samples.sha256 or (), strict=True))
    return [row.path for row in rows if hashes.get(row.path) != row.sha256]
