"""Whose turn it is: every picture once, again where a worker was lost, and never more than a shard is lost with it."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transferkit.data.samples import Samples
from transferkit.features.shards import FIRST, LEAST, LOSSES, MOST, MOST_BYTES, Pictures, ShardQueue, Span


def pictures_of(count, pixels=None, hashed=False):
    none = (None,) * count
    hashes = tuple(f"{i:064x}" for i in range(count)) if hashed else None
    paths = tuple(f"class/{i:05}.jpg" for i in range(count))
    return Samples(
        None if pixels else Path("/data"), paths, np.zeros(count, np.int64), ("class",), "classify", none, none, hashes,
        pixels, "", notes=("a note",), relabelled={"class/00000.jpg": "other"}, reader={"name": "folder"},
    )  # fmt: skip


def work_of(count, order=None, **more):
    return Pictures(pictures_of(count, **more), range(count) if order is None else order, lambda i: range(1 + i % 2))


@pytest.mark.parametrize("workers", [1, 3, 40])
def test_every_picture_is_handed_out_once_whatever_the_speed(workers):
    queue, seen, chance = ShardQueue(50_000), [], random.Random(0)
    while (span := queue.take(workers)) is not None:
        assert 1 <= len(span) <= MOST
        seen += range(span.start, span.stop)
        queue.finish(span, len(span) * chance.choice([1e-4, 0.01, 1.0]))
    assert seen == list(range(50_000))
    assert queue.finished


def test_shards_begin_small_are_as_long_as_the_speed_says_and_end_together():
    queue = ShardQueue(1_000_000)
    first = queue.take(4)
    assert len(first) == FIRST
    queue.finish(first, len(first) * 0.01)
    assert len(queue.take(4)) == 1984, "20 seconds of 10 ms each, in whole batches"
    queue.finish(Span(0, 100), 100 * 0.11)
    assert queue.seconds == pytest.approx(0.04), "a slow one does not speak for all"
    queue = ShardQueue(1000)
    queue.finish(queue.take(4), FIRST * 0.01)
    sizes = []
    while (span := queue.take(4)) is not None:
        sizes.append(len(span))
        queue.finish(span, len(span) * 0.01)
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert max(sizes) <= LEAST * 2, "none has more than an eighth of what is left, or a batch"


def drain(queue, deadly):
    """Do all that is to be done; a picture in `deadly` ends its worker. Returns who was computed how many times."""
    times = {}
    while not queue.finished:
        span = queue.take(2)
        assert span is not None
        if deadly.intersection(range(span.start, span.stop)):
            queue.lose(span)
            continue
        for i in range(span.start, span.stop):
            times[i] = times.get(i, 0) + 1
        queue.finish(span, 0.01 * len(span))
    return times


@pytest.mark.parametrize("deadly", [set(), {0}, {77}, {127, 128, 999}])
def test_a_picture_that_ends_its_worker_is_found_and_all_others_are_computed_once(deadly):
    queue = ShardQueue(1000)
    times = drain(queue, deadly)
    assert sorted(queue.poisoned) == sorted(deadly)
    assert times == dict.fromkeys(set(range(1000)) - deadly, 1)
    assert queue.lost <= len(deadly) * (LOSSES + 11)


def test_a_shard_that_was_lost_with_its_node_is_handed_out_whole_and_first():
    queue = ShardQueue(1000)
    one, two = queue.take(2), queue.take(2)
    queue.lose(one)
    assert queue.take(2) == Span(one.start, one.stop, 1)
    queue.give_back(two)
    assert queue.take(2) == two, "who had not begun has not lost anything"
    assert queue.lost == 1


def test_what_travels_is_paths_and_hashes_and_grows_with_the_shard_alone():
    small = [len(pickle.dumps(work_of(count, hashed=True).shard(Span(64, 128)))) for count in (1000, 10_000)]
    assert small[0] == small[1]
    assert small[0] < 64 * 150
    shard = work_of(1000).shard(Span(64, 128))
    assert shard.samples.paths == pictures_of(1000).paths[64:128]
    assert shard.samples.sha256 is None
    assert shard.samples.root == Path("/data")
    here = Pictures(replace(pictures_of(64), root=Path("data")), range(64), lambda i: range(1))
    assert here.shard(Span(0, 64)).samples.root == Path.cwd() / "data", "a worker works elsewhere"
    assert [len(views) for views in shard.views[:3]] == [1, 2, 1]


def test_chosen_pictures_travel_with_the_views_of_their_own_numbers():
    chosen = [999, 3, 500]
    shard = work_of(1000, chosen, hashed=True).shard(Span(0, 3))
    assert shard.samples.paths == tuple(f"class/{i:05}.jpg" for i in chosen)
    assert shard.samples.sha256 == tuple(f"{i:064x}" for i in chosen)
    assert [len(views) for views in shard.views] == [2, 2, 1]


def test_pictures_in_memory_travel_themselves_a_few_at_a_time():
    pixels = [np.full((200, 200, 3), i, np.uint8) for i in range(4)]
    work = work_of(4, pixels=pixels)
    assert work.most() == MOST_BYTES // 120_000
    assert [p[0, 0, 0] for p in work.shard(Span(1, 3)).samples.pixels] == [1, 2]
    assert work_of(4).most() == MOST
