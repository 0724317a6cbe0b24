import threading
from dataclasses import replace

import numpy as np
import pytest

from transferkit import compute
from transferkit.data.augmentation.augment import augmentation
from transferkit.features import extract, row_sources, store, working_arrays
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision
from transferkit.features.row_sources import Stored, Streamed, Views

from .sums import QUIET, SHAPES, Network, everything, opened, wanted_of


def test_stored_and_streamed_are_the_same_numbers(samples, views):
    wanted, features = wanted_of(samples), opened()
    assert extract.extract(Network(), [features], views, samples, wanted, QUIET) == 3 * len(samples)
    stored = everything(Stored(features, views, samples, wanted), samples)
    streamed = everything(Streamed(views, samples, Network(), SHAPES), samples)
    for a, b in zip(stored, streamed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(stored[0], axis=0)) > 2 * len(samples)  # views differ from one another


def test_pixels_are_streamed_as_they_are_drawn(samples, views):
    (pixels,) = Streamed(views, samples, None, [(32, 32, 3)]).take(np.array([4, 4]), np.array([0, 2]))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, views.pixels(samples, 4, [0, 2]))


def test_pixels_of_many_pairs_are_those_of_each_of_them(samples, views, monkeypatch):
    alone = np.stack([[views.pixels(samples, picture, view) for view in (1, 0, 2)] for picture in (3, 0, 4)])
    decoded = []
    monkeypatch.setattr(Views, "draw", lambda *given, own=Views.draw: decoded.extend(given[2]) or own(*given))
    np.testing.assert_array_equal(views.pixels(samples, [[3], [0], [4]], [1, 0, 2]), alone)
    assert sorted(decoded) == [(0, [1, 0, 2]), (3, [1, 0, 2]), (4, [1, 0, 2])], "each picture is decoded once"
    np.testing.assert_array_equal(views.pixels(samples, [3, 0, 4]), alone[:, 1])
    assert views.pixels(samples, []).shape == (0, 32, 32, 3)


def test_mirrored_views_are_the_same_pictures_the_other_way_round_under_names_of_their_own(samples, views):
    mirrored = replace(views, mirrored=True)
    plain, other = (each.pixels(samples, 4, [0, 1, 2]) for each in (views, mirrored))
    assert np.array_equal(plain[:, :, ::-1], other)
    names = {each.name(samples.sha256[4], view) for each in (views, mirrored) for view in range(3)}
    assert len(names) == 6
    assert views.name(samples.sha256[4], 0) == samples.sha256[4][:32], "a clean row keeps the name it always had"


@pytest.mark.parametrize("many", [False, True])
def test_no_memory_is_kept_for_what_is_taken_of_many_rows(many, samples, views, monkeypatch):
    wanted, features = wanted_of(samples), opened()
    extract.extract(Network(), [features], views, samples, wanted, QUIET)
    released = []
    monkeypatch.setattr(store, "release", released.append)
    monkeypatch.setattr(working_arrays, "HELD_BYTES", 4 * features.width * 3 * len(samples) - many)
    source = Stored(features, views, samples, wanted)
    source.take(np.array([4, 4]), np.array([0, 2]))
    assert bool(released) is many


def test_only_vectors_that_memory_has_room_for_are_resident(samples, views, monkeypatch):
    wanted, vectors = wanted_of(samples), store.open_set({"rows": "vectors"}, [(3,)])
    extract.extract(lambda inputs: Network()(inputs)[:1], [vectors], views, samples, wanted, QUIET)
    rows = 3 * len(samples)
    monkeypatch.setattr(row_sources, "RESIDENT_BYTES", 4 * 3 * rows - 1)
    assert Stored(vectors, views, samples, wanted).resident() is None
    monkeypatch.setattr(row_sources, "RESIDENT_BYTES", 4 * 3 * rows)
    source = Stored(vectors, views, samples, wanted)
    found = source.resident()
    assert found is not None
    assert source.resident() is found
    source.let_go()
    assert source.resident() is not found
    asked = np.array([4, 7, 4]), np.array([2, 0, 2])
    (there,) = Stored(vectors, views, samples, wanted).take(*asked)
    monkeypatch.setattr(row_sources.working_arrays, "HELD_BYTES", 4 * 3 * rows - 1)
    monkeypatch.setattr(row_sources, "PART_BYTES", 4 * 3 * 5)
    passing = Stored(vectors, views, samples, wanted).resident()
    for one, count in ((found, rows), (passing, 5)):
        tensors, numbers = one.taken(one.rows(*asked).reshape(3, 1))
        assert np.array(tensors[0]).shape == (count, 3)
        np.testing.assert_array_equal(np.array(tensors[0])[numbers[:, 0]], there)
    maps = opened()
    extract.extract(Network(), [maps], views, samples, wanted, QUIET)
    assert Stored(maps, views, samples, wanted).resident() is None


def test_a_view_that_was_not_extracted_is_an_error(samples, views):
    features, wanted = opened(), wanted_of(samples, 1)
    extract.extract(Network(), [features], views, samples, wanted, QUIET)
    with pytest.raises((AssertionError, IndexError)):
        Stored(features, views, samples, wanted).take(np.array([0]), np.array([2]))


def test_graph_precision_streams_from_a_thread(samples, views, mini):
    from transferkit.config import make

    frozen = Frozen(mini, make({"backbone": "mini"}), views, False, QUIET, Precision("bfloat16", "graph"))
    kind = frozen.pooled()
    source, found = frozen.source(kind, samples, wanted_of(samples)), []
    thread = threading.Thread(target=lambda: found.append(source.take(np.arange(5), np.zeros(5, int))[0]))
    thread.start()
    thread.join()
    exact = compute.forward(kind.model)([views.pixels(samples, range(5))])[0]
    cosine = (found[0] * exact).sum(1) / np.linalg.norm(found[0], axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.999


def test_augmentation_settings_are_in_the_rows_name_only(views):
    strong = Views(views.decode, augmentation("strong"), 2, 0)
    assert views.name("ab", 0) == strong.name("ab", 0)
    assert views.name("ab", 1) != strong.name("ab", 1)
    assert views.name("ab", 1) != views.name("ab", 2)


@pytest.mark.parametrize(("count", "cores", "gpus", "arrays", "begun"), [
    (row_sources.MANY, 16, 1, False, [16]), (row_sources.MANY - 1, 16, 1, False, []),
    (row_sources.MANY, 4, 1, False, []), (row_sources.MANY, 16, 0, False, []), (row_sources.MANY, 16, 1, True, []),
])  # fmt: skip
def test_processes_draw_where_a_gpu_would_wait_for_threads(
    monkeypatch, samples, views, count, cores, gpus, arrays, begun
):
    found = []
    monkeypatch.setattr(row_sources.processes, "begin", found.append)
    monkeypatch.setattr(row_sources, "available_threads", lambda: cores)
    monkeypatch.setattr(compute, "gpu_count", lambda: gpus)
    pictures = replace(samples, pixels=np.zeros((len(samples), 8, 8, 3), np.uint8)) if arrays else samples
    row_sources.prepare_drawing(count, views, pictures)
    assert found == begun
