"""Whole processes, imports included: a search and the plain script, a cached run and bare Keras, a second search."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benches.measuring import MOBILENET, ROOT, TRASHNET, Bar, measurement, scratch
from benches.pictures import parts
from benches.tune import BATCHES, DROPOUT, EPOCHS, RATES, WIDTHS

BARS = (
    Bar("search/ratio", ">=", 18, "20 trials, MobileNet-0.25, 398 pictures: plain Keras Tuner script / the command"),
    Bar("finetune/ratio", "<=", 2, "`finetune` of 398 cached pictures / import keras, build, save, load the network"),
    # 12 s where the plain script takes 360 s, which is the yardstick of a machine.
    Bar("second/plain_ratio", ">=", 30, "… the script / a second search on the same pictures"),
)  # fmt: skip
BARE = """
import sys, keras
model = keras.applications.MobileNet(input_shape=(224, 224, 3), alpha=0.25, include_top=False, weights=sys.argv[1])
model.save(sys.argv[2])
keras.saving.load_model(sys.argv[2])
"""
PLAIN = "import json, sys; from benches import tune; print('\\n' + json.dumps(tune.plain(**json.loads(sys.argv[1]))))"


@measurement("whole", BARS)
@click.option("--trials", default=20, show_default=True)
@click.option("--plain-trials", default=20, show_default=True, help="Timed of the plain script, then scaled to all.")
@click.option("--rounds", default=3, show_default=True, help="Of everything but the plain script.")
def measure(quick: bool, trials: int, plain_trials: int, rounds: int) -> dict[str, Any]:
    """Seconds from the start of a process to its end, each side on the same pictures, one after the other.

    The command of a search also trains the winner again, judges it and writes the report; that of a run does all but
    read features again. The probe of engines is part of the first search, and what it remembers of the second.
    """
    trials, plain_trials, rounds = (2, 1, 1) if quick else (trials, plain_trials, rounds)
    _compile_as_installed()
    with scratch() as folder:
        counts = parts(TRASHNET, folder / "data", (48, 16, 16) if quick else (300, 49, 49), 0)
        plain = _plain(folder, trials, plain_trials)
        searches = [_search(folder, number, trials) for number in range(rounds)]
        first, second = (statistics.median(pair[i] for pair in searches) for i in (0, 1))
        _finetune(folder, "warm-up")
        runs = [(_finetune(folder, str(number)), _bare(folder)) for number in range(rounds)]
    cached, bare = (statistics.median(pair[i] for pair in runs) for i in (0, 1))
    return {
        "pictures": counts, "trials": trials,
        "search": {"seconds": first, "plain_seconds": plain, "plain_trials": plain_trials, "ratio": plain / first},
        "finetune": {"seconds": cached, "bare_seconds": bare, "ratio": cached / bare},
        "second": {"seconds": second, "ratio": second / first, "plain_ratio": plain / second},
        "all": {"searches": searches, "finetune_and_bare": runs},
    }  # fmt: skip


def _compile_as_installed() -> None:
    """Write the bytecode of our modules, as pip does for a user, and did here for Keras and TensorFlow.

    Where Python was told to write none (PYTHONDONTWRITEBYTECODE), every process that is timed would compile them.
    """
    import compileall

    compileall.compile_dir(ROOT / "transferkit", quiet=1)


def _timed(command: Sequence[object], cache: Path) -> float:
    environment = {**os.environ, "TRANSFERKIT_CACHE": str(cache), "TRANSFERKIT_STATE": str(cache) + "-state",
                   "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}  # fmt: skip
    started = time.perf_counter()
    subprocess.run([*map(str, command)], env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    click.echo(f"{seconds:.1f} s: {' '.join(map(str, command))[:100]}", err=True)
    return seconds


def _transferkit(*arguments: object) -> list[object]:
    return [sys.executable, "-m", "transferkit", *arguments, "--backbone", "mobilenet_0.25", "--weights", MOBILENET,
            "--offline", "--quiet"]  # fmt: skip


def _search(folder: Path, number: int, trials: int) -> tuple[float, float]:
    """Seconds of a search on an empty cache, and of another on the same pictures after it."""
    cache = folder / f"cache-{number}"
    seconds = []
    for seed in (number, number + 1000):
        output = folder / f"search-{number}-{seed}"
        command = _transferkit(
            "tune", folder / "data", "--output", output, "--trials", trials, "--algorithm", "random", "--seed", seed,
            "--epochs", EPOCHS, "--patience", EPOCHS - 1, "--augment", "none", "--seeds", 1, "--dropout", DROPOUT,
            "--search", f"learning_rate={RATES[0]}:{RATES[1]}:log",
            "--search", f"batch_size={','.join(map(str, BATCHES))}",
            "--search", f"head_width={','.join(map(str, WIDTHS))}",
        )  # fmt: skip
        seconds.append(_timed(command, cache))
        shutil.rmtree(output)
    return seconds[0], seconds[1]


def _plain(folder: Path, trials: int, timed: int) -> float:
    """Seconds of the plain script's process; trials that were not run are counted as those that were."""
    import json

    arguments = {"data": str(folder / "data"), "network": "mobilenet", "seed": 0, "trials": timed, "epochs": EPOCHS}
    whole = _timed([sys.executable, "-c", PLAIN, json.dumps(arguments)], folder / "none")
    fixed = _timed([sys.executable, "-c", "import keras, keras_tuner, tensorflow"], folder / "none")
    return fixed + (whole - fixed) * trials / timed


def _finetune(folder: Path, name: str) -> float:
    output = folder / f"run-{name}"
    seconds = _timed(_transferkit("finetune", folder / "data", "--output", output), folder / "cache-run")
    shutil.rmtree(output)
    return seconds


def _bare(folder: Path) -> float:
    return _timed([sys.executable, "-c", BARE, MOBILENET, folder / "bare.keras"], folder / "none")
