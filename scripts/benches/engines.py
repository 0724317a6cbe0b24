"""The frozen network by each engine, side by side: pictures a second, and what `auto` makes of it, from files too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benches.measuring import MOBILENET, TRASHNET, Bar, in_child, measurement, scratch, turns

WEIGHTS = {"mobilenet_0.25": str(MOBILENET), "efficientnet_lite0": "auto", "mini": "auto"}  # others: random
NETWORKS = (
    "mobilenet_0.25", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_lite0", "efficientnet_b0",
    "efficientnet_v2_b0", "densenet121", "resnet50", "convnext_tiny", "vgg16",
)  # fmt: skip
WHOLE = ("mobilenet_0.25", "efficientnet_lite0")  # are also extracted, from files
SIZE, BATCH, MANY = 224, 64, 1_000_000
BARS = (
    Bar("extraction/mobilenet_0.25", ">=", 2.0, "2,000 pictures from files to rows / TensorFlow's bare forward pass"),
    Bar("extraction/efficientnet_lite0", ">=", 2.0, "… with EfficientNet-lite0"),
    Bar("slowest", ">=", 0.95, "what `auto` takes / TensorFlow, the network with the least gain"),
)

TABLE = "networks"  # the figures that `table` shows
TITLES = {"plain": "TensorFlow", "graph": "its bfloat16", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


@measurement("engines", BARS)
@click.option("--rounds", default=3, show_default=True)
@click.option("--network", "only", multiple=True, help="Instead of the ten.")
@click.option("--pictures", default=2000, show_default=True, help="Of an extraction.")
def measure(quick: bool, rounds: int, only: tuple[str, ...], pictures: int) -> dict[str, Any]:
    """Each network in a process of its own, its engines taking turns on the same batches; medians of the rounds.

    TensorFlow is the compiled pass in float32, and where the processor has bfloat16 units its graph option too; `auto`
    is what the probe takes for a job that is long enough.
    """
    from transferkit.features.precision import _cpu_flag

    names = only or (("mini", "mobilenet_0.25") if quick else NETWORKS)
    rounds, pictures = (1, 64) if quick else (rounds, pictures)
    table = {}
    for name in names:
        with scratch() as folder:
            table[name] = in_child("engines", "network", {"name": name, "rounds": rounds}, folder / "cache")
        click.echo(f"{name}: {table[name]}", err=True)
    ratios = {}
    for name in WHOLE:
        if name in names:
            with scratch() as folder:
                found = in_child(
                    "engines", "whole", {"name": name, "count": pictures, "rounds": rounds}, folder / "cache"
                )
            ratios[name] = found["ratio"]
            table[name]["extraction"] = found
    return {"rounds": rounds, "pictures": pictures, "amx": _cpu_flag("amx_bf16"), "networks": table,
            "extraction": dict.fromkeys(WHOLE) | ratios,
            "slowest": min(row["auto"] / row["tensorflow"] for row in table.values())}  # fmt: skip


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """The networks, a row each: pictures a second by each engine, and `auto` beside the faster of TensorFlow's formats.

    Without engines `auto` takes that one at best: the last column says whether they have made a network slower.
    """
    sort = {
        True: "a processor with AMX.",
        False: "a processor without AMX; on one with it the engines have not been compared.",
    }
    yield "Pictures a second of the forward pass; last, `auto` beside the faster of TensorFlow's formats, of"
    yield f"which it took one before there were engines. On {sort.get(found.get('amx'), 'a processor.')}"
    yield ""
    yield "| network | TensorFlow | its bfloat16 | OpenVINO | ONNX Runtime | `auto` takes | `auto` | × TensorFlow |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, row in found[TABLE].items():
        sides = [_speed_of(row, key) for key in ("tensorflow", "tensorflow_bfloat16", "openvino", "onnxruntime")]
        best = max(row["tensorflow"], row.get("tensorflow_bfloat16", 0.0))
        cells = [name, *sides, TITLES[row["taken"]], _speed_of(row, "auto"), f"{row['auto'] / best:.2f}"]
        yield f"| {' | '.join(cells)} |"


def _speed_of(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.4g}" if key in row else "–"


def network(name: str, rounds: int) -> dict[str, Any]:
    """Pictures a second by each engine and by what `auto` takes, how far outputs are from TensorFlow's, and seconds of
    starting."""
    from transferkit import compute
    from transferkit.backbones.build import build
    from transferkit.compute import engines
    from transferkit.data.threads import available_threads
    from transferkit.features import precision
    from transferkit.features.engine_choice import difference
    from transferkit.features.extract import at_once

    compute.start()
    frozen, samples = _frozen(build(name, WEIGHTS.get(name, "random"), None if name == "mini" else SIZE))
    rows = frozen.pooled()
    model, parallel = rows.model, at_once(rows.model)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *model.input_shape[1:]), np.uint8)
    passes: dict[str, Any] = {"tensorflow": lambda: compute.forward(model)}
    if len(precision.candidates("auto")) > 1:
        passes["tensorflow_bfloat16"] = lambda: compute.forward(model, graph_bfloat16=True)
    for engine in engines.installed():
        passes[engine] = partial(engines.forward, engine, model, available_threads())
    runs, starts, apart = {}, {}, {}
    expected = None
    for key, make_pass in passes.items():
        started = time.perf_counter()
        try:
            run = make_pass()
            outputs = run([pixels])[0]
        except engines.EngineError as error:
            apart[key] = str(error)
            continue
        runs[key], starts[key] = run, time.perf_counter() - started
        expected = outputs if expected is None else expected
        apart[key] = difference(outputs.reshape(BATCH, -1), expected.reshape(BATCH, -1))
    frozen.choose_precision(rows, samples, dict.fromkeys(range(len(samples)), range(MANY // len(samples))))
    with precision.applied(model, frozen.precision):
        runs["auto"] = frozen.compiled(model)
        runs["auto"]([pixels])
    found = turns({key: lambda run=run: _speed(run, pixels, parallel) for key, run in runs.items()}, rounds, False)
    speeds, busy = (
        {key: statistics.median(pair[side] for pair in pairs) for key, pairs in found.items()} for side in (0, 1)
    )
    return {
        **speeds,
        "per_cpu_second": busy,
        "taken": frozen.precision.how,
        "difference": apart,
        "start_seconds": starts,
    }


def _frozen(backbone: Any) -> tuple[Any, Any]:
    from transferkit.config import make
    from transferkit.console import Reporter
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.features.frozen import Frozen
    from transferkit.features.row_sources import Views

    settings = make({"backbone": backbone.row.name, "augment": "none", "views": 0})
    views = Views(DecodeSettings(backbone.size), augmentation("none"), 0, 0)
    samples = scan(TRASHNET)
    samples = samples.select(list(range(0, len(samples), len(samples) // BATCH))).hashed()
    return Frozen(backbone, settings, views, False, Reporter(quiet=True)), samples


def _speed(run: Any, pixels: np.ndarray, parallel: int) -> tuple[float, float]:
    """Pictures a second, as many batches under way at a time as extraction has; and for each second that a core worked,
    which other work on the machine changes less."""
    from transferkit.data.threads import map_ordered

    started, busy = time.perf_counter(), time.process_time()
    list(map_ordered(lambda batch: run([batch]), [pixels] * parallel, threads=parallel, window=parallel))
    count = parallel * len(pixels)
    return count / (time.perf_counter() - started), count / (time.process_time() - busy)


def whole(name: str, count: int, rounds: int) -> dict[str, Any]:
    """Extraction as `auto` has it, from files to rows on disk, and the network alone by TensorFlow, taking turns."""
    import os

    from benches.extraction import Extraction

    folder = Path(os.environ["TRANSFERKIT_CACHE"]).parent
    work = Extraction(name, WEIGHTS[name], count, folder, "auto")
    found = turns({"extraction": work.speed, "bare_forward": work.bare}, rounds)
    medians = {side: statistics.median(speeds) for side, speeds in found.items()}
    precision = work.frozen.precision
    return {"pictures": work.count, "how": precision.how, "reason": precision.reason, "pictures_per_second": medians,
            "probe_seconds": work.probe_seconds, "ratio": medians["extraction"] / medians["bare_forward"]}  # fmt: skip
