"""What `--config` names: a file of settings or a run, read, and a command's own options taken out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transferkit.config import Given
from transferkit.text import clipped

Types = tuple[type, ...]
# Options of each command that are no settings of the run, with their types in a file.
OWN: dict[str, Types] = {
    "output": (str,), "offline": (bool,), "cache": (bool,), "tensorboard": (bool,), "track": (str, list),
    "engine": (str,), "address": (str,),
}  # fmt: skip
OWN_OF_TUNE: dict[str, Types] = {
    "output": (str,), "offline": (bool,), "cache": (bool,), "space": (str,), "search": (str, list, dict),
}  # fmt: skip
OWN_OF_BEST: dict[str, Types] = {
    "output": (str,), "offline": (bool,), "cache": (bool,), "budget": (str, int, float), "distill": (str,),
}  # fmt: skip
OF_WINNER = ("backbone", "unfreeze", "budget")  # settings of a run of `best` that it chose
COMMAND_LINE_ONLY = ("data", "resume", "config", "quiet", "verbose", "debug", "json", "reporter")
WANTED = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list of texts",
    dict: "a table of texts",
}


def from_file(path: Path | None, chosen: bool = True) -> Given:
    """The settings of --config: a TOML file, a run directory, or a run.json. Dashes in names are underscores.

    Args:
        path: None where none was given.
        chosen: of a run of `best`, with what it chose; False: what it was given, for a comparison of its own.

    Raises:
        ConfigError: where it cannot be read; what the settings say is checked with the rest.
    """
    from transferkit.errors import ConfigError
    from transferkit.files import settings_text

    if path is None:
        return {}
    if path.is_dir():
        if not (path / "run.json").is_file():
            raise ConfigError(f"--config {path} is a directory without run.json; give a TOML file, or a run")
        path = path / "run.json"
    text = settings_text(path, "--config")
    return _of_run(path, text, chosen) if path.suffix.lower() == ".json" else _of_toml(path, text)


def _of_toml(path: Path, text: str) -> Given:
    import tomllib

    from transferkit.errors import ConfigError

    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"--config {path} is nested too deeply; settings are names and values") from error
    except ValueError as error:  # a number of thousands of digits, too
        raise ConfigError(f"--config {path} is not valid TOML: {clipped(error)}") from error
    names = [name.replace("-", "_") for name in content]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--config {path} gives {', '.join(twice)} with a dash and with an underscore; give it once")
    return dict(zip(names, content.values(), strict=True))


def _of_run(path: Path, text: str, chosen: bool) -> Given:
    from transferkit.delivery.reproduce import given_settings
    from transferkit.errors import ConfigError, RunError
    from transferkit.runs.run_record import RunRecord
    from transferkit.seals import SEAL, unsealed

    try:
        content = json.loads(text)
        changed = isinstance(content, dict) and unsealed(content) is None
        record = RunRecord.read(content)
        found = given_settings(record)
    except RunError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"--config {path} is not the run.json of a run; give that, or a TOML file") from error
    if changed:
        raise ConfigError(
            f"--config {path} is not as a run wrote it, so a setting may be damaged; put it back or, where it was "
            f"changed on purpose, take {SEAL} out of it"
        )
    if chosen or record.kind != "best":
        return found
    return {name: value for name, value in found.items() if name not in OF_WINNER}


def own_options(file: Given, own: dict[str, Types] = OWN, **given: Any) -> Given:
    """Take a command's `own` options out of `file`; the command line's win.

    Raises ConfigError for wrong types, and for names that neither are options nor settings of the command.
    """
    from transferkit.errors import ConfigError, raise_problems

    found = {name: file.pop(name) for name in own if name in file}
    problems = [
        f"--config: {name} = {clipped(repr(value))} must be {_wanted(own[name])}"
        for name, value in found.items() if not _fits(value, own[name])
    ]  # fmt: skip
    raise_problems(ConfigError, problems + _unknown(file, own))
    for name in ("track", "search"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    # --cache has three states: unset, on and off.
    chosen = {name: value for name, value in given.items() if value or (name == "cache" and value is not None)}
    return {**given, **found, **chosen}


def _wanted(kinds: Types) -> str:
    return " or ".join(dict.fromkeys(WANTED[kind] for kind in kinds))


def _fits(value: Any, kinds: Types) -> bool:
    texts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return isinstance(value, kinds) and all(isinstance(text, str) for text in texts)


def _unknown(file: Given, own: dict[str, Types]) -> list[str]:
    """Names in `file` that mean something elsewhere, not to the command with these `own` options.

    What means nothing anywhere is found with all other mistakes by the settings themselves.
    """
    from transferkit.config import Settings
    from transferkit.tuning.portfolio_settings import PLACE
    from transferkit.tuning.search_settings import NAMES

    elsewhere = {
        **dict.fromkeys(OWN_OF_BEST, "best"), **dict.fromkeys((*OWN_OF_TUNE, *NAMES), "tune"),
        **dict.fromkeys(OWN, "finetune"),
    }  # fmt: skip
    search = NAMES if own is OWN_OF_TUNE else tuple(PLACE) if own is OWN_OF_BEST else ()
    known = {*Settings.model_fields, *own, *search}
    hints = {name: f"it is an option of {command}" for name, command in elsewhere.items()}
    hints |= dict.fromkeys(COMMAND_LINE_ONLY, "it stands on the command line only")
    return [f"unknown setting '{name}'; {hints[name]}" for name in file if name in hints and name not in known]
