"""How often the pictures of a test split have been scored: the best of several looks is better than it is.

A test split goes by the content of its pictures, a run by what decides its numbers: a run that is resumed, repeated or
reproduced is the same look. Kept in the user's state folder (hashes alone), and found in the runs that lie beside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from transferkit.csv_files import read_csv
from transferkit.errors import TransferKitError
from transferkit.evaluation.metrics_record import TestUses
from transferkit.files import digest, read_json, remove_temporaries_of, write_json
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord
from transferkit.storage import locked, state_folder

PATIENCE = 10.0  # seconds to wait for another process that counts
NEIGHBOURS = 1000  # runs looked at beside this one


def test_digest(hashes: Iterable[str]) -> str:
    """The name of a test split: changes when any picture of it does, whatever its file is called."""
    return digest(sorted(hashes))


def identity(record: RunRecord) -> str:
    """The same for runs that must give the same model: settings, data, split and weights.

    The run that ends a search counts as a training with the winner's settings, as which it is made.
    """
    weights = record.weights.as_json() if record.has("weights") else None
    return digest([record.config.as_json(), record.split_sha256, weights, record.data.sha256])


def count(layout: Layout, record: RunRecord, split: str) -> TestUses:
    """Note that a run has scored a test split, and say which one it is: `run` 1 for the first.

    Safe with several processes: one counts at a time.

    Args:
        layout: of the run.
        record: run.json.
        split: digest of the test split.

    Returns:
        `runs` says how many there are where the first of several is repeated; `note` what is missing where the state
        folder cannot be read or written, which never fails a run.
    """
    own, beside = identity(record), _beside(layout, split)
    note, folder = None, "the user's state folder"
    try:
        path = state_folder() / "test-splits" / f"{split}.json"
        folder = str(path.parent)
        with locked(path.with_suffix(".lock"), PATIENCE):
            known = _known(path)
            runs = known if own in known else [*known, *(run for run in beside if run not in {own, *known}), own]
            remove_temporaries_of(path)  # of a process that was killed
            if runs != known:
                write_json(path, {"runs": runs})
    except (TransferKitError, OSError, ValueError, RuntimeError) as error:
        runs = [*(run for run in beside if run != own), own]
        note = (
            "whether runs elsewhere were scored on these pictures is not known: "
            f"{folder} cannot be used ({type(error).__name__})"
        )
    run = runs.index(own) + 1
    if run == 1 < len(runs):  # the first one repeated: others have been scored since
        return TestUses(run=run, runs=len(runs))
    return TestUses(run=run, note=note) if note else TestUses(run=run)


def _known(path: Path) -> list[str]:
    """Identities of the runs in the order in which they were scored; a damaged file knows none."""
    with suppress(FileNotFoundError, ValueError, AttributeError):
        found = read_json(path).get("runs")
        return [run for run in found if isinstance(run, str)] if isinstance(found, list) else []
    return []


def _beside(layout: Layout, split: str) -> list[str]:
    """Identities of finished runs in the same folder that were scored on this test split, oldest first."""
    found: list[tuple[str, str]] = []
    with suppress(OSError):
        own = layout.folder.absolute()
        for entry in list(os.scandir(own.parent))[:NEIGHBOURS]:
            other = Layout(own.parent / entry.name)
            if entry.name == own.name or not other.manifest.is_file():
                continue
            with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
                record = other.read_manifest()
                if record.complete and _split_of(other, record) == split:
                    found.append((record.started, identity(record)))
    return list(dict.fromkeys(run for _, run in sorted(found)))


def _split_of(layout: Layout, record: RunRecord) -> str:
    """The digest of a run's test split, from run.json or, of an earlier version, from splits.csv."""
    if record.test_split is not None and record.test_split.sha256:
        return record.test_split.sha256
    return test_digest(row["sha256"] for row in read_csv(layout.splits) if row["split"] == "test")
