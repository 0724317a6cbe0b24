"""Shards on a Ray cluster: actors that hold a network, what each was given, and what came back of it.

The queue stays in this process. An actor has two shards at most: the one that it computes, and the next. One that is
lost costs the shard that it had begun. What is done with pictures, features or answers, is not known here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Generic

from transferkit.compute.engines import EngineError
from transferkit.compute.ray_cluster import Cluster, fitting, handed, short
from transferkit.console import Reporter
from transferkit.errors import ConfigError, TrainingError, TransferKitError
from transferkit.features.shard_work import A, ShardWork
from transferkit.features.shards import LEAST, ShardQueue, Span
from transferkit.quantities import duration

LOOK = 5.0  # seconds without an answer after which the cluster is looked at
AHEAD = 2  # shards that an actor has
SLOW, SLOW_SECONDS = 5.0, 60.0  # times what shards take, and seconds at least, after which one is told of


@dataclass(eq=False)
class _Actor:
    """One process on the cluster: what it was given, in order, and since when it is at the first of it."""

    handle: Any
    node: str = ""  # empty until it has begun
    refs: deque[Any] = field(default_factory=deque)
    spans: deque[Span | None] = field(default_factory=deque)  # None: it is to begin
    since: float = field(default_factory=time.monotonic)


class RayShards(Generic[A]):
    """One piece of work: actors, what they were given, and what came back."""

    def __init__(
        self, cluster: Cluster, wanted: dict[str, float], slots: int, work: ShardWork[A], reporter: Reporter
    ) -> None:  # fmt: skip
        self.ray, self.cluster, self.reporter = cluster.ray, cluster, reporter
        self.work, self.queue = work, ShardQueue(len(work), work.most())
        self.wanted, self.slots = wanted, slots
        self.slow: list[str] = []  # what took much longer than the rest, in words
        self.machines: dict[str, int] = {}  # pictures done by each
        room = fitting(cluster.nodes(), wanted)
        if room < slots:
            reporter.warn(
                f"the Ray cluster has room for {room} workers with {wanted['CPU']:g} CPUs each, --workers asks "
                f"for {slots}; the others begin when nodes join"
            )
        self.actors: list[_Actor] = []
        self.by_ref: dict[Any, _Actor] = {}
        self.refused: list[str] = []  # what keeps workers from beginning
        self.stillborn = 0  # actors that were lost before they had begun, in a row
        self.told: set[tuple[int, int]] = set()  # spans that are slow
        self.twice: set[tuple[int, int]] = set()  # spans that two actors were given,
        self.finished: set[tuple[int, int]] = set()  # and those of them that one has answered
        self.crowded = False
        self.came: deque[tuple[Span, A | None]] = deque()  # what has come, and is to be handed on

    def answers(self) -> Generator[tuple[Span, A | None]]:
        """What came of each span, as it comes; None for a picture that ends every process that reads it. Together they
        are all pictures, each once. Actors end with it."""
        self.shipment = self.ray.put(self.work.parcel)
        self.actor = self._actor_class()
        try:
            for _ in range(min(self.slots, -(-len(self.work) // LEAST))):
                self._begin()
            while not self.queue.finished:
                self._step()
                while self.came:
                    yield self.came.popleft()
        finally:
            with suppress(self.ray.exceptions.RayError, ConnectionError):
                for actor in self.actors:
                    self.ray.kill(actor.handle)

    def in_order(self, most: int) -> Generator[tuple[Span, A | None]]:
        """`answers`, in the order of the pictures.

        Args:
            most: pictures whose answers may wait for earlier ones. When there are more, nothing new is handed out, so
                that at most the shards that actors have by then come on top.
        """
        early: dict[int, tuple[Span, A | None]] = {}
        place = waiting = 0
        with closing(self.answers()) as found:
            for span, answer in found:
                early[span.start] = span, answer
                waiting += len(span)
                while place in early:
                    span, answer = early.pop(place)
                    place, waiting = span.stop, waiting - len(span)
                    self.queue.held = waiting > most
                    yield span, answer
                self.queue.held = waiting > most

    def _actor_class(self) -> Any:
        variables = handed(self.wanted["CPU"], self.work.root)
        return self.ray.remote(
            num_cpus=self.wanted["CPU"], num_gpus=self.wanted["GPU"], max_restarts=0, max_task_retries=0,
            runtime_env={"env_vars": variables},
        )(self.work.worker)  # fmt: skip

    def _begin(self) -> None:
        """One more actor, which waits in Ray's queue until a node has room."""
        actor = _Actor(self.actor.remote(self.shipment))
        self.actors.append(actor)
        self._hand(actor, None, actor.handle.begin.remote(max(1, int(self.wanted["CPU"]))))

    def _hand(self, actor: _Actor, span: Span | None, ref: Any) -> None:
        if not actor.spans:
            actor.since = time.monotonic()
        actor.spans.append(span)
        actor.refs.append(ref)
        self.by_ref[ref] = actor

    def _step(self) -> None:
        """Hand out what there is, and take in what has come."""
        self._hand_out()
        if not self.by_ref:
            raise ConfigError("; ".join(self.refused) or "no worker is left")
        ready, _ = self.ray.wait(list(self.by_ref), num_returns=1, timeout=LOOK)
        if ready:
            ready, _ = self.ray.wait(list(self.by_ref), num_returns=len(self.by_ref), timeout=0)
        for ref in ready:
            if (actor := self.by_ref.get(ref)) is not None:  # it may have been found lost meanwhile
                self._take(actor)
        self._look(bool(ready))

    def _hand_out(self) -> None:
        for turn in range(AHEAD):  # everybody gets one before anybody gets two, also those that have yet to begin
            for actor in self.actors:
                if turn and self.queue.left <= LEAST * len(self.actors):
                    return
                if actor.node and len(actor.spans) == turn and (span := self.queue.take(len(self.actors))) is not None:
                    self._hand(actor, span, actor.handle.run.remote(self.work.shard(span)))

    def _take(self, actor: _Actor) -> None:
        """An actor's next answer, or its end."""
        errors = self.ray.exceptions
        try:
            answer = self.ray.get(actor.refs[0])
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            self._failed(actor, getattr(error, "cause", None) or error)
            return
        except errors.RayError as error:
            self._lost(actor, error)
            return
        del self.by_ref[actor.refs.popleft()]
        span, started = actor.spans.popleft(), actor.since
        actor.since = time.monotonic()
        if span is None:
            actor.node, self.stillborn = str(answer), 0
        elif _key(span) not in self.finished:
            self._finish(span, answer, actor.since - started)

    def _finish(self, span: Span, answer: A, seconds: float) -> None:
        self.queue.finish(span, answer.seconds)
        self.came.append((span, answer))
        self.machines[answer.node] = self.machines.get(answer.node, 0) + len(span)
        if _key(span) in self.twice:
            self.finished.add(_key(span))
        if _key(span) in self.told:
            self.slow.append(f"{self._named(span)} took {duration(seconds)} on {answer.node}")

    def _failed(self, actor: _Actor, error: BaseException) -> None:
        """A worker that cannot begin is left out, and said; what ends a shard with an error would end all of them."""
        if actor.spans[0] is None:
            self._drop(actor)
            why = str(error) if isinstance(error, TransferKitError) else (
                f"a worker could not begin; is the same transferkit installed on every node? {short(error)}"
            )  # fmt: skip
            if why not in self.refused:
                self.refused.append(why)
                self.reporter.warn(why)
            return
        if isinstance(error, TransferKitError | EngineError):
            raise error
        raise TrainingError(f"{self.work.called} failed on {actor.node}: {short(error)}") from error

    def _lost(self, actor: _Actor, error: BaseException) -> None:
        """An actor is gone, with its process or its node: what it had begun goes to another one, and one takes its
        place."""
        spans = [span for span in actor.spans if span is not None]
        if not actor.node:
            self.stillborn += 1
            if self.stillborn > 3 + 2 * self.slots:
                raise TrainingError(f"workers end before they have begun, the last one: {short(error)}")
        self._drop(actor)
        for place, span in enumerate(spans):
            if _key(span) in self.finished or self._elsewhere(span):
                continue
            if place == 0:
                self.reporter.say(f"a worker on {actor.node} was lost; {self._named(span)} go to another one")
                if self.queue.lose(span):
                    self.came.append((span, None))
            else:
                self.queue.give_back(span)
        self._begin()

    def _drop(self, actor: _Actor) -> None:
        for ref in actor.refs:
            self.by_ref.pop(ref, None)
        self.actors.remove(actor)
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor.handle)

    # -- the cluster

    def _look(self, answered: bool) -> None:
        """Tell of shards that take very long, and hand them to who has nothing else to do; and of a cluster without
        room, once."""
        if self.queue.seconds is not None:
            for actor in [a for a in self.actors if a.spans and a.spans[0] is not None]:
                self._look_at(actor)
        if answered:
            return
        crowded = not fitting(self.cluster.nodes(), self.wanted)
        if crowded and not self.crowded:
            self.reporter.warn(
                "no node is left with room for a worker; waiting for one to join (`ray start --address=…`), Ctrl-C ends"
            )
        self.crowded = crowded

    def _look_at(self, actor: _Actor) -> None:
        span = actor.spans[0]
        assert span is not None
        assert self.queue.seconds is not None
        age, usual = time.monotonic() - actor.since, self.queue.seconds * len(span)
        if age < max(SLOW_SECONDS, SLOW * usual) or _key(span) in self.finished:
            return
        if _key(span) not in self.told:
            self.told.add(_key(span))
            self.reporter.warn(
                f"{actor.node} has been at {self._named(span)} for {duration(age)}; others take {duration(usual)} for "
                "as many"
            )
        for waiting in [] if self.queue.waiting else list(actor.spans):  # what stands behind it waits as well
            idle = next((a for a in self.actors if a.node and not a.spans), None)
            if idle is not None and waiting is not None and not self._elsewhere(waiting, but=actor):
                self.twice.add(_key(waiting))
                self._hand(idle, waiting, idle.handle.run.remote(self.work.shard(waiting)))

    def _elsewhere(self, span: Span, but: _Actor | None = None) -> bool:
        """Whether another actor has that span as well."""
        return any(span in actor.spans for actor in self.actors if actor is not but)

    def _named(self, span: Span) -> str:
        first, last = self.work.name(span.start), self.work.name(span.stop - 1)
        return first if len(span) == 1 else f"{len(span):,} pictures from {first} to {last}"


def _key(span: Span) -> tuple[int, int]:
    return span.start, span.stop
