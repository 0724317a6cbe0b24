"""Rows to docs/reliability.json, and the page that is made of them."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tortures.trying import ROOT, Row

JSON, PAGE = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"


def line(kind: str, row: Row) -> str:
    """One row for a terminal."""
    said = f"{row.tried} tried, {row.refused} refused, {len(row.failures)} failed, slowest {row.slowest:.1f} s"
    said += f", held {row.held:.0f} MB" if row.held else ""
    said = said if row.tried else "not tried"
    return f"{kind:13} {row.what}: {said}"


def untried(kind: str) -> set[str]:
    """Rows of a kind of which the page knows nothing yet; a run of little time begins with them."""
    content = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    return {row["what"] for row in content.get(kind, {}).get("rows", ()) if not row["tried"]}


def record(kind: str, rows: Sequence[Row], seed: int, seconds: float) -> None:
    """Write the rows of one kind, and the page again. A row that this run did not come to keeps what an earlier one
    found."""
    from tortures import registry

    content = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    when = time.strftime("%Y-%m-%d")
    before = {row["what"]: row for row in content.get(kind, {}).get("rows", ()) if row["tried"]}
    found = [asdict(row) | {"slowest": round(row.slowest, 1), "when": when, "seed": seed} for row in rows]
    content[kind] = {
        "when": when, "seed": seed, "seconds": round(seconds), "system": platform.system(),
        "python": platform.python_version(),
        "rows": [row if row["tried"] else before.get(row["what"], row) for row in found],
    }  # fmt: skip
    ordered = {name: content[name] for name in registry.modules() if name in content}
    JSON.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text("\n".join(lines(ordered)) + "\n", "utf-8")


def lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The page."""
    from tortures import registry

    yield "# Reliability"
    yield ""
    yield "Written by `scripts/torture.py`; every row and each failure is in `reliability.json`. *Refused* tries ended"
    yield "in a clear error, as they should; *failed* ones crashed, hung, lost or changed a result, or left files."
    yield ""
    yield "Each kind is recorded by itself, in a run of its own with its date, seed and time. A run ends when its time"
    yield "is over: a row that it did not come to tells what an earlier run found, with its date and seed, or is listed"
    yield "below the table, and nothing is known of it."
    for name, found in content.items():
        module = registry.modules()[name]
        yield from ("", f"## {name}", "", (module.__doc__ or "").strip().splitlines()[0], "")
        python = f"{found['system']}, Python {found['python']}"
        yield f"{found['when']}, seed {found['seed']}, {found['seconds']} s, {python}."
        yield from ("", "| what | tried | refused | failed | slowest |", "|---|--:|--:|--:|--:|")
        for row in found["rows"]:
            if not row["tried"]:
                continue
            failed = f"**{len(row['failures'])}**" if row["failures"] else "0"
            what = _what(row) + _earlier(row, found)
            yield f"| {what} | {row['tried']} | {row['refused']} | {failed} | {row['slowest']} s |"
        untried = [_what(row) for row in found["rows"] if not row["tried"]]
        for title, items in (
            ("Not tried, for want of time where nothing else is said", untried),
            ("Failed at first, and fixed", module.FIXED), ("Not survived", module.OPEN),
        ):  # fmt: skip
            if items:
                yield from ("", f"{title}:", "", *(f"- {item}" for item in items))


def _earlier(row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    run, own = (found["when"], found["seed"]), (row.get("when", found["when"]), row.get("seed", found["seed"]))
    return "" if own == run else f"; run of {own[0]} with seed {own[1]}"


def _what(row: Mapping[str, Any]) -> str:
    notes = [row["note"]] if row["note"] else []
    notes += [f"{row['held']:.0f} MB held at the most"] if row.get("held") else []
    return row["what"] + (f" ({'; '.join(notes)})" if notes else "")
