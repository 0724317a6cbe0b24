"""What TensorFlow's C++ part logs while it is imported, kept off standard error as TF_CPP_MIN_LOG_LEVEL asks.

It obeys that variable only once it is loaded; a few lines are written before, by the import itself. This module lets
through all that is no log line of a level below the one asked for, and everything where the import fails. Imports
nothing heavy: `import transferkit` comes here.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from transferkit import addresses, importing

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
QUIET = "3"  # what we ask for where the user asked for nothing: fatal errors only
SEVERITIES = b"IWE"  # information, warning, error: a level of n hides the first n
HEADING = b"WARNING: All log messages before absl::InitializeLog()"


@contextmanager
def filtered() -> Iterator[None]:
    """Hides, of what the process writes to standard error inside, the log lines that `LEVEL` says to hide.

    Where the block raises, everything is shown. Should the process itself die in it, Python tells where, unless it is
    watched, which tells enough (see `transferkit.cli._watch`).
    """
    level = os.environ.get(LEVEL, QUIET)
    hidden = SEVERITIES[: int(level)] if level.isdigit() else b""
    if not hidden:
        yield
        return
    with tempfile.TemporaryFile() as written, _redirected(written.fileno()) as kept:
        try:
            yield
        except BaseException:
            hidden = b""
            raise
        finally:
            written.seek(0)
            for line in written:
                if not hidden or not _is_log(line, hidden):
                    with suppress(OSError):
                        os.write(kept, line)


@contextmanager
def _redirected(target: int) -> Iterator[int]:
    """File number 2 leads to `target`; gives a number that leads where 2 did."""
    with suppress(OSError, ValueError, AttributeError):  # nobody reads it, or a program without a console has none
        sys.stderr.flush()
    kept = os.dup(2)
    watched = importing.is_ours() and addresses.bound() is not None
    own_handler = not faulthandler.is_enabled() and not watched
    if own_handler:
        faulthandler.enable(kept)
    os.dup2(target, 2)
    try:
        yield kept
    finally:
        if own_handler:
            faulthandler.disable()
        os.dup2(kept, 2)
        os.close(kept)


def _is_log(line: bytes, hidden: bytes) -> bool:
    """`I0000 00:00:1795672499.659532 9889 port.cc:153] …` or `2026-01-01 10:00:00.1: I tensorflow/…`."""
    pattern = rb"[%b]\d{4} [\d:.]+ +\d+ \S+:\d+\]|[\d-]+ [\d:.]+ [%b] \S+:\d+\]" % (hidden, hidden)
    return line.startswith(HEADING) or re.match(pattern, line) is not None


def when_imported() -> None:
    """Ask for no log lines where the user asked for nothing, and hold them back, however TensorFlow gets imported."""
    os.environ.setdefault(LEVEL, QUIET)
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow where Python's other finders do; its import then runs inside `filtered`."""

    _asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow" or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            _wrap(spec.loader)
        return spec


def _wrap(loader: Loader) -> None:
    run = loader.exec_module

    def quietly(module: ModuleType) -> None:
        with filtered():
            run(module)

    with suppress(AttributeError):  # a loader without a place for it: TensorFlow then logs as it likes
        loader.exec_module = quietly  # type: ignore[method-assign]
