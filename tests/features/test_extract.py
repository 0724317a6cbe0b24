import shutil

import numpy as np
import pytest

from transferkit.data import threads
from transferkit.data.augmentation.augment import augmentation
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.source import scan
from transferkit.errors import TrainingError
from transferkit.features import extract, store
from transferkit.features.row_sources import FORWARD_BATCH, Stored, Views

from .sums import QUIET, SHAPES, Network, everything, opened, wanted_of


def test_a_second_pass_computes_nothing(samples, views):
    network = Network()
    for expected in (90, 0):
        assert extract.extract(network, [opened()], views, samples, wanted_of(samples), QUIET) == expected
    assert network.rows == 90


def test_more_views_compute_only_those(samples, views):
    network = Network()
    extract.extract(network, [opened()], views, samples, wanted_of(samples, 1), QUIET)
    assert extract.extract(network, [opened()], views, samples, wanted_of(samples, 2), QUIET) == len(samples)
    other = Views(views.decode, augmentation("strong"), 2, 0)  # clean views are the same rows
    assert extract.extract(network, [opened()], other, samples, wanted_of(samples, 2), QUIET) == 2 * len(samples)
    seeded = Views(views.decode, views.augmentation, 2, 1)
    assert extract.extract(network, [opened()], seeded, samples, wanted_of(samples, 2), QUIET) == 2 * len(samples)


def test_no_views_at_all(samples):
    clean = Views(DecodeSettings(32), augmentation("none"), 0, 0)
    features = opened()
    assert extract.extract(Network(), [features], clean, samples, wanted_of(samples, 0), QUIET) == len(samples)
    assert everything(Stored(features, clean, samples, wanted_of(samples, 0)), samples, 0)[0].shape == (30, 3)


def test_an_interrupted_pass_goes_on_where_it_stopped(samples, views, monkeypatch):
    monkeypatch.setattr(extract, "COMMIT_SECONDS", 0.0)  # every batch is committed
    network = Network()
    network.die_at = 2
    with pytest.raises(KeyboardInterrupt):
        extract.extract(network, [opened()], views, samples, wanted_of(samples), QUIET)
    assert extract.extract(network, [opened()], views, samples, wanted_of(samples), QUIET) == 90 - FORWARD_BATCH
    whole = Network()
    shutil.rmtree(store.root())
    fresh = opened()
    extract.extract(whole, [fresh], views, samples, wanted_of(samples), QUIET)
    assert network.rows == whole.rows == 90


def test_work_is_committed_by_time_however_small_the_rows(samples, views, monkeypatch):
    features, clock = opened(), iter(range(0, 100000, 30))
    monkeypatch.setattr(extract.time, "monotonic", lambda: next(clock))  # every look at the clock is 30 s later
    extract.extract(Network(), [features], views, samples, wanted_of(samples), QUIET)
    assert len(list(features.folder.glob("chunk-*.npy"))) == 2


def test_several_sets_are_filled_in_one_pass(samples, views):
    class Both(Network):
        def __call__(self, inputs):
            outputs = super().__call__(inputs)
            return [*outputs, outputs[0] * 2]

    network = Both()
    cut, pooled = opened(), store.open_set({"rows": "pooled"}, [(3,)])
    extract.extract(network, [cut, pooled], views, samples, wanted_of(samples), QUIET)
    assert network.rows == 90
    wanted = wanted_of(samples)
    first = everything(Stored(cut, views, samples, wanted), samples)[0]
    second = everything(Stored(pooled, views, samples, wanted), samples)[0]
    np.testing.assert_array_equal(first * 2, second)
    # One of the two is lost: both are computed, only the lost one is written.
    shutil.rmtree(pooled.folder)
    chunks = len(list(cut.folder.glob("chunk-*.npy")))
    pooled = store.open_set({"rows": "pooled"}, [(3,)])
    assert extract.extract(network, [cut, pooled], views, samples, wanted, QUIET) == 90
    assert len(list(cut.folder.glob("chunk-*.npy"))) == chunks


def test_exact_duplicates_share_their_rows(tmp_path, digits, views):
    for place in ("a/1.png", "a/copy.png", "b/other.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
    originals = sorted(digits.glob("3/*.png"))
    shutil.copy(originals[0], tmp_path / "a/1.png")
    shutil.copy(originals[0], tmp_path / "a/copy.png")
    shutil.copy(originals[1], tmp_path / "b/other.png")
    copies = scan(tmp_path).hashed()
    features = opened()
    assert extract.extract(Network(), [features], views, copies, wanted_of(copies), QUIET) == 6
    rows = everything(Stored(features, views, copies, wanted_of(copies)), copies)[0].reshape(3, 3, 3)
    same = [i for i, path in enumerate(copies.paths) if path.startswith("a")]
    np.testing.assert_array_equal(rows[same[0]], rows[same[1]])


def test_rows_do_not_depend_on_the_folders_place(tmp_path, digits, samples, views):
    network = Network()
    extract.extract(network, [opened()], views, samples, wanted_of(samples), QUIET)
    shutil.copytree(digits, tmp_path / "moved")
    moved = scan(tmp_path / "moved").hashed()
    moved = moved.select([i for i in range(len(moved)) if i % 20 < 3])
    assert extract.extract(network, [opened()], views, moved, wanted_of(moved), QUIET) == 0


def test_the_number_of_threads_changes_nothing(samples, views, monkeypatch):
    found = []
    for count in (1, 5):
        monkeypatch.setattr(threads, "available_threads", lambda count=count: count)
        features = store.open_set({"rows": f"threads {count}"}, SHAPES)
        extract.extract(Network(), [features], views, samples, wanted_of(samples), QUIET)
        found.append(everything(Stored(features, views, samples, wanted_of(samples)), samples))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_views_of_a_picture_are_drawn_a_few_at_a_time(samples, views, monkeypatch):
    monkeypatch.setattr(extract, "VIEWS_AT_ONCE", 4)
    asked, inner = [], Views.draw
    monkeypatch.setattr(
        Views, "draw", lambda self, s, work, *more: asked.extend(len(v) for _, v in work) or inner(self, s, work, *more)
    )
    few = samples.select(range(2))
    features = opened()
    assert extract.extract(Network(), [features], views, few, wanted_of(few, 9), QUIET) == 20
    assert sorted(asked) == [2, 2, 4, 4, 4, 4]
    rows = everything(Stored(features, views, few, wanted_of(few, 9)), few, 9)[0]
    np.testing.assert_allclose(rows[7], views.pixels(few, 0, [7]).mean((1, 2))[0], rtol=1e-5)


def test_a_network_that_overflows_is_an_error_with_a_remedy(samples, views):
    class Overflowing(Network):
        def __call__(self, inputs):
            outputs = super().__call__(inputs)
            outputs[0][3, 0] = np.inf
            return outputs

    features = opened()
    with pytest.raises(TrainingError, match=r"2 of 90 views.*--precision float32"):
        extract.extract(Overflowing(), [features], views, samples, wanted_of(samples), QUIET)
    assert not store.open_set({"rows": "cut"}, SHAPES)._places


def test_two_batches_at_a_time_give_the_same_rows_in_the_same_order(samples, views):
    wanted, found = wanted_of(samples), []
    for parallel in (1, 2):
        features = opened(f"{parallel} at a time")
        extract.extract(Network(), [features], views, samples, wanted, QUIET, parallel)
        found.append(everything(Stored(features, views, samples, wanted), samples))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_networks_of_small_activations_and_gpus_get_two_batches_at_a_time(monkeypatch):
    import keras

    def network(side):
        inputs = keras.Input((side, side, 3))
        return keras.Model(inputs, keras.layers.ReLU()(inputs))

    assert extract.at_once(network(200)) == 2
    assert extract.at_once(network(800)) == 1
    monkeypatch.setattr(extract.compute, "gpu_count", lambda: 1)
    assert extract.at_once(network(800)) == 2  # a GPU computes one while the other is on its way
