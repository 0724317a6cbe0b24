"""Whatever the user has (folder, CSV, arrays) → samples. All problems at once; no picture is opened."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from transferkit import tasks
from transferkit.data.containers import bucket, places
from transferkit.data.containers.films import FILMS, film_of, is_film
from transferkit.data.readers.arrays import ARRAYS, scan_arrays
from transferkit.data.readers.exclusions import Exclusion, Exclusions, Only, load_exclusions
from transferkit.data.readers.folder import unwrapped
from transferkit.data.readers.frames import every_frame
from transferkit.data.readers.registry import Reader, chosen
from transferkit.data.readers.request import Excluded, Reading, Request, names_file
from transferkit.data.readers.table import is_table as is_table
from transferkit.data.readers.walk import is_picture
from transferkit.data.samples import Samples, listed, shown
from transferkit.errors import ConfigError, DataError, nearest
from transferkit.quantities import plural

_SCHEME = re.compile(r"([a-z][a-z0-9+]+):/", re.I)
Data = str | os.PathLike[str] | tuple[Any, ...] | Samples


class ScanOptions(TypedDict):
    """How data is read, as one passes it on: see `scan`."""

    task: str | None
    exclude: Sequence[str]
    exclude_file: str | os.PathLike[str] | None
    order: Sequence[str] | None
    reading: Reading | None


def origin_of(data: Any) -> str | None:
    """What stands for `data` in the record of a run: its path, or None for what came from memory."""
    return bucket.address(os.path.expanduser(data)) if isinstance(data, str | os.PathLike) else None


def scan(
    data: Data,
    task: str | None = None,
    *,
    exclude: Sequence[str] = (),
    exclude_file: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    strict: bool = True,
    only: Iterable[str] | None = None,
    order: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> Samples:
    """Samples of anything that a reader knows (`readers.registry`), arrays `(x, y)` or `(x, y, classes)`, or samples.

    Args:
        data: a path, arrays, or samples.
        task: None finds it from the data; regression and ordered classes are never guessed.
        exclude: class names, paths, and glob patterns on the relative path (`'rose'`, `'train/rose/1.jpg'`,
            `'*/old_*'`); each must match something.
        exclude_file: one path a line, as the audit writes it, or a table with a column `path`; with a column `action`
            too, as `data clean` writes it, it also gives labels.
        classes: those of a finished run: they fix the order, and then a single class or a missing one is allowed, an
            unknown one is not.
        strict: False keeps files that cannot be opened (links to nothing, pipes, CSV rows without a file), so that the
            decoding caller names and skips them.
        only: in place of exclusions, the paths of an earlier scan that are to be read: all else in the data is passed
            over, whatever it is.
        order: all classes, the lowest first, for a task whose classes are ordered.
        reading: which reader it is for, and how that is to read it.

    Returns:
        The pictures with their targets; none has been opened.

    Raises:
        DataError: with every problem found.
        ConfigError: the task, the reader or one of its options is unknown.
    """
    if task is not None and task not in tasks.NAMES:
        hint = nearest(str(task), tasks.NAMES)
        raise ConfigError(f"task {task!r} is unknown; choose from {', '.join(tasks.NAMES)}{hint}")
    rule = exclusion(data, exclude, exclude_file) if only is None else Only(only)
    samples = rule.relabelled(_read(data, Request(task, rule, classes, strict, reading or Reading())), classes)
    rule.check_used()
    samples = ordered(samples, None if names_file(order) else order) if classes is None else samples
    if isinstance(data, Samples):
        return samples
    return replace(samples, notes=(*samples.notes, *rule.notes()))


def ordered(samples: Samples, order: Sequence[str] | None) -> Samples:
    """Samples with their classes in the order that their task wants to know.

    Args:
        samples: the data.
        order: all classes, the lowest first; None leaves the order to the data, or to numbers in the names.

    Returns:
        The same samples where the order is not known, or has no meaning; else targets that count by it.

    Raises:
        DataError: `order` has other classes than the data, or the task has no use for it; or two classes are one
            number.
    """
    if order is None and samples.ordered:
        return samples
    names = samples.kind.arranged(samples.classes, order)
    if names is None:
        return samples
    place = np.array([names.index(name) for name in samples.classes], np.int64)
    return replace(samples, targets=place[samples.targets], classes=names, ordered=True)


def order_options(samples: Samples) -> str:
    """What is to be given with a file of these samples, which holds no order: `--task ordinal --classes low,high`.

    Args:
        samples: of any task.

    Returns:
        Options; empty where classes have no order, or none that is known.
    """
    if not samples.ordered or not samples.kind.ordered:
        return ""
    by_number = samples.kind.arranged(samples.classes, None) == samples.classes
    return f"--task {samples.task}" + ("" if by_number else f" --classes {shlex.quote(','.join(samples.classes))}")


def based(samples: Samples, table: Path) -> Samples:
    """Samples with paths that lead to the pictures from a table.

    Args:
        samples: the data; arrays stay as they are.
        table: where the table is, or will be.

    Returns:
        Paths relative to the table's folder, where the pictures lie below it, else absolute. Of pictures in a store
        they lead from a folder of the store, where the table is to be put; a note says so.

    Raises:
        DataError: the pictures lie behind an address, where nothing can be put.
    """
    if samples.root is None:
        return samples
    if bucket.is_address(samples.root):
        return _based_in_store(samples, samples.root, table)
    here, root = os.path.abspath(table.parent), os.path.abspath(samples.root)
    if here == root:
        return samples
    inside = os.path.join(here, "")
    full = [os.path.join(root, path) for path in samples.paths]
    paths = tuple(path.removeprefix(inside) for path in full)
    return replace(samples, root=table.parent, paths=paths)


def _based_in_store(samples: Samples, root: Path, table: Path) -> Samples:
    folder = root
    while (found := places.inside(folder)) is not None and not isinstance(found[0], bucket.Bucket):
        folder = folder.parent  # out of the archive
    where = bucket.address(folder)
    if where.startswith("http"):
        raise DataError(
            f"beside the pictures of {shown(bucket.address(root))} no table can be put; make a copy of them first: "
            "transferkit data convert DATA OUT"
        )
    prefix = os.fspath(root)[len(os.fspath(folder)) :].lstrip("/")
    paths = tuple(os.path.join(prefix, path) for path in samples.paths)
    note = f"the paths lead from {where}: put {shown(table.name)} there, and give it as DATA"
    return replace(samples, root=folder, paths=paths, notes=(*samples.notes, note))


def exclusion(data: Data, exclude: Sequence[str], exclude_file: str | os.PathLike[str] | None) -> Exclusion:
    """What is left out of data on request; see `scan`.

    Args:
        data: that is to be read.
        exclude: classes, paths and patterns.
        exclude_file: a file of such, which may also give labels; None for none.

    Raises:
        DataError: the file cannot be used.
    """
    said = load_exclusions(Path(exclude_file)) if exclude_file is not None else Exclusions()
    return Exclusion(exclude, said.paths, root_of(data), said.labels)


def root_of(data: Any) -> Path | None:
    """The folder that the relative paths of a folder, a CSV or samples start from."""
    if isinstance(data, Samples):
        return data.root
    if not isinstance(data, str | os.PathLike):
        return None
    path = Path(data).expanduser()
    return unwrapped(path) if not is_table(path) and places.is_folder(path) else path.parent


def _read(data: Data, request: Request) -> Samples:
    if not isinstance(data, str | os.PathLike):
        request.reading.unused((), "samples" if isinstance(data, Samples) else ARRAYS)
    if isinstance(data, Samples):
        return _narrow(data, request.task, request.excluded)
    if isinstance(data, tuple):
        return scan_arrays(data, request.task, request.excluded, request.classes)
    if not isinstance(data, str | os.PathLike):
        raise DataError(_no_kind(data))
    if not os.fspath(data):  # an unset variable of a shell; it is not the working directory that was meant
        raise DataError("the path of the data is empty; give a folder, or a CSV with path and label")
    path = Path(data).expanduser()
    if not places.exists(path):
        raise DataError(_no_data(path))
    if not is_table(path):
        places.inside(path)  # a damaged archive says so, before any reader looks at it
    found = chosen(path, request.reading.reader)
    if found is None:
        raise DataError(_no_data(path))
    reader, why = found
    request.reading.unused(reader.uses, reader.name)
    samples = _read_by(reader, path, request)
    if request.strict and not request.reading.films and (films := list(filter(is_film, samples.paths))):
        what = f"{plural(len(films), 'film')} ({listed(films, 3)}), which no decoder of pictures reads"
        raise DataError(f"{shown(path)} names {what}; --frames every:1s takes pictures from films")
    if request.reading.frames:
        samples = every_frame(samples, request.excluded, request.reading.frames)
        if request.reading.films and not isinstance(request.excluded, Only) and not any(map(film_of, samples.paths)):
            raise ConfigError(
                f"--frames {request.reading.frames}: there is no film ({', '.join(FILMS[:5])}, …) in {shown(path)}; "
                "drop it, or give --frames all for TIFFs of several pages and animations"
            )
    asked = {name: list(v) if isinstance(v, tuple) else v for name, v in request.reading.given().items()}
    return replace(samples, reader={"name": reader.name, "why": why, **asked, **samples.reader})


def _read_by(reader: Reader, path: Path, request: Request) -> Samples:
    """What a reader reads. Its refusals name it, but for folders and tables, which nobody takes for something else."""
    try:
        return reader.read(path, request)
    except RecursionError as error:
        raise DataError(f"{shown(path)} holds values inside of values without end (reader '{reader.name}')") from error
    except DataError as error:
        if type(error) is not DataError or reader.name in ("folder", "table") or f"'{reader.name}'" in str(error):
            raise
        raise DataError(f"{error} (reader '{reader.name}')") from error


def _narrow(samples: Samples, task: str | None, rule: Excluded) -> Samples:
    if task is not None and task != samples.task:
        raise DataError(f"these samples are for {samples.task!r}, not {task!r}; scan the source again with task=")
    kept = [i for i, path in enumerate(samples.paths) if not rule(path, samples.label(i))]
    return samples if len(kept) == len(samples) else samples.select(np.array(kept, dtype=np.int64))


def _no_kind(data: object) -> str:
    saved = "; save it as a CSV with the columns path and label, and give its name" if hasattr(data, "to_csv") else ""
    return f"{type(data).__name__} is no data; give a folder, a CSV, arrays as (x, y) or Samples{saved}"


def _no_data(path: Path) -> str:
    forms = "give a folder of one sub-folder per class, or a CSV with the columns path and label"
    if not places.exists(path):
        if not bucket.is_address(path) and (scheme := _SCHEME.match(os.fspath(path))):
            return f"data is not read from {scheme[1]}:// but from {', '.join(bucket.SCHEMES)}, or from this disk"
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        return f"{shown(bucket.address(path))} does not exist; {forms}{nearest(path.name, siblings)}"
    if is_picture(path.name):
        return f"{shown(path)} is neither a folder nor a CSV, but one picture; {forms}"
    if path.suffix.lower() in (".7z", ".rar"):
        return f"{shown(path)} is an archive of a kind that is not read; make it a .zip or .tar, or unpack it"
    return f"{shown(path)} is neither a folder nor a CSV, nor of another form that is read (docs/data.md); {forms}"
