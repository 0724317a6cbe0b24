"""Answers for new pictures by the workers of a Ray cluster, in the order of the pictures.

Paths travel, outputs come back: a picture is read by one worker, the first few also by this process, which chooses the
engine by them. It lists the pictures, decides, and hands on.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.console import Reporter
from transferkit.data.images.decode import PictureError
from transferkit.delivery import members
from transferkit.delivery.answer_worker import AnswerParcel, AnswerWorker, ShardAnswers, versions
from transferkit.delivery.members import Named
from transferkit.delivery.predict import BLOCK, Prediction, Predictor, answered
from transferkit.errors import ConfigError
from transferkit.features.extraction_engines import ExtractionEngine, RayActors
from transferkit.features.ray_shards import AHEAD, RayShards
from transferkit.features.shards import ENDS, LEAST, MOST, Span
from transferkit.quantities import plural
from transferkit.text import shown

HELD = 256 << 20  # bytes of answers that wait for earlier ones
SHARD = 4 << 20  # bytes that the answers of a shard may have, which Ray holds
NUMBER = 8  # bytes of a number of an answer, at most


@dataclass(frozen=True)
class PredictionShards:
    """Answers as a cluster gives them (see `ShardWork`): `parcel` for the pictures at `paths`, `width` numbers each."""

    parcel: AnswerParcel
    paths: Sequence[Path]
    width: int
    called = "prediction"
    root = None

    @property
    def worker(self) -> type[AnswerWorker]:
        """Holds the models."""
        return AnswerWorker

    def __len__(self) -> int:
        return len(self.paths)

    def most(self) -> int:
        """A multiple of the batch, so that batches fall as in one process."""
        return min(MOST, max(LEAST, SHARD // (NUMBER * self.width) // LEAST * LEAST))

    def held(self) -> int:
        """Pictures whose answers may wait."""
        return HELD // (NUMBER * self.width)

    def room(self) -> int:
        """Bytes that Ray has to hold on one machine: two shards of each worker."""
        return min(HELD, AHEAD * NUMBER * self.width * self.most() * (os.cpu_count() or 1))

    def shard(self, span: Span) -> list[str]:
        """The paths."""
        return [os.fspath(path) for path in self.paths[span.start : span.stop]]

    def name(self, number: int) -> str:
        """The path, printable."""
        return shown(self.paths[number])


@dataclass
class RayPredictor:
    """As `Predictor`, on a cluster. `here` is what chooses the engine, `files` are the models' files."""

    actors: RayActors
    here: Predictor
    files: list[Path]
    precision: str
    reporter: Reporter

    @classmethod
    def of(
        cls, run: Named | Sequence[Named], actors: RayActors, threshold: float | None = None,
        precision: str = "float32", tta: bool = False, reporter: Reporter | None = None,
    ) -> RayPredictor:  # fmt: skip
        """From runs as `Predictor.of` takes them.

        Args:
            run: a run or a model's file, or several.
            actors: which answer.
            threshold: see there; the others too.
            precision: see there.
            tta: see there.
            reporter: is told of what befalls the workers as well.
        """
        speaker = reporter or Reporter(quiet=True)
        here = Predictor.of(run, threshold, precision, tta, speaker)
        files = [members.model_of(path).absolute() for path in members.named(run)]
        return cls(actors, here, files, precision, speaker)

    def stream(self, sources: Iterable[Path], reporter: Reporter, total: int = 0) -> Generator[Prediction]:
        """A prediction per picture, in order, as `Predictor.stream` gives it. Memory stays bounded.

        A picture that ends every process that reads it is one that cannot be read, unless it is among the first, by
        which this process chooses the engine. `sources` are read to their end
        before the first answer, whose number `total` need not be known therefore.

        Raises:
            ConfigError: no cluster, no room on it, or no machine of it gives the same answers.
            TrainingError: the cluster is gone.
        """
        paths = list(sources)
        if not paths:
            return
        work = self._work(paths, reporter)
        with self.actors.on_cluster(work, self.reporter, work.room()) as shards:
            with reporter.progress("predicting", len(paths)) as advance:
                for span, found in shards.in_order(work.held()):
                    self._told(found)
                    yield from self._predictions(paths[span.start : span.stop], found)
                    advance(len(span))
            self._close(shards)

    def _work(self, paths: Sequence[Path], reporter: Reporter) -> PredictionShards:
        here = self.here
        # A GPU that workers have is faster than any engine, and this machine need not have one.
        here.settles = not self.actors.gpus
        seen = here.settle(paths[:BLOCK], len(paths), reporter)
        engines = [member.chosen for member in here.members]
        work = AnswerParcel(
            files=[(path, member.file) for path, member in zip(self.files, here.members, strict=True)],
            precision=self.precision, looks=[member.looks for member in here.members], engines=engines,
            folder=Path.cwd(), versions=versions(engines), seen=seen if isinstance(seen, Path) else None,
        )  # fmt: skip
        return PredictionShards(work, paths, len(here.facts.classes))

    def _told(self, found: ShardAnswers | None) -> None:
        for note in [] if found is None else found.notes:
            if note not in self.reporter.warnings:
                self.reporter.warn(note)

    def _predictions(self, paths: Sequence[Path], found: ShardAnswers | None) -> Iterator[Prediction]:
        """Those of one span; None: it is the picture that ends every process that reads it."""
        bad = {0: ENDS} if found is None else dict(found.bad)
        rows = iter(() if found is None else found.rows)
        for place, path in enumerate(paths):
            what = PictureError(shown(path), bad[place]) if place in bad else next(rows)
            yield answered(path, what, self.here.facts, self.here.threshold)

    def _close(self, shards: RayShards[ShardAnswers]) -> None:
        """What there is to say of machines, once all is answered."""
        lost = shards.queue.lost
        if len(shards.machines) > 1 or lost:
            spread = ", ".join(f"{name} {count:,}" for name, count in sorted(shards.machines.items()))
            self.reporter.say(f"pictures by machine: {spread}; workers lost: {lost}")
        if shards.slow:
            self.reporter.say(f"took much longer than others: {'; '.join(shards.slow)}")


def predictor_of(
    where: ExtractionEngine, run: Named | Sequence[Named], *, threshold: float | None = None,
    precision: str = "float32", tta: bool = False, reporter: Reporter | None = None,
) -> Predictor | RayPredictor:  # fmt: skip
    """What answers for runs.

    Args:
        where: by what: this process, or a cluster.
        run: see `Predictor.of`; the others too.
        threshold: see there.
        precision: see there.
        tta: see there.
        reporter: see there.
    """
    if isinstance(where, RayActors):
        return RayPredictor.of(run, where, threshold, precision, tta, reporter)
    return Predictor.of(run, threshold, precision, tta, reporter)


def require_paths(sources: Iterable[Any]) -> None:
    """Refuse pictures that are not files.

    Args:
        sources: what the decoder would read.

    Raises:
        ConfigError: some have no path, by which a worker could read them.
    """
    others = sum(not isinstance(source, Path) for source in sources)
    if others:
        raise ConfigError(
            f"--engine ray: workers are given paths, and {plural(others, 'picture')} came without one, as arrays, "
            "images or bytes; give files, or leave out --engine"
        )
