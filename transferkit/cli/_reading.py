"""The options that say how data is read, for every command that takes data but has no other settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from transferkit.cli._help import GLUE, GroupedOption, setting_option, with_settings


def with_reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to `command`; what was said of them arrives as `reading`, an order of classes as `order`."""

    @wraps(command)
    def called(*arguments: Any, **given: Any) -> Any:
        from transferkit.config.values import parse_names
        from transferkit.data.readers.request import NAMES, Reading, names_file

        said = {name: value for name in NAMES if (value := given.pop(name, None))}
        names = parse_names(said.get("classes"))
        order = None if names_file(names) else names  # one name alone is a file
        if order:
            del said["classes"]
        return command(*arguments, reading=Reading.checked(said), order=order, **given)

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
