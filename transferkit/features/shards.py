"""Work in shards: which pictures are whose turn; of extraction also what travels to a worker, and what comes back.

Paths travel, and hashes where they are known; pictures are read by the worker and rows go to the store. What comes back
is how many were computed, and what could not be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from transferkit.data.samples import Samples

LEAST = 64  # pictures of a shard: one batch of the network
MOST = 8192  # so that the message is small
FIRST = 128  # as long as nothing is known of the speed
SECONDS = 20.0  # that a shard is meant to take: what a lost worker costs
MOST_BYTES = 32 << 20  # of pictures that travel themselves, since they lie in memory
ENDS = "ends every process that reads it"
LOSSES = 3  # workers that a shard may end before it is taken apart to find the picture that does it


@dataclass(frozen=True)
class Span:
    """Pictures `start` to `stop` (exclusive) of the work, which have ended `losses` workers."""

    start: int
    stop: int
    losses: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Shard:
    """What a worker is given: pictures, hashed or not, and the views that are wanted of each."""

    samples: Samples
    views: Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a worker answers: rows that it computed (`present` were stored already), the places in the shard of pictures
    that could not be read with the reason, its seconds, and where it ran."""

    computed: int
    present: int
    bad: list[tuple[int, str]]
    seconds: float
    node: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """All that is to be extracted: the pictures at `order` of `samples`, each with `views(its number)`."""

    samples: Samples
    order: Sequence[int]
    views: Callable[[int], Sequence[int]]

    def __len__(self) -> int:
        return len(self.order)

    def shard(self, span: Span) -> Shard:
        """What travels of a span: of the samples only where they are and what they hold."""
        numbers = self.order[span.start : span.stop]
        s, none = self.samples, (None,) * len(span)
        if isinstance(numbers, range) and numbers.step == 1:
            paths = s.paths[numbers.start : numbers.stop]
            hashes = None if s.sha256 is None else s.sha256[numbers.start : numbers.stop]
        else:
            paths = tuple(s.paths[i] for i in numbers)
            hashes = None if s.sha256 is None else tuple(s.sha256[i] for i in numbers)
        pixels = None if s.pixels is None else [s.pixels[i] for i in numbers]
        root = None if s.root is None else s.root.absolute()
        bare = Samples(
            root, paths, np.zeros(len(span), np.int8), (), "classify", none, none, hashes, pixels, s.origin
        )  # fmt: skip
        return Shard(bare, [self.views(i) for i in numbers])

    def most(self) -> int:
        """Pictures that a shard may have."""
        if not self.samples.pixels or not len(self.order):
            return MOST
        return max(1, min(MOST, MOST_BYTES // max(1, self.samples.pixels[self.order[0]].nbytes)))


@dataclass
class Extracted:
    """What an extraction came to: rows, pictures that could not be read by their number and the reason, what took much
    longer than the rest in words, workers that were lost, and pictures done by machine."""

    computed: int = 0
    present: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    lost: int = 0
    machines: dict[str, int] = field(default_factory=dict)

    def add(self, pictures: Pictures, span: Span, done: Done) -> None:
        """What a worker answered for a span."""
        self.computed += done.computed
        self.present += done.present
        self.bad += [(pictures.order[span.start + place], reason) for place, reason in done.bad]
        self.machines[done.node] = self.machines.get(done.node, 0) + len(span)

    def close(self, pictures: Pictures, queue: ShardQueue) -> None:
        """What the queue knows in the end."""
        self.lost = queue.lost
        self.bad += [(pictures.order[at], ENDS) for at in queue.poisoned]
        self.bad.sort()


@dataclass
class ShardQueue:
    """Whose turn it is: `count` pictures in spans, each handed out once, and again where its worker was lost.

    Spans are as long as `SECONDS` of the measured speed, and shorter towards the end, so that all workers end together.
    One that ends its worker time and again is taken apart, down to the picture that does it.
    """

    count: int
    most: int = MOST
    done: int = 0  # pictures
    lost: int = 0  # workers
    poisoned: list[int] = field(default_factory=list)  # pictures whose worker ended whenever it read them
    seconds: float | None = None  # that a picture takes a worker
    held: bool = False  # nothing is handed out for the first time

    def __post_init__(self) -> None:
        self._next = 0
        self._returned: deque[Span] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is something to be handed out."""
        return bool(self._returned) or (not self.held and self._next < self.count)

    @property
    def left(self) -> int:
        """Pictures that are to be handed out for the first time."""
        return self.count - self._next

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return self.done == self.count

    def take(self, workers: int) -> Span | None:
        """The next span for one of so many `workers`; None where all are handed out, or held back."""
        if self._returned:
            return self._returned.popleft()
        if self.held or self._next >= self.count:
            return None
        start, left = self._next, self.left
        wanted = FIRST if self.seconds is None else int(SECONDS / max(self.seconds, 1e-9))
        size = min(wanted, max(LEAST, left // (2 * max(1, workers))))
        self._next = min(self.count, start + min(self.most, max(LEAST, size // LEAST * LEAST)))
        return Span(start, self._next)

    def finish(self, span: Span, seconds: float) -> None:
        """A span is done, in so many seconds."""
        self.done += len(span)
        rate = seconds / len(span)
        self.seconds = rate if self.seconds is None else 0.7 * self.seconds + 0.3 * rate

    def give_back(self, span: Span) -> None:
        """A span that nobody had begun is to be done by another worker."""
        self._returned.append(span)

    def lose(self, span: Span) -> bool:
        """The worker that had begun a span is gone. Returns whether it is one picture that has ended its last."""
        self.lost += 1
        losses = span.losses + 1
        if losses < LOSSES:
            self._returned.append(Span(span.start, span.stop, losses))
        elif len(span) == 1:
            self.poisoned.append(span.start)
            self.done += 1
            return True
        else:
            middle = (span.start + span.stop) // 2
            # One more loss takes a half apart: it is known to be one of the two.
            self._returned.extendleft(
                [Span(middle, span.stop, LOSSES - 1), Span(span.start, middle, LOSSES - 1)]
            )  # fmt: skip
        return False
