"""Where things lie in a run directory. The names are a contract with other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferkit.errors import RunError
from transferkit.files import read_csv, read_json


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

    def read_manifest(self) -> dict[str, Any]:
        """run.json as a dictionary. Raises RunError where this is no run directory."""
        if not self.folder.is_dir():
            raise RunError(f"no run directory {self.folder}; make one with `transferkit finetune DATA --output …`")
        if not self.manifest.exists():
            raise RunError(f"{self.folder} has no run.json, so it is not a run directory")
        content: dict[str, Any] = read_json(self.manifest)
        return content

    def complete(self) -> dict[str, Any]:
        """The manifest of a finished run. Raises RunError with the remedy where it is not finished."""
        manifest = self.read_manifest()
        if manifest["status"] != "complete":
            raise RunError(
                f"run {self.folder} is {manifest['status']}, not complete; finish it with: "
                f"{manifest['command']} --resume"
            )
        return manifest

    def read_metrics(self) -> dict[str, Any]:
        """metrics.json as a dictionary."""
        content: dict[str, Any] = read_json(self.metrics)
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
    if folder.exists() and any(folder.iterdir()) and not resume:
        what = "holds a run" if (folder / "run.json").exists() else "exists and is not empty"
        return [f"--output {folder} {what}; choose another folder, or add --resume to finish the run in it"]
    if resume and not (folder / "run.json").exists() and folder.exists() and any(folder.iterdir()):
        return [f"--output {folder} holds no run that could be resumed (no run.json)"]
    return []


def free_name(parent: Path, stem: str) -> Path:
    """`parent/stem`, or the first of `stem-2`, `stem-3`… that does not exist."""
    candidate, number = parent / stem, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{stem}-{number}"
    return candidate
