"""The options that say how data is read, for every command that takes data but has no other settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from transferkit.cli._help import GLUE, GroupedOption, setting_option, with_settings


def with_reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to `command`; what was said of them arrives as `reading`."""

    @wraps(command)
    def called(*arguments: Any, **given: Any) -> Any:
        from transferkit.data.readers.request import NAMES, Reading

        said = {name: value for name in NAMES if (value := given.pop(name, None))}
        return command(*arguments, reading=Reading.checked(said), **given)

    return with_settings(_options())(called)


def _options() -> Iterator[GroupedOption]:
    from transferkit.config import Settings
    from transferkit.data.readers.request import NAMES
    from transferkit.setting import declared

    for name, setting in declared(Settings).items():
        if name in NAMES:
            option = setting_option(setting)
            option.help = option.brief.replace(GLUE, " ")  # `finetune --help data` says more
            yield option
