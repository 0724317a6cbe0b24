#!/usr/bin/env python
"""Writes docs/schemas/*.json, the JSON schemas of a run's files, from the records that read and write them.

scripts/schemas.py            write them
scripts/schemas.py --check    exit 1 where one is out of date
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.record import SCHEMA_VERSION, Record
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.run_record import RunRecord

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"
RECORDS: dict[str, tuple[type[Record], str]] = {
    "run": (RunRecord, "run.json of a run directory"),
    "metrics": (MetricsRecord, "metrics.json of a run directory"),
    "transferkit": (ModelFacts, "transferkit.json inside model.keras"),
}


def schema(kind: type[Record], title: str) -> str:
    """The JSON schema of a record as text."""
    found = kind.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return (
        json.dumps(head | _untitled(found) | {"x-schema-version": SCHEMA_VERSION}, indent=2, ensure_ascii=False) + "\n"
    )


def _untitled(found: object) -> dict[str, object]:
    """Without the titles that pydantic makes of names: they say nothing more, and change between its versions."""

    def plain(value: object, names: bool = False) -> object:
        if isinstance(value, dict):
            return {k: plain(v, k in ("properties", "$defs")) for k, v in value.items() if names or k != "title"}
        return [plain(item) for item in value] if isinstance(value, list) else value

    result = plain(found)
    assert isinstance(result, dict)
    return result


def main() -> int:
    """Write or check; the exit code."""
    out_of_date = []
    for name, (kind, title) in RECORDS.items():
        path, wanted = FOLDER / f"{name}.schema.json", schema(kind, title)
        if not path.is_file() or path.read_text("utf-8") != wanted:
            out_of_date.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(wanted, "utf-8")
    if out_of_date and "--check" in sys.argv:
        print(f"docs/schemas is out of date ({', '.join(out_of_date)}): run scripts/schemas.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
