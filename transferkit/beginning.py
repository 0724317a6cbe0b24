"""Ctrl-C from the first moment of a process of ours: while it imports what it needs, nothing shows where Python was.

It is the first after `importing`, and like that module imports only what Python has loaded, or built in.
"""

import _signal  # type: ignore[import-not-found]  # built in, and with it no file is read
import os

INTERRUPTED = 130  # exit code of a command that Ctrl-C ended


def until_begun(started_as: str) -> None:
    """Until a command handles Ctrl-C itself (`begun`), it ends this process with a word. A process that a command began
    leaves it to that one. In any other program, and where Ctrl-C is ignored or handled already, nothing changes.

    Args:
        started_as: what of ours this process is (`importing.started_as`).
    """
    if started_as and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        try:  # noqa: SIM105 (contextlib is a file)
            _signal.signal(_signal.SIGINT, _end if started_as == "transferkit" else _signal.SIG_IGN)
        except ValueError:  # not the main thread: somebody imports us as a library
            pass


def begun() -> None:
    """Ctrl-C is KeyboardInterrupt, as Python has it: who calls this is about to handle it."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _end(*_: object) -> None:
    try:
        os.write(2, b"\ninterrupted\n")  # as a command says that is further on
    finally:
        os._exit(INTERRUPTED)
