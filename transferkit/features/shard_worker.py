"""What extracts shards: the network, made once a process from what travelled, and the sets that its rows go to.

It is the same in this process, in a process of this machine and on another machine, and so are the rows.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import compute
from transferkit._version import __version__
from transferkit.compute.engines import engine_version
from transferkit.console import Reporter
from transferkit.data.images.decode import PictureError
from transferkit.data.samples import Samples, hash_or_reason
from transferkit.data.threads import limit_threads, map_ordered
from transferkit.errors import ConfigError
from transferkit.features.engine_choice import DIFFERENCE, difference
from transferkit.features.extract import at_once, extract, library_versions
from transferkit.features.passes import Passes
from transferkit.features.precision import Precision, applied
from transferkit.features.row_sources import Views
from transferkit.features.shard_store import open_shards
from transferkit.features.shards import Done, Shard
from transferkit.features.structure import structure
from transferkit.record import JsonObject

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Extraction:
    """All that a worker needs to know, besides the pictures: it travels once.

    `network` is the graph from pixels to the tensors of all sets, `weights` its values in order; `structure` and
    `probe` tell whether it has been put together right. `sets` are specs and shapes. `target` is the folder or the
    address of the store, `marker` a file in it by which a worker sees that it is the same one; `folder` is where the
    asking process works.
    """

    network: str
    weights: list[np.ndarray]
    structure: str
    sets: list[tuple[JsonObject, list[tuple[int, ...]]]]
    views: Views
    precision: Precision
    target: str
    marker: Path | None
    folder: Path
    versions: dict[str, str]
    probe: np.ndarray  # what the network gives for two pictures of noise, float32 [2, d]
    version: str = __version__

    @classmethod
    def of(
        cls, model: keras.Model, sets: Sequence[tuple[JsonObject, list[tuple[int, ...]]]], views: Views,
        precision: Precision, target: str, marker: Path | None,
    ) -> Extraction:  # fmt: skip
        """That of a network which is here.

        Args:
            model: uint8 [n, size, size, 3] → the tensors of all sets, one set after the other.
            sets: specs and shapes of the sets that the rows go to.
            views: how pictures become pixels.
            precision: in what the network is computed, and by what.
            target: folder or address of the store.
            marker: a file in that folder; None where it is an address.
        """
        weights = [np.asarray(values) for values in model.get_weights()]
        return cls(
            model.to_json(), weights, structure(model), list(sets), views, precision, target, marker, Path.cwd(),
            versions_of(precision), _probed(model),
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        """Of the weights, which are nearly all of it."""
        return sum(values.nbytes for values in self.weights)


def versions_of(precision: Precision) -> dict[str, str]:
    """Everything installed here that the rows depend on."""
    engine = {precision.engine: engine_version(precision.engine)} if precision.engine else {}
    return library_versions() | engine


class ShardWorker:
    """Extracts shards, one after the other, in the process that it is made in."""

    def __init__(self, work: Extraction, reporter: Reporter | None = None) -> None:
        self._work, self._reporter = work, reporter or Reporter(quiet=True)

    def begin(self, threads: int = 0) -> str:
        """Make the network, and open the sets, on `threads` (0: as many as this process may use); returns the name of
        the machine.

        Raises ConfigError where rows made here would not be the same, or would not arrive.
        """
        work = self._work
        node = at_home(threads, work.folder, work.version)
        if work.marker is not None and not work.marker.exists():
            raise ConfigError(
                f"{node} does not see {work.target}: rows have to go to a folder that all machines share; set "
                "TRANSFERKIT_CACHE to one, or give --store s3://…"
            )
        compute.start()
        require_same(versions_of(work.precision), work.versions, node, "rows")
        self._sets = [open_shards(work.target, spec, shapes) for spec, shapes in work.sets]
        self._model = _made(work)
        self._passes = Passes(self._reporter)
        with applied(self._model, work.precision):
            self._run = self._passes.of(self._model, work.precision)
        return node

    def run(self, shard: Shard) -> Done:
        """Compute and store the rows of a shard that the sets lack.

        Raises:
            EngineError: the engine failed; TensorFlow has to do it.
            TrainingError: the network gives infinity or NaN.
            StorageError: the disk is full, or the store cannot be reached.
        """
        started = time.monotonic()
        samples, places, bad = _readable(shard.samples)
        wanted = {i: shard.views[place] for i, place in enumerate(places)}

        def unreadable(i: int, error: PictureError) -> None:
            bad[places[i]] = error.reason

        with applied(self._model, self._work.precision):
            computed = extract(
                self._run, self._sets, self._work.views, samples, wanted, self._reporter, at_once(self._model),
                unreadable,
            )  # fmt: skip
        asked = sum(len(shard.views[place]) for place in places if place not in bad)
        return Done(
            computed=computed, present=asked - computed, bad=sorted(bad.items()), seconds=time.monotonic() - started,
            node=socket.gethostname(),
        )  # fmt: skip


def _readable(samples: Samples) -> tuple[Samples, list[int], dict[int, str]]:
    """Those of a shard's pictures whose bytes can be read, hashed, their places, and the places of the others with the
    reason."""
    if samples.sha256 is not None:
        return samples, list(range(len(samples))), {}
    found = list(map_ordered(hash_or_reason, samples.sources(), bundle=8))
    places = [place for place, (_, reason) in enumerate(found) if reason is None]
    bad = {place: reason for place, (_, reason) in enumerate(found) if reason is not None}
    hashes = tuple(found[place][0] for place in places)
    return replace(samples.select(places), sha256=hashes), places, bad


def _made(work: Extraction) -> Any:
    import keras

    model = keras.models.model_from_json(work.network)
    model.set_weights(work.weights)
    model.trainable = False
    if structure(model) != work.structure or difference(_probed(model), work.probe) > DIFFERENCE:
        raise ConfigError("the network that travelled is another one here; install the same Keras on all machines")
    return model


def _probed(model: Any) -> np.ndarray:
    """What a network gives for two pictures of noise, in float32 and one row each."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), np.uint8)
    outputs = model(pixels, training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return np.concatenate([np.asarray(output, np.float32).reshape(2, -1) for output in outputs], axis=1)


def at_home(threads: int, folder: Path, version: str) -> str:
    """Make this process like the asking one; returns the name of the machine.

    Args:
        threads: that it may use; 0: as many as there are.
        folder: where the asking process works.
        version: of its transferkit.

    Raises:
        ConfigError: this is another transferkit.
    """
    node = socket.gethostname()
    if threads:
        limit_threads(threads)
    with suppress(OSError):  # so that relative paths mean what they mean to the user, where that folder is shared
        os.chdir(folder)
    if version != __version__:
        raise ConfigError(f"{node} has transferkit {__version__}, this one is {version}; install the same")
    return node


def require_same(here: dict[str, str], there: dict[str, str], node: str, what: str) -> None:
    """Raise ConfigError where libraries differ that the numbers depend on.

    Args:
        here: versions in this process.
        there: those of the asking one.
        node: the name of this machine.
        what: would not be the same.
    """
    apart = [f"{name} {here.get(name, 'none')} (not {there.get(name, 'none')})"
             for name in sorted({*here, *there}) if here.get(name) != there.get(name)]  # fmt: skip
    if apart:
        raise ConfigError(f"{node} has {', '.join(apart)}; {what} would differ: install the same on all machines")
