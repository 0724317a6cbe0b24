#!/usr/bin/env python3
"""What is done to transferkit on purpose, to see that nothing is lost, nothing hangs and nobody gets in.

    .venv/bin/python scripts/torture.py --short          # four minutes and a bit; a part of .ci/run
    .venv/bin/python scripts/torture.py                  # the long form; writes docs/reliability.md
    .venv/bin/python scripts/torture.py kills pictures   # some kinds only
    .venv/bin/python scripts/torture.py --minutes 5 --seed 7 disk

Every kind is bounded in number and time and draws from the seed, so that what failed can be tried again. A failure ends
with exit code 1. To add a kind, put a module into scripts/tortures: its NAME, `rows`, and what was FIXED and is OPEN.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tortures import page, registry
from tortures.trying import Session

LANES = 2  # processes that share the kinds of the short form: most of the time a command imports, on one core
SHORT = 240.0  # seconds for all kinds of a process together, but for what was begun before
LEAST = 5.0  # seconds that each kind has, however long the others took: none is left out


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(registry.modules())))
@click.option("--short", is_flag=True, help="Few tries of each; never recorded.")
@click.option("--seed", default=0, show_default=True, help="What the tries are drawn from.")
@click.option("--minutes", type=float, help="Longest time a kind. [default: 30; short: 4 in all]")
def torture(kinds: tuple[str, ...], short: bool, seed: int, minutes: float | None) -> None:
    """Try KINDS of harm, all of them by default; record what was found."""
    if short and not kinds:
        raise SystemExit(1 if _beside(["--seed", str(seed), *(["--minutes", str(minutes)] if minutes else [])]) else 0)
    with tempfile.TemporaryDirectory(prefix="transferkit-torture-") as common:
        raise SystemExit(1 if _failed(kinds or tuple(registry.modules()), short, seed, minutes, Path(common)) else 0)


def _beside(options: Sequence[str]) -> int:
    """Try all kinds in the short form, on several processes; how many of these failed."""
    names, command = list(registry.modules()), [sys.executable, __file__, "--short", *options]
    started = time.monotonic()
    running = [subprocess.Popen([*command, *names[lane::LANES]]) for lane in range(LANES)]
    failed = sum(process.wait() != 0 for process in running)
    click.echo(f"{len(names)} kinds in {time.monotonic() - started:.0f} s")
    return failed


def _failed(names: Sequence[str], short: bool, seed: int, minutes: float | None, common: Path) -> int:
    """Try kind after kind; how many tries failed."""
    failed, end = 0, time.monotonic() + SHORT
    for number, name in enumerate(names):
        started = time.monotonic()
        # In the short form what one kind leaves of its share the others have.
        share = 60 * (minutes or 30) if minutes or not short else (end - started) / (len(names) - number)
        with tempfile.TemporaryDirectory(prefix="transferkit-torture-") as folder:
            session = Session(Path(folder).resolve(), seed, short, started + max(share, LEAST), common.resolve())
            rows = []
            for row in registry.modules()[name].rows(session):
                rows.append(row)
                click.echo(page.line(name, row))
                for failure in row.failures:
                    click.echo(f"    {failure}")
                failed += len(row.failures)
        if not short:
            page.record(name, rows, seed, time.monotonic() - started)
    return failed


if __name__ == "__main__":
    torture()
