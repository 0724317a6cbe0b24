"""The published JSON schemas are those of the records, and what a run writes satisfies them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from transferkit.runs import model_file

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schemas"


def test_the_schemas_are_those_of_the_records() -> None:
    command = [sys.executable, "scripts/schemas.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_a_run_writes_satisfies_them(digits_run: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    run, metrics = digits_run.manifest, digits_run.metrics
    facts = model_file.facts(digits_run.layout.model).as_json()
    assert next(iter(run)) == next(iter(metrics)) == "schema_version"
    for name, content in (("run", run), ("metrics", metrics), ("transferkit", facts)):
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(content)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate({**content, "classes": "no list", "config": []})
