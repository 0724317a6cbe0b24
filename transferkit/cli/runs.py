"""Commands about a finished run: evaluate, report, summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import VERBOSE, Once, common, echo, emit, reporter

RUN = click.argument("run", type=click.Path(path_type=Path))
# Too long for a screen; --json and metrics.json have them.
LONG = ("confusion", "confused", "per_class", "per_label", "per_target")


@click.command(cls=Once, epilog="Example:  transferkit evaluate runs/flowers new_flowers/")
@RUN
@click.argument("data", required=False, type=click.Path(path_type=Path))
@common()
def evaluate(run: Path, data: Path | None, quiet: bool, as_json: bool) -> None:
    """Score the model of RUN on DATA, or on the run's own test split."""
    from transferkit import api

    scores = api.evaluate(run, data, quiet=quiet or as_json)
    if as_json:
        emit(scores)
        return
    _print(scores)
    if scores.get("new"):
        echo(f"\nthe {scores['new']['n']:,} pictures alone that were not used in training:")
        _print(scores["new"])


@click.command(cls=Once, epilog="Example:  transferkit report runs/flowers")
@RUN
@common()
def report(run: Path, quiet: bool, as_json: bool) -> None:
    """Write report.html, CARD.md and the figures of RUN again."""
    from transferkit.delivery.report.publish import publish
    from transferkit.runs.layout import Layout

    path = publish(Layout(run), reporter(quiet, as_json))
    if as_json:
        emit({"report": str(path)})
    else:
        echo(path)


@click.command(cls=Once, epilog="Example:  transferkit summary runs/flowers")
@RUN
@VERBOSE
@common()
def summary(run: Path, verbose: bool, quiet: bool, as_json: bool) -> None:
    """Print the closing summary of RUN again."""
    from transferkit.console import columns
    from transferkit.delivery.summary import summary as text
    from transferkit.runs.layout import Layout

    layout = Layout(run)
    if as_json:
        emit({"run": layout.complete().filled(), "metrics": layout.read_metrics().as_json()})
    else:
        echo(text(layout, verbose, columns()))


def _print(scores: Mapping[str, object]) -> None:
    for name, value in scores.items():
        if not isinstance(value, dict) and name not in (*LONG, "new") and not name.endswith("_ci95"):
            interval = scores.get(f"{name}_ci95")
            bounds = f"  (95 % interval {_shown(interval)})" if interval else ""
            echo(f"{name:<20} {_shown(value)}{bounds}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_shown(v) for v in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
