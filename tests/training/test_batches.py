import functools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from transferkit import tasks
from transferkit.errors import ConfigError
from transferkit.training import batches as b
from transferkit.training.batches import Batches


def made(source, count=23, size=5, views=0, seed=0, weights=None, **mixing):
    targets = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    weights = np.linspace(1, 2, count).astype(np.float32) if weights is None else weights
    return Batches(source, np.arange(100, 100 + count), targets, weights, size, views, seed, **mixing)


EQUAL = np.ones(20, np.float32)


def rows(count=130):
    """Row i holds the number i: a picture can be recognised in a batch."""
    return np.arange(count, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)


@pytest.mark.parametrize(("count", "size"), [(23, 5), (20, 5), (3, 3), (1, 1), (7, 6)])
def test_every_picture_once_an_epoch_and_padding_weighs_nothing(arrays, count, size):
    batches = made(arrays(rows()), count, size)
    for epoch in range(3):
        ((inputs,), targets, weights) = (np.concatenate(part) for part in zip(*unpacked(batches, epoch), strict=True))
        assert inputs.shape == (batches.steps, size, 4)
        assert targets.shape == (batches.steps, size, 3)
        shown, weighed = inputs[..., 0].ravel() - 100, weights.ravel() > 0
        assert sorted(shown[weighed]) == list(range(count))
        assert weighed.sum() == count
        # Each row carries its own target and weight.
        np.testing.assert_array_equal(targets.reshape(-1, 3).argmax(1), shown % 3)
        np.testing.assert_array_equal(
            weights.ravel()[weighed], np.linspace(1, 2, count).astype(np.float32)[shown[weighed].astype(int)]
        )


def unpacked(batches, epoch):
    """Chunks with their inputs' only tensor unpacked, for concatenation."""
    return [([inputs[0]], targets, weights) for inputs, targets, weights in batches.epoch(epoch)]


def test_an_epoch_is_the_same_every_time_and_unlike_the_next(arrays):
    batches = made(arrays(rows()))
    first, again, second = (next(batches.epoch(n))[0][0] for n in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, next(made(arrays(rows()), seed=1).epoch(0))[0][0])


def test_views_cycle_so_that_each_is_seen_before_any_again(arrays):
    source = arrays(rows())
    batches = made(source, 20, 5, views=3)
    seen = {picture: [] for picture in range(100, 120)}
    for epoch in range(8):
        source.asked.clear()
        list(batches.epoch(epoch))
        for pictures, views in source.asked:
            for picture, view in zip(pictures, views, strict=True):
                seen[picture].append(view)
    for views in seen.values():
        assert sorted(views[:4]) == [0, 1, 2, 3]
        assert views[:4] == views[4:]
    assert len({tuple(views) for views in seen.values()}) > 1  # pictures start at different views


def test_no_views_means_clean_pictures(arrays):
    source = arrays(rows())
    list(made(source, views=0).epoch(3))
    assert all((views == 0).all() for _, views in source.asked)


def test_long_epochs_come_in_chunks_of_whole_batches(arrays, monkeypatch):
    monkeypatch.setattr(b, "CHUNK_BYTES", 4 * 4 * 5 * 2)  # two batches
    chunks = list(made(arrays(rows())).epoch(0))
    assert [len(weights) for *_, weights in chunks] == [2, 2, 1]
    whole = made(arrays(rows()))
    monkeypatch.undo()
    np.testing.assert_array_equal(np.concatenate([inputs[0] for inputs, _, _ in chunks]), next(whole.epoch(0))[0][0])


@pytest.mark.parametrize(
    ("count", "mixing", "steps"), [(80, {}, [2] * 8), (10, {}, [1, 1]), (80, {"mixup": 0.4}, [1] * 16)]
)
def test_pixels_for_a_gpu_come_as_more_steps_a_call_and_are_the_same(arrays, monkeypatch, count, mixing, steps):
    """Never more than an eighth of an epoch, and mixtures, whose draws go by the chunk, as anywhere else."""
    monkeypatch.setattr(b, "CHUNK_BYTES", 4 * 5 * 3)
    pixels = rows(200).astype(np.uint8)
    here, there = arrays(pixels), arrays(pixels)
    there.for_gpu = True
    expected, found = (list(made(source, count=count, **mixing).epoch(1)) for source in (here, there))
    assert [len(weights) for *_, weights in found] == steps
    for part in range(3):
        one, other = (np.concatenate([c[part][0] if part == 0 else c[part] for c in e]) for e in (expected, found))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4}])
def test_an_epoch_is_the_same_where_several_threads_ask(arrays, monkeypatch, mixing):
    monkeypatch.setattr(b, "CHUNK_BYTES", 4 * 4 * 5)
    one, two = arrays(rows()), arrays(rows())
    two.for_gpu = True
    together, inner = threading.Barrier(2, timeout=20), two.take

    def take(pictures, views):
        if len(two.asked) < 2:
            together.wait()
        return inner(pictures, views)

    two.take = take
    epochs = [list(made(source, count=20, **mixing).epoch(1)) for source in (one, two)]
    assert len(epochs[0]) == len(epochs[1]) == 4
    for (a, *more), (b_, *others) in zip(*epochs, strict=True):
        for x, y in zip([*a, *more], [*b_, *others], strict=True):
            np.testing.assert_array_equal(x, y)


def test_several_tensors_keep_together(arrays):
    batches = made(arrays(rows(), rows().reshape(-1, 2, 2)))
    (first, second), _, _ = next(batches.epoch(0))
    assert second.shape == (5, 5, 2, 2)
    np.testing.assert_array_equal(first[..., 0], second[..., 0, 0])


def test_mixup_mixes_inputs_and_targets_alike(arrays):
    # The row of picture i is its own target, so that whatever was mixed must be the mixed target.
    own_target = np.eye(3, dtype=np.float32)[(np.arange(130) - 100) % 3]
    (inputs,), targets, weights = next(made(arrays(own_target), 20, 5, weights=EQUAL, mixup=0.4).epoch(0))
    np.testing.assert_allclose(inputs, targets, atol=1e-6)
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.2}, {"mixup": 1.0}, {"cutmix": 0.2}, {"cutmix": 1.0}])
def test_every_picture_brings_its_own_weight_into_a_mixture(arrays, mixing):
    # Picture i alone has target i, so that the loss weight that falls to it can be read off. 23 fill no batch of 5.
    own = np.linspace(0.5, 4, 23).astype(np.float32)
    source = arrays(np.zeros((130, 4, 4, 1), np.float32))
    batches = Batches(source, np.arange(100, 123), np.eye(23, dtype=np.float32), own, 5, 0, 0, **mixing)
    carried = sum((targets * weights[..., None]).sum((0, 1)) for _, targets, weights in batches.epoch(0))
    np.testing.assert_allclose(carried, own, rtol=1e-5)


@pytest.mark.parametrize("mixing", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_balanced_classes_stay_balanced_when_mixed(arrays, mixing):
    labels = np.repeat([0, 1], [180, 20])
    source = arrays(np.zeros((200, 7, 7, 2), np.float32))
    weights = b.balanced_weights(labels, 2)
    batches = Batches(source, np.arange(200), b.one_hot(labels, 2, 0.1), weights, 32, 0, 0, **mixing)
    carried = sum((targets * w[..., None]).sum((0, 1)) for _, targets, w in batches.epoch(0))
    np.testing.assert_allclose(carried / carried.sum(), 0.5, atol=1e-5)


def test_what_fills_a_batch_up_is_mixed_into_no_picture(arrays):
    parts = zip(*unpacked(made(arrays(rows()), 7, 6, mixup=1.0), 0), strict=True)
    ((inputs,), targets, weights) = (np.concatenate(part) for part in parts)
    (alone,) = np.flatnonzero(weights[1])
    picture = int(inputs[1, alone, 0])
    assert inputs[1, alone, 0] == picture, "the last picture is alone in its batch"
    np.testing.assert_array_equal(targets[1, alone], np.eye(3)[(picture - 100) % 3])


def test_mixup_by_hand():
    class Draws:
        def permutation(self, size):
            return np.array([1, 0])

        def beta(self, a, b, count):
            assert a == b == 0.4
            return np.full(count, 0.25)

    x = np.array([[[8.0], [4.0]]], np.float32)
    (mixed,), targets = b._mix([x], np.array([[[1.0, 0], [0, 1.0]]], np.float32), Draws(), 0.4, 0.0)
    np.testing.assert_allclose(mixed, [[[5.0], [7.0]]])
    np.testing.assert_allclose(targets, [[[0.25, 0.75], [0.75, 0.25]]])


@pytest.mark.parametrize("side", [4, 7, 32])
def test_cutmix_pastes_a_box_and_weighs_targets_by_its_true_area(side):
    rng = np.random.default_rng(1)
    maps = np.tile(np.array([1.0, 2.0], np.float32)[None, :, None, None, None], (30, 1, side, side, 3))
    finer = maps.repeat(2, 2).repeat(2, 3)
    targets = np.tile(np.eye(2, dtype=np.float32), (30, 1, 1))
    (mixed, mixed_finer), blended = b._mix([maps, finer], targets, rng, 0.0, 1.0)
    pasted = mixed != maps
    assert 0.2 < pasted.mean() < 0.8
    for k in range(30):
        for i in range(2):
            share = 1 - pasted[k, i].mean()
            expected = share * targets[k, i] + (1 - share) * targets[k, 1 - i]
            if pasted[k, i].any():
                np.testing.assert_allclose(blended[k, i], expected, atol=1e-5)
                rows_, columns = np.nonzero(pasted[k, i, ..., 0])
                box = (np.ptp(rows_) + 1) * (np.ptp(columns) + 1)
                assert box == len(rows_)  # a rectangle
    # A finer map at the same cut is cut along the same lines.
    np.testing.assert_array_equal(mixed_finer, mixed.repeat(2, 2).repeat(2, 3))


def mixed_share(*shapes):
    """How many of many batches CutMix mixes the labels of, at a cut of these shapes; and what it makes of ones."""
    targets = np.tile(np.eye(8, dtype=np.float32)[None], (300, 1, 1))
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(300, 8, *shape)).astype(np.float32) for shape in shapes]
    found, blended = b._mix(inputs, targets, np.random.default_rng(1), 0.0, 1.0)
    return ((blended > 1e-6) & (blended < 1 - 1e-6)).any((1, 2)).mean(), inputs, found, blended


def test_cutmix_beside_a_map_of_one_place_cuts_the_one_that_has_an_extent():
    share, *_ = mixed_share((7, 7, 8))
    beside, inputs, found, blended = mixed_share((1, 1, 4), (7, 7, 8))
    assert beside == share > 0.7
    # What has no extent is mixed by the area that was cut.
    own = np.einsum("kbb->kb", blended)
    k = int(np.argmin(np.abs(own[:, 0] - 0.5)))
    other = [int(np.argmax(np.where(np.arange(8) == i, -1, blended[k, i]))) for i in range(8)]
    expected = own[k, :, None] * inputs[0][k, :, 0, 0] + (1 - own[k, :, None]) * inputs[0][k, other, 0, 0]
    partnered = own[k] < 1
    assert partnered.sum() >= 6
    np.testing.assert_allclose(found[0][k, partnered, 0, 0], expected[partnered], atol=1e-5)


@pytest.mark.parametrize(("shape", "least"), [((2, 2, 3), 0.4), ((1, 7, 3), 0.7), ((7, 1, 3), 0.7), ((4, 4, 3), 0.6)])
def test_cutmix_cuts_coarse_and_narrow_maps_too(shape, least):
    assert mixed_share(shape)[0] > least


@pytest.mark.parametrize("shape", [(1, 1, 4), (4,)])
def test_cutmix_without_a_map_that_could_be_cut_is_refused(shape):
    with pytest.raises(ConfigError, match="has no extent; use --mixup"):
        mixed_share(shape)


def test_one_hot_and_smoothing():
    np.testing.assert_allclose(b.one_hot(np.array([2, 0]), 4, 0.0), [[0, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(b.one_hot(np.array([1]), 4, 0.2), [[0.05, 0.85, 0.05, 0.05]], atol=1e-7)


def test_balanced_weights_give_every_class_the_same_say():
    targets = np.array([0] * 6 + [1] * 3 + [3])  # class 2 has no picture
    weights = b.balanced_weights(targets, 4)
    sums = [weights[targets == c].sum() for c in (0, 1, 3)]
    np.testing.assert_allclose(sums, sums[0])
    np.testing.assert_allclose(weights.mean(), 1)
    np.testing.assert_allclose(b.balanced_weights(np.array([0, 1, 2]), 3), 1)


@pytest.mark.parametrize("task", ["classify", "ordinal"])
def test_targets_that_are_made_when_asked_for_are_those_of_a_table(task):
    kind, labels = tasks.of(task), np.random.default_rng(0).integers(0, 7, 50)
    whole, _ = kind.encoded(labels, 7, np.arange(50))
    made, train = b.Encoded(kind, labels, 7), np.arange(10, 50)
    assert made.shape == whole.shape
    assert np.array_equal(made.copy(), whole)
    smooth = functools.partial(kind.smoothed, amount=0.1)
    rows = np.array([3, 0, 39])
    assert np.array_equal(b.Smoothed(made, train, smooth)[rows], smooth(whole[train])[rows])


def test_an_epoch_is_the_same_in_however_many_calls(monkeypatch):
    rng = np.random.default_rng(0)
    resident = SimpleNamespace(rows=lambda pictures, views: pictures * 10 + views, most=1000)
    batches = Batches(None, np.arange(40), rng.random((40, 3)).astype(np.float32), np.ones(40, np.float32), 4, 2, 0)
    (whole,) = batches.picked(1, resident)
    monkeypatch.setattr(b, "CHUNK_BYTES", 4 * 3 * 4 * 3)  # three steps
    parts = list(batches.picked(1, resident))
    assert [len(rows) for rows, _, _ in parts] == [3, 3, 3, 1]
    for one, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.array_equal(one, np.concatenate(pieces))
