"""Where things lie in a run directory. The names are a contract with other programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.errors import RunError
from transferkit.files import read_csv, read_json, remove_temporaries
from transferkit.runs.advice import own
from transferkit.text import shown


@dataclass(frozen=True)
class Layout:
    """Paths inside one run directory, and readers for them."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """run.json: status, configuration, versions, hashes, timings."""
        return self.folder / "run.json"

    @property
    def splits(self) -> Path:
        """splits.csv: path,label,split,fold,sha256."""
        return self.folder / "splits.csv"

    @property
    def history(self) -> Path:
        """history.csv: one row per phase and epoch."""
        return self.folder / "history.csv"

    @property
    def metrics(self) -> Path:
        """metrics.json: validation and test scores, baselines, diagnosis."""
        return self.folder / "metrics.json"

    @property
    def predictions(self) -> Path:
        """predictions.csv: every test picture with its probabilities."""
        return self.folder / "predictions.csv"

    @property
    def model(self) -> Path:
        """model.keras: takes uint8 RGB, loads with plain Keras."""
        return self.folder / "model.keras"

    @property
    def typical(self) -> Path:
        """typical.npz: what training features look like, to tell pictures of another kind (see evaluation.drift)."""
        return self.folder / "typical.npz"

    @property
    def report(self) -> Path:
        """report.html: self-contained."""
        return self.folder / "report.html"

    @property
    def card(self) -> Path:
        """CARD.md: the model card."""
        return self.folder / "CARD.md"

    @property
    def figures(self) -> Path:
        """Folder of PNG figures."""
        return self.folder / "figures"

    @property
    def checkpoints(self) -> Path:
        """Folder of what an unfinished run needs to go on; removed when it is complete."""
        return self.folder / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run; gone when it is done."""
        return self.folder / ".lock"

    def read_manifest(self) -> dict[str, Any]:
        """run.json as a dictionary. Raises RunError where this is no run directory."""
        if not self.folder.is_dir():
            raise RunError(f"no run directory {self.folder}; make one with `transferkit finetune DATA --output …`")
        if not self.manifest.exists():
            raise RunError(f"{self.folder} has no run.json, so it is not a run directory")
        content = self._read(self.manifest)
        if not {"status", "command", "config", "data"} <= content.keys():
            raise RunError(f"{self.manifest} is not a run's manifest (status, command, config or data is missing)")
        content["command"] = own(content["command"])
        return content

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = read_json(path)
        except FileNotFoundError as error:
            manifest = self.read_manifest() if path != self.manifest else {"status": "damaged"}
            raise RunError(f"{path} does not exist; the run is {manifest['status']}") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged ({error}); make the run anew with another --output") from error
        if not isinstance(content, dict):
            raise RunError(f"{path} is damaged (no JSON object); make the run anew with another --output")
        return content

    def complete(self) -> dict[str, Any]:
        """The manifest of a finished run. Raises RunError with the remedy where it is not finished."""
        manifest = self.read_manifest()
        if manifest["status"] != "complete":
            command, status = manifest["command"], shown(manifest["status"])
            again = f"{command[:-1]}, resume=True)" if command.endswith(")") else f"{command} --resume"
            again = f"finish it with:\n  {again}" if command else "repeat the command that began it, with --resume"
            raise RunError(f"run {shown(self.folder)} is {status}, not complete; {again}")
        return manifest

    def read_metrics(self) -> dict[str, Any]:
        """metrics.json as a dictionary; remedies in it whose command is none of ours have an empty one."""
        content = self._read(self.metrics)
        diagnosis = content.get("diagnosis")
        if isinstance(diagnosis, dict) and isinstance(diagnosis.get("remedies"), list):
            remedies = [remedy for remedy in diagnosis["remedies"] if isinstance(remedy, dict)]
            diagnosis["remedies"] = [{**remedy, "command": own(remedy.get("command"))} for remedy in remedies]
        return content

    def read_history(self) -> list[dict[str, Any]]:
        """history.csv with numbers as numbers and empty cells as None."""
        return [{k: _value(v) for k, v in row.items()} for row in read_csv(self.history)]


def _value(text: str) -> Any:
    if text == "":
        return None
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def check_new(folder: Path, resume: bool) -> list[str]:
    """Problems of writing a run to `folder`."""
    if folder.exists() and not folder.is_dir():
        return [f"--output {folder} is a file; choose a folder that does not exist yet"]
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        return [f"--output {folder}: {above} is a file; choose another folder"]
    if not os.access(above, os.W_OK | os.X_OK):
        return [f"--output {folder}: no permission to write in {above}; choose another folder"]
    # Hidden files are what a kill before the first whole file leaves behind.
    if not folder.exists() or all(entry.name.startswith(".") for entry in folder.iterdir()):
        return []
    holds_run = (folder / "run.json").exists()
    if resume:
        return [] if holds_run else [f"--output {folder} holds no run that could be resumed (no run.json)"]
    if holds_run:
        return [f"--output {folder} holds a run; choose another folder, or add --resume to finish the run in it"]
    return [f"--output {folder} exists and is not empty; choose a folder that does not exist yet"]


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Work on a run directory alone: makes it, and clears what a killed process left half-written.

    Raises RunError where another process works on it. A killed process holds nothing.
    """
    from filelock import FileLock, Timeout

    layout.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(layout.lock), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"another process is working on {layout.folder}; wait until it is done, or choose another --output"
        ) from error
    try:
        remove_temporaries(layout.folder)
        yield
    finally:
        # While it is still held: whoever opened it before finds it held, whoever comes after makes a new one.
        with suppress(OSError):
            layout.lock.unlink()
        lock.release()


def free_name(parent: Path, stem: str) -> Path:
    """`parent/stem`, or the first of `stem-2`, `stem-3`… that does not exist."""
    candidate, number = parent / stem, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{stem}-{number}"
    return candidate
