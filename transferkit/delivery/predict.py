"""Answers for new pictures: files, folders or a list of them, streamed through one shipped model or several."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from transferkit import compute, tasks
from transferkit.console import Reporter
from transferkit.data.images.decode import BUNDLE, DecodeSettings, PictureError
from transferkit.data.samples import Pixels, Source, shown
from transferkit.data.threads import map_ordered
from transferkit.delivery import members, notebook
from transferkit.delivery.members import Member, Named
from transferkit.delivery.tta import choose
from transferkit.delivery.tta_views import PLAIN, Look, looked
from transferkit.errors import ConfigError
from transferkit.features.extract import at_once
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.results import decide
from transferkit.runs.scoring import BATCH

BLOCK = 4 * BATCH  # sources at most between two passes of the model
PROBED = 16  # pictures that engines are tried on


@dataclass(frozen=True)
class Prediction:
    """One picture's answer. `scores` are (name, probability or number), best first; `label` is the decision.

    `abstained`: the confidence is below the threshold that was asked for, and `label` is empty.
    """

    path: str
    label: str
    confidence: float | None
    scores: tuple[tuple[str, float], ...]
    error: str = ""
    abstained: bool = False

    def as_dict(self, top: int | None = None) -> dict[str, object]:
        """Plain values for JSON; a failed picture has its `error` and nothing else."""
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "label": None if self.abstained else self.label,
            "confidence": self.confidence,
            "scores": dict(self.scores[:top]),
            **({"abstained": True} if self.abstained else {}),
        }

    def _repr_html_(self) -> str:
        """For notebooks: the answer, and the best five scores."""
        if self.error:
            return notebook.text(f"{self.path}: {self.error}")
        said = "no answer" if self.abstained else self.label
        # Without a confidence the scores are numbers of any size: shown, not drawn.
        rows = [(n, score if self.confidence is not None else 0.0, f"{score:.4g}") for n, score in self.scores[:5]]
        return notebook.text(f"{self.path}: {said}") + notebook.bars(rows)


R = TypeVar("R")
Seen = dict[tuple[DecodeSettings, Look], Pixels]  # one picture, as each member looks at it
Read = tuple[Source, Seen | PictureError]  # what was read of one source


@dataclass
class Predictor:
    """Loaded models that answer together; call `stream` as often as wanted.

    `facts` are those by which they answer (see `members.common`), `threshold` the confidence below which they abstain.
    Several members, and several looks of one, are averaged: probabilities, each calibrated by its own run, or numbers.
    `settles`: the first pictures of a stream tell which engine answers it.
    """

    members: Sequence[Member]
    facts: ModelFacts
    threshold: float | None = None
    settles: bool = True

    @classmethod
    def of(
        cls, run: Named | Sequence[Named], threshold: float | None = None, precision: str = "float32",
        tta: bool = False, reporter: Reporter | None = None,
    ) -> Predictor:  # fmt: skip
        """From a run directory or a `model.keras`, or from several (see `members.named`).

        `precision` float32 gives the numbers that evaluation reported; bfloat16 is several times as fast on processors
        that have it. With `tta` each run looks at pictures as its validation pictures showed to help (see `tta`).
        """
        speaker, runs = reporter or Reporter(quiet=True), members.named(run)
        facts = members.common(runs)
        if len(runs) > 1:
            speaker.say(f"ensemble of {len(runs)} runs: {', '.join(shown(path) for path in runs)}")
        looks = [choose(path, speaker).looks if tta else (PLAIN,) for path in runs]  # may refuse, without Keras
        compute.start(reporter=speaker)
        with speaker.step("loading the model"):
            loaded = members.load(runs, precision, looks)
        for note in sorted({note for member in loaded if (note := member.facts.outdated())}):
            speaker.warn(note)
        return cls(loaded, facts, threshold)

    def stream(self, sources: Iterable[Source], reporter: Reporter, total: int = 0) -> Generator[Prediction]:
        """A prediction per source, in order; unreadable ones carry their reason. Memory stays bounded.

        `sources` are pulled as they are needed. `total` is how many there are, for the progress bar (0: not known,
        unless `sources` has a length).
        """
        total = len(sources) if isinstance(sources, Sized) else total
        with reporter.progress("predicting", total) as advance:
            for predictions in self._each(self._answers, self._settled(sources, total, reporter)):
                yield from predictions
                advance(len(predictions))

    def outputs(self, sources: Iterable[Source]) -> Iterator[np.ndarray | PictureError]:
        """What `stream` makes its predictions of: the averaged outputs [t] of each source, or why it cannot be read."""
        for found in self._each(self._found, self._blocks(sources)):
            yield from found

    def settle(self, sources: Iterable[Source], total: int, reporter: Reporter) -> Source | None:
        """Choose by which engine each member answers `total` pictures that begin with `sources`, as `stream` does.

        Returns the first of them that can be read, if one is among those that were looked at.
        """
        with closing(self._blocks(sources)) as blocks:
            block = next(blocks, [])
        with ExitStack() as stack:
            for member in self.members:
                stack.enter_context(member.applied())
            self._settle(block, total, reporter)
        return next((source for source, one in block if not isinstance(one, PictureError)), None)

    def _each(self, work: Callable[[list[Read]], list[R]], blocks: Iterable[list[Read]]) -> Iterator[list[R]]:
        """`work` done for each block, in order."""
        with ExitStack() as stack:
            for member in self.members:
                stack.enter_context(member.applied())
            parallel = min(at_once(member.model) for member in self.members)
            yield from map_ordered(work, blocks, parallel, parallel)

    def _settled(self, sources: Iterable[Source], total: int, reporter: Reporter) -> Iterator[list[Read]]:
        """`_blocks`, the first of which tells by which engine each member answers `total` pictures."""
        for number, block in enumerate(self._blocks(sources)):
            if number == 0:
                self._settle(block, total, reporter)
            yield block

    def _settle(self, block: list[Read], total: int, reporter: Reporter) -> None:
        seen = [one for _, one in block if not isinstance(one, PictureError)]
        if not self.settles or not seen:
            return
        for member in self.members:
            pixels = [one[member.settings, member.looks[0]] for one in seen[:PROBED]]
            member.settle(total, np.stack(pixels), reporter)

    def _blocks(self, sources: Iterable[Source]) -> Generator[list[Read]]:
        """Pictures read: as many as fill one batch with readable ones, or BLOCK where few are."""
        block: list[Read] = []
        readable = 0
        # Two batches ahead: with less, reading would wait for the network, and it for reading.
        for source, result in map_ordered(self._read, sources, window=2 * BATCH, bundle=BUNDLE):
            block.append((source, result))
            readable += not isinstance(result, PictureError)
            if readable == BATCH or len(block) == BLOCK:
                yield block
                block, readable = [], 0
        if block:
            yield block

    def _read(self, source: Source) -> tuple[Source, Seen | PictureError]:
        """Decoded once for each size that a member needs."""
        seen: Seen = {}
        try:
            for settings in {member.settings: None for member in self.members}:
                here = [member.looks for member in self.members if member.settings == settings]
                looks = list(dict.fromkeys(look for some in here for look in some))
                pixels = looked(source, settings, looks)
                seen |= {(settings, look): pixels[number] for number, look in enumerate(looks)}
        except PictureError as error:
            return source, error
        return source, seen

    def _answers(self, block: list[Read]) -> list[Prediction]:
        return [
            answered(source, found, self.facts, self.threshold)
            for (source, _), found in zip(block, self._found(block), strict=True)
        ]

    def _found(self, block: list[Read]) -> list[np.ndarray | PictureError]:
        rows = iter(self._outputs([result for _, result in block if not isinstance(result, PictureError)]))
        return [result if isinstance(result, PictureError) else next(rows) for _, result in block]

    def _outputs(self, pictures: list[Seen]) -> list[np.ndarray]:
        """Answers [t] of each picture, averaged over looks, then over members."""
        if not pictures:
            return []
        found = []
        for member in self.members:
            pixels = np.stack([[seen[member.settings, look] for look in member.looks] for seen in pictures])
            found.append(averaged(member.by_look(pixels)))
        return list(averaged(np.stack(found)))


def answered(
    source: Source, found: np.ndarray | PictureError, facts: ModelFacts, threshold: float | None
) -> Prediction:  # fmt: skip
    """The prediction that is made of what was found.

    Args:
        source: the picture.
        found: its averaged outputs [t], or why it cannot be read.
        facts: by which it is decided.
        threshold: the confidence below which there is no answer; None: there is always one.
    """
    if isinstance(found, PictureError):
        return Prediction(_name(source), "", None, (), found.reason)
    names, task = facts.classes, facts.task
    label, sure = decide(task, found, names, facts.thresholds)
    pairs = [(name, float(value)) for name, value in zip(names, found, strict=True)]
    if not tasks.of(task).numbers:
        pairs.sort(key=lambda pair: -pair[1])
    confidence = float(sure) if sure else None
    abstained = threshold is not None and confidence is not None and confidence < threshold
    return Prediction(_name(source), "" if abstained else label, confidence, tuple(pairs), abstained=abstained)


def averaged(rows: np.ndarray) -> np.ndarray:
    """The mean over the first axis; of one alone, its very numbers."""
    return rows[0] if len(rows) == 1 else np.asarray(rows.mean(axis=0, dtype=np.float64))


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "bytes" if isinstance(source, bytes) else "array"


def abstain_at(wanted: str, run: Path, task: str) -> float:
    """The confidence below which nothing is answered.

    Args:
        wanted: a number in 0…1, `run` (the threshold that the run found on validation for an accuracy of 0.95), or
            `run:ACCURACY`.
        run: its folder, or a model's file.
        task: of the run.

    Raises:
        ConfigError: there is none, with what there is.
    """
    if tasks.of(task).numbers:
        raise ConfigError("abstaining needs a confidence, which numbers do not have; drop --abstain")
    if wanted == "run" or wanted.startswith("run:"):
        return _threshold_of(run, wanted.partition(":")[2] or "0.95", task)
    try:
        value = float(wanted)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"--abstain {wanted}: give a confidence from 0 to 1, run, or run:ACCURACY (e.g. run:0.99)")
    return value


def _threshold_of(run: Path, accuracy: str, task: str) -> float:
    if run.suffix == ".keras":
        raise ConfigError(f"--abstain run needs the run directory, not {run} alone; give a number, e.g. --abstain 0.8")
    if not tasks.of(task).abstains:
        raise ConfigError(f"--abstain run is for single-label runs; this one is {task}. Give a number")
    rows = {f"{row.accuracy:g}": row.threshold for row in Layout(run).read_metrics().abstention}
    found = rows.get(f"{float(accuracy):g}") if _is_number(accuracy) else None
    if found is not None:
        return float(found)
    reached = ", ".join(f"{a} (from {t:.3f})" for a, t in rows.items() if t is not None)
    way = f"it has: {reached}. Choose one as run:ACCURACY, or give a number" if reached else (
        "nor for any other. Give a number, e.g. --abstain 0.8"
    )  # fmt: skip
    raise ConfigError(
        f"--abstain: the run has no threshold for accuracy {accuracy} (validation cannot promise it, or it is reached "
        f"without abstaining); {way}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
