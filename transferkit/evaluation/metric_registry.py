"""Which scores a run may aim at, and which way is up. A literal table; imports nothing heavy."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from transferkit import plugins
from transferkit.errors import ConfigError, nearest

Direction = Literal["max", "min"]

TASKS = ("classify", "multilabel", "regress")
DEFAULT_GOAL = {"classify": "accuracy", "multilabel": "map", "regress": "mae"}


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


_C, _M, _R = "classify", "multilabel", "regress"
GOALS: dict[str, Metric] = {
    # name                key                   direction  tasks
    "accuracy":          Metric("accuracy",          "max", (_C,)),
    "balanced_accuracy": Metric("balanced_accuracy", "max", (_C,)),
    "top3_accuracy":     Metric("top3_accuracy",     "max", (_C,)),
    "top5_accuracy":     Metric("top5_accuracy",     "max", (_C,)),
    "macro_f1":          Metric("macro_f1",          "max", (_C, _M)),
    "weighted_f1":       Metric("weighted_f1",       "max", (_C,)),
    "micro_f1":          Metric("micro_f1",          "max", (_M,)),
    "precision":         Metric("macro_precision",   "max", (_C, _M)),
    "macro_precision":   Metric("macro_precision",   "max", (_C, _M)),
    "weighted_precision": Metric("weighted_precision", "max", (_C,)),
    "micro_precision":   Metric("micro_precision",   "max", (_M,)),
    "recall":            Metric("recall",            "max", (_C, _M)),
    "macro_recall":      Metric("recall",            "max", (_C, _M)),
    "weighted_recall":   Metric("weighted_recall",   "max", (_C,)),
    "micro_recall":      Metric("micro_recall",      "max", (_M,)),
    "auc":               Metric("roc_auc",           "max", (_C, _M)),
    "roc_auc":           Metric("roc_auc",           "max", (_C, _M)),
    "pr_auc":            Metric("pr_auc",            "max", (_C, _M)),
    "map":               Metric("map",               "max", (_M,)),
    "subset_accuracy":   Metric("subset_accuracy",   "max", (_M,)),
    "hamming":           Metric("hamming",           "min", (_M,)),
    "kappa":             Metric("kappa",             "max", (_C,)),
    "mcc":               Metric("mcc",               "max", (_C,)),
    "brier":             Metric("brier",             "min", (_C, _M)),
    "ece":               Metric("ece",               "min", (_C,)),
    "loss":              Metric("loss",              "min", (_C, _M, _R)),
    "log_loss":          Metric("loss",              "min", (_C, _M)),
    "mae":               Metric("mae",               "min", (_R,)),
    "median_ae":         Metric("median_ae",         "min", (_R,)),
    "rmse":              Metric("rmse",              "min", (_R,)),
    "mape":              Metric("mape",              "min", (_R,)),
    "r2":                Metric("r2",                "max", (_R,)),
    "spearman":          Metric("spearman",          "max", (_R,)),
}  # fmt: skip


def goal(name: str, task: str) -> Metric:
    """The row of `GOALS` for `name` (`auto`: the default); ConfigError where it does not fit `task`."""
    check_task(task)
    name = DEFAULT_GOAL[task] if name == "auto" else name
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


def names() -> list[str]:
    """Every name: those of the table, then those of plugins."""
    return [*GOALS, *plugins.names("metrics", GOALS)]


def check_task(task: str) -> None:
    """ConfigError where `task` is not one of `TASKS`."""
    if task not in TASKS:
        raise ConfigError(f"task '{task}' is unknown; tasks: {', '.join(TASKS)}{nearest(task, TASKS)}")
