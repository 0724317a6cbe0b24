"""What all measurements share: bars, turns, processes of their own, scratch folders, and the command around them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

ROOT = Path(__file__).resolve().parents[2]
ASSETS = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", ROOT.parent / "shared"))
TRASHNET = ASSETS / "data" / "trashnet"
MOBILENET = ASSETS / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
DISPATCHER = ROOT / "scripts" / "bench.py"


@dataclass(frozen=True)
class Bar:
    """`figure` (a path of keys, by slashes) compared with `limit`; a figure that is None is not judged here."""

    figure: str
    comparison: Literal[">=", "<=", "<"]
    limit: float
    what: str

    def value(self, figures: Mapping[str, Any]) -> float | None:
        """The figure that is judged."""
        found: Any = figures
        for key in self.figure.split("/"):
            found = None if found is None else found.get(key)  # recorded before there was such a figure
        return None if found is None else float(found)

    def reached(self, figures: Mapping[str, Any]) -> bool | None:
        """Whether the figure is on the right side; None where there is nothing to judge."""
        value = self.value(figures)
        if value is None:
            return None
        return {">=": value >= self.limit, "<=": value <= self.limit, "<": value < self.limit}[self.comparison]


def measurement(name: str, bars: Sequence[Bar]) -> Callable[[Callable[..., dict[str, Any]]], click.Command]:
    """Make a function that measures and returns figures into a command: it records them, and ends with 1 below a bar.

    The function is called with `quick`, and with the click options declared below this decorator.
    """

    def wrap(function: Callable[..., dict[str, Any]]) -> click.Command:
        @click.command(name, help=function.__doc__)
        @click.option("--quick", is_flag=True, help="A smoke run on little data; judged by no bar, never recorded.")
        @functools.wraps(function)
        def command(quick: bool, **options: Any) -> None:
            from benches import page

            started = time.perf_counter()
            figures = function(quick=quick, **options)
            figures["measured_in_seconds"] = time.perf_counter() - started
            if quick:
                click.echo(json.dumps(page.rounded(figures), ensure_ascii=False))
            else:
                page.record(name, figures)
            missed = [bar for bar in bars if bar.reached(figures) is False]
            for bar in bars:
                click.echo(page.verdict(bar, figures))
            if missed and not quick:
                raise SystemExit(1)

        return command

    return wrap


def turns(sides: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True) -> dict[str, list[Any]]:
    """What each side returns, `rounds` times, the sides taking turns and the first of them changing each round.

    A warm-up round fills caches of the system and traces graphs; it is not counted.
    """
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(-1 if warm_up else 0, rounds):
        names = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in names:
            result = sides[name]()
            if number >= 0:
                found[name].append(result)
                click.echo(f"{name}: {_short(result)}", err=True)
    return found


def _short(result: Any) -> str:
    if isinstance(result, dict):
        return ", ".join(f"{key} {_short(value)}" for key, value in result.items() if not isinstance(value, list))
    return f"{result:.4g}" if isinstance(result, float) else str(result)


def in_child(module: str, function: str, arguments: dict[str, Any], cache: Path | None = None) -> dict[str, Any]:
    """What `benches.MODULE.FUNCTION(**arguments)` returns in a process of its own: fresh memory, fresh graphs."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if cache is not None:
        environment["TRANSFERKIT_CACHE"] = str(cache)
    command = [sys.executable, str(DISPATCHER), "child", module, function, json.dumps(arguments, default=str)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of its own for data, runs and the feature cache of this process, removed afterwards."""
    before = os.environ.get("TRANSFERKIT_CACHE")
    with tempfile.TemporaryDirectory(prefix="transferkit-bench-") as folder:
        os.environ["TRANSFERKIT_CACHE"] = f"{folder}/cache"
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["TRANSFERKIT_CACHE"]
            else:
                os.environ["TRANSFERKIT_CACHE"] = before


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_mb() -> float:
    """The most memory this process has held so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kilobytes elsewhere
