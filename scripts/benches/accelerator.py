"""Extraction and fine-tuning on an accelerator, from files, and the share of the time in which it computes."""

from __future__ import annotations

import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.device import Busy
from benches.measuring import Bar, in_child, measurement, scratch
from benches.pictures import photographs

# Name → what `build` is told. Weights are random: they take the time of published ones.
VIT_SMALL = {"model_type": "dinov2", "image_size": 518, "hidden_size": 384, "num_attention_heads": 6}
NETWORKS = ("vgg16", "resnet50", "dinov2_small")
BATCHES = (128, 256, 64)  # what matters most first, should the run be cut short
SIZE, CLASSES, VALIDATION, EPOCHS = 224, 10, 64, 3  # the first epoch compiles, and does not count
SHARE = 0.8
BARS = tuple(
    Bar(f"busy/{work}/{name}", ">=", SHARE, f"{name}, {words}: share of the time in which the GPU computes")
    for work, words in (("extraction", "features of files"), ("fine_tuning", "fine-tuning from files, the lowest"))
    for name in NETWORKS
)


@measurement("accelerator", BARS)
@click.option("--pictures", default=6144, show_default=True, help="Photograph-like JPEGs of 500 × 375, made for it.")
@click.option("--network", "only", multiple=True, help=f"Instead of {', '.join(NETWORKS)}.")
@click.option("--batch", "batches", type=int, multiple=True, help=f"Instead of {', '.join(map(str, BATCHES))}.")
@click.option("--precision", "formats", multiple=True, help="Of fine-tuning, instead of bfloat16 and float32.")
def measure(
    quick: bool, pictures: int, only: tuple[str, ...], batches: tuple[int, ...], formats: tuple[str, ...]
) -> dict[str, Any]:
    """Pictures a second of extraction and of fine-tuning all layers, by the product's own code, from JPEG files.

    `busy` is NVML's: the share of the time in which a kernel runs. `fed` is the other view of it: pictures a second
    from files / those of the same steps on one batch that lies in the GPU's memory. `host_ms_a_step` is what asking for
    a step takes before anything of it is waited for. Compiling and the start of processes do not count.
    Extraction is in float32 and in what `--precision auto` takes; fine-tuning draws the views that it draws by default.
    """
    names = only or (("mini",) if quick else NETWORKS)
    pictures, size = (128, 32) if quick else (pictures, SIZE)
    batches = batches or ((32,) if quick else BATCHES)
    formats = formats or (("float32",) if quick else ("bfloat16", "float32"))
    with scratch() as folder:
        device = in_child("device", "described", {})
        if not device["count"] and not quick:
            raise click.ClickException(
                f"Keras' backend {device['backend']} sees no accelerator here; docs/howto/gpu.md says what it needs"
            )
        photographs(folder / "data", pictures, (500, 375), CLASSES)
        common = {"data": folder / "data", "size": size}
        figures: dict[str, Any] = {"device": device, "pictures": pictures, "size": size}
        figures["decoding"] = in_child("accelerator", "decoding", common)
        click.echo(json.dumps(figures), err=True)
        figures["networks"] = {}
        for name in names:
            more = {"name": name, "batches": batches, "formats": formats}
            figures["networks"][name] = in_child("accelerator", "network", common | more, folder / "cache")
    return figures | {"busy": {work: lowest(figures["networks"], work) for work in ("extraction", "fine_tuning")}}


def lowest(networks: dict[str, Any], work: str) -> dict[str, float | None]:
    """The lowest share of each network; None where none was measured."""
    found: dict[str, float | None] = dict.fromkeys(NETWORKS)
    for name, figures in networks.items():
        shares = [row["busy"] for row in figures[work].values() if row["busy"] is not None]
        found[name] = min(shares, default=None)
    return found


def decoding(data: str, size: int) -> dict[str, float]:
    """Pictures a second that are decoded to `size` with nothing else running: as they are, with the views drawn that
    fine-tuning has by default, and by processes, where such are begun, both once more and views of pictures that these
    have kept."""
    from transferkit import compute
    from transferkit.data.augmentation import processes
    from transferkit.features.row_sources import prepare_drawing

    compute.start()
    samples, plain, drawn = _samples(data), _views({"augment": "none", "views": 0}, size), _views({}, size)
    found = {"clean": _drawing(samples, plain, 0), "views": _drawing(samples, drawn, 1)}
    prepare_drawing(1 << 30, drawn, samples)
    if processes.drawers() is not None:
        found |= {"clean_by_processes": _drawing(samples, plain, 0), "views_by_processes": _drawing(samples, drawn, 1)}
        found["views_of_kept"] = _drawing(samples, drawn, 1, again=True)
    return found


def _drawing(samples: Any, views: Any, view: int, again: bool = False) -> float:
    from transferkit.features.drawing import BatchDrawing
    from transferkit.features.row_sources import FORWARD_BATCH

    speeds = []
    for _ in range(2):
        started = time.perf_counter()
        drawing = BatchDrawing(partial(views.draw, samples, again=again), views.decode.size, FORWARD_BATCH, None)
        for batch in drawing.batches(((index, [view]) for index in range(len(samples))), 1):
            drawing.use_again(batch, [])
        speeds.append(len(samples) / (time.perf_counter() - started))
    return max(speeds)


def network(data: str, size: int, name: str, batches: list[int], formats: list[str]) -> dict[str, Any]:
    """All figures of one network; each goes to standard error as it is found."""
    from transferkit import compute
    from transferkit.backbones.build import build

    compute.start()
    samples = _samples(data)
    place = Path(data).parent / "dinov2-small"
    if name == "dinov2_small" and not place.exists():
        place.mkdir()
        (place / "config.json").write_text(json.dumps(VIT_SMALL))
    backbone = build(str(place) if name == "dinov2_small" else name, "random", None if name == "mini" else size)
    found: dict[str, Any] = {"extraction": {}, "fine_tuning": {}}

    def note(work: str, key: str, row: dict[str, Any]) -> None:
        found[work][key] = row
        click.echo(f"{name} {work} {key}: {json.dumps(row)}", err=True)

    row = extracted(backbone, samples, "auto")
    note("extraction", row["precision"], row)
    if row["precision"] != "float32":
        note("extraction", "float32", extracted(backbone, samples, "float32"))
    for precision in formats:
        for batch in batches:
            note("fine_tuning", f"{precision}, batch {batch}", fine_tuned(backbone, samples, precision, batch))
    return found


def extracted(backbone: Any, samples: Any, precision: str) -> dict[str, Any]:
    """Clean pictures from files to rows in the store, after some by which the pass is compiled and processes begin."""
    from transferkit import compute
    from transferkit.console import Reporter
    from transferkit.features.frozen import Frozen
    from transferkit.features.row_sources import FORWARD_BATCH, prepare_drawing

    values = {"backbone": backbone.row.name, "augment": "none", "views": 0, "precision": precision}
    views = _views(values, backbone.size)
    frozen = Frozen(backbone, _settings(values), views, True, Reporter(quiet=True))
    rows = frozen.pooled()
    # A job that is large enough for a probe to pay.
    frozen.choose_precision(rows, samples, dict.fromkeys(range(len(samples)), range(1)), 1000.0)
    frozen.prepare([rows], samples, {i: range(1) for i in range(FORWARD_BATCH)})
    prepare_drawing(len(samples), views, samples)
    _drawing(samples.select(range(min(len(samples), 1024))), views, 0)
    with Busy() as busy:
        started = time.perf_counter()
        frozen.prepare([rows], samples, {i: range(1) for i in range(len(samples))})
        speed = (len(samples) - FORWARD_BATCH) / (time.perf_counter() - started)
    run, size = frozen.compiled(rows.model), backbone.size
    batch = compute.hold([np.random.default_rng(0).integers(0, 256, (FORWARD_BATCH, size, size, 3), np.uint8)])
    resident = FORWARD_BATCH / _seconds(lambda: run(batch))
    return {"precision": frozen.precision.name, "reason": frozen.precision.reason, "pictures_per_second": speed,
            "busy": busy.share, "resident": resident, "fed": speed / resident}  # fmt: skip


def fine_tuned(backbone: Any, samples: Any, precision: str, batch: int) -> dict[str, Any]:
    """All layers and a head trained for some epochs; pictures a second of all but the first, validation apart."""
    from transferkit.console import Reporter
    from transferkit.features.precision import Precision
    from transferkit.runs.results import judge
    from transferkit.training import models
    from transferkit.training.problem import problem
    from transferkit.training.recipe import Again, Recipe

    values = {"backbone": backbone.row.name, "unfreeze": "all", "batch_size": batch, "epochs": EPOCHS,
              "patience": EPOCHS - 1}  # fmt: skip
    steady = _steady()
    numbers = np.arange(len(samples))
    goal = problem(
        samples, numbers[VALIDATION:], numbers[:VALIDATION], lambda some, units: judge(some, "accuracy", units)
    )
    taken = Precision(precision, "plain" if precision == "float32" else "policy")
    recipe = Recipe(
        backbone, _settings(values), goal, _views(values, backbone.size), Reporter(quiet=True), cache=False,
        callbacks=[steady], again={"tail": Again(EPOCHS, taken)},
    )  # fmt: skip
    features = recipe.frozen.pooled()
    rows = np.random.default_rng(0).standard_normal((256, *features.shapes[0])).astype(np.float32)
    started = time.perf_counter()
    recipe.tuned(models.head(rows, features.label, goal.outputs, recipe.settings), features)
    return {**steady.figures(), "seconds_in_all": time.perf_counter() - started}


def _steady() -> Any:
    from transferkit import compute
    from transferkit.training.fit import Callback, Loop

    class Steady(Callback):
        """Times the steps of each epoch but the first, and at the end the same steps on a batch that is resident."""

        def __init__(self) -> None:
            self.speeds: list[float] = []
            self.shares: list[float] = []
            self.resident = self.compiling = 0.0
            self.resident_busy: float | None = None
            self.steps_a_call, self.host = 1, 0.0

        def on_epoch_begin(self, loop: Loop) -> None:
            self._seen, self._started = 0, time.perf_counter()
            self._busy = Busy().__enter__()

        def on_chunk_end(self, loop: Loop, steps: int, loss: float) -> None:
            if not loop.epoch and not self._seen:
                self.compiling = time.perf_counter() - self._started
            self._seen += steps
            if self._seen == loop.batches.steps:
                seconds = time.perf_counter() - self._started
                self._busy.__exit__(None, None, None)
                if loop.epoch:
                    self.speeds.append(len(loop.batches.pictures) / seconds)
                    self.shares += [] if self._busy.share is None else [self._busy.share]

        def on_train_end(self, loop: Loop) -> None:
            inputs, targets, weights = next(loop.batches.epoch(0))
            held, steps = compute.hold(inputs), loop.steps
            rates = None if loop.rates is None else loop.rates(np.arange(len(targets)))
            assert steps is not None
            with Busy() as busy:
                seconds = _seconds(lambda: steps(held, targets, weights, rates))
            self.resident, self.resident_busy = targets.shape[0] * targets.shape[1] / seconds, busy.share
            self.steps_a_call = len(targets)
            self.host = _until_returned(lambda: steps(held, targets, weights, rates, wait=False)) / len(targets)

        def figures(self) -> dict[str, Any]:
            speed = statistics.median(self.speeds)
            return {"pictures_per_second": speed, "busy": statistics.median(self.shares) if self.shares else None,
                    "resident": self.resident, "resident_busy": self.resident_busy, "fed": speed / self.resident,
                    "steps_a_call": self.steps_a_call, "host_ms_a_step": 1000 * self.host,
                    "first_step_seconds": self.compiling}  # fmt: skip

    return Steady()


def _seconds(work: Any, calls: int = 20) -> float:
    """Of one call, once it is warm."""
    for _ in range(3):
        work()
    started = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - started) / calls


def _until_returned(work: Any, calls: int = 20) -> float:
    """Seconds until `work` returns, which leaves an accelerator computing; it has ended before the next call."""
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        loss, _ = work()
        seconds.append(time.perf_counter() - started)
        float(loss)
    return statistics.median(seconds)


def _samples(data: str) -> Any:
    from transferkit.data.source import scan

    return scan(Path(data)).hashed()


def _settings(values: dict[str, Any]) -> Any:
    from transferkit.config import make

    return make(values)


def _views(values: dict[str, Any], size: int) -> Any:
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.features.row_sources import Views

    settings = _settings({"backbone": "mini", **values})
    return Views(DecodeSettings(size), augmentation(settings.augment), settings.views, 0)
