"""The weights store: Keras' own folder and file names, every file checked before use, offline respected.

Files that Keras fetched are found here, and files fetched here are found by Keras. The transfer itself is in
`download`. For MobileNet and MobileNetV2 no hashes are published: the hash of the first file used is kept in
`transferkit-pins.json` beside it, and a file that changes afterwards is refused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from transferkit.backbones.catalog import ROWS, BackboneRow
from transferkit.backbones.download import download
from transferkit.errors import WeightsError
from transferkit.files import atomic_path, read_json, remove_temporaries_of, sha256_file, write_json
from transferkit.storage import is_offline, locked

Say = Callable[[str], None]
PINS = "transferkit-pins.json"


@dataclass(frozen=True)
class WeightsFile:
    """One weights file. `status`: absent, present (not checked), verified (published hash), pinned (as at
    first use), unpinned (no hash to compare with), damaged (not the published hash) or changed (not the
    pinned hash).
    """

    backbone: str
    file: str
    path: Path
    status: str
    bytes: int = 0
    expected: str | None = None
    found: str | None = None


def folder() -> Path:
    """Where Keras keeps application weights: `$KERAS_HOME/models`, else `~/.keras/models`."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".keras") / "models"


def require_writable(path: Path, otherwise: str) -> None:
    """Make a folder of the store.

    Args:
        path: the folder.
        otherwise: what else helps, as words that follow "or".

    Raises:
        WeightsError: it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise WeightsError(
            f"the weights folder {path} is not writable; set KERAS_HOME to a folder that is, or {otherwise}"
        )


def locate(row: BackboneRow, size: int) -> Path | None:
    """The weights file for pictures of `size`, if it is in the store. It is not checked here.

    Args:
        row: the network.
        size: pixels a side.
    """
    path = folder() / row.file_for(size)[0]
    return path if path.is_file() else None


def fetch(
    row: BackboneRow,
    size: int,
    *,
    offline: bool = False,
    mirror: str | None = None,
    timeout: float = 30.0,
    retries: int = 4,
    reporter: Say | None = None,
) -> Path:
    """The checked ImageNet weights file of a network, from the store or from the net.

    Two processes that want one file transfer it once.

    Args:
        row: the network.
        size: pixels a side.
        offline: never download.
        mirror: (or TRANSFERKIT_WEIGHTS_MIRROR) the base address that takes the place of Keras' own.
        timeout: seconds without a byte that end an attempt; an ended attempt is resumed.
        retries: further attempts.
        reporter: hears of downloads.

    Raises:
        WeightsError: says how to put the file there by hand.
    """
    say = reporter or _quiet
    name, url = row.file_for(size)
    entry = verify(row, size)
    if entry.status in ("verified", "pinned"):
        return entry.path
    if entry.status == "unpinned":
        return _first_use(entry, url, say)
    if entry.status == "changed":
        raise WeightsError(_changed(entry))
    if is_offline(offline):
        raise WeightsError(offline_problem(row, size))
    require_writable(folder(), "give --weights FILE")
    with locked(folder() / f".{name}.lock"):
        entry = verify(row, size)  # another process may have put it there meanwhile
        if entry.status in ("verified", "pinned"):
            return entry.path
        if entry.status == "damaged":
            say(f"{entry.path} is damaged ({_hashes(entry)}); fetching it again")
        address = _address(name, url, mirror)
        say(f"fetching {name} from {address}")
        try:
            download(address, entry.path, check=lambda p: _misfit(p, row), timeout=timeout, retries=retries, say=say)
        except WeightsError as error:
            raise WeightsError(f"{error}. {_by_hand(name, address, row.weights_hash)}") from error
        return _first_use(entry, address, say) if row.weights_hash is None else entry.path


def verify(row: BackboneRow, size: int) -> WeightsFile:
    """Compare the file in the store with its published hash, or with its pin.

    Args:
        row: the network.
        size: pixels a side.
    """
    name = row.file_for(size)[0]
    path = folder() / name
    if not path.is_file():
        return WeightsFile(row.name, name, path, "absent", expected=row.weights_hash)
    expected = row.weights_hash or _pins().get(name)
    if expected is None:
        return WeightsFile(row.name, name, path, "unpinned", path.stat().st_size)
    found = _digest(path, expected)
    good, bad = ("verified", "damaged") if row.weights_hash else ("pinned", "changed")
    return WeightsFile(row.name, name, path, good if found == expected else bad, path.stat().st_size, expected, found)


def listing() -> list[WeightsFile]:
    """Every weights file of the catalog with whether it is in the store; files are not read."""
    return [
        WeightsFile(
            row.name,
            name,
            folder() / name,
            "present" if (folder() / name).is_file() else "absent",
            (folder() / name).stat().st_size if (folder() / name).is_file() else 0,
            row.weights_hash,
        )
        for row, name, _ in _known()
    ]


def add(file: Path, reporter: Say | None = None) -> Path:
    """Put a file fetched by other means into the store. The file itself is left alone.

    It is recognised by its name, or by its published hash if it was renamed. A file without published hash is pinned,
    in place of an earlier pin.

    Args:
        file: the file.
        reporter: hears what was done.

    Returns:
        Its place in the store.

    Raises:
        WeightsError: a file that is unknown, damaged or unreadable.
    """
    say = reporter or _quiet
    if not file.is_file():
        raise WeightsError(f"no file {file}")
    row, name = _recognise(file)
    misfit = _misfit(file, row)
    if misfit:
        raise WeightsError(f"{file} is not added: {misfit}")
    require_writable(folder(), "give --weights FILE")
    target = folder() / name
    if not (target.exists() and target.samefile(file)):
        with locked(folder() / f".{name}.lock"):
            remove_temporaries_of(target)
            with atomic_path(target) as temporary:
                shutil.copyfile(file, temporary)
    if row.weights_hash is None:
        _pin(name, say)
    say(f"added {name} for {row.name}")
    return target


def offline_problem(row: BackboneRow, size: int) -> str:
    """What to say where the file is needed, the network is forbidden and the store cannot help.

    Args:
        row: the network.
        size: pixels a side.
    """
    entry = verify(row, size)
    state = "is not there" if entry.status == "absent" else f"is damaged ({_hashes(entry)})"
    address = _address(entry.file, row.file_for(size)[1], None)
    return f"offline, and {entry.path} {state}. {_by_hand(entry.file, address, row.weights_hash)}"


def _known() -> Iterator[tuple[BackboneRow, str, str]]:
    for row in ROWS.values():
        if row.weights_file is not None:
            for size in row.weights_sizes or (row.size,):
                yield row, *row.file_for(size)


def _recognise(file: Path) -> tuple[BackboneRow, str]:
    for row, name, _ in _known():
        if name == file.name:
            return row, name
    digests = {_digest(file, "0" * 32), _digest(file, "0" * 64)}
    for row, name, _ in _known():
        if row.weights_hash in digests:
            return row, name
    raise WeightsError(
        f"{file.name} is not one of the files that the catalog knows, neither by name nor by hash. The names "
        "are those of `transferkit weights list`; any other file can be given directly: --weights FILE"
    )


def _first_use(entry: WeightsFile, url: str, say: Say) -> Path:
    """Pin a file that has no published hash; it must be whole at least: Keras leaves partial downloads."""
    problem = _broken(entry.path)
    if problem:
        raise WeightsError(
            f"{entry.path} {problem}; remove it to fetch it again. {_by_hand(entry.file, url, entry.expected)}"
        )
    _pin(entry.file, say)
    return entry.path


def _pin(name: str, say: Say) -> None:
    digest = sha256_file(folder() / name)
    try:
        with locked(folder() / f".{PINS}.lock"):
            remove_temporaries_of(folder() / PINS)
            write_json(folder() / PINS, {**_pins(), name: digest})
    except OSError:
        say(f"{folder()} is not writable: the hash of {name} cannot be kept, a later change will go unnoticed")
        return
    say(f"no hash is published for {name}; from now on only sha256 {digest[:12]}… is accepted as it")


def _pins() -> dict[str, str]:
    try:
        return {str(name): str(digest) for name, digest in read_json(folder() / PINS).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder() / PINS} is damaged ({error}); remove it, the hashes are then taken again"
        ) from error


def _misfit(path: Path, row: BackboneRow) -> str | None:
    """Why the file at `path` is not what `row` needs, or None."""
    if row.weights_hash is None:
        return _broken(path)
    found = _digest(path, row.weights_hash)
    return None if found == row.weights_hash else f"its hash is {found}, {row.weights_hash} is published"


def _broken(path: Path) -> str | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:  # compares the length with the one recorded in the file
            return None if "layer_names" in file.attrs else "is no Keras weights file"
    except OSError as error:
        return f"is not a whole HDF5 file ({error})"


def _digest(path: Path, like: str) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5" if len(like) == 32 else "sha256").hexdigest()


def _address(name: str, url: str, mirror: str | None) -> str:
    base = mirror or os.environ.get("TRANSFERKIT_WEIGHTS_MIRROR")
    return f"{base.rstrip('/')}/{name}" if base else url


def _changed(entry: WeightsFile) -> str:
    return (
        f"{entry.path} has changed since it was first used ({_hashes(entry)}). If you trust it, accept it "
        f"with `transferkit weights add {entry.path}`; else remove it to fetch it again"
    )


def _hashes(entry: WeightsFile) -> str:
    return f"hash {entry.found}, expected {entry.expected}"


def _by_hand(name: str, address: str, expected: str | None) -> str:
    proof = f"hash {expected}" if expected else "no hash is published"
    return (
        f"To put it there by hand: fetch {address} ({proof}) by other means and run `transferkit weights add {name}`, "
        "or pass --weights FILE; or take the network for photographs that came with the package, --backbone "
        "efficientnet_lite0; or start without pretrained weights: --weights random"
    )


def _quiet(_text: str) -> None:
    """Say nothing."""
