"""What a worker makes of what travelled is what this process computes, to the last bit."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from transferkit.backbones import freeze
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.data import threads
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.errors import ConfigError
from transferkit.features import extract, store
from transferkit.features.extraction_engines import Here, RayActors, engine_of
from transferkit.features.frozen import Frozen
from transferkit.features.shard_worker import Extraction, ShardWorker
from transferkit.features.shards import Pictures, Shard

QUIET = Reporter(quiet=True)


def prepared(mini, views):
    """The frozen side of a run that unfreezes the last block and chooses a classifier: two kinds of rows, one pass."""
    frozen = Frozen(mini, make({"backbone": "mini", "unfreeze": "from:block4"}), views, True, QUIET)
    _, rows = frozen.at(freeze.first_trainable(mini.model, mini.row, "from:block4"))
    return frozen, [rows, frozen.tapped()[1]]


def work_of(frozen, kinds, views, target, marker=None):
    sets = [(frozen.spec(kind), kind.shapes) for kind in kinds]
    return Extraction.of(frozen.together(kinds), sets, views, frozen.precision, str(target), marker)


def unhashed(samples: Samples) -> Samples:
    return replace(samples, sha256=None)


def test_rows_are_the_same_numbers_under_the_same_names_as_of_one_pass_here(mini, samples, views, monkeypatch):
    frozen, kinds = prepared(mini, views)
    wanted = {i: range(3) for i in range(len(samples))}
    # Elsewhere: as on another machine, from what travelled alone.
    elsewhere = store.root().parent / "elsewhere" / "features"
    work = pickle.loads(pickle.dumps(work_of(frozen, kinds, views, elsewhere)))
    found = Here().run(work, Pictures(unhashed(samples), range(len(samples)), lambda i: range(3)), QUIET)
    assert (found.computed, found.present, found.bad) == (90, 0, [])
    frozen.prepare(kinds, samples, wanted)
    assert frozen.rows_computed == 90
    for kind in kinds:
        ours = kind.features
        theirs = store.FeatureSet(elsewhere / ours.folder.relative_to(store.root()), {}, kind.shapes)
        names = [views.name(samples.sha256[i], view) for i in range(len(samples)) for view in range(3)]
        np.testing.assert_array_equal(ours.gather(*ours.places(names)), theirs.gather(*theirs.places(names)))
    # And a run that finds them computes nothing.
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(elsewhere.parent))
    again, kinds = prepared(mini, views)
    again.prepare(kinds, samples, wanted)
    assert again.rows_computed == 0


@pytest.fixture
def spoilt(samples, tmp_path):
    """Ten pictures, of which one is damaged, one is gone and one is empty."""
    some = samples.select(range(10))
    for path in some.paths:
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(some.root / path, tmp_path / "data" / path)
    (tmp_path / "data" / some.paths[2]).write_bytes((some.root / some.paths[2]).read_bytes()[:40])
    (tmp_path / "data" / some.paths[5]).unlink()
    (tmp_path / "data" / some.paths[7]).write_bytes(b"")
    return replace(unhashed(some), root=tmp_path / "data")


def test_pictures_that_cannot_be_read_are_named_once_and_cost_nobody_else_anything(mini, views, spoilt, monkeypatch):
    monkeypatch.setattr(extract, "VIEWS_AT_ONCE", 2)  # each is opened for its first two views, and for the third
    frozen, kinds = prepared(mini, views)
    found = Here().run(
        work_of(frozen, kinds, views, store.root()), Pictures(spoilt, range(10), lambda i: range(3)), QUIET
    )
    assert [i for i, _ in found.bad] == [2, 5, 7]
    assert "does not exist" in found.bad[1][1]
    assert "empty" in found.bad[2][1]
    assert found.computed == 21
    again = Here().run(
        work_of(frozen, kinds, views, store.root()), Pictures(spoilt, range(10), lambda i: range(3)), QUIET
    )
    assert (again.computed, again.present) == (0, 21)
    assert [i for i, _ in again.bad] == [2, 5, 7]


def test_a_picture_that_changed_since_it_was_hashed_is_refused(mini, views, samples, spoilt):
    frozen, kinds = prepared(mini, views)
    worker = ShardWorker(work_of(frozen, kinds, views, store.root()))
    worker.begin()
    pinned = replace(spoilt, sha256=samples.sha256[:10])
    done = worker.run(Shard(pinned, [range(1)] * 10))
    assert [place for place, _ in done.bad] == [2, 5, 7]
    assert "changed since its content was hashed" in dict(done.bad)[2]


def test_a_worker_whose_rows_would_differ_or_not_arrive_does_not_begin(mini, views, tmp_path, monkeypatch):
    frozen, kinds = prepared(mini, views)
    work = work_of(frozen, kinds, views, store.root())
    with pytest.raises(ConfigError, match=r"has transferkit .*, this one is 0\.0; install the same"):
        ShardWorker(replace(work, version="0.0")).begin()
    with pytest.raises(ConfigError, match=r"has pillow .*\(not 1\.0\).*rows would differ"):
        ShardWorker(replace(work, versions=work.versions | {"pillow": "1.0"})).begin()
    with pytest.raises(ConfigError, match=r"does not see .*TRANSFERKIT_CACHE.*--store s3"):
        ShardWorker(replace(work, marker=tmp_path / "nowhere")).begin()
    with pytest.raises(ConfigError, match="another one here"):
        ShardWorker(replace(work, structure="0")).begin()
    with pytest.raises(ConfigError, match="another one here"):
        ShardWorker(replace(work, weights=[2 * values for values in work.weights])).begin()


def test_a_worker_keeps_to_the_threads_it_was_given(mini, views, monkeypatch):
    monkeypatch.setattr(threads, "_most", 0)
    frozen, kinds = prepared(mini, views)
    ShardWorker(work_of(frozen, kinds, views, store.root())).begin(1)
    assert threads.available_threads() == 1


def test_an_engine_that_there_is_not_and_options_without_effect_are_refused():
    with pytest.raises(ConfigError, match="--engine spark: choose local or ray"):
        engine_of("spark", None, None, None, None)
    with pytest.raises(ConfigError, match="--address, --workers has no effect with --engine local; add --engine ray"):
        engine_of("local", "auto", 3, None, None)
    with pytest.raises(ConfigError, match=r"--worker-cpus 1\.5: above 1, Ray takes whole numbers only; use 1"):
        engine_of("ray", None, None, 1.5, None)


@pytest.mark.parametrize(
    ("nodes", "asked", "local", "wanted", "slots"),
    [
        ([{"CPU": 16.0}, {"CPU": 16.0}], {}, False, {"CPU": 4, "GPU": 0}, 8),
        ([{"CPU": 2.0}, {"CPU": 16.0}], {}, False, {"CPU": 2, "GPU": 0}, 9),
        ([{"CPU": 8.0, "GPU": 2.0}], {"gpus": 1}, False, {"CPU": 4, "GPU": 1}, 2),
        ([{"CPU": 2.0}], {"workers": 2}, True, {"CPU": 1, "GPU": 0}, 2),
        ([{"CPU": 3.0}], {"workers": 2}, True, {"CPU": 1, "GPU": 0}, 2),  # above 1, Ray takes whole numbers only
        ([{"CPU": 4.0}], {"workers": 100, "cpus": 1}, False, {"CPU": 1, "GPU": 0}, 100),
    ],
)
def test_how_many_workers_there_are_and_what_each_takes(nodes, asked, local, wanted, slots):
    assert RayActors(**asked).wanted(nodes, local) == (wanted, slots)


def test_a_worker_for_which_no_machine_has_room_is_refused():
    with pytest.raises(ConfigError, match=r"no node .* has 8 CPUs and 0 GPUs for a worker .*nodes with 4 CPUs, 0 GPUs"):
        RayActors(cpus=8).wanted([{"CPU": 4.0}], False)


def test_pictures_in_memory_travel_and_are_computed_too(mini, views, samples):
    frozen, kinds = prepared(mini, views)
    pixels = [np.full((32, 32, 3), 20 * i, np.uint8) for i in range(10)]
    arrays = replace(unhashed(samples.select(range(10))), pixels=pixels, root=None)
    found = Here().run(
        work_of(frozen, kinds, views, store.root()), Pictures(arrays, range(10), lambda i: range(1)), QUIET
    )
    assert (found.computed, found.bad) == (10, [])


class Counting(Here):
    """The engine of a run, which says what it was asked for."""

    def __init__(self, leaves=0):
        self.asked, self.leaves = [], leaves

    def run(self, work, pictures, reporter):
        self.asked.append(len(pictures))
        return super().run(work, replace(pictures, order=pictures.order[self.leaves :]), reporter)


def test_a_run_with_an_engine_finds_its_rows_and_computes_what_the_engine_did_not_bring(mini, digits, views):
    samples = scan(digits).hashed().select(range(100))
    wanted = {i: range(1 + i % 3) for i in range(100)}
    engine = Counting(leaves=10)
    frozen = Frozen(mini, make({"backbone": "mini"}), views, True, QUIET, engine=engine)
    kind = frozen.tapped()[1]
    frozen.prepare([kind], samples, wanted)
    assert engine.asked == [100]
    assert frozen.rows_computed == sum(map(len, wanted.values()))
    first = np.arange(100), np.zeros(100, int)
    (rows,) = frozen.source(kind, samples, wanted).take(*first)
    plain = Frozen(mini, make({"backbone": "mini"}), views, False, QUIET)
    again = plain.tapped()[1]
    plain.prepare([again], samples, wanted)
    np.testing.assert_array_equal(
        rows, plain.source(again, samples, wanted).take(np.arange(100), np.zeros(100, int))[0]
    )
    frozen.prepare([kind], samples, wanted)
    assert engine.asked == [100], "nothing is lacking: nobody is asked"


def test_a_few_pictures_are_not_worth_an_engine(mini, samples, views):
    engine = Counting()
    frozen = Frozen(mini, make({"backbone": "mini"}), views, True, QUIET, engine=engine)
    frozen.prepare([frozen.pooled()], samples, {i: range(3) for i in range(len(samples))})
    assert (engine.asked, frozen.rows_computed) == ([], 90)
