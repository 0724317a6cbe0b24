"""`export`: a finished run's model as a folder another runtime can use, whole and proved, or not at all."""

from __future__ import annotations

import dataclasses
import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute, plugins, tasks
from transferkit._version import __version__
from transferkit.console import Reporter
from transferkit.data.samples import Pixels, shown
from transferkit.delivery.exporting import companions, parity, parity_pictures, tf_functions, writers
from transferkit.delivery.exporting.formats import GATES, Format, lookup
from transferkit.delivery.exporting.parity import ExportError
from transferkit.errors import RunError, TransferKitError, raise_problems
from transferkit.files import make_folder, read_json, sha256_file, storage_errors, sync_folder, write_json
from transferkit.runs import model_file, preflight
from transferkit.runs.directory import standing
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.storage import claim_folder, claimed

CHECKED = 200  # pictures the exported file must answer
STALE = 6 * 3600.0  # seconds after which a half-written folder is a killed process's, where claims cannot tell
CALIBRATED = 200  # training pictures int8 takes its ranges from


@dataclass(frozen=True)
class Export:
    """A written export: its folder, the model's path in it, and the figures of the check (see docs/export.md)."""

    folder: Path
    path: Path
    figures: parity.ExportFigures

    def __str__(self) -> str:
        return "\n".join([str(self.path), *("  " + line for line in parity.as_lines(self.figures))])


def export(
    layout: Layout, kind: str, reporter: Reporter, *, quantize: str | None = None, output: Path | None = None,
    allow_mismatch: bool = False, replace: bool = False, data: Any = None,
) -> Export:  # fmt: skip
    """Write the run's model in a format, and prove it on the run's own pictures.

    Args:
        layout: of the run.
        kind: keras, saved_model, litert or onnx, or a plugin's.
        reporter: is told of the progress.
        quantize: float32, float16 (keras, litert) or int8 (litert).
        output: the folder, which must not exist; by default RUN/exports/KIND[-PRECISION].
        allow_mismatch: keep a file that does not answer as the run's model does.
        replace: take the place of an export that is there already.
        data: where the run's data is now, if it moved.

    Raises:
        ConfigError, RunError, DataError: before anything is written.
        ExportError: with the figures, where the file answers otherwise than the model.
    """
    row, precision = lookup(kind, quantize)
    manifest = layout.complete()
    target = output or layout.written(layout.folder / "exports") / place(row, precision)
    raise_problems(RunError, target_problems(target, replace, manifest.data.path))
    layout.check_model()
    facts = model_file.facts(layout.model)
    checked = parity_pictures.pick(layout, ("val", "test"), CHECKED, data)
    settings = facts.decoding()

    def calibration() -> Iterator[Pixels]:
        return parity_pictures.pick(layout, ("train",), CALIBRATED, data).decoded(settings)

    compute.start(reporter=reporter)
    with standing(layout, "export it where it is now"), _whole_folder(target) as folder:
        reporter.say(f"writing {row.file} ({row.name}, {precision})")
        if row.exporter is None:
            _write(row, layout.model, facts, folder / row.file, precision, calibration)
        else:
            _write_offered(row, layout.model, facts, folder / row.file)
        reporter.say(f"checking it on {len(checked.sources)} {checked.part} pictures")
        figures = _check(layout, row, precision, folder / row.file, checked, facts)
        figures["missed"] = parity.failures(figures, GATES[precision])
        figures["passed"] = not figures["missed"]
        if figures["missed"] and not allow_mismatch:
            raise ExportError(_refusal(row, precision, figures))
        origin: dict[str, object] = {} if row.plugin is None else {"plugin": dataclasses.asdict(row.plugin)}
        origin |= {"run": layout.folder.name, "model_sha256": sha256_file(layout.model), "transferkit": __version__}
        companions.write(folder, row, facts, precision, origin)
        write_json(folder / "export.json", read_json(folder / "export.json") | {"check": figures})
    for miss in figures["missed"]:
        reporter.warn(f"{target / row.file}: {miss}; kept because of --allow-mismatch")
    return Export(target, target / row.file, figures)


def place(row: Format, precision: str) -> str:
    """The name of the folder of an export.

    Args:
        row: its format.
        precision: its precision.
    """
    as_it_is = row.name == "keras" and precision == "float32"  # a copy of the run's own
    return f"{row.name}-{precision}" if row.quantizes and not as_it_is else row.name


def _write(
    row: Format, model: Path, facts: ModelFacts, to: Path, precision: str, calibration: writers.Calibration
) -> None:
    try:
        writers.write(row.name, model, facts, to, precision, calibration)
    except (TransferKitError, OSError, MemoryError):
        raise
    except Exception as error:  # converters raise many kinds of what they cannot express
        first = str(error).strip().splitlines()[:1] or [""]
        raise ExportError(
            f"the converter to {row.name} cannot write this model ({type(error).__name__}: {shown(first[0][:300])})"
        ) from error


def _write_offered(row: Format, model: Path, facts: ModelFacts, to: Path) -> None:
    assert row.exporter is not None
    assert row.plugin is not None
    try:
        row.exporter.write(model, facts.as_json(), to)
    except Exception as error:  # the plugin's code
        raise ExportError(str(plugins.broken(row.plugin, f"cannot write {row.file}", error))) from error
    if not to.exists():
        raise ExportError(f"{row.plugin} wrote no {row.file}; tell its author")


def _check(
    layout: Layout, row: Format, precision: str, path: Path, checked: parity_pictures.Picked, facts: ModelFacts
) -> parity.ExportFigures:
    pixels = np.stack(list(checked.decoded(facts.decoding())))
    reference = _reference(layout, pixels)
    decodes = row.name == "saved_model" and tf_functions.decodes_itself(facts)
    files, positions = checked.encoded() if decodes else ([], [])
    kind = row.name if row.exporter is None else row.exporter.load
    found = parity.answers(kind, path, pixels, files, checked.folders())
    gate = GATES[precision]
    off = parity.differences(reference, found["outputs"], facts)
    figures: parity.ExportFigures = {
        "split": checked.part,
        "n": len(pixels),
        "runtime": str(found["runtime"]),
        "largest_difference": off["largest_difference"],
        "mean_difference": off["mean_difference"],
        "agreement": off["agreement"],
        "gate": {"largest_difference": gate.largest, "agreement": gate.agreement},
        "size_bytes": _bytes_of(path),
        "latency_ms": 1000 * float(found["latency"]),
    }
    if tasks.of(facts.task).exclusive:
        figures["accuracy"] = parity.accuracy(found["outputs"], checked.labels, facts)
        figures["accuracy_of_run"] = parity.accuracy(reference, checked.labels, facts)
    if files:
        off = parity.differences(reference[positions], found["encoded_outputs"], facts)
        figures["encoded"] = {"n": len(files), **off}
    return figures


def _reference(layout: Layout, pixels: Pixels) -> parity.Outputs:
    """What evaluation saw: the shipped model, compiled, in float32."""
    from transferkit.runs import scoring

    run = compute.forward(model_file.load(layout.model))
    size = scoring.BATCH
    filled = np.concatenate([pixels, np.repeat(pixels[:1], -len(pixels) % size, axis=0)])
    rows = [run([filled[i : i + size]])[0] for i in range(0, len(filled), size)]
    return np.concatenate(rows)[: len(pixels)]


def _refusal(row: Format, precision: str, figures: parity.ExportFigures) -> str:
    lines = "\n".join("  " + line for line in parity.as_lines(figures))
    remedy = {"int8": "try --quantize float16", "float16": "try --quantize float32"}.get(precision, "nothing was kept")
    return (
        f"the {row.name} file ({precision}) does not answer as the run's model does: {'; '.join(figures['missed'])}\n"
        f"{lines}\n{remedy}, or pass --allow-mismatch to keep it all the same"
    )


def target_problems(target: Path, replace: bool, data: str | None) -> list[str]:
    """What keeps an export from being written.

    Args:
        target: its folder.
        replace: whether it may take the place of another export.
        data: path of the run's data.
    """
    return [*_taken(target, replace), *preflight.inside(target, data)]


def _taken(target: Path, replace: bool) -> list[str]:
    if not target.exists() and not target.is_symlink():
        return []
    ours = (target / "export.json").is_file()
    if replace:
        return [] if ours else [f"--output {target} exists and is no export; --replace replaces exports only"]
    remedy = "pass --replace, or choose another --output" if ours else "choose another --output"
    return [f"--output {target} exists; {remedy}"]


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` to fill; on success it takes the place of `target`, else it is removed."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    claim = None
    try:
        with storage_errors(target, "choose another --output"):
            make_folder(target.parent)
            with claimed(target.parent):  # nobody takes a folder for a killed export's before it is claimed
                _remove_stale(target)
                temporary.mkdir()
                claim = claim_folder(temporary)
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    with open(path, "rb") as handle:
                        os.fsync(handle.fileno())
            _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if claim is not None:
            os.close(claim)


def _remove_stale(target: Path) -> None:
    """Remove what an export that was killed left beside `target`: half of a new one, or the one it was replacing."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.????????.*"):
        if leftover.suffix not in (".partial", ".old"):
            continue
        claim = claim_folder(leftover)
        if claim is not None:
            os.close(claim)
        if claim is not None or time.time() - leftover.stat().st_mtime > STALE:
            shutil.rmtree(leftover, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Rename `new` to `target`. What is replaced is set aside first, and comes back if the rename fails."""
    aside = new.with_suffix(".old")
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
