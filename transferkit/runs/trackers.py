"""A run told live to TensorBoard, MLflow or Weights & Biases. A tracker that fails is left behind, never the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from transferkit.console import Reporter
from transferkit.errors import nearest
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Scores, is_number
from transferkit.files import read_json, write_json
from transferkit.runs import tracker_backends
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord
from transferkit.runs.tracker_backends import Key, State
from transferkit.training.fit import Callback, Loop

TRACKERS = ("tensorboard", "mlflow", "wandb")
NEEDS = {"mlflow": ("mlflow",), "wandb": ("wandb",)}  # what the extra of the same name installs
STATE = "tracking.json"  # in the run directory: under which id each tracker knows the run
NAMED = re.compile(r"[^\w\-. ]")  # what a phase is not called in a tracker: "tail from:block5" is "tail from_block5"


class Backend(Protocol):
    """One tracker. `state` is kept in the run directory between a kill and the resumption."""

    def start(self, folder: Path, name: str, about: RunRecord, state: State) -> set[Key]:
        """Open, or open again; returns the epochs it has. `about` is run.json."""

    def epoch(self, key: Key, values: Mapping[str, float]) -> None:
        """One finished epoch."""

    def finish(self, scores: Mapping[str, float], layout: Layout) -> None:
        """The final scores, and the files of the finished run."""

    def close(self, status: str) -> None:
        """Flush and end; `status` is complete, interrupted or failed."""


def problems(names: Sequence[str]) -> list[str]:
    """What keeps `names` from being used: unknown ones, extras that are not installed."""
    found = []
    for name in names:
        if name not in TRACKERS:
            found.append(f"--track {name} is unknown; choose from {', '.join(TRACKERS)}{nearest(name, TRACKERS)}")
        missing = [module for module in NEEDS.get(name, ()) if find_spec(module) is None]
        if missing:
            what = f"{' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
            found.append(f"--track {name} needs {what}; run: pip install 'transferkit[{name}]'")
    return found


class Tracking(Callback):
    """The trackers of one run, as a callback of its training.

    Every call to one is guarded: it may fail once, with a warning, and is then left.
    """

    def __init__(self, names: Iterable[str], reporter: Reporter) -> None:
        self.reporter = reporter
        self.names = tuple(dict.fromkeys(names))
        self.backends: dict[str, Backend] = {name: _make(name) for name in self.names}
        self.state: dict[str, State] = {}
        self.seen: dict[str, set[Key]] = {}

    def start(self, layout: Layout, about: RunRecord) -> None:
        """Open every tracker; the run directory exists and is ours. `about` is run.json."""
        if not self.backends:
            return
        self._path = layout.folder / STATE
        self.state = _state(self._path)
        name = layout.folder.absolute().name

        def begin(tracker: str, backend: Backend) -> None:
            self.seen[tracker] = backend.start(layout.folder, name, about, self.state.setdefault(tracker, {}))
            write_json(self._path, self.state)

        self._each(begin)

    def on_epoch_end(self, loop: Loop) -> None:
        """Tell the epoch."""
        self.epoch(loop.rows[-1])

    def epoch(self, row: Mapping[str, object]) -> None:
        """A finished epoch's row of history.csv; one that a tracker has already is not sent again."""
        key = (NAMED.sub("_", str(row["phase"])), int(str(row["epoch"])))
        skipped = ("phase", "epoch")
        values = {k: float(v) for k, v in row.items() if k not in skipped and isinstance(v, int | float)}

        def send(tracker: str, backend: Backend) -> None:
            if key not in self.seen[tracker]:
                backend.epoch(key, values)
                self.seen[tracker].add(key)
                if "epochs" in self.state[tracker]:
                    write_json(self._path, self.state)

        self._each(send)

    def finish(self, layout: Layout) -> None:
        """The rest of the history, the final scores, figures and files; then everything is closed."""
        if not self.backends:
            return
        for row in layout.read_history():
            self.epoch(row)
        scores = final_scores(layout.read_metrics())
        self._each(lambda _, backend: backend.finish(scores, layout))
        write_json(self._path, self.state)
        self.close("complete")

    def close(self, status: str) -> None:
        """End every tracker that is open still."""
        for name in self.backends.keys() - self.seen.keys():  # which never came to begin
            del self.backends[name]
        self._each(lambda _, backend: backend.close(status))
        self.backends.clear()

    def _each(self, action: Callable[[str, Backend], None]) -> None:
        for name, backend in list(self.backends.items()):
            try:
                action(name, backend)
            except Exception as error:  # another program's library, disk or server: whatever it is, the run goes on
                del self.backends[name]
                what = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
                self.reporter.warn(f"{name} failed and is told no more of this run ({what}); the run goes on")


@contextmanager
def tracked(names: Iterable[str], reporter: Reporter) -> Iterator[Tracking]:
    """Trackers for the time of a run; what ends it early, they are told too.

    Args:
        names: of the trackers.
        reporter: is told of what goes wrong with them.
    """
    tracking = Tracking(names, reporter)
    try:
        yield tracking
    except KeyboardInterrupt:
        tracking.close("interrupted")
        raise
    except BaseException:
        tracking.close("failed")
        raise


def final_scores(metrics: MetricsRecord) -> dict[str, float]:
    """`test/accuracy`, `validation/loss`, `baseline linear_probe/accuracy`…: every number of metrics.json."""
    groups: dict[str, Scores] = {"validation": metrics.val or Scores(), "test": metrics.test}
    groups |= {f"baseline {name}": scores for name, scores in metrics.baselines.items()}
    return {
        f"{group}/{key}": float(value)
        for group, scores in groups.items()
        for key, value in scores.items()
        if is_number(value)
    }


def _state(path: Path) -> dict[str, State]:
    """What trackers keep; where it is absent or damaged, they begin again."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(kept, dict) for kept in found.values()) else {}


def _make(name: str) -> Backend:
    kinds: dict[str, Callable[[], Backend]] = {
        "tensorboard": tracker_backends.TensorBoard,
        "mlflow": tracker_backends.MLflow,
        "wandb": tracker_backends.WeightsAndBiases,
    }
    return kinds[name]()
