"""Batches hold every view in order, without gaps, whatever cannot be read, in memory that is used again."""

import threading

import numpy as np
import pytest

from transferkit.data.images.opening import PictureError
from transferkit.features.drawing import BatchDrawing

SIZE, BROKEN = 2, 13


def draw(work, into):
    errors = []
    for (picture, views), places in zip(work, into, strict=True):
        errors.append(PictureError("13.jpg", "is damaged") if picture == BROKEN else None)
        for view, place in zip(views, places, strict=True):
            place[...] = 0 if picture == BROKEN else (10 * picture + view) % 256
    return errors


def work(pictures, views):
    return [(picture, range(views)) for picture in range(pictures)]


@pytest.mark.parametrize(("pictures", "views", "batch"), [(10, 1, 4), (10, 3, 4), (4, 3, 12), (3, 7, 2), (1, 1, 64)])
def test_every_view_is_in_its_batch_in_order(pictures, views, batch):
    drawing = BatchDrawing(draw, SIZE, batch, None)
    found = list(drawing.batches(work(pictures, views), views))
    assert [pair for b in found for pair in b.views] == [(p, v) for p in range(pictures) for v in range(views)]
    assert all(len(b.pixels) == batch for b in found[:-1])
    for b in found:
        assert len(b.views) == len(b.pixels)
        np.testing.assert_array_equal(b.pixels[:, 0, 0, 0], [10 * p + v for p, v in b.views])


@pytest.mark.parametrize("batch", [1, 4])  # of one: all of some batches is left out
def test_what_cannot_be_read_is_told_and_left_out(batch):
    told = []
    drawing = BatchDrawing(draw, SIZE, batch, lambda picture, error: told.append((picture, error.reason)))
    found = list(drawing.batches(work(20, 3), 3))
    assert told == [(13, "is damaged")]
    pairs = [pair for b in found for pair in b.views]
    assert pairs == [(p, v) for p in range(20) if p != BROKEN for v in range(3)]
    for b in found:
        assert b.views
        np.testing.assert_array_equal(b.pixels[:, 0, 0, 0], [10 * p + v for p, v in b.views])


def test_a_picture_that_cannot_be_read_is_an_error_where_nobody_is_told():
    with pytest.raises(PictureError, match=r"13\.jpg"):
        list(BatchDrawing(draw, SIZE, 4, None).batches(work(20, 1), 1))


def test_the_memory_of_a_batch_is_used_again_unless_what_came_of_it_lies_there():
    drawing, seen = BatchDrawing(draw, SIZE, 1, None), []
    for batch in drawing.batches(work(200, 1)[BROKEN + 1 :], 1):
        seen.append(batch.pixels.ctypes.data)
        np.testing.assert_array_equal(batch.pixels[:, 0, 0, 0], [(10 * p + v) % 256 for p, v in batch.views])
        drawing.use_again(batch, [batch.pixels.sum(axis=(1, 2, 3))])
    assert len(set(seen)) < len(seen)
    kept = []
    drawing = BatchDrawing(draw, SIZE, 1, None)
    for batch in drawing.batches(work(BROKEN, 1), 1):
        kept.append((batch.views, batch.pixels[:, 0, 0]))
        drawing.use_again(batch, [batch.pixels])
    for views, found in kept:
        np.testing.assert_array_equal(found[:, 0], [(10 * p + v) % 256 for p, v in views])


def test_pictures_are_drawn_on_several_threads_into_one_batch(monkeypatch):
    monkeypatch.setattr("transferkit.data.threads.available_threads", lambda: 2)
    both, threads = threading.Barrier(2, timeout=20), set()

    def slowly(some, into):
        threads.add(threading.get_ident())
        both.wait()  # of two bundles
        return draw([(0, views) for _, views in some], into)

    found = list(BatchDrawing(slowly, SIZE, 16, None).batches(work(16, 1), 1))
    assert len(found) == 1
    assert len(threads) == 2
