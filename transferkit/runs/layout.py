"""Where things lie in a run directory, and what reads them. The names are a contract with other programs."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from transferkit.csv_files import csv_rows
from transferkit.data.samples import listed, unreadable_reason
from transferkit.errors import RunError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.files import parse_json, sha256_file, write_json
from transferkit.record import SCHEMA_VERSION, HistoryRow, JsonObject, Record, RecordError
from transferkit.runs import tables
from transferkit.runs.advice import own, resuming
from transferkit.runs.run_record import RunRecord
from transferkit.seals import sealed, unsealed
from transferkit.storage import claimed_file
from transferkit.text import shown

T = TypeVar("T")
R = TypeVar("R", bound=Record)


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
    def tta(self) -> Path:
        """tta.json: whether flips and crops help (`predict --tta`), found when first asked for; not part of the run."""
        return self.folder / "tta.json"

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
    def journal(self) -> Path:
        """trials.jsonl: every step of a search, where the run is one."""
        return self.folder / "trials.jsonl"

    @property
    def networks(self) -> Path:
        """networks.jsonl: every step of a comparison of networks, where the run began with one."""
        return self.folder / "networks.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of what an unfinished run needs to go on; removed when it is complete."""
        return self.folder / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the process that works on the run; gone when it is done."""
        return self.folder / ".lock"

    def written(self, path: Path) -> Path:
        """`path` in the run directory, which is about to be written. Raises RunError where it is a link: in a run from
        a stranger it may lead anywhere."""
        if path.is_symlink():
            raise RunError(
                f"{shown(path)} is a link to {shown(os.path.realpath(path))}, and nothing is written through links "
                "inside a run directory; remove it and repeat the command"
            )
        return path

    # -- readers: each raises one RunError that names the file, for whatever is wrong with it

    def read_manifest(self) -> RunRecord:
        """run.json. Raises RunError where this is no run directory."""
        if not self.folder.is_dir():
            raise RunError(
                f"no run directory {shown(self.folder)}; make one with `transferkit finetune DATA --output …`"
            )
        if not os.path.lexists(self.manifest) and any(map(os.path.lexists, (self.journal, self.networks))):
            raise RunError(
                f"{shown(self.folder)} is a search that has not ended, so there is no run in it yet; go on with "
                f"`transferkit resume {shlex.quote(os.fspath(self.folder))}`"
            )
        if not os.path.lexists(self.manifest):
            raise RunError(f"{shown(self.folder)} has no run.json, so it is not a run directory{self._inside()}")
        content = unsealed(self._json(self.manifest, self._bytes(self.manifest)))
        if content is None:
            raise self._changed(self.manifest)
        if not {"status", "command", "config", "data"} <= content.keys():
            raise RunError(
                f"{shown(self.manifest)} is not a run's manifest (status, command, config or data is missing)"
            )
        found = self._record(RunRecord, self.manifest, content)
        found.command = own(found.command)
        return found

    def write_manifest(self, record: RunRecord) -> None:
        """Write run.json, whole, with what tells whether it was changed since."""
        write_json(self.manifest, sealed(record.as_json()))

    def _inside(self) -> str:
        """What to add where this is a folder of runs: their names."""
        try:
            found = sorted(path.parent.name for path in self.folder.glob("*/run.json"))
        except OSError:
            found = []
        return f"; runs in it: {listed([str(self.folder / name) for name in found], 3)}" if found else ""

    def complete(self) -> RunRecord:
        """The manifest of a finished run. Raises RunError with the remedy where it is not finished."""
        found = self.read_manifest()
        if not found.complete:
            command = found.command
            again = f":\n  {resuming(command, shown(self.folder))}" if command else " its command and --resume"
            status = self.status(found)
            verb = "was" if status == "killed" else "is"
            raise RunError(f"run {shown(self.folder)} {verb} {status}, not complete; finish it with{again}")
        try:
            found.check_finished()
        except RecordError as error:
            raise self._damaged(self.manifest, str(error)) from error
        return found

    def status(self, found: RunRecord) -> str:
        """What is written of a run, but `killed` where it is said to be running and nobody works on it."""
        if found.status == "running" and not claimed_file(self.lock):
            return "killed"
        return shown(found.status[:40])

    def read_metrics(self) -> MetricsRecord:
        """metrics.json; remedies in it whose command is none of ours have an empty one."""
        content = self._json(self.metrics, self._sealed(self.metrics))
        found = self._record(MetricsRecord, self.metrics, content)
        for remedy in found.diagnosis.remedies if found.diagnosis else ():
            remedy.command = own(remedy.command)
        return found

    def read_history(self) -> list[HistoryRow]:
        """history.csv with numbers as numbers and empty cells as None."""
        return self._table(self.history, self._epochs)

    def _epochs(self, rows: Iterable[tables.CsvRow]) -> list[HistoryRow]:
        found = list(rows)
        return tables.history(found, bool(found) or self._has_epochs())

    def _has_epochs(self) -> bool:
        """Whether anything was trained epoch by epoch: a classifier fitted in one step leaves no history."""
        phases = self.read_manifest().phases
        return not phases or any(phase.epochs for phase in phases)

    def read_splits(self) -> list[tables.Picture]:
        """splits.csv, found to be the one that the run was made with (by the digests in run.json)."""
        manifest = self.read_manifest()
        found = self._table(self.splits, tables.pictures)
        if manifest.split_sha256 not in (None, tables.split_digest((p.path, p.split, p.fold) for p in found)):
            raise self._changed(self.splits)
        if not manifest.complete:
            return found
        data, metrics = manifest.data.sha256, self.read_metrics()
        # Runs of earlier versions have labels there as they are; one of them may look like a cell.
        for pictures in (tables.named(found, metrics.task), found):
            rows = ((p.path, p.sha256, p.label) for p in pictures)
            if data in (None, tables.data_digest(rows, metrics.classes)):
                return pictures
        raise self._changed(self.splits)

    def read_predictions(self, metrics: MetricsRecord | None = None) -> tables.Predictions:
        """predictions.csv, found to hold the run's test split. `metrics`: of a run that has not written its own yet."""
        metrics, test = metrics or self.read_metrics(), [p for p in self.read_splits() if p.split == "test"]
        classes, task = metrics.classes, metrics.task
        return self._table(self.predictions, lambda rows: tables.predictions(rows, classes, task, test))

    def read_typical(self) -> bytes | None:
        """The content of typical.npz; None where the run has none."""
        return self._sealed(self.typical) if os.path.lexists(self.typical) else None

    def lacks(self, path: Path) -> bool:
        """Whether a file is gone that the finished run had."""
        return path.name in self.read_manifest().files and not os.path.lexists(path)

    def has_report(self) -> bool:
        """Whether report.html is there and whole; it can always be written again."""
        return unreadable_reason(self.report) is None and self.report.read_bytes().rstrip().endswith(b"</html>")

    def sealed(self) -> dict[str, str]:
        """SHA-256 of the files that a finished run keeps as they are, for run.json."""
        whole = (self.splits, self.history, self.metrics, self.predictions, self.typical, self.model)
        files = (*whole, self.journal, self.networks)
        return {path.name: sha256_file(path) for path in files if path.is_file()}

    def check_sealed(self, path: Path) -> None:
        """Raise RunError where a file of the run is not as the run wrote it."""
        self._sealed(path)

    def check_model(self) -> None:
        """Raise RunError where model.keras is not the one that the run wrote."""
        wanted = self.read_manifest().files.get(self.model.name)
        if not self.model.is_file():
            raise RunError(f"{shown(self.model)} does not exist; make the run again with another --output")
        if wanted is not None and sha256_file(self.model) != wanted:
            raise self._changed(self.model)

    def _table(self, path: Path, read: Callable[[Iterable[tables.CsvRow]], T]) -> T:
        self._check_there(path)
        try:
            with open(path, "rb") as file:  # never held as a whole: of many pictures and classes it is large
                self._check_hash(path, file)
                file.seek(0)
                return read(csv_rows(file))
        except ValueError as error:
            raise self._damaged(path, str(error)) from error
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _json(self, path: Path, content: bytes) -> JsonObject:
        try:
            found = parse_json(content)
        except ValueError as error:
            raise self._damaged(path, str(error)) from error
        if not isinstance(found, dict):
            raise self._damaged(path, "no JSON object")
        return found

    def _sealed(self, path: Path) -> bytes:
        """The content of a file, found to be what the run wrote where run.json has its hash."""
        content = self._bytes(path)
        self._check_hash(path, io.BytesIO(content))
        return content

    def _check_hash(self, path: Path, file: io.BufferedIOBase) -> None:
        wanted = self.read_manifest().files.get(path.name) if os.path.lexists(self.manifest) else None
        if wanted is not None and hashlib.file_digest(file, "sha256").hexdigest() != wanted:
            raise self._changed(path)

    def _check_there(self, path: Path) -> None:
        reason = unreadable_reason(path)
        if reason == "does not exist":
            known = path != self.manifest and os.path.lexists(self.manifest)
            status = self.status(self.read_manifest()) if known else "damaged"
            raise RunError(f"{shown(path)} does not exist; the run is {status}")
        if reason is not None and "0 bytes" not in reason:
            raise RunError(f"{shown(path)} {reason}; put the run's own file back, or make the run again")

    def _bytes(self, path: Path) -> bytes:
        self._check_there(path)
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: OSError) -> RunError:
        return RunError(f"{shown(path)} cannot be read ({error.strerror or error})")

    def _record(self, kind: type[R], path: Path, content: JsonObject) -> R:
        version = content.get("schema_version", 0)
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RunError(
                f"{shown(path)} was written by a newer transferkit (schema version {version}; this one reads up to "
                f"{SCHEMA_VERSION}): update transferkit to read this run"
            )
        try:
            return kind.read(content)
        except RecordError as error:
            raise self._damaged(path, str(error)) from error

    def _damaged(self, path: Path, why: str) -> RunError:
        return RunError(f"{shown(path)} is damaged ({shown(why[:400])}); make the run again with another --output")

    def _changed(self, path: Path) -> RunError:
        return RunError(
            f"{shown(path)} is not as the run wrote it: it was changed or damaged since, and what it says cannot be "
            "trusted. Put it back, or make the run again with another --output"
        )
