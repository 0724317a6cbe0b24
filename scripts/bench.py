#!/usr/bin/env python3
"""The measurements that claims rest on: each writes its figures to docs/benchmarks.json and docs/benchmarks.md.

    .venv/bin/python scripts/bench.py bars              # what is measured, and what it has to reach
    .venv/bin/python scripts/bench.py decode            # needs the real pictures: TRANSFERKIT_TEST_ASSETS or ../shared
    .venv/bin/python scripts/bench.py head --quick      # a smoke run, judged by no bar and never recorded
    .venv/bin/python scripts/bench.py all

A measurement compares within one run, because machines differ and are busy; bars are ratios or limits, and a missed
bar ends with exit code 1. To add one, put a module into scripts/benches: its `BARS`, and its command `measure`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benches import registry


@click.group()
def bench() -> None:
    """Measure, compare with the bar, record."""


@bench.command("all")
@click.option("--quick", is_flag=True, help="Smoke runs on little data; never recorded.")
def everything(quick: bool) -> None:
    """Every measurement, each in a process of its own; goes on past missed bars and ends with 1 if there were any."""
    failed = []
    for name in registry.modules():
        click.echo(f"— {name}")
        if subprocess.run([sys.executable, __file__, name, *(["--quick"] if quick else [])]).returncode:
            failed.append(name)
    if failed:
        click.echo(f"missed or failed: {', '.join(failed)}")
        raise SystemExit(1)


@bench.command()
def bars() -> None:
    """What is measured and what it has to reach."""
    for name, found in registry.bars().items():
        for bar in found:
            click.echo(f"{name:16} {bar.comparison:2} {bar.limit:<6g} {bar.what}")


@bench.command(hidden=True)
@click.argument("module")
@click.argument("function")
@click.argument("arguments")
def child(module: str, function: str, arguments: str) -> None:
    """One side of a measurement, in a process of its own; its result is the last line."""
    result = getattr(importlib.import_module(f"benches.{module}"), function)(**json.loads(arguments))
    click.echo("\n" + json.dumps(result))


for command in registry.commands():
    bench.add_command(command)

if __name__ == "__main__":
    bench()
