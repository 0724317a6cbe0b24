"""A small real search on digits, for tests; as a program it may kill itself after some lines of the journal.

python -m tests.tuning.job DIGITS OUTPUT ALGORITHM WORKERS [LINES]
"""

import os
import signal
import sys
from pathlib import Path

SPACES = {
    "grid": ["learning_rate=0.001,0.01", "head_width=8,16"],
    "random": ["learning_rate=1e-3:1e-1:log", "dropout=0:0.5"],
    "hyperband": ["learning_rate=1e-3:1e-1:log", "dropout=0:0.5"],
}
TRIALS = {"random": 5, "hyperband": 2}
QUICK = {
    "augment": "none", "epochs": 3, "patience": 2, "batch_size": 32, "offline": True, "quiet": True, "seeds": 2,
    "finalists": 2,
}  # fmt: skip


def pictures(digits, per_class=14):
    """A few pictures of each digit, as `load_data` gives them."""
    from dataclasses import replace

    from transferkit.api import load_data

    data = load_data(digits)
    chosen = [i for i in range(len(data.samples)) if i % 20 < per_class]
    return replace(data, samples=data.samples.select(chosen))


def search(digits, output, algorithm="random", **more):
    """A finished search."""
    from transferkit import api

    settings = {**QUICK, "algorithm": algorithm, "search": SPACES[algorithm]}
    if algorithm in TRIALS:
        settings["trials"] = TRIALS[algorithm]
    return api.tune(pictures(digits), "mini", output=output, **{**settings, **more})


def kill_after(lines):
    """SIGKILL, right after the journal has got so many lines."""
    from transferkit.tuning.journal import Journal

    written, append = [], Journal.append

    def counted(journal, event):
        append(journal, event)
        written.append(event)
        if len(written) == lines:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append = counted


def without_report():
    """Drawing it takes longer than these searches, and other tests read it."""
    import transferkit.delivery.report.publish as publish

    publish.publish = lambda *_: None


if __name__ == "__main__":
    folder, output, algorithm, workers, *lines = sys.argv[1:]
    without_report()
    if lines:
        kill_after(int(lines[0]))
    search(Path(folder), Path(output), algorithm, workers=int(workers), resume=Path(output).exists())
