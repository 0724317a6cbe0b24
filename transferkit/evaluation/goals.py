"""Which scores a run may aim at, and which way is up. A literal table; imports nothing heavy."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from transferkit import plugins
from transferkit.errors import ConfigError, nearest

Direction = Literal["max", "min"]

TASKS = ("classify", "multilabel", "regress")
DEFAULT_GOAL = {"classify": "accuracy", "multilabel": "map", "regress": "mae"}


class Goal(NamedTuple):
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


_C, _M, _R = "classify", "multilabel", "regress"
GOALS: dict[str, Goal] = {
    # name                key                   direction  tasks
    "accuracy":          Goal("accuracy",          "max", (_C,)),
    "balanced_accuracy": Goal("balanced_accuracy", "max", (_C,)),
    "top3_accuracy":     Goal("top3_accuracy",     "max", (_C,)),
    "top5_accuracy":     Goal("top5_accuracy",     "max", (_C,)),
    "macro_f1":          Goal("macro_f1",          "max", (_C, _M)),
    "weighted_f1":       Goal("weighted_f1",       "max", (_C,)),
    "micro_f1":          Goal("micro_f1",          "max", (_M,)),
    "precision":         Goal("macro_precision",   "max", (_C, _M)),
    "macro_precision":   Goal("macro_precision",   "max", (_C, _M)),
    "weighted_precision": Goal("weighted_precision", "max", (_C,)),
    "micro_precision":   Goal("micro_precision",   "max", (_M,)),
    "recall":            Goal("recall",            "max", (_C, _M)),
    "macro_recall":      Goal("recall",            "max", (_C, _M)),
    "weighted_recall":   Goal("weighted_recall",   "max", (_C,)),
    "micro_recall":      Goal("micro_recall",      "max", (_M,)),
    "auc":               Goal("roc_auc",           "max", (_C, _M)),
    "roc_auc":           Goal("roc_auc",           "max", (_C, _M)),
    "pr_auc":            Goal("pr_auc",            "max", (_C, _M)),
    "map":               Goal("map",               "max", (_M,)),
    "subset_accuracy":   Goal("subset_accuracy",   "max", (_M,)),
    "hamming":           Goal("hamming",           "min", (_M,)),
    "kappa":             Goal("kappa",             "max", (_C,)),
    "mcc":               Goal("mcc",               "max", (_C,)),
    "brier":             Goal("brier",             "min", (_C, _M)),
    "ece":               Goal("ece",               "min", (_C,)),
    "loss":              Goal("loss",              "min", (_C, _M, _R)),
    "log_loss":          Goal("loss",              "min", (_C, _M)),
    "mae":               Goal("mae",               "min", (_R,)),
    "median_ae":         Goal("median_ae",         "min", (_R,)),
    "rmse":              Goal("rmse",              "min", (_R,)),
    "mape":              Goal("mape",              "min", (_R,)),
    "r2":                Goal("r2",                "max", (_R,)),
    "spearman":          Goal("spearman",          "max", (_R,)),
}  # fmt: skip


def goal(name: str, task: str) -> Goal:
    """The row of `GOALS` for `name` (`auto`: the default); ConfigError where it does not fit `task`."""
    check_task(task)
    name = DEFAULT_GOAL[task] if name == "auto" else name
    found = known(name)
    if found is None or task not in found.tasks:
        allowed = [*(n for n, row in GOALS.items() if task in row.tasks), *plugins.names("metrics", GOALS)]
        why = "is unknown" if found is None else f"is for {' and '.join(found.tasks)}, not for {task}"
        raise ConfigError(f"metric '{name}' {why}; metrics for {task}: {', '.join(allowed)}{nearest(name, allowed)}")
    return found


def known(name: str) -> Goal | None:
    """The row called `name`, of the table or of a plugin; None where there is none. ConfigError for a broken plugin."""
    if name in GOALS:
        return GOALS[name]
    found = plugins.resolve("metrics", name)
    if found is None:
        return None
    said = found[1]
    return Goal(name, said.direction, tuple(said.tasks), plugin=True)


def names() -> list[str]:
    """Every name: those of the table, then those of plugins."""
    return [*GOALS, *plugins.names("metrics", GOALS)]


def check_task(task: str) -> None:
    """ConfigError where `task` is not one of `TASKS`."""
    if task not in TASKS:
        raise ConfigError(f"task '{task}' is unknown; tasks: {', '.join(TASKS)}{nearest(task, TASKS)}")
