"""The whole extraction, from files to rows on disk, against the bare network on pixels that lie ready in memory."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import MOBILENET, TRASHNET, Bar, measurement, scratch, turns

BARS = (
    Bar("ratio/mobilenet_0.25", ">=", 0.80, "MobileNet-0.25: extraction throughput / bare forward throughput"),
    Bar("ratio/vgg16", ">=", 0.95, "VGG16: extraction throughput / bare forward throughput"),
)
# Whole batches of 64 on both sides: what a part of a batch costs is not the question.
NETWORKS = {"mobilenet_0.25": (str(MOBILENET), 2496), "vgg16": ("random", 384)}


@measurement("extraction", BARS)
@click.option("--rounds", default=3, show_default=True)
@click.option("--network", "only", type=click.Choice(list(NETWORKS)), multiple=True, help="Instead of both.")
def measure(quick: bool, rounds: int, only: tuple[str, ...]) -> dict[str, Any]:
    """Clean pictures of TrashNet at 224 pixels: reading, decoding, the network and writing, precision `auto`.

    The bare forward pass is the network alone, on one float32 batch in memory, at the same precision and batch size.
    Tracing, which happens once a network, is left out on both sides.
    """
    figures: dict[str, Any] = {"rounds": 1 if quick else rounds}
    for name in only or NETWORKS:
        weights, pictures = NETWORKS[name]
        with scratch() as folder:
            work = Extraction(name, weights, 128 if quick else pictures, folder, "auto")
            sides = {"extraction": work.speed, "bare_forward": work.bare}
            found = turns(sides, figures["rounds"])
        medians = {side: statistics.median(speeds) for side, speeds in found.items()}
        parts = {"pictures": work.count, "precision": work.frozen.precision.name, "pictures_per_second": medians,
                 "all": found, "ratio": medians["extraction"] / medians["bare_forward"]}  # fmt: skip
        for key, value in parts.items():
            figures.setdefault(key, {})[name] = value
    figures["ratio"] = dict.fromkeys(NETWORKS) | figures["ratio"]
    return figures


class Extraction:
    """Features of `count` pictures of TrashNet, pooled, in one precision; each time from nothing."""

    def __init__(self, network: str, weights: str, count: int, folder: Path, precision: str) -> None:
        from transferkit import compute
        from transferkit.backbones.build import build
        from transferkit.config import make
        from transferkit.console import Reporter
        from transferkit.data.augmentation.augment import augmentation
        from transferkit.data.images.decode import DecodeSettings
        from transferkit.data.source import scan
        from transferkit.features.frozen import Frozen
        from transferkit.features.row_sources import Views

        compute.start()
        self.folder, self.count, self.reporter = folder, count, Reporter(quiet=True)
        samples = scan(TRASHNET).hashed()
        distinct = np.unique(samples.sha256 or (), return_index=True)[1]  # of duplicates, one is computed
        self.samples = samples.select(distinct[np.linspace(0, len(distinct) - 1, count).astype(int)])
        self.backbone = build(network, weights, None, 0, True)
        settings = make({"backbone": network, "augment": "none", "views": 0, "precision": precision})
        self.views = Views(DecodeSettings(self.backbone.size), augmentation("none"), 0, 0)
        self.frozen = Frozen(self.backbone, settings, self.views, True, self.reporter)
        self.rows = self.frozen.pooled()
        started = time.perf_counter()
        many = dict.fromkeys(range(count), range(1_000_000 // count))  # a job that is large enough to be probed
        self.frozen.choose_precision(self.rows, self.samples, many)
        self.probe_seconds = time.perf_counter() - started
        self.network = self._compiled()
        self._bare = self._bare_network()

    def speed(self) -> float:
        """Pictures a second, from files to rows that are committed to disk."""
        from transferkit.features.extract import at_once, extract
        from transferkit.features.store import open_set

        shutil.rmtree(self.folder / "cache" / "features", ignore_errors=True)
        started = time.perf_counter()
        features = open_set({"network": self.backbone.row.name}, self.rows.shapes)
        wanted = {index: range(1) for index in range(self.count)}
        done = extract(
            self.network, [features], self.views, self.samples, wanted, self.reporter, at_once(self.rows.model)
        )
        seconds = time.perf_counter() - started
        if done != self.count:
            raise AssertionError(f"{done} of {self.count} pictures were computed")
        return done / seconds

    def bare(self) -> float:
        """Pictures a second of the network alone."""
        return self._bare()

    def _compiled(self) -> Any:
        from transferkit.features.precision import applied
        from transferkit.features.row_sources import FORWARD_BATCH

        size = self.backbone.size
        with applied(self.rows.model, self.frozen.precision):
            run = self.frozen.compiled(self.rows.model)
            run([np.zeros((FORWARD_BATCH, size, size, 3), np.uint8)])
        return run

    def _bare_network(self) -> Callable[[], float]:
        """The forward pass as one would write it in TensorFlow: no copies, no preprocessing, nothing kept."""
        import tensorflow as tf

        from transferkit.features.precision import applied
        from transferkit.features.row_sources import FORWARD_BATCH

        key, size, precision = "auto_mixed_precision_onednn_bfloat16", self.backbone.size, self.frozen.precision
        batch = tf.random.stateless_uniform((FORWARD_BATCH, size, size, 3), (0, 0), -1.0, 1.0)
        run = tf.function(lambda x: self.backbone.model(x, training=False))

        def speed() -> float:
            tf.config.optimizer.set_experimental_options({key: precision.how == "graph"})
            try:
                with applied(self.backbone.model, precision):
                    run(batch)
                    started = time.perf_counter()
                    for _ in range(self.count // FORWARD_BATCH):
                        output = run(batch)
                    output.numpy()
                    return self.count / (time.perf_counter() - started)
            finally:
                tf.config.optimizer.set_experimental_options({key: False})

        return speed
