"""Readers of plugins: what they yield goes through the same rules as a table's rows, and errors name the plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transferkit import plugins
from transferkit.data.containers.plugged_pictures import rows
from transferkit.data.readers.cells import in_cell
from transferkit.data.readers.request import Request
from transferkit.data.readers.rows import Table
from transferkit.data.readers.table import samples_of
from transferkit.data.samples import Samples


def read(plugin: plugins.Plugin, record: plugins.Reader, path: Path, request: Request) -> Samples:
    """The samples of a source, as a plugin's reader tells them; its rows go through the rules of a table's.

    Args:
        plugin: to be named in errors.
        record: its reader.
        path: of the source.
        request: see `source.scan`.

    Raises:
        DataError: rows are wrong, each with its place.
        ConfigError: the plugin fails.
    """
    table = Table(path, ["path", "label", "split", "group"], ["label"], unit="row")
    for number, row in enumerate(rows(plugin, record, path), start=1):
        cells = {"path": row.id, "label": cell(row.label), "split": row.split or "", "group": row.group or ""}
        table.rows.append((number, cells))
        if row.where:
            table.places[number] = row.where
    root = path if record.content is not None or path.is_dir() else path.parent
    return samples_of(table, root, request)


def cell(label: Any) -> str:
    """A label as a table's cell: a class, several labels, or numbers."""
    if isinstance(label, str):
        return in_cell(label)
    if isinstance(label, int | float):
        return str(label)
    items = [in_cell(item) if isinstance(item, str) else str(item) for item in label]
    return ";".join(items) + (";" if len(items) == 1 and isinstance(label[0], str) else "")
