"""Public plugin points: other packages add backbones, heads, augmentations, metrics and exporters by entry points.

A package names a plugin in its metadata (`[project.entry-points."transferkit.heads"]`); the object behind the name is
one of the records below. Entry points are read only where a name is none of the built-in ones, or for listings;
nothing of a plugin is imported before its name is used. docs/plugins.md shows one of each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from transferkit import tasks
from transferkit.errors import ConfigError, nearest

KINDS = ("backbones", "heads", "augmentations", "metrics", "exporters", "readers")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
HEAD_SETTINGS = ("head_width", "dropout", "l1", "l2")
T = TypeVar("T")


@dataclass(frozen=True)
class Backbone:
    """A row of the catalog and how the network is built.

    `build(size)` gives the bare network: a functional keras.Model of Keras' own layers from float32
    [n, size, size, 3], scaled as `scaling` says, to its last feature map [n, h, w, c] (or a vector [n, c]).
    `load(model)` puts the pretrained weights in; without it the network starts at random or from a file of the user's.
    `stages` are (name, marker) in depth order: where a cut may fall (see `backbones.catalog`). `layers` counts the
    layers with weights, BatchNormalization not counted. `size` and `minimum` are pixels a side.
    """

    build: Callable[[int], Any]
    size: int
    minimum: int
    scaling: str
    stages: tuple[tuple[str, str], ...]
    parameters: int
    layers: int
    load: Callable[[Any], None] | None = None
    licence: str = ""
    year: int = 0
    paper: str = ""


@dataclass(frozen=True)
class Head:
    """Layers between features and logits.

    `build(x, outputs, settings)` takes a Keras tensor of standardised features [n, width], the number of outputs and
    the `heads.HeadSettings` of the run, and gives logits [n, outputs]. Only Keras' own layers and operations: the
    saved model has to load where the plugin is not installed. `uses` names the settings of the run that it obeys,
    of head_width, dropout, l1 and l2; one that is given and not obeyed is an error.
    """

    build: Callable[[Any, int, Any], Any]
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """Random views of training pictures.

    `ranges` are those of `data.augmentation.augmentation_config.AugmentationRanges`
    (`{"rotate": 20, "flip_horizontal": True}`). `then(pixels, seed)` changes each view afterwards: uint8 RGB
    [size, size, 3] to the same shape and type, by `seed` alone, so that runs repeat; it is called from several threads.
    """

    ranges: Mapping[str, Any]
    then: Callable[[Any, int], Any] | None = None


@dataclass(frozen=True)
class Metric:
    """A score that training, search and phase choice may aim at (`--metric`).

    `score(targets, predictions, classes)` gets what `evaluation.metrics.score` gets, and gives a number, or None where
    the score is undefined. `direction` is "max" or "min", `tasks` are those it is for. NumPy only, and no Keras.
    """

    score: Callable[[Any, Any, Sequence[str]], float | None]
    direction: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Exporter:
    """A format for `export`.

    `write(source, facts, to)` turns the `model.keras` at `source` into the file (or folder) `to`, called `file`.
    `load` names a function, "package.module:function", that a fresh process without transferkit calls with the path;
    it gives (answer, runtime): `answer(pictures)` maps uint8 [n, size, size, 3] to float32 [n, outputs], `runtime` is
    a name and version for the record. `install`, `imports` and `call` make the example beside the export: what to
    install, an import line, and lines that set `answer` for `pixels` uint8 [1, size, size, 3]; `{file}` is the file.
    `needs` are modules that must be importable.
    """

    write: Callable[[Path, Mapping[str, Any], Path], None]
    file: str
    load: str
    install: str
    imports: str
    call: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One picture that a reader found.

    `id` is its stable name: a path relative to the source, or any name with `/` between its parts where the reader has
    `content`. `label` is a class, several labels, or numbers. `split` is train, val, test or None; pictures of one
    `group` never straddle splits. `where` says where it was found, for messages: `"line 7"`.
    """

    id: str
    label: str | Sequence[str] | Sequence[float]
    split: str | None = None
    group: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Reader:
    """A form of data.

    `detect(source)` says how sure the reader is, from 0 (not its own) to 1, that the path `source` is what it reads;
    it is asked for every source, so it looks only. `read(source)` yields a `Row` for each picture. `form` says in words
    what it reads ("a folder of .xyz files"). `content(source, id)` gives the bytes of a picture file; without it each
    `id` is the path of a file below the source (or beside it, where the source is a file). Equal bytes are equal
    pictures: caches and splits go by them.
    """

    detect: Callable[[Path], float]
    read: Callable[[Path], Iterable[Row]]
    form: str
    content: Callable[[Path, str], bytes] | None = None


RECORDS: dict[str, type] = dict(zip(KINDS, (Backbone, Head, Augmentation, Metric, Exporter, Reader), strict=True))


@dataclass(frozen=True)
class Plugin:
    """One entry point: `kind` is a key of `RECORDS`, `package` and `version` are of the distribution it came with."""

    kind: str
    name: str
    target: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind.removesuffix('s')} plugin '{self.name}' ({self.package} {self.version})"

    def key(self) -> list[str]:
        """What cache keys take of it: another version may compute something else."""
        return [self.name, self.package, self.version]


def installed(kind: str) -> tuple[Plugin, ...]:
    """Every plugin of one kind, by name. Reads metadata only."""
    return _installed(kind, tuple(sys.path))


@lru_cache(maxsize=32)
def _installed(kind: str, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """`path` is what is searched, so that a changed sys.path is looked at again."""
    found = [
        Plugin(kind, e.name, e.value, e.dist.name if e.dist else "unknown", e.dist.version if e.dist else "unknown")
        for e in metadata.entry_points(group=f"transferkit.{kind}")
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda p: (p.name, p.package)))


def names(kind: str, builtin: Collection[str] = ()) -> list[str]:
    """Names that plugins of one kind add to the `builtin` ones.

    Args:
        kind: one of `KINDS`: "backbones", "heads", "metrics", …
        builtin: names of our own, which win.

    Returns:
        Each once, in the order of the installed packages.
    """
    return list(dict.fromkeys(p.name for p in installed(kind) if p.name not in builtin))


def find(kind: str, name: str) -> Plugin | None:
    """The plugin called `name`.

    Args:
        kind: as for `names`.
        name: as it is offered.

    Returns:
        The plugin, its code not imported yet; None where none has that name.

    Raises:
        ConfigError: two packages offer it.
    """
    found = [p for p in installed(kind) if p.name == name]
    if len(found) > 1:
        packages = " and ".join(f"{p.package} {p.version}" for p in found)
        raise ConfigError(f"'{name}' is offered by {packages} (transferkit.{kind}); uninstall one of them")
    return found[0] if found else None


def load(plugin: Plugin) -> Any:
    """The record behind `plugin`, checked. Raises ConfigError that names the plugin where it cannot be used."""
    return _load(plugin)


@lru_cache(maxsize=128)
def _load(plugin: Plugin) -> Any:
    if not NAME.fullmatch(plugin.name):
        raise ConfigError(f"{plugin} has a name that cannot be typed; use letters, digits, '_', '.' and '-'")
    try:
        record = metadata.EntryPoint(plugin.name, plugin.target, f"transferkit.{plugin.kind}").load()
    except Exception as error:  # a plugin may raise anything while it is imported
        raise broken(plugin, f"cannot be loaded from {plugin.target}", error) from error
    wanted = RECORDS[plugin.kind]
    if not isinstance(record, wanted):
        kind, needed = type(record).__name__, f"transferkit.plugins.{wanted.__name__}"
        raise ConfigError(f"{plugin}: {plugin.target} is a {kind}; it must be a {needed}")
    problems = list(_problems(record))
    if problems:
        raise ConfigError(f"{plugin}: {'; '.join(problems)}")
    return record


def _problems(record: Any) -> Iterable[str]:
    """What of a record can be seen to be wrong without running it."""
    if isinstance(record, Head):
        wrong = [name for name in record.uses if name not in HEAD_SETTINGS]
        if wrong:
            yield f"uses {', '.join(wrong)}; allowed are {', '.join(HEAD_SETTINGS)}"
    if isinstance(record, Metric):
        if record.direction not in ("max", "min"):
            yield f"direction '{record.direction}' is neither max nor min"
        if not record.tasks or any(task not in tasks.NAMES for task in record.tasks):
            yield f"tasks {record.tasks}; choose of {', '.join(tasks.NAMES)}"
    if isinstance(record, Exporter):
        if not re.fullmatch(r"[\w.]+:\w+", record.load):
            yield f"load '{record.load}' is no 'package.module:function'"
        if Path(record.file).name != record.file or record.file in ("", ".", ".."):
            yield f"file '{record.file}' is no plain file name"
    if isinstance(record, Backbone):
        if not 1 <= record.minimum <= record.size:
            yield f"sizes: minimum {record.minimum} and default {record.size}; 1 ≤ minimum ≤ default"
        if not record.stages:
            yield "it has no stages; give at least (('input', ''),)"


def broken(plugin: Plugin, what: str, error: BaseException) -> ConfigError:
    """The error to raise where the code of `plugin` raised `error`.

    Args:
        plugin: whose code it was.
        what: what it failed at, as words that follow its name.
        error: what it raised.

    Returns:
        An error that names the package and its version.
    """
    return ConfigError(
        f"{plugin} {what}: {type(error).__name__}: {error}. Tell its author, or uninstall {plugin.package}"
    )


def resolve(kind: str, name: str) -> tuple[Plugin, Any] | None:
    """The plugin called `name`, and what it offers.

    Args:
        kind: as for `names`.
        name: as it is offered.

    Returns:
        The plugin and its record; None where none has that name.

    Raises:
        ConfigError: two packages offer it, or its code cannot be loaded or is not of the form that plugins have.
    """
    plugin = find(kind, name)
    return None if plugin is None else (plugin, load(plugin))


def choose(kind: str, name: str, builtin: Sequence[str]) -> str | None:
    """What is wrong with a name as the value of a setting.

    Args:
        kind: as for `names`.
        name: what was given.
        builtin: the names of our own.

    Returns:
        The names there are and the nearest one, as words that follow the setting's name; None where it is one of them.
    """
    if name in builtin or find(kind, name) is not None:
        return None
    offered = [*builtin, *names(kind, builtin)]
    quoted = [f"'{n}'" for n in offered]
    return f"must be {', '.join(quoted[:-1])} or {quoted[-1]}{nearest(name, offered)}"


def used(choices: Mapping[str, tuple[str, Collection[str]]]) -> list[Plugin]:
    """The plugins among chosen names: `{kind: (name, built-in names)}`."""
    found = [find(kind, name) for kind, (name, builtin) in choices.items() if name not in builtin]
    return [plugin for plugin in found if plugin is not None]
