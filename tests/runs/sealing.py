"""Runs whose files a test has changed, made to look as if the run itself had written them so."""

from pathlib import Path
from typing import Any

from transferkit.csv_files import read_csv
from transferkit.files import read_json, write_json
from transferkit.runs.layout import Layout
from transferkit.runs.tables import data_digest, split_digest
from transferkit.seals import SEAL, sealed


def put_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write `content` as the run.json of a run, as if the run had."""
    write_json(Path(folder) / "run.json", sealed({key: value for key, value in content.items() if key != SEAL}))


def reseal(folder: Path) -> Path:
    """Record the present content of a run's files in its run.json; returns the folder."""
    layout = Layout(Path(folder))
    content, rows = read_json(layout.manifest), read_csv(layout.splits)
    classes = read_json(layout.metrics)["classes"]
    content["split_sha256"] = split_digest((row["path"], row["split"], int(row["fold"] or -1)) for row in rows)
    content["data"]["sha256"] = data_digest(((row["path"], row["sha256"], row["label"]) for row in rows), classes)
    content["files"] = layout.sealed()
    put_manifest(layout.folder, content)
    return layout.folder
