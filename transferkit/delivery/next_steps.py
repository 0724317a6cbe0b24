"""What to do with a finished run next: a few commands, the most useful first. Text from run.json and metrics.json."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec
from pathlib import Path

from transferkit import tasks
from transferkit.delivery.exporting.formats import FORMATS
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord

REMEDIES = 2  # of the diagnosis; the rest stands beside its evidence


def next_steps(layout: Layout, manifest: RunRecord, metrics: MetricsRecord) -> list[dict[str, str]]:
    """`why` and `command` of each step, with RUN as it is called from where the run was begun.

    Args:
        layout: of the run.
        manifest: its run.json.
        metrics: its metrics.json.
    """
    run = shlex.quote(run_name(layout, manifest))
    steps = [_step("use it on pictures of your own", f"transferkit predict {run} PICTURES")]
    if not metrics.test.n:
        steps.insert(0, _step("score it on pictures that it has not seen", f"transferkit evaluate {run} DATA"))
    remedies = [r for r in metrics.diagnosis.remedies if r.command] if metrics.diagnosis else []
    steps += [_step(r.why, r.command) for r in remedies[:REMEDIES]]
    if not remedies and tasks.of(metrics.task).exclusive:
        # Several networks have no one feature map.
        how = "" if metrics.ensemble is None else " --method occlusion"
        steps.append(_step("see where it looks", f"transferkit explain {run} PICTURES{how}"))
    steps.append(_step("take it to another program or device", f"transferkit export {run} --format {exportable()}"))
    return steps


def exportable() -> str:
    """A format for other programs that can be written here without installing anything."""
    missing = [module for module in FORMATS["onnx"].needs if find_spec(module) is None]
    return "litert" if missing else "onnx"


def run_name(layout: Layout, manifest: RunRecord) -> str:
    """The run's folder as one would type it in the folder that it was begun in; its name where it lies elsewhere.

    Args:
        layout: of the run.
        manifest: its run.json.
    """
    folder, begun = layout.folder.absolute(), Path(manifest.working_directory or ".")
    relative = os.path.relpath(folder, begun) if begun.is_absolute() else folder.name
    return folder.name if relative.startswith("..") else relative


def _step(why: str, command: str) -> dict[str, str]:
    return {"why": why, "command": command}
