"""What the closing summary advises after a run, as commands to be copied (`next_steps` has those of report and card).

Remedies of the diagnosis come first, then what there is to look at.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from transferkit import tasks
from transferkit.delivery import statements
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.runs.advice import HIDDEN, brief, own
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import given, repeatable
from transferkit.runs.run_record import RunRecord

MOST = 3  # commands: the summary leaves some out, but one, where the whole would leave a screen


def next_commands(layout: Layout, manifest: RunRecord, metrics: MetricsRecord) -> list[tuple[str, str]]:
    """What the diagnosis advises, then what is always worth a look.

    Args:
        layout: the run.
        manifest: its `run.json`.
        metrics: its `metrics.json`.

    Returns:
        `MOST` at the most: a reason, and the command (or that it is not shown, where the run is a stranger's).
    """
    run = str(layout.folder)
    found = []
    for remedy in metrics.diagnosis.remedies if metrics.diagnosis else ():
        command = own(remedy.command)
        found.append((remedy.why, own(_brief(command, manifest, run)) if command else HIDDEN))
    seen = {command for _, command in found}
    for why, words in _looks(run, manifest, metrics) if metrics.test.n else []:
        command = shlex.join(["transferkit", *words])
        if command not in seen:
            found.append((why, own(command) or HIDDEN))
    return found[:MOST]


def _looks(run: str, manifest: RunRecord, metrics: MetricsRecord) -> Iterator[tuple[str, list[str]]]:
    """What there is to look at: only commands that show something for this run."""
    on_disk, erred = manifest.data.path is not None, statements.erred(metrics)
    if erred:
        what = "largest errors" if tasks.of(metrics.task).numbers else "worst mistakes"
        yield f"look at its {what}", ["open", run, "mistakes"]
    if on_disk and not tasks.of(metrics.task).numbers:
        yield "see labels that are probably wrong", ["data", "check", "--run", run]
    # Several networks have no one feature map.
    how = [] if metrics.ensemble is None else ["--method", "occlusion"]
    if on_disk and erred:
        yield "see where it looked", ["explain", run, *how]
    else:
        yield "see where it looks", ["explain", run, "PICTURES", *how]


def _brief(command: str, manifest: RunRecord, run: str) -> str:
    try:
        return brief(command, repeatable("DATA", given(manifest)), run)
    except (RunError, KeyError, ValueError):  # of a version whose settings are others
        return command
