#!/usr/bin/env python3
"""What foundation networks cost on this machine: prints and writes the two tables of docs/howto/foundation.md.

    python scripts/foundation_cost.py                     # pictures a second and memory of each network
    python scripts/foundation_cost.py --commands DATA     # the three commands of the howto on a folder of pictures

Each line is measured in a process of its own, one after the other, all of a table in less than five minutes of a quiet
machine with two cores. Random weights take the time of published ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benches.measuring import ROOT, peak_mb, timed

PAGE = ROOT / "docs" / "howto" / "foundation.md"
BATCH, PASSES, SECONDS = 8, 6, 15.0  # pictures a pass; passes, fewer where they take longer than that together
_DINOV2 = {"model_type": "dinov2", "image_size": 518}
_SMALL = {"hidden_size": 384, "num_attention_heads": 6}
_LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24}
# Name, its config as on the hub, side of the pictures.
NETWORKS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("DINOv3 small", {"model_type": "dinov3_vit", "num_register_tokens": 4}, 224),
    ("ConvNeXt tiny", {"model_type": "convnext"}, 224),
    ("DINOv2 small", _DINOV2 | _SMALL, 224),
    ("DINOv2 small", _DINOV2 | _SMALL, 518),
    ("SigLIP 2 base", {"model_type": "siglip2_vision_model"}, 224),
    ("DINOv2 base", _DINOV2, 224),
    ("DINOv2 large", _DINOV2 | _LARGE, 224),
)


def measure(number: int) -> dict[str, float]:
    """Tokens, parameters, pictures a second (the best of several passes) and peak memory in bytes of a network."""
    import numpy as np

    from transferkit import compute
    from transferkit.backbones.foundation import families, graphs

    _, config, size = NETWORKS[number]
    compute.start()
    net = families.described(config).architecture
    model = graphs.build(net, size, "network")
    run = compute.forward(model)
    pictures = np.random.default_rng(0).standard_normal((BATCH, size, size, 3)).astype(np.float32)
    run([pictures])
    seconds: list[float] = []
    while len(seconds) < PASSES and sum(seconds) < SECONDS:
        seconds.append(timed(lambda: run([pictures])))
    tokens = net.tokens(size) if hasattr(net, "tokens") else 0
    return {
        "tokens": tokens,
        "parameters": model.count_params(),
        "rate": BATCH / min(seconds),
        "peak": peak_mb() * (1 << 20),
    }


def networks() -> Iterator[str]:
    """The lines of the table of networks."""
    yield "| network | pictures | tokens | parameters | pictures a second | memory at its peak |"
    yield "|---|---|---|---|---|---|"
    for number, (name, _, size) in enumerate(NETWORKS):
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(number)], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        tokens = f"{found['tokens']:,}" if found["tokens"] else "–"
        millions = f"{found['parameters'] / 1e6:.3g} M"
        yield f"| {name} | {size} | {tokens} | {millions} | {found['rate']:.2g} | {found['peak'] / 1e9:.1f} GB |"
    yield ""
    made_by = f"TensorFlow {version('tensorflow')}"
    yield f"Float32, batches of {BATCH}, random weights, {made_by}, the best of several passes."


def commands(data: Path) -> Iterator[str]:
    """The lines of the table of the howto's three commands, with DINOv2 small's shape."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "dinov2-small").mkdir()
        (place / "dinov2-small" / "config.json").write_text(json.dumps(_DINOV2 | _SMALL))
        os.environ["TRANSFERKIT_CACHE"] = str(place / "cache")
        run = str(place / "run")
        own = ["--backbone", str(place / "dinov2-small"), "--weights", "random", "--pooling", "cls+mean"]
        yield "| command | seconds | memory at its peak |"
        yield "|---|---|---|"
        for words in (
            ["finetune", str(data), *own, "--output", run],
            ["predict", run, str(data)],
            ["export", run, "--format", "onnx"],
        ):
            started = time.perf_counter()
            command = [sys.executable, "-m", "transferkit", *words]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{words[0]} failed")
            seconds = time.perf_counter() - started
            yield f"| `{words[0]}` | {seconds:.0f} | {usage.ru_maxrss * 1024 / 1e9:.1f} GB |"
        pictures = json.loads((place / "run" / "run.json").read_text())["data"]["n"]
    yield ""
    yield f"Of {pictures} photographs at 224 pixels (257 tokens each), with DINOv2 small's shape and random weights."


def write(table: str, lines: list[str]) -> None:
    """Put the lines between the page's marks."""
    begin, end = f"<!-- {table}: written by scripts/foundation_cost.py -->\n", f"<!-- end of {table} -->\n"
    before, rest = PAGE.read_text("utf-8").split(begin)
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1], "utf-8")


def main() -> None:
    """Print a table and write it, with how busy the machine was before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=Path, metavar="DATA")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one)))
        return
    load, lines = os.getloadavg()[0], []
    for line in networks() if options.commands is None else commands(options.commands):
        print(line, flush=True)
        lines.append(line)
    lines[-1] += f" {os.cpu_count()} cores, the machine's load {load:.1f} before and {os.getloadavg()[0]:.1f} after."
    write("networks" if options.commands is None else "commands", lines)


if __name__ == "__main__":
    main()
