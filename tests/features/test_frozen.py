import shutil
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.backbones import freeze
from transferkit.backbones.build import build
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.data.images import decode_settings
from transferkit.data.images.decode import DecodeSettings
from transferkit.errors import ConfigError
from transferkit.features import frozen as room
from transferkit.features import number_formats, store, stored_sets
from transferkit.features.frozen import Frozen
from transferkit.features.precision import Precision
from transferkit.features.row_sources import Stored, Streamed, Views

QUIET = Reporter(quiet=True)


def below(backbone, views, cache=True, reporter=QUIET, **settings):
    return Frozen(backbone, make({"backbone": "mini", **settings}), views, cache, reporter)


def first_of(backbone, policy):
    return freeze.first_trainable(backbone.model, backbone.row, policy)


def test_cut_and_pooled_rows_come_from_one_pass_and_are_what_the_network_gives(mini, samples, views):
    frozen = below(mini, views)
    _, rows = frozen.at(first_of(mini, "from:block4"))
    pooled, wanted = frozen.pooled(), {i: range(3) for i in range(len(samples))}
    frozen.prepare([rows, pooled], samples, wanted)
    assert frozen.rows_computed == 90
    pictures, picked = np.arange(30), np.arange(30) % 3
    pixels = views.pixels(samples, pictures, picked)
    for kind in (rows, pooled):
        source = frozen.source(kind, samples, wanted)
        assert isinstance(source, Stored)
        expected = compute.forward(kind.model)([pixels])
        for ours, theirs in zip(source.take(pictures, picked), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-5)  # maps may be kept in half precision
    frozen.prepare([pooled], samples, wanted)
    assert frozen.rows_computed == 90


def test_several_tensors_at_the_cut(mini, samples, views):
    # In the middle of a residual block: the chain and the shortcut cross the cut.
    names = [operation.name for operation in mini.model.operations]
    frozen = below(mini, views)
    parts, rows = frozen.at(names.index("block2_conv3"))
    assert len(rows.shapes) == 2
    wanted = {i: range(1) for i in range(len(samples))}
    frozen.prepare([rows], samples, wanted)
    tensors = frozen.source(rows, samples, wanted).take(np.arange(4), np.zeros(4, int))
    top = compute.forward(parts.tail)(tensors)[0]
    pixels = views.pixels(samples, range(4)).astype(np.float32)
    np.testing.assert_allclose(top, compute.forward(mini.model)([pixels / 127.5 - 1])[0], rtol=1e-2, atol=2e-3)


def rows_of(frozen, kind, samples):
    wanted = {i: range(3) for i in range(len(samples))}
    frozen.prepare([kind], samples, wanted)
    source, pictures = frozen.source(kind, samples, wanted), np.arange(30)
    return source, source.take(pictures, pictures % 3)


def test_without_a_cache_vectors_are_held_in_memory_and_nothing_is_stored(mini, samples, views):
    frozen = below(mini, views, cache=False)
    source, (found,) = rows_of(frozen, frozen.pooled(), samples)
    assert isinstance(source, Stored)
    assert stored_sets.listing() == []
    assert frozen.rows_computed == 3 * len(samples)
    kept = below(mini, views)
    np.testing.assert_array_equal(found, rows_of(kept, kept.pooled(), samples)[1][0])


def test_without_a_cache_maps_are_streamed_as_the_store_would_give_them(mini, samples, views):
    frozen, kept = below(mini, views, cache=False), below(mini, views)
    first = first_of(mini, "from:block2")
    source, found = rows_of(frozen, frozen.at(first)[1], samples)
    assert isinstance(source, Streamed)
    assert stored_sets.listing() == []
    stored, expected = rows_of(kept, kept.at(first)[1], samples)
    assert isinstance(stored, Stored)
    assert sum(int(np.prod(shape)) for shape in stored.shapes) > number_formats.HALF_ABOVE, "they are rounded"
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_vectors_beyond_what_memory_should_hold_are_streamed(mini, samples, views, monkeypatch):
    monkeypatch.setattr(room, "RESIDENT_BYTES", 1000)
    frozen = below(mini, views, cache=False)
    assert isinstance(rows_of(frozen, frozen.pooled(), samples)[0], Streamed)


def test_a_disk_without_room_means_streaming_of_maps_and_one_warning(mini, samples, views, monkeypatch):
    monkeypatch.setattr(room, "room_for", lambda rows, width, promised: (False, 5 * 10**9, 10**9))
    reporter = Reporter(quiet=True)
    frozen = below(mini, views, reporter=reporter)
    assert isinstance(rows_of(frozen, frozen.pooled(), samples)[0], Stored)
    assert not reporter.warnings, "vectors wait in memory"
    rows, wanted = frozen.at(first_of(mini, "from:block4"))[1], {0: range(3)}
    for _ in range(2):
        frozen.prepare([rows], samples, wanted)
    assert isinstance(frozen.source(rows, samples, wanted), Streamed)
    assert len(reporter.warnings) == 1
    assert "5.0 GB and 1.0 GB are there" in reporter.warnings[0]
    assert "TRANSFERKIT_CACHE" in reporter.warnings[0]


def test_what_is_stored_already_needs_no_room(mini, samples, views, monkeypatch):
    wanted = {i: range(3) for i in range(len(samples))}
    first = below(mini, views)
    first.prepare([first.pooled()], samples, wanted)
    asked = []
    monkeypatch.setattr(room, "room_for", lambda rows, width, promised: asked.append(rows) or (not rows, 0, 0))
    second = below(mini, views)
    pooled = second.pooled()
    second.prepare([pooled], samples, wanted)
    assert asked == [0]
    assert isinstance(second.source(pooled, samples, wanted), Stored)


def key(backbone, views, precision=None, label=None, **settings):
    frozen = below(backbone, views, **settings)
    frozen.precision = precision or Precision()
    kind = frozen.at(first_of(backbone, label))[1] if label else frozen.pooled()
    return store.digest(frozen.spec(kind))


def test_the_key_changes_with_everything_that_changes_content(mini, views, monkeypatch):
    plain = key(mini, views)
    assert plain == key(build("mini"), views)
    larger = Views(DecodeSettings(48), views.augmentation, 2, 0)
    cropped = Views(DecodeSettings(32, "crop"), views.augmentation, 2, 0)
    others = {
        "size": key(build("mini", size=48), larger),
        "resize": key(mini, cropped),
        "weights": key(build("mini", weights="random", seed=1), views),
        "cut": key(mini, views, label="from:block4"),
        "another cut": key(mini, views, label="from:block3"),
        "precision": key(mini, views, Precision("bfloat16", "graph")),
        "how": key(mini, views, Precision("bfloat16", "policy")),
        "scaling": key(replace(mini, scaling="unit"), views),
        "pooling": key(mini, views, pooling="max"),
    }
    monkeypatch.setattr(decode_settings, "DECODER_VERSION", 999)
    others["decoder"] = key(mini, views)
    monkeypatch.undo()
    monkeypatch.setattr(keras, "__version__", "9.9")
    others["keras"] = key(mini, views)
    monkeypatch.undo()
    monkeypatch.setattr(compute, "backend_versions", lambda: {compute.backend(): "9.9"})
    others["backend"] = key(mini, views)
    monkeypatch.undo()
    monkeypatch.setattr("cv2.__version__", "9.9")  # whichever distribution it came with
    others["opencv"] = key(mini, views)
    monkeypatch.undo()
    monkeypatch.setattr(keras.layers, "ReLU", partial(keras.layers.ReLU, negative_slope=0.1))
    others["mini's layers"] = key(build("mini"), views)
    monkeypatch.undo()
    assert len({plain, *others.values()}) == 1 + len(others)


def test_freezing_does_not_change_the_key(mini, views):
    before = key(mini, views)
    freeze.freeze(mini.model, "from:block3", "train")
    assert key(mini, views) == before


def own_network(path, activation, pooled=False):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="c", kernel_initializer="ones")(inputs)
    x = keras.layers.Activation(activation, name="a")(x)
    x = keras.layers.Dropout(0.5, name="d")(x)
    if pooled:
        x = keras.layers.GlobalAveragePooling2D(name="g")(x)
        x = keras.layers.Dense(6, activation="relu", name="h")(x)
    keras.Model(inputs, x).save(path)
    return build(str(path))


def test_two_files_with_equal_weights_but_other_layers_never_share_rows(tmp_path, views):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = own_network(tmp_path / "one" / "net.keras", "relu")
    shutil.copy(tmp_path / "one" / "net.keras", tmp_path / "two" / "net.keras")
    moved = build(str(tmp_path / "two" / "net.keras"))
    other = own_network(tmp_path / "two" / "net.keras", "tanh")
    assert first.weights_sha256 == other.weights_sha256
    assert key(first, views) == key(moved, views) != key(other, views)
    freeze.freeze_at(first.model, 0)
    assert key(first, views) == key(moved, views)


def test_a_network_that_ends_in_a_vector(tmp_path, samples, views):
    backbone = own_network(tmp_path / "net.keras", "relu", pooled=True)
    frozen = below(backbone, views)
    kind = frozen.pooled()
    assert (kind.label, kind.shapes) == ("pooled:avg", [(6,)])
    frozen.prepare([kind], samples, {0: range(1)})
    assert frozen.source(kind, samples, {0: range(1)}).take(np.array([0]), np.array([0]))[0].shape == (1, 6)
    with pytest.raises(ConfigError, match=r"--cutmix needs a feature map.*--mixup"):
        below(backbone, views, cutmix=1.0).pooled()


def test_a_network_trained_whole_is_fed_pixels(mini, samples, views):
    frozen = below(mini, views)
    parts, rows = frozen.at(0)
    assert rows is None
    assert parts.tail is mini.model
    assert frozen.pixels(samples).shapes == [(32, 32, 3)]


def test_how_features_are_computed_is_settled_without_pictures_of_the_test(mini, samples, views, monkeypatch):
    looked_at: set[int] = set()
    pixels = Views.pixels

    def noted(self, samples, pictures, *more, **options):
        looked_at.update(map(int, pictures))
        return pixels(self, samples, pictures, *more, **options)

    monkeypatch.setattr(Views, "pixels", noted)
    part = below(mini, views, precision="bfloat16")
    wanted = {i: range(1) for i in range(len(samples)) if i % 3}
    part.choose_precision(part.pooled(), samples, wanted)
    assert looked_at
    assert looked_at <= wanted.keys()
