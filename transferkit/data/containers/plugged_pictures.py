"""Sources of which a plugin's reader gives the bytes of each picture (`plugins.Reader.content`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path

from transferkit import plugins
from transferkit.data.containers.base import Container, Derived, EntryError
from transferkit.errors import DataError, TransferKitError
from transferkit.text import shown

# Names that no plugin can take: those of our own readers (`readers.registry`).
BUILTIN = (
    "folder", "arrays", "coco", "labelstudio", "voc", "cvat", "roboflow", "yolo", "openimages", "huggingface",
    "webdataset", "tfrecord", "table",
)  # fmt: skip


def offered() -> Iterator[tuple[plugins.Plugin, plugins.Reader]]:
    """The readers of plugins."""
    for name in plugins.names("readers", BUILTIN):
        found = plugins.resolve("readers", name)
        if found is not None:
            yield found


def container(path: Path) -> Container | None:
    """The pictures of a file of which a plugin gives the bytes, if one knows it."""
    for plugin, record in offered():
        if record.content is not None and detect(plugin, record, path) > 0:
            return Plugged(path, plugin, record)
    return None


def detect(plugin: plugins.Plugin, record: plugins.Reader, path: Path) -> float:
    """How sure a plugin's reader is that a source is its own.

    Args:
        plugin: to be named in errors.
        record: its reader.
        path: of the source.

    Returns:
        What the reader says, held to 0…1.

    Raises:
        ConfigError: the plugin fails.
    """
    try:
        return min(1.0, max(0.0, float(record.detect(path))))
    except TransferKitError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise plugins.broken(plugin, f"cannot look at {shown(path)}", error) from error


def rows(plugin: plugins.Plugin, record: plugins.Reader, path: Path) -> Iterator[plugins.Row]:
    """What a plugin's reader finds in a source.

    Args:
        plugin: to be named in errors.
        record: its reader.
        path: of the source.

    Raises:
        DataError: it yields something other than rows.
        ConfigError: it fails.
    """
    try:
        for row in record.read(path):
            if not isinstance(row, plugins.Row):
                raise DataError(f"{plugin} yields a {type(row).__name__}; it must yield transferkit.plugins.Row")
            yield row
    except TransferKitError:
        raise
    except Exception as error:
        raise plugins.broken(plugin, f"cannot read {shown(path)}", error) from error


class Plugged(Derived):
    """The pictures of a source of which a plugin gives the bytes."""

    kind = "source"

    def __init__(self, path: Path, plugin: plugins.Plugin, record: plugins.Reader) -> None:
        super().__init__(shown(path))
        self.path, self.plugin, self.record = path, plugin, record

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(row.id for row in rows(self.plugin, self.record, self.path))

    def names(self) -> Collection[str]:
        """Every id."""
        return self._names

    def read(self, name: str) -> bytes:
        """The bytes of a picture."""
        content: Callable[[Path, str], bytes] | None = self.record.content
        assert content is not None
        try:
            found = content(self.path, name)
        except Exception as error:
            raise EntryError(f"cannot be read: {self.plugin}: {type(error).__name__}: {error}") from error
        if not isinstance(found, bytes):
            raise EntryError(f"cannot be read: {self.plugin} gave a {type(found).__name__} instead of bytes")
        return found
