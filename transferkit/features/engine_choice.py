"""Which engine computes the frozen part: the one that is done first, its start counted, if it agrees with TensorFlow.

Measured once for a network and machine, and remembered. What the cache holds of one engine's rows counts as done. An
engine whose outputs differ, that fails, or that ended the process while it was tried is not asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.compute import engines
from transferkit.compute.engines import EngineError
from transferkit.console import Reporter
from transferkit.data.threads import map_ordered
from transferkit.features.precision import Precision, machine, multiply_adds
from transferkit.files import digest
from transferkit.record import JsonObject
from transferkit.seals import recalled, remember
from transferkit.storage import cache_folder

DIFFERENCE = 1e-3  # most that an output may differ, in parts of the root mean square of its row
GAIN = 1.15  # how much faster an engine must be: nearly equal ones must not be told apart by chance
LITTLE = 5e10  # multiply-adds of the whole job below which not even TensorFlow's speed is worth measuring
START = 4.0  # seconds that starting an engine may take, as far as one knows before
ROUNDS = 2
CALLS = 8  # at least so many, where they are of one picture: single ones vary
# Networks whose pictures take more multiply-adds than this spend them in large convolutions, at the processor's speed
# whatever the engine: one is tried where a trial is next to nothing of the job. Small ones gain a factor.
DENSE = 1e9
SHARES = {False: 0.5, True: 0.03}  # of the job's time that a trial may take, by whether a network is dense


@dataclass(frozen=True)
class Measured:
    """Seconds until an engine gave its first outputs, seconds a picture after that, and the largest difference from
    TensorFlow's outputs. `refused` says why it is not used."""

    start: float = 0.0
    forward: float = 0.0
    difference: float = 0.0
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be computed: `network` (one input, uint8 pictures) for pictures such as `pixels()` uint8 [n, …] gives,
    in batches of `batch`, of which `parallel` are under way at a time. `key` names the network, its weights and size.

    `compiled` gives the forward pass by one option; `lacking` how many rows the cache lacks of that option's; an
    engine's outputs may differ by `allowed` (see `difference`).
    """

    network: Any
    pixels: Callable[[], np.ndarray]
    batch: int
    parallel: int
    key: JsonObject
    compiled: Callable[[Precision], compute.Forward]
    lacking: Callable[[Precision], int]
    allowed: float = DIFFERENCE


def offered() -> list[str]:
    """Engines that can be used here: those that are installed, on a processor, under TensorFlow."""
    here = compute.backend() == "tensorflow" and compute.gpu_count() == 0 and compute.device_count() == 1
    return engines.installed() if here else []


def choose(base: Precision, work: Work, reporter: Reporter) -> Precision:
    """`base`, or float32 by another engine, where that is done sooner.

    Args:
        base: the format in which TensorFlow computes.
        work: what is to be computed.
        reporter: is told of a trial.
    """
    names = offered()
    if not names or base.how == "policy" or not work.lacking(base):
        return base
    memory = _Memory(work.key)
    usable = [name for name in names if not memory.of(name).refused]
    for name in usable:
        if memory.has(name) and not work.lacking(_option(name)):
            return _named(name, base, memory)
    if not all(memory.has(name) for name in (_entry(base), *usable[:1])):
        _measure(base, names, work, memory, reporter)
    return _soonest(base, names, work, memory)


def refuse(key: JsonObject, name: str, why: str) -> None:
    """An engine is not used for a network again: what came of its features was not as TensorFlow answers.

    Args:
        key: of the network, as in `Work`.
        name: of the engine.
        why: in words, which are kept.
    """
    _Memory(key).write(name, Measured(refused=why))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of outputs, in parts of the root mean square of the expected row; NaN counts as infinite.

    Args:
        found: [n, d].
        expected: [n, d].
    """
    if found.shape != expected.shape:
        return float("inf")
    scale = np.sqrt((expected.astype(np.float64) ** 2).mean(axis=1)) + 1e-12
    largest = float((np.abs(found.astype(np.float64) - expected).max(axis=1) / scale).max())
    return largest if np.isfinite(largest) else float("inf")


class _Memory:
    """What was measured of a network on this machine, by name of the engine, or of the format (`_entry`)."""

    def __init__(self, key: Mapping[str, object]) -> None:
        versions = {name: engines.engine_version(name) for name in engines.installed()}
        known = {**key, "engines": versions, "machine": machine()}
        self._path: Path = cache_folder() / "precision" / f"{digest(known)[:32]}.json"
        self._found = self._read()

    def _read(self) -> dict[str, Measured]:
        with suppress(OSError, ValueError, TypeError, AttributeError):  # none, or damaged
            return {str(name): Measured(**values) for name, values in recalled(self._path).items()}
        return {}

    def has(self, name: str) -> bool:
        return name in self._found

    def of(self, name: str) -> Measured:
        return self._found.get(name, Measured())

    def write(self, name: str, measured: Measured) -> None:
        self._found[name] = measured
        self._save(self._read() | {name: measured})  # another process may have measured others meanwhile

    def forget(self, name: str) -> None:
        del self._found[name]
        self._save({one: values for one, values in self._read().items() if one != name})

    def _save(self, found: Mapping[str, Measured]) -> None:
        remember(self._path, {name: asdict(values) for name, values in found.items()})


def _option(name: str) -> Precision:
    return Precision("float32", name)


def _entry(base: Precision) -> str:
    return f"tensorflow {base.name} {base.how}"


def _named(name: str, base: Precision, memory: _Memory) -> Precision:
    found = memory.of(name)
    faster = memory.of(_entry(base)).forward / max(found.forward, 1e-9)
    title = f"{engines.ENGINES[name].title} {engines.engine_version(name).partition('-')[0]}"
    return Precision(
        "float32", name, f"{title}: {faster:.1f} × the speed of TensorFlow, outputs agree to {found.difference:.0e}"
    )


def _soonest(base: Precision, names: list[str], work: Work, memory: _Memory) -> Precision:
    plain = memory.of(_entry(base))
    if not memory.has(_entry(base)):
        return base
    least, chosen = plain.start + work.lacking(base) * plain.forward, base
    for name in names:
        found = memory.of(name)
        if not memory.has(name) or found.refused or plain.forward < GAIN * found.forward:
            continue
        seconds = found.start + work.lacking(_option(name)) * found.forward
        if seconds < least:
            least, chosen = seconds, _named(name, base, memory)
    return chosen


def _measure(base: Precision, names: list[str], work: Work, memory: _Memory, reporter: Reporter) -> None:
    """TensorFlow first; then, where the job is long enough, engines in turn until one is clearly faster."""
    adds, rows = multiply_adds(work.network), work.lacking(base)
    if adds * rows < LITTLE:
        return
    dense = adds > DENSE
    pixels = work.pixels()
    batch = pixels[: work.batch] if dense else np.resize(pixels, (work.batch, *pixels.shape[1:]))
    compared = batch if work.batch >= len(pixels) else pixels
    rounds = CALLS if work.batch == 1 else ROUNDS
    if not memory.has(_entry(base)):
        memory.write(_entry(base), _timed(lambda: work.compiled(base), batch, work.parallel, 1))
    plain = memory.of(_entry(base))
    trial = START + plain.forward * (len(compared) + len(batch) * rounds * work.parallel)
    if trial > SHARES[dense] * rows * plain.forward:
        return
    reporter.say("engine: trying others than TensorFlow for the frozen network (once for this network and machine)")
    plain = _timed(lambda: work.compiled(base), batch, work.parallel, rounds)
    plain = replace(plain, start=memory.of(_entry(base)).start)  # it has been compiled by now
    memory.write(_entry(base), plain)
    expected = _outputs(work.compiled(Precision()), compared, work.batch)
    for name in names:
        if memory.has(name):
            continue
        memory.write(name, Measured(refused="it ended the process in which it was tried"))  # unless it comes back
        try:
            memory.write(name, _tried(name, work, batch, rounds, compared, expected))
        except KeyboardInterrupt:  # who is tired of waiting has not said that it fails
            memory.forget(name)
            raise
        reporter.say(f"engine: {_said(name, base, memory)}")
        if not memory.of(name).refused and plain.forward >= GAIN * memory.of(name).forward:
            return


def _tried(
    name: str, work: Work, batch: np.ndarray, rounds: int, compared: np.ndarray, expected: np.ndarray
) -> Measured:
    try:
        found = _timed(lambda: work.compiled(_option(name)), batch, work.parallel, rounds)
        outputs = _outputs(work.compiled(_option(name)), compared, work.batch)
    except EngineError as error:
        return Measured(refused=str(error))
    apart = difference(outputs, expected)
    if apart > work.allowed:
        return Measured(refused=f"its outputs differ by {apart:.1e} of their size")
    return Measured(found.start, found.forward, apart)


def _said(name: str, base: Precision, memory: _Memory) -> str:
    found = memory.of(name)
    refused = f"{engines.ENGINES[name].title} is not used: {found.refused}"
    return refused if found.refused else _named(name, base, memory).reason


def _timed(make: Callable[[], compute.Forward], batch: np.ndarray, parallel: int, rounds: int) -> Measured:
    """Seconds of making a pass and of its first call, beyond those of another; and of a picture.

    Calls go on beside each other as extraction makes them.
    """
    started = time.perf_counter()
    run = make()
    run([batch])
    first = time.perf_counter() - started
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        list(map_ordered(lambda pixels: run([pixels]), [batch] * parallel, threads=parallel, window=parallel))
        seconds.append((time.perf_counter() - started) / (parallel * len(batch)))
    forward = min(seconds)
    return Measured(max(0.0, first - forward * len(batch)), forward)


def _outputs(run: compute.Forward, pixels: np.ndarray, batch: int) -> np.ndarray:
    """All outputs of each picture in one row."""
    found = [run([pixels[start : start + batch]]) for start in range(0, len(pixels), batch)]
    rows = [np.concatenate([output.reshape(len(output), -1) for output in part], axis=1) for part in found]
    return np.concatenate(rows)
