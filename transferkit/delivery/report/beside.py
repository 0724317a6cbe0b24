"""Figures are drawn beside the work: by a process that lives as long as the run, once it is known what they show.

It also says what each setting of a search mattered. Both are Python's own work, and so is much of what the run does
meanwhile: threads of one process would wait for each other. It is for the command line only, where the process is ours,
and for machines with a core to spare. Whatever goes wrong there is done here.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit import ending, importing
from transferkit.data.threads import available_threads

if TYPE_CHECKING:
    from transferkit.delivery.report.drawings import Drawn
    from transferkit.record import JsonObject
    from transferkit.tuning.importance import Importance, Tried
    from transferkit.tuning.search_space.space import Space

MODULE = "transferkit.delivery.report.beside"
PATIENCE = 300.0  # seconds after which it is taken to hang
IDLE = 0.5  # seconds that it takes at most to end by itself
WEIGHS = "--weighs"  # tells it that it will be asked what settings mattered


class Draughtsman:
    """A process that draws. Ask as soon as it is known what the figures show; the answer is read when it is needed."""

    def __init__(self, foreign: Path | None, weighs: bool = False) -> None:
        """Start it; it takes no code from the folder `foreign`. `weighs`: it gets ready for `weigh`, too."""
        environment = {**os.environ, **importing.variables([] if foreign is None else [str(foreign)])}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, *[WEIGHS] * weighs], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        self._line = ThreadPoolExecutor(1, "transferkit-figures")
        self._asked: dict[str, Future[Any]] = {}  # what of; the answers are JSON

    def ask(self, facts: str) -> None:
        """Have figures drawn of what they show (`drawings.facts_of_training`, `facts_of_test`, `facts_of_search`)."""
        if facts not in self._asked:
            with suppress(RuntimeError):  # no more threads: `drawn` knows of nothing then
                self._asked[facts] = self._line.submit(self._answer, facts)

    def drawn(self, facts: str) -> dict[str, Drawn] | None:
        """The figures of what was asked for; None for all else, and where it failed."""
        if facts not in self._asked:
            return None
        try:
            return _drawn(self._asked[facts].result(PATIENCE))
        except Exception:  # whatever befell it: drawing them here tells of what is wrong with the figures themselves
            return None

    def weigh(self, space: Space, tried: Sequence[Tried], seed: int) -> Importance | None:
        """What `tuning.importance.importance` gives, computed by the process; here where it fails.

        Args:
            space, tried, seed: as there.
        """
        from transferkit.files import to_json
        from transferkit.tuning.importance import Importance, importance

        try:
            asked = to_json({"weigh": {"space": space.as_dict(), "tried": [[*one] for one in tried], "seed": seed}})
            self.ask(asked)
            found = self._asked[asked].result(PATIENCE)
            return None if found is None else Importance(**found)
        except Exception:  # as for figures
            return importance(space, tried, seed)

    def searched(self, shown: JsonObject) -> None:
        """Ask for the figures of a search (`tuning.gallery.content`)."""
        from transferkit.delivery.report.drawings import facts_of_search

        self.ask(facts_of_search(shown))

    def close(self) -> None:
        """End it at once; idle, it first takes away what matplotlib made where the cache may not be written."""
        if not any(asked.running() for asked in self._asked.values()):
            with suppress(OSError, subprocess.TimeoutExpired):
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait(IDLE)
        self._process.kill()
        self._line.shutdown(cancel_futures=True)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert stream is not None
                stream.close()

    def _answer(self, facts: str) -> Any:
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None
        assert taken is not None
        given.write(facts.encode() + b"\n")
        given.flush()
        return json.loads(taken.readline())


def _drawn(answer: dict[str, Any]) -> dict[str, Drawn]:
    from transferkit.delivery.report.drawings import Drawn

    return {
        name: Drawn(alt, wide, base64.b64decode(png), [(light, dark) for light, dark in pairs])
        for name, (alt, wide, png, pairs) in answer.items()
    }


@contextmanager
def draughtsman(foreign: Path | None, weighs: bool = False) -> Iterator[Draughtsman | None]:
    """One for the time of a run; None where there is to be none.

    Args:
        foreign: the folder of its pictures.
        weighs: whether it will be asked what settings mattered.
    """
    if not importing.is_ours() or available_threads() < 2:
        yield None
        return
    try:
        found = Draughtsman(foreign, weighs)
    except OSError:  # no more processes
        yield None
        return
    try:
        yield found
    finally:
        found.close()


def main() -> None:
    """Do what each line of standard input says, until there is none; the answers are lines of standard output."""
    # Ctrl-C reaches the whole process group; the process that asked decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _get_ready()
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        found = _weighed(**asked["weigh"]) if "weigh" in asked else _figures(line.decode())
        out.write(json.dumps(found).encode() + b"\n")
        out.flush()
    ending.at_once(0)


def _get_ready() -> None:
    """What takes long the first time is done before anything is asked: imports, fonts, a figure of each form."""
    from transferkit.delivery.report import drawings  # noqa: F401
    from transferkit.evaluation import plot_style
    from transferkit.tuning import importance, search_figures

    first = search_figures.over_time([0.0, 1.0], "accuracy", maximise=True)
    plot_style.encode(first, "png")
    plot_style.encode(first, "svg")
    if WEIGHS in sys.argv:
        importance.learners()


def _weighed(space: Any, tried: Sequence[Tried], seed: int) -> Any:
    from transferkit.tuning.importance import importance
    from transferkit.tuning.search_space.space import Space

    found = importance(Space.from_dict(space), tried, seed)
    return None if found is None else asdict(found)


def _figures(facts: str) -> Any:
    from transferkit.delivery.report.drawings import BY_THE_PAGE, from_facts

    found = {}
    for name, drawing in from_facts(facts).items():
        png = base64.b64encode(drawing.png()).decode()  # before the others: it is laid out for them too
        found[name] = drawing.alt, drawing.wide, png, [] if name in BY_THE_PAGE else drawing.addresses()
    return found


if __name__ == "__main__":
    main()
