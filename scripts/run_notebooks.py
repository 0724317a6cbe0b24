#!/usr/bin/env python
"""Runs every notebook in notebooks/ from its first cell in a fresh kernel and an empty folder, without a network.

The files themselves are not changed: they are kept without outputs. `scripts/notebooks` calls this.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CELL_SECONDS = 300
LEAST = 0.75


def run(path: Path, online: bool = False, keep: Path | None = None) -> float:
    """Run one notebook; seconds it took. Raises CellExecutionError with the cell and its traceback.

    Without `online` no weights are fetched: notebooks fall back to the bundled network. `keep` is a folder for a copy
    with outputs. Raises ValueError where the notebook ran but what it trained is no good.
    """
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nb-") as folder:
        own = {
            "TRANSFERKIT_CACHE": f"{folder}/cache",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        work = Path(folder) / "work"
        work.mkdir()
        # Sockets in a folder that only this user reads, in place of open ports.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        client = NotebookClient(
            notebook, kernel_name="python3", config=sockets, timeout=CELL_SECONDS,
            resources={"metadata": {"path": str(work)}},
        )  # fmt: skip
        try:
            client.execute(env={**os.environ, **own, **({} if online else {"TRANSFERKIT_OFFLINE": "1"})})
        finally:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, keep / path.name)
        check(notebook, work)
    return time.monotonic() - start


def check(notebook: nbformat.NotebookNode, work: Path) -> None:
    """The digits are easy: a notebook that trains and ends near chance is wrong though no cell failed."""
    text = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))
    by_hand = re.findall(r"val_accuracy: ([\d.]+)", text)
    runs = [json.loads(file.read_text("utf-8"))["test"]["accuracy"] for file in work.glob("runs/*/metrics.json")]
    if not runs or max(runs) < LEAST or (by_hand and float(by_hand[-1]) < LEAST):
        shown = ", ".join(f"{value:.3f}" for value in runs) or "none"
        raise ValueError(
            f"accuracies of runs: {shown}; by hand: {by_hand[-1:] or 'none'}; at least {LEAST} was expected"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the notebooks from a clean kernel.")
    parser.add_argument("names", nargs="*", help="beginnings of file names, such as 01; all by default")
    parser.add_argument("--online", action="store_true", help="let notebooks fetch weights")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write copies with outputs here")
    given = parser.parse_args()
    paths = [p for p in sorted(NOTEBOOKS.glob("*.ipynb")) if not given.names or p.name.startswith(tuple(given.names))]
    if not paths:
        parser.error(f"no notebook begins with {', '.join(given.names)}; there are {', '.join(_names())}")
    failed = 0
    for path in paths:
        try:
            print(f"{path.name}: {run(path, given.online, given.keep):.0f} s", flush=True)
        except (CellExecutionError, ValueError) as error:
            failed += 1
            print(f"{path.name}: FAILED\n{error}", file=sys.stderr)
    return 1 if failed else 0


def _names() -> list[str]:
    return [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


if __name__ == "__main__":
    sys.exit(main())
