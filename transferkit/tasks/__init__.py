"""What the labels of pictures mean, and all that follows from it: one module a task, named as the task is.

A task is a subclass of `task.Task`, whose one object its module calls `TASK`. To add one, write the module and put its
name into `TaskName`: code that reads labels, trains, judges, ships or reports asks the object. Nothing is imported
before a task is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from transferkit.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transferkit.tasks.task import Task

TaskName = Literal["classify", "multilabel", "regress", "ordinal"]
NAMES: tuple[TaskName, ...] = get_args(TaskName)
# What data that says nothing of itself is read as: a class a picture; several labels a picture.
SINGLE, SEVERAL = NAMES[:2]


def of(name: str) -> Task:
    """The task called `name`. Raises ConfigError that lists the tasks where there is none."""
    if name not in NAMES:
        raise ConfigError(f"task '{name}' is unknown; tasks: {', '.join(NAMES)}{nearest(str(name), NAMES)}")
    return _made(name)


@cache
def _made(name: str) -> Task:
    found: Task = import_module(f"{__name__}.{name}").TASK
    return found


def every() -> list[Task]:
    """All tasks, in the order of their names here."""
    return [of(name) for name in NAMES]


def named(wanted: str) -> TaskName | None:
    """The task that a setting asks for; None where it is left to the data (`auto`)."""
    return next((name for name in NAMES if name == wanted), None)
