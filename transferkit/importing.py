"""Where code may come from: never from the working directory or a folder of data, here and in every Python we start.

Python looks for modules in the working directory first where it is started with `-m`, or where PYTHONPATH has an empty
or relative entry: a file `queue.py` in a downloaded folder is then run in place of Python's own. This module comes
before anything that could be replaced so; it imports only what Python has loaded before it looks at any path.
"""

import os
import sys

FOREIGN = "TRANSFERKIT_FOREIGN"  # folders that a Ray worker takes no code from: hexadecimal digits, joined by colons


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _here() -> list[str]:
    try:
        return [os.getcwd()]
    except OSError:  # it was removed
        return []


_BEGAN = _here()  # what `-m` put on the path, wherever the process goes later
_ours = False
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def trusted(path: list[str], foreign: list[str] | None = None) -> list[str]:
    """The entries of an import path that code may come from, in their order.

    Left out: empty and relative entries, the working directory and the folders `foreign`, unless PYTHONPATH names them
    absolutely (then somebody meant it) or transferkit itself lies there.

    Args:
        path: as `sys.path`.
        foreign: folders with what others wrote.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    meant = {_real(entry) for entry in given if os.path.isabs(entry)}
    # Python has made relative entries absolute by now.
    relative = [os.path.join(folder, entry) for folder in _BEGAN for entry in given if not os.path.isabs(entry)]
    refused = {_real(folder) for folder in (*_BEGAN, *_here(), *relative, *(foreign or ()))} - meant - {_real(_HOME)}
    return [entry for entry in path if os.path.isabs(entry) and _real(entry) not in refused]


def variables(foreign: list[str] | None = None) -> dict[str, str]:
    """Environment variables for a Python that we start: it finds the packages that this process finds, however that
    came to find them; neither it nor what it starts looks into the working directory, into the folder of the script
    that is running, or into the folders `foreign`.
    """
    script = [os.path.dirname(os.path.abspath(sys.argv[0]))] if sys.argv and os.path.isfile(sys.argv[0]) else []
    # An entry with a colon in it would be read as two, the second of them relative.
    path = [entry for entry in trusted(sys.path, script + (foreign or [])) if os.pathsep not in entry]
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def spelled(folders: list[str]) -> str:
    """`folders` as the variable FOREIGN holds them."""
    return ":".join(os.fsencode(os.path.abspath(folder)).hex() for folder in folders)


def secure() -> None:
    """Clear the path of this process, which is ours alone, and of every Python that it starts."""
    global _ours
    _ours = True
    sys.path[:] = trusted(sys.path)
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONSAFEPATH"] = "1"
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in given if os.path.isabs(entry))


def is_ours() -> bool:
    """Whether this process is ours alone: no program of the user's runs in it."""
    return _ours


def begin() -> None:
    """Clear the path of the command line, and of a worker that was told of folders to keep away from.

    Anywhere else the path is the user's own and stays as it is.
    """
    if told := os.environ.get(FOREIGN):
        sys.path[:] = trusted(sys.path, [os.fsdecode(bytes.fromhex(folder)) for folder in told.split(":")])
    elif started_as():
        sys.path[:] = trusted(sys.path)


def started_as() -> str:
    """What of ours Python was started to be: "transferkit" for the command line (the installed script, or `python -m
    transferkit`), the module's name for a process that we began; "" for any other program.
    """
    first = sys.argv[0] if sys.argv else ""
    if first != "-m":  # which stands there while Python looks for the module
        script = os.path.basename(first) in ("transferkit", "transferkit.exe", "transferkit-script.py")
        return "transferkit" if script else ""
    words = sys.orig_argv
    flags = [word for word in words[1:] if word.startswith("-") and "m" in word and not word.startswith("--")]
    name = flags[0].partition("m")[2] or words[words.index(flags[0]) + 1] if flags else ""
    return name if name.split(".")[0] == "transferkit" else ""
