"""What `--precision auto` gains: VGG16 extraction against the same extraction in float32."""

from __future__ import annotations

import statistics
from typing import Any

import click

from benches.extraction import Extraction
from benches.measuring import Bar, measurement, scratch, turns

BARS = (Bar("ratio", ">=", 4, "VGG16 extraction, precision `auto` / float32, on a CPU with AMX"),)


@measurement("precision", BARS)
@click.option("--pictures", default=192, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def measure(quick: bool, pictures: int, rounds: int) -> dict[str, Any]:
    """Pictures a second from files to rows on disk. The probe, once a network and machine, is timed by itself."""
    from transferkit.features.precision import _cpu_flag

    pictures, rounds = (64, 1) if quick else (pictures, rounds)
    with scratch() as folder:
        sides = {name: Extraction("vgg16", "random", pictures, folder, name) for name in ("auto", "float32")}
        found = turns({name: side.speed for name, side in sides.items()}, rounds, warm_up=not quick)
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    ratio = medians["auto"] / medians["float32"]
    return {
        "pictures": pictures,
        "rounds": rounds,
        "chosen": sides["auto"].frozen.precision.name,
        "reason": sides["auto"].frozen.precision.reason,
        "probe_seconds": sides["auto"].probe_seconds,
        "pictures_per_second": medians,
        "all": found,
        "measured_ratio": ratio,
        "ratio": ratio if _cpu_flag("amx_bf16") else None,
    }
