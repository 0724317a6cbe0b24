import numpy as np
import pytest

from transferkit.training import batches as b
from transferkit.training.batches import Batches


def made(source, count=23, size=5, views=0, seed=0, weights=None, **mixing):
    targets = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    weights = np.linspace(1, 2, count).astype(np.float32) if weights is None else weights
    return Batches(source, np.arange(100, 100 + count), targets, weights, size, views, seed, **mixing)


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


def test_several_tensors_keep_together(arrays):
    batches = made(arrays(rows(), rows().reshape(-1, 2, 2)))
    (first, second), _, _ = next(batches.epoch(0))
    assert second.shape == (5, 5, 2, 2)
    np.testing.assert_array_equal(first[..., 0], second[..., 0, 0])


def test_mixup_mixes_inputs_and_targets_alike(arrays):
    # The row of picture i is its own target, so that whatever was mixed must be the mixed target.
    own_target = np.eye(3, dtype=np.float32)[(np.arange(130) - 100) % 3]
    (inputs,), targets, weights = next(made(arrays(own_target), 20, 5, mixup=0.4).epoch(0))
    np.testing.assert_allclose(inputs, targets, atol=1e-6)
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()
    np.testing.assert_array_equal(weights, next(made(arrays(own_target), 20, 5).epoch(0))[2])


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
