"""Which scores a run may aim at, and which way is up. A literal table; imports nothing heavy."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from transferkit import plugins, tasks
from transferkit.errors import ConfigError, nearest

Direction = Literal["max", "min"]


class Metric(NamedTuple):
    """A score that training, search and phase choice may aim at; `key` is its name in `score`'s result."""

    key: str
    direction: Direction
    tasks: tuple[str, ...]
    plugin: bool = False

    @property
    def extra(self) -> tuple[str, ...]:
        """What to ask of `score` beyond its own: the plugin's name."""
        return (self.key,) if self.plugin else ()

    def better(self, new: float | None, old: float | None) -> bool:
        """Whether `new` beats `old`; an undefined score beats nothing and loses to everything."""
        if new is None or not math.isfinite(new):
            return False
        if old is None or not math.isfinite(old):
            return True
        return new > old if self.direction == "max" else new < old


_ROWS: tuple[tuple[str, str, Direction], ...] = (
    # name, key, direction; which tasks have it is theirs to say
    ("accuracy", "accuracy", "max"),
    ("balanced_accuracy", "balanced_accuracy", "max"),
    ("top3_accuracy", "top3_accuracy", "max"),
    ("top5_accuracy", "top5_accuracy", "max"),
    ("macro_f1", "macro_f1", "max"),
    ("weighted_f1", "weighted_f1", "max"),
    ("micro_f1", "micro_f1", "max"),
    ("precision", "macro_precision", "max"),
    ("macro_precision", "macro_precision", "max"),
    ("weighted_precision", "weighted_precision", "max"),
    ("micro_precision", "micro_precision", "max"),
    ("recall", "recall", "max"),
    ("macro_recall", "recall", "max"),
    ("weighted_recall", "weighted_recall", "max"),
    ("micro_recall", "micro_recall", "max"),
    ("auc", "roc_auc", "max"),
    ("roc_auc", "roc_auc", "max"),
    ("pr_auc", "pr_auc", "max"),
    ("map", "map", "max"),
    ("subset_accuracy", "subset_accuracy", "max"),
    ("hamming", "hamming", "min"),
    ("kappa", "kappa", "max"),
    ("qwk", "qwk", "max"),
    ("mcc", "mcc", "max"),
    ("brier", "brier", "min"),
    ("ece", "ece", "min"),
    ("loss", "loss", "min"),
    ("log_loss", "loss", "min"),
    ("mae", "mae", "min"),
    ("median_ae", "median_ae", "min"),
    ("rmse", "rmse", "min"),
    ("mape", "mape", "min"),
    ("r2", "r2", "max"),
    ("spearman", "spearman", "max"),
)
GOALS: dict[str, Metric] = {
    name: Metric(key, direction, tuple(task.name for task in tasks.every() if name in task.metrics))
    for name, key, direction in _ROWS
}
# Keys of scores that are 1 at the most, those of a class among them.
AT_MOST_ONE = frozenset(key for _, key, direction in _ROWS if direction == "max") | {"f1"}


def goal(name: str, task: str) -> Metric:
    """The row of `GOALS` for a metric.

    Args:
        name: of a metric, ours or a plugin's; "auto": the task's default.
        task: that it is to fit.

    Raises:
        ConfigError: it is unknown, or does not fit the task.
    """
    name = tasks.of(task).default_metric if name == "auto" else name
    found = known(name)
    if found is None or task not in found.tasks:
        allowed = [*(n for n, row in GOALS.items() if task in row.tasks), *plugins.names("metrics", GOALS)]
        why = "is unknown" if found is None else f"is for {' and '.join(found.tasks)}, not for {task}"
        raise ConfigError(f"metric '{name}' {why}; metrics for {task}: {', '.join(allowed)}{nearest(name, allowed)}")
    return found


def known(name: str) -> Metric | None:
    """The row called `name`, of the table or of a plugin; None where there is none. ConfigError for a broken plugin."""
    if name in GOALS:
        return GOALS[name]
    found = plugins.resolve("metrics", name)
    if found is None:
        return None
    said = found[1]
    return Metric(name, said.direction, tuple(said.tasks), plugin=True)


def by_key(key: str) -> Metric | None:
    """The row of the table whose score is `key` in the result of `score`; None for a plugin's, or an unknown one."""
    return next((row for row in GOALS.values() if row.key == key), None)


def names() -> list[str]:
    """Every name: those of the table, then those of plugins."""
    return [*GOALS, *plugins.names("metrics", GOALS)]
