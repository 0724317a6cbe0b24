"""The gate: an exported file answers real pictures in its own runtime, in a fresh process, and must agree."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from transferkit import importing, tasks
from transferkit.delivery.exporting.formats import Gate
from transferkit.errors import TransferKitError
from transferkit.runs.model_facts import ModelFacts

TIE = 1e-4  # answers closer than this may fall either way
SECONDS = 3600.0  # after which a runtime is given up
Outputs = npt.NDArray[np.float32]


class Differences(TypedDict):
    """How far two outputs [n, t] are apart; `agreement` is None for numbers."""

    largest_difference: float
    mean_difference: float
    agreement: float | None


class EncodedDifferences(Differences):
    """The same of `n` files that the export read itself."""

    n: int


class ExportFigures(Differences):
    """What the check of an export found; what is not there does not apply to the format or the task."""

    split: str
    n: int
    runtime: str
    gate: dict[str, float | None]
    size_bytes: int
    latency_ms: float
    accuracy: NotRequired[float]
    accuracy_of_run: NotRequired[float]
    encoded: NotRequired[EncodedDifferences]
    missed: NotRequired[list[str]]
    passed: NotRequired[bool]


class ExportError(TransferKitError, RuntimeError):
    """An exported file that cannot be written, loaded, or does not answer as the run's model does."""

    exit_code = 1


def answers(
    kind: str, path: Path, pictures: npt.NDArray[np.uint8], files: Sequence[bytes], foreign: list[str] | None = None
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """What an exported file answers, in a process of its own; see `runtimes`.

    Args:
        kind: its format.
        path: the file, or the folder.
        pictures: uint8 [n, size, size, 3].
        files: encoded pictures, for formats that decode themselves.
        foreign: folders that the runtime takes no code from, nor from the working directory.

    Raises:
        ExportError: with the runtime's last lines, where it fails.
    """
    program = Path(__file__).with_name("runtimes.py")
    environment = {
        **os.environ,
        **importing.variables(foreign),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "ORT_DISABLE_TELEMETRY": "1",  # as `compute.engines` has it
    }
    # Beside the file: should this process be killed, the next export clears it away.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        given, found = Path(folder) / "in.npz", Path(folder) / "out.npz"
        content = np.frombuffer(b"".join(files), np.uint8)
        np.savez(given, pictures=pictures, files=content, ends=np.cumsum([len(f) for f in files]).astype(np.int64))
        # -P: nothing beside the program is importable by accident.
        environment["TMPDIR"] = folder  # Keras unpacks models there
        command = [sys.executable, "-P", str(program), kind, str(path), str(given), str(found)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"the {kind} file did not answer {len(pictures)} pictures in {SECONDS:.0f} s") from error
        if done.returncode:
            tail = "\n".join(done.stderr.decode(errors="replace").strip().splitlines()[-5:])
            raise ExportError(f"the {kind} file cannot be run (exit code {done.returncode}):\n{tail}")
        with np.load(found, allow_pickle=False) as result:
            return {name: result[name] for name in result.files}


def differences(reference: Outputs, outputs: Outputs, facts: ModelFacts) -> Differences:
    """How far an exported file's answers lie from the model's. Differences of numbers are in standard deviations of the
    reference.

    Args:
        reference: outputs [n, t] of the model.
        outputs: those of the file.
        facts: what the model's file says of it.

    Returns:
        `largest_difference`, `mean_difference` and `agreement` (None for numbers).

    Raises:
        ExportError: another shape.
    """
    if outputs.shape != reference.shape:
        raise ExportError(f"the exported file answers {outputs.shape}, the run's model {reference.shape}")
    off = np.abs(outputs.astype(np.float64) - reference)
    if tasks.of(facts.task).numbers:
        off = off / np.maximum(reference.std(axis=0), 1e-12)
    return {
        "largest_difference": float(off.max()),
        "mean_difference": float(off.mean()),
        "agreement": _agreement(reference, outputs, facts),
    }


def _agreement(reference: Outputs, outputs: Outputs, facts: ModelFacts) -> float | None:
    """Share of pictures whose top class is the same (labels: share of yes-or-no decisions); ties go either way."""
    return tasks.of(facts.task).agreement(reference, outputs, facts.limits(), TIE)


def failures(found: Differences, gate: Gate) -> list[str]:
    """What of `differences` misses the bar, in words. Not a number counts as a miss.

    Args:
        found: the differences.
        gate: what is allowed.
    """
    missed = []
    largest, agreement = found["largest_difference"], found["agreement"]
    # Numbers have no top class: there the mean must stay within a tenth of a deviation.
    if agreement is None and gate.largest is None and not found["mean_difference"] <= 0.1:
        missed.append(f"the mean difference is {found['mean_difference']:.3g} deviations, allowed is 0.1")
    if gate.largest is not None and not largest <= gate.largest:
        missed.append(f"the largest difference is {largest:.3g}, allowed is {gate.largest:g}")
    if agreement is not None and not agreement >= gate.agreement:
        missed.append(f"the answers agree for {agreement:.2%}, required are {gate.agreement:.0%}")
    return missed


def accuracy(outputs: Outputs, labels: Sequence[str], facts: ModelFacts) -> float:
    """Share of pictures whose answer is their label.

    Args:
        outputs: [n, t].
        labels: of the pictures.
        facts: names of the classes.
    """
    answers = [facts.classes[number] for number in tasks.of(facts.task).decide(outputs)]
    return float(np.mean([answer == label for answer, label in zip(answers, labels, strict=True)]))


def as_lines(found: ExportFigures) -> list[str]:
    """A checked export's figures for people."""
    where = f"{found['n']} {found['split']} pictures in {found['runtime']}"
    agree = "" if found["agreement"] is None else f", same answer for {found['agreement']:.1%}"
    lines = [
        f"checked on {where}: largest difference {found['largest_difference']:.2g}"
        f" (mean {found['mean_difference']:.2g}){agree}",
        f"size {found['size_bytes'] / 1e6:.2f} MB, {found['latency_ms']:.2f} ms a picture",
    ]
    if "accuracy" in found:
        right, before = found["accuracy"], found["accuracy_of_run"]
        lines.insert(1, f"right for {right:.1%} of them; the run's model for {before:.1%}")
    if "encoded" in found:
        e = found["encoded"]
        same = "" if e["agreement"] is None else f", same answer for {e['agreement']:.1%}"
        lines.append(
            f"from JPEG or PNG bytes, by TensorFlow's decoder ({e['n']} files): largest difference "
            f"{e['largest_difference']:.2g} (mean {e['mean_difference']:.2g}){same}"
        )
    return lines
