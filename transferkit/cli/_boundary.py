"""Where a command begins and ends: how its errors, interrupts and lost streams become one message and an exit code."""

from __future__ import annotations

import errno
import io
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import click

from transferkit import addresses
from transferkit.beginning import INTERRUPTED, begun
from transferkit.cli._common import echo
from transferkit.console import silence
from transferkit.errors import TransferKitError
from transferkit.files import full, reason
from transferkit.signals import undisguised
from transferkit.text import clipped, shown, wrapped
from transferkit.wording import speak_shell

COMPLETE = "_TRANSFERKIT_COMPLETE"  # variable by which a shell asks what could follow


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): a run is left as Ctrl-C leaves it, the exit code is the shell's."""

    exit_code = 128 + signal.SIGTERM


def heed_termination() -> None:
    """Let SIGTERM end the command as Ctrl-C does: said, recorded in run.json, resumable. A second one ends it hard."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


def open_streams() -> None:
    """Open those of the three standard streams that were closed (`>&-`) to nowhere.

    Else the next file that is opened takes the number of a closed one, and receives what libraries print.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 (lives as long as we do)


def guarded(command: click.Command, arguments: list[str]) -> int:
    """Run `command`; every error becomes one message on standard error and an exit code."""
    before = speak_shell(True)
    try:
        return _guarded(command, arguments)
    finally:
        speak_shell(before)


def _guarded(command: click.Command, arguments: list[str]) -> int:
    try:
        begun()
        result = _run(command, arguments)
        echo("", nl=False)  # hands on what others printed
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        complain(said.getvalue().rstrip("\n"))
        return 2
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        # An empty line first: behind the ^C that a terminal shows.
        complain("\n".join(["", "terminated" if terminated else "interrupted", *getattr(stop, "__notes__", [])]))
        return Terminated.exit_code if terminated else INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread(sys.stdout):
            silence(sys.stdout)  # the reader went away (`… | head`): no error, and nothing more to flush
            return 0
        return _failed(error, "--debug" in arguments)


def _run(command: click.Command, arguments: list[str]) -> Any:
    """What `command` returns. click's own `main` would take a broken pipe between two processes of ours for a reader
    who left, and a file that ends too early (EOFError) for Ctrl-C.
    """
    if asked := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, "transferkit", COMPLETE, asked)
    with undisguised(), command.make_context("transferkit", list(arguments)) as context:
        return command.invoke(context)


def _unread(stream: Any) -> bool:
    """Whether nobody reads `stream` any more, as far as the system tells."""
    with suppress(OSError, ValueError, AttributeError):
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # its end is told in any case
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return True


def _width() -> int | None:
    """Columns of the terminal that standard error is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stderr is not None and sys.stderr.isatty() else None


def complain(text: str) -> None:
    """Print to standard error, wrapped between words where that is a terminal; a program reads lines as they are."""
    echo(wrapped(text, _width()), err=True)


def _failed(error: Exception, debug: bool) -> int:
    addresses.let_go()
    if debug:
        import traceback

        echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(error, TransferKitError):
        complain(f"error: {error}")
        return error.exit_code
    where = "" if debug else "; --debug shows where"
    for said, code, located in KINDS:
        if (text := said(error)) is not None:
            complain(f"error: {text}{where if located else ''}")
            return code
    complain(f"error: unexpected {type(error).__name__}: {error}\nThis is a bug in transferkit{where}.")
    return 1


def _of_memory(error: Exception) -> str | None:
    if not addresses.refused(error):  # without any import, for which there may be no memory either
        from transferkit import compute

        if not compute.out_of_memory(error):
            return None
    return (
        f"out of memory ({str(error).splitlines()[0] if str(error) else 'an allocation was refused'})\n"
        "Close other programs, raise the bound of this shell (ulimit -v; of threads: -u) or container, or take "
        "less at a time: --batch-size, --image-size, --workers."
    )


def _of_the_working_directory(error: Exception) -> str | None:
    if not isinstance(error, FileNotFoundError):
        return None
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory was removed; change to a folder that is there, and repeat the command"
    return None


def _of_a_full_disk(error: Exception) -> str | None:
    if not isinstance(error, OSError) or not (full(error) or error.errno == errno.EFBIG):
        return None
    hint = "; free some and repeat the command" if full(error) else ""
    return f"cannot write {shown(error.filename) if error.filename else 'a file'} ({reason(error)}){hint}"


def _of_a_file_that_is_gone(error: Exception) -> str | None:
    gone = error.filename if isinstance(error, FileNotFoundError) else None
    if gone is None or os.path.lexists(gone):
        return None
    return f"{shown(gone)} is not there any more: it was moved or removed while it was needed"


# What the system says of a name or place wherever it is first looked at, and what helps.
REFUSED = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "give your user the right to it, or choose another place",
    errno.EPERM: "give your user the right to it, or choose another place",
    errno.EROFS: "choose another place",
}


def _of_a_refused_place(error: Exception) -> str | None:
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a path holds a zero byte, which no file's name can; write it without"
    if not isinstance(error, OSError) or error.filename is None or error.errno not in REFUSED:
        return None
    name = os.fsdecode(error.filename)
    told = clipped(name) if error.errno == errno.ENAMETOOLONG else shown(name)
    return f"{told}: {reason(error)}; {REFUSED[error.errno]}"


# What befalls a command from outside and is no bug: what is said of an error of that kind (None: it is of another), the
# exit code, and whether it helps to know where in the source. The first that knows an error counts.
KINDS: tuple[tuple[Callable[[Exception], str | None], int, bool], ...] = (
    (_of_memory, 1, False),
    (_of_the_working_directory, 2, False),
    (_of_a_full_disk, 1, True),
    (_of_a_file_that_is_gone, 1, True),
    (_of_a_refused_place, 2, False),
)
