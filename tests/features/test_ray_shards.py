"""Actors that are lost, refused or slow, on a stand-in for Ray that does as it is told; real clusters are in
`test_ray_cluster_extraction` and `delivery/test_ray_cluster_predict`."""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace

import numpy as np
import pytest

from transferkit import importing
from transferkit.compute.ray_cluster import handed
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.errors import ConfigError, StorageError, TrainingError
from transferkit.features import ray_shards
from transferkit.features.extraction_engines import ExtractionShards
from transferkit.features.ray_shards import RayShards
from transferkit.features.shards import ENDS, Done, Pictures


class RayError(Exception):
    """An actor or its node is gone."""


class RayTaskError(RayError):
    """What was asked of an actor raised `cause`."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Handle:
    """An actor: its calls are answered in their order, when they are waited for."""

    def __init__(self, ray, number):
        self.ray, self.number, self.dead = ray, number, False
        self.begin = SimpleNamespace(remote=lambda threads: self._call("begin", threads))
        self.run = SimpleNamespace(remote=lambda shard: self._call("run", shard))

    def _call(self, what, argument):
        ref = f"{self.number}-{what}-{next(self.ray.numbers)}"
        self.ray.calls[ref] = (self, what, argument)
        return ref


class Fake:
    """Ray, in which `behave(number of the actor, call, argument)` answers, raises, or gives None: not yet."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RuntimeEnvSetupError=RayTaskError)

    def __init__(self, behave):
        self.behave, self.calls, self.numbers, self.actors = behave, {}, itertools.count(), []
        self.answers, self.killed, self.options = {}, [], {}

    def put(self, value):
        return value

    def remote(self, **options):
        self.options = options
        return lambda kind: SimpleNamespace(remote=self._actor)

    def _actor(self, work):
        self.actors.append(Handle(self, len(self.actors)))
        return self.actors[-1]

    def wait(self, refs, num_returns, timeout):
        if not (ready := [ref for ref in refs if ref in self.answers]) and timeout:
            ready = list(itertools.islice(filter(self._answer, refs), 1))
        return ready[:num_returns], [ref for ref in refs if ref not in ready]

    def _answer(self, ref):
        """Whether there is an answer, now that somebody waits for it."""
        handle, what, argument = self.calls[ref]
        first = next(r for r, (h, _, _) in self.calls.items() if h is handle and r not in self.answers)
        if ref != first:
            return False
        try:
            if handle.dead:
                raise RayError("the actor is dead")
            answer = self.behave(handle.number, what, argument)
        except RayError as error:
            handle.dead = handle.dead or not isinstance(error, RayTaskError)
            answer = error
        if answer is None:
            return False
        self.answers[ref] = answer
        return True

    def get(self, ref):
        if isinstance(self.answers[ref], Exception):
            raise self.answers[ref]
        return self.answers[ref]

    def kill(self, handle):
        self.killed.append(handle.number)


def work_of(count):
    none = (None,) * count
    paths = tuple(f"{i:05}.jpg" for i in range(count))
    return Pictures(
        Samples(None, paths, np.zeros(count, np.int64), ("a",), "classify", none, none, None, None, ""),
        range(count), lambda i: range(1),
    )  # fmt: skip


def run_of(behave, count=1000, slots=3, reporter=None):
    ray = Fake(behave)
    cluster = SimpleNamespace(ray=ray, nodes=lambda: [{"CPU": 8.0}], local=False)
    reporter, work = reporter or Reporter(quiet=True), ExtractionShards(None, work_of(count))
    made = RayShards(cluster, {"CPU": 1, "GPU": 0}, slots, work, reporter)
    made.run = lambda: work.run(made, reporter)
    return made, ray


class Behaviour:
    """Every picture that was computed, in order; `special` may do otherwise."""

    def __init__(self, special=lambda number, what, argument: None):
        self.special, self.seen = special, []

    def __call__(self, number, what, argument):
        found = self.special(number, what, argument)
        if found is not None:
            return None if found == "later" else found
        if what == "begin":
            return f"node-{number}"
        self.seen += argument.samples.paths
        return Done(computed=len(argument.views), present=0, bad=[], seconds=0.01, node=f"node-{number}")


def test_every_picture_once_and_all_actors_share_the_work():
    behave = Behaviour()
    run, ray = run_of(behave)
    found = run.run()
    assert sorted(behave.seen) == list(work_of(1000).samples.paths)
    assert (found.computed, found.lost, found.bad) == (1000, 0, [])
    assert sum(found.machines.values()) == 1000
    assert sorted(ray.killed) == [0, 1, 2]
    assert ray.options["max_restarts"] == 0
    assert ray.options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"


def test_workers_take_no_code_from_the_data_or_the_working_directory_and_get_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    found = handed(2.0, tmp_path)
    assert {bytes.fromhex(folder).decode() for folder in found[importing.FOREIGN].split(":")} == {
        os.getcwd(), str(tmp_path),
    }  # fmt: skip
    assert (found["PYTHONSAFEPATH"], found["OMP_NUM_THREADS"], "HF_TOKEN" in found) == ("1", "2", False)
    of_arrays = handed(0.5, None)
    assert bytes.fromhex(of_arrays[importing.FOREIGN]).decode() == os.getcwd()
    assert of_arrays["OMP_NUM_THREADS"] == "1"


def test_an_actor_has_two_shards_at_most_however_many_pictures_there_are():
    most = []

    def special(number, what, argument):
        waiting = [h.number for ref, (h, w, _) in ray.calls.items() if ref not in ray.answers and w == "run"]
        most.append(max((waiting.count(n) for n in set(waiting)), default=0))

    run, ray = run_of(Behaviour(special), count=100_000, slots=2)
    run.run()
    assert max(most) == ray_shards.AHEAD


def test_towards_the_end_nobody_takes_a_second_shard_while_others_begin():
    found = run_of(Behaviour(), count=192)[0].run()
    assert found.machines == {"node-0": 64, "node-1": 64, "node-2": 64}


def test_a_lost_actor_costs_the_shard_that_it_had_begun_and_another_takes_its_place(capfd):
    died = []

    def special(number, what, argument):
        if number == 1 and what == "run":
            died.append(argument.samples.paths)
            raise RayError("killed")

    behave = Behaviour(special)
    run, ray = run_of(behave, reporter=Reporter())
    found = run.run()
    assert sorted(behave.seen) == list(work_of(1000).samples.paths)
    assert (found.lost, found.computed, len(died), len(ray.actors)) == (1, 1000, 1, 4)
    assert f"a worker on node-1 was lost; 64 pictures from {died[0][0]} to {died[0][-1]} go" in capfd.readouterr().err


def test_a_picture_that_ends_every_process_is_named_and_all_others_are_computed():
    def special(number, what, argument):
        if what == "run" and "00300.jpg" in argument.samples.paths:
            raise RayError("segmentation fault")

    behave = Behaviour(special)
    found = run_of(behave)[0].run()
    assert found.bad == [(300, "ends every process that reads it")]
    assert sorted(behave.seen) == [p for p in work_of(1000).samples.paths if p != "00300.jpg"]


def test_a_machine_that_would_make_other_rows_is_left_out_and_said():
    reporter = Reporter(quiet=True)

    def special(number, what, argument):
        if number == 1 and what == "begin":
            raise RayTaskError(ConfigError("node-1 has pillow 9.0 (not 12.0); rows would differ"))

    behave = Behaviour(special)
    found = run_of(behave, reporter=reporter)[0].run()
    assert found.computed == 1000
    assert "node-1" not in found.machines
    assert [w for w in reporter.warnings if "rows would differ" in w] == reporter.warnings


def test_no_machine_that_can_do_it_is_an_error_with_the_reason():
    def special(number, what, argument):
        raise RayTaskError(ConfigError("node has pillow 9.0"))

    reporter = Reporter(quiet=True)
    with pytest.raises(ConfigError, match=r"^node has pillow 9\.0$"):
        run_of(Behaviour(special), reporter=reporter)[0].run()
    assert reporter.warnings == ["node has pillow 9.0"], "what three of them say is said once"


def test_workers_that_never_begin_are_not_started_for_ever():
    def special(number, what, argument):
        raise RayError("out of memory")

    run, ray = run_of(Behaviour(special))
    with pytest.raises(TrainingError, match="end before they have begun, the last one: RayError: out of memory"):
        run.run()
    assert len(ray.actors) < 15


def test_workers_that_begin_now_and_then_are_started_again():
    def special(number, what, argument):
        if number < 18 and what == ("run" if number % 3 == 0 else "begin"):
            raise RayError("out of memory")

    run, ray = run_of(Behaviour(special))
    assert run.run().computed == 1000
    assert len(ray.actors) > 18


def test_a_cluster_without_room_is_said_once():
    reporter, rounds = Reporter(quiet=True), itertools.count()
    run, ray = run_of(
        Behaviour(lambda number, what, argument: "later" if next(rounds) < 20 else None), reporter=reporter
    )
    run.cluster = SimpleNamespace(ray=ray, nodes=list)
    assert run.run().computed == 1000
    assert ["no node is left with room" in warning for warning in reporter.warnings] == [True]


@pytest.mark.parametrize("error", [StorageError("no space left"), TrainingError("gives NaN")])
def test_what_would_end_every_shard_ends_the_extraction_and_all_actors(error):
    def special(number, what, argument):
        if what == "run":
            raise RayTaskError(error)

    run, ray = run_of(Behaviour(special))
    with pytest.raises(type(error), match=str(error)):
        run.run()
    assert sorted(ray.killed) == [0, 1, 2]


def test_a_shard_that_takes_very_long_is_named_and_given_to_another_actor_as_well(monkeypatch):
    monkeypatch.setattr(ray_shards, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(ray_shards, "SLOW", 0.0)
    reporter, hanging = Reporter(quiet=True), []

    def special(number, what, argument):
        if number == 0 and what == "run":
            hanging.append(argument.samples.paths)
            return "later"
        return None

    behave = Behaviour(special)
    found = run_of(behave, count=400, reporter=reporter)[0].run()
    assert sorted(set(behave.seen)) == list(work_of(400).samples.paths)
    assert found.computed == 400
    assert any(f"from {hanging[0][0]} to" in line for line in found.slow)
    assert any("node-0 has been at" in warning for warning in reporter.warnings)


@pytest.mark.parametrize("end", ["it answers", "it is lost"])
def test_a_shard_that_another_actor_has_done_meanwhile_counts_once(monkeypatch, end):
    monkeypatch.setattr(ray_shards, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(ray_shards, "SLOW", 0.0)
    late = []

    def special(number, what, argument):
        if number == 0 and what == "run":
            if argument.samples.paths[0] not in behave.seen:
                return "later"
            late.append(argument.samples.paths)
            if end == "it is lost":
                raise RayError("killed")
        return None

    behave = Behaviour(special)
    found = run_of(behave, count=400)[0].run()
    assert late, "it came too late"
    assert sorted(set(behave.seen)) == list(work_of(400).samples.paths), "nothing else is left out for it"
    assert (found.computed, sum(found.machines.values()), found.lost) == (400, 400, 0)


def test_a_shard_is_slow_by_its_own_time_not_by_that_of_those_before_it(monkeypatch):
    reporter, clock = Reporter(quiet=True), [0.0]
    monkeypatch.setattr(ray_shards, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def special(number, what, argument):
        clock[0] += ray_shards.SLOW_SECONDS / 3

    found = run_of(Behaviour(special), count=2000, slots=1, reporter=reporter)[0].run()
    assert (found.computed, found.slow, reporter.warnings) == (2000, [], [])
    assert clock[0] > 2 * ray_shards.SLOW_SECONDS


def test_pictures_that_could_not_be_read_are_named_by_their_number_in_order():
    def special(number, what, argument):
        if what == "run" and "00100.jpg" in argument.samples.paths:
            raise RayError("segmentation fault")
        if what == "run" and "00300.jpg" in argument.samples.paths:
            place = argument.samples.paths.index("00300.jpg")
            return Done(computed=len(argument.views) - 1, present=0, bad=[(place, "empty")], seconds=0.1, node="n")
        return None

    found = run_of(Behaviour(special))[0].run()
    assert (found.bad, found.computed) == ([(100, ENDS), (300, "empty")], 998)


def test_no_pictures_need_no_actor():
    run, ray = run_of(Behaviour(), count=0)
    assert run.run().computed == 0
    assert not ray.actors


# -- answers in the order of the pictures


def test_answers_come_in_the_order_of_the_pictures_whoever_is_done_first():
    rounds = itertools.count()

    def special(number, what, argument):
        return "later" if number == 0 and what == "run" and next(rounds) % 5 else None

    run, ray = run_of(Behaviour(special), count=5000)
    found = list(run.in_order(10_000))
    assert [span.start for span, _ in found] == [0, *(span.stop for span, _ in found[:-1])]
    assert found[-1][0].stop == 5000
    assert all(done.computed == len(span) for span, done in found)
    assert sum(run.machines.values()) == 5000
    assert sorted(ray.killed) == [0, 1, 2]


def test_a_picture_that_ends_every_process_has_its_place_among_the_answers():
    def special(number, what, argument):
        if what == "run" and "00300.jpg" in argument.samples.paths:
            raise RayError("segmentation fault")

    found = list(run_of(Behaviour(special))[0].in_order(10_000))
    assert [(span.start, span.stop) for span, done in found if done is None] == [(300, 301)]
    assert [i for span, _ in found for i in range(span.start, span.stop)] == list(range(1000))


@pytest.mark.parametrize("most", [0, 256])
def test_behind_one_that_hangs_no_more_answers_wait_than_are_allowed(monkeypatch, most):
    """Nor is that the end: who has nothing else to do takes its shards, and all goes on."""
    behave, ahead, reporter = None, [], Reporter(quiet=True)
    waited = itertools.count()

    def special(number, what, argument):
        if number == 0 and what == "run":
            ahead.append(len(behave.seen))
            if next(waited) == 50:  # by now nobody else has anything to do
                monkeypatch.setattr(ray_shards, "SLOW_SECONDS", 0.0)
                monkeypatch.setattr(ray_shards, "SLOW", 0.0)
            return "later"
        return None

    behave = Behaviour(special)
    run, _ = run_of(behave, count=50_000, reporter=reporter)
    run.queue.most = 128
    found = [span for span, _ in run.in_order(most)]
    assert [i for span in found for i in range(span.start, span.stop)] == list(range(50_000))
    assert ahead[:50], "it hung"
    allowed = most + 2 * ray_shards.AHEAD * 128 + 128  # of two other actors all that they had by then
    assert 0 < max(ahead[:50]) <= allowed
    assert any("node-0 has been at" in warning for warning in reporter.warnings)


def test_who_stops_reading_ends_the_actors():
    run, ray = run_of(Behaviour(), count=5000)
    answers = run.in_order(10_000)
    next(answers)
    answers.close()
    assert sorted(ray.killed) == [0, 1, 2]
