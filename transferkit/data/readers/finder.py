"""Where the pictures lie that tables and exports name, often without folder or ending."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.readers.encoding import locate
from transferkit.data.readers.walk import is_folder, is_hidden, is_picture
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError

_FOLDERS_LOOKED_AT = 200


class Finder:
    """Looks for picture files below a folder, with and without their endings. Lists each folder once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stems: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """The path of the picture that `name` means, or None: as it stands, else with the ending that is there.

        Raises DataError where several files differ by their endings only.
        """
        name = name.strip()
        if not name or is_address(name):
            return None
        place, reason = locate(self.root, name)
        if reason != "does not exist" and reason != "is a folder":
            return place
        folder, base = os.path.split(name.replace("\\", "/"))
        if folder not in self._stems:
            self._stems[folder] = self._by_stem(folder)
        found = self._stems[folder].get(base, [])
        if len(found) > 1:
            raise DataError(
                f"'{shown(name)}' may mean {listed(found)}; write the ending into the table, or --path-template with it"
            )
        return os.path.join(folder, found[0]) if found else None

    def _by_stem(self, folder: str) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        try:
            names = [entry.name for entry in places.listing(self.root / folder) if not is_folder(entry)]
        except OSError:
            return stems
        for name in names:
            if is_picture(name) and not is_hidden(name):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)
        return stems

    def folders(self) -> list[str]:
        """Folders below the root, two levels deep, that hold something."""
        found: list[str] = []
        level = [""]
        for _ in range(2):
            level = [below for folder in level for below in self._below(folder)][:_FOLDERS_LOOKED_AT]
            found += level
        return found

    def _below(self, folder: str) -> Iterator[str]:
        try:
            entries = places.listing(self.root / folder)
        except OSError:
            return
        for entry in sorted(entries, key=lambda e: e.name):
            if is_folder(entry) and not is_hidden(entry.name, True):
                yield os.path.join(folder, entry.name)
