"""What answers shards of pictures: the saved models, loaded once a process from the file system that all machines see.

It gives the numbers that `Predictor` makes its predictions of; these are made where they are asked for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit._version import __version__
from transferkit.console import Reporter
from transferkit.data.containers import places
from transferkit.data.images.decode import PictureError
from transferkit.delivery import members
from transferkit.delivery.predict import Predictor
from transferkit.delivery.tta_views import Look
from transferkit.errors import ConfigError
from transferkit.features.precision import Precision
from transferkit.features.shard_worker import at_home, require_same, versions_of
from transferkit.files import sha256_file
from transferkit.text import shown


@dataclass(frozen=True, kw_only=True)
class AnswerParcel:
    """All that a worker needs to know, besides the pictures: it travels once.

    `files` are the models' files, each with its SHA-256, `looks` and `engines` what was chosen for each. `folder` is
    where the asking process works; `seen` is a picture that it could read, by which a worker knows that it sees the
    same ones.
    """

    files: Sequence[tuple[Path, str]]
    precision: str
    looks: Sequence[tuple[Look, ...]]
    engines: Sequence[Precision]
    folder: Path
    versions: dict[str, str]
    seen: Path | None = None
    version: str = __version__


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardAnswers:
    """What a worker answers: outputs [pictures that can be read, t], the places in the shard of the others with the
    reason, what it has to say, its seconds, and where it ran."""

    rows: np.ndarray
    bad: list[tuple[int, str]]
    notes: list[str]
    seconds: float
    node: str

    def __getstate__(self) -> dict[str, Any]:
        # As bytes: an array would stay in Ray's object store for as long as it waits for its turn.
        rows = self.rows
        return self.__dict__ | {"rows": (rows.tobytes(), rows.dtype.str, rows.shape)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        content, kind, shape = state["rows"]
        self.__dict__.update(state | {"rows": np.frombuffer(content, kind).reshape(shape)})


def versions(engines: Sequence[Precision]) -> dict[str, str]:
    """Everything installed here that answers depend on.

    Args:
        engines: which answer.
    """
    found = versions_of(Precision())
    for engine in engines:
        found |= versions_of(engine)
    return found


class AnswerWorker:
    """Answers shards, one after the other, in the process that it is made in."""

    def __init__(self, work: AnswerParcel) -> None:
        self._work, self._reporter = work, Reporter(quiet=True)

    def begin(self, threads: int = 0) -> str:
        """Load the models, on `threads` (0: as many as this process may use); returns the name of the machine.

        Raises ConfigError where its answers would not be the same, or pictures and models are not to be seen.
        """
        work = self._work
        node = at_home(threads, work.folder, work.version)
        self._require_shared(node)
        compute.start()
        require_same(versions(work.engines), work.versions, node, "answers")
        loaded = members.load([path for path, _ in work.files], work.precision, work.looks)
        for member, engine in zip(loaded, work.engines, strict=True):
            with member.applied():
                member.follow(engine, self._reporter)
        self._predictor = Predictor(loaded, loaded[0].facts, settles=False)
        return node

    def _require_shared(self, node: str) -> None:
        for path, sha256 in self._work.files:
            if not path.is_file():
                raise ConfigError(
                    f"{node} does not see {shown(path)}: the run has to lie on a file system that all machines share"
                )
            if sha256_file(path) != sha256:
                raise ConfigError(
                    f"{node} has another file at {shown(path)} than the asking process: its answers would differ; put "
                    "the run on a file system that all machines share"
                )
        seen = self._work.seen
        if seen is not None and (reason := places.unreadable_reason(seen)):
            raise ConfigError(
                f"{node} cannot read {shown(seen)}, which {reason} there: pictures have to lie on a file system that "
                "all machines share, under the same path"
            )

    def run(self, shard: Sequence[str]) -> ShardAnswers:
        """Answer for the pictures at these paths."""
        started, said = time.monotonic(), len(self._reporter.warnings)
        rows: list[np.ndarray] = []
        bad = []
        for place, found in enumerate(self._predictor.outputs([Path(path) for path in shard])):
            if isinstance(found, PictureError):
                bad.append((place, found.reason))
            else:
                rows.append(found)
        return ShardAnswers(
            rows=np.stack(rows) if rows else np.zeros((0, len(self._predictor.facts.classes)), np.float32), bad=bad,
            notes=self._reporter.warnings[said:], seconds=time.monotonic() - started, node=socket.gethostname(),
        )  # fmt: skip
