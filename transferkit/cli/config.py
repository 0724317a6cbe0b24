"""Settings in files: `--config`, `transferkit config init|show|validate`, and completion for shells."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferkit.cli._common import Group, Once, common, echo, emit, tell
from transferkit.config import Given
from transferkit.text import clipped

if TYPE_CHECKING:
    from transferkit.errors import TransferKitError
    from transferkit.setting import Declared

Types = tuple[type, ...]
# Options of each command that are no settings of the run, with their types in a file.
OWN: dict[str, Types] = {
    "output": (str,), "offline": (bool,), "cache": (bool,), "tensorboard": (bool,), "track": (str, list),
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


def from_file(path: Path | None) -> Given:
    """The settings of --config: a TOML file, a run directory, or a run.json. Dashes in names are underscores.

    Raises ConfigError where it cannot be read; what the settings say is checked with the rest.
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
    return _of_run(path, text) if path.suffix.lower() == ".json" else _of_toml(path, text)


def for_best(path: Path | None) -> Given:
    """`from_file` for a comparison of networks: of a run of `best`, what it was given, not what it chose."""
    found = from_file(path)
    run = None if path is None else path / "run.json" if path.is_dir() else path
    if run is not None and run.suffix.lower() == ".json" and json.loads(run.read_bytes()).get("kind") == "best":
        found = {name: value for name, value in found.items() if name not in OF_WINNER}
    return found


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


def _of_run(path: Path, text: str) -> Given:
    from transferkit.delivery.reproduce import given_settings
    from transferkit.errors import ConfigError, RunError
    from transferkit.runs.run_record import RunRecord

    try:
        return given_settings(RunRecord.read(json.loads(text)))
    except RunError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"--config {path} is not the run.json of a run; give that, or a TOML file") from error


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
    from transferkit.tuning.search_settings import NAMES

    elsewhere = {
        **dict.fromkeys(OWN_OF_BEST, "best"), **dict.fromkeys((*OWN_OF_TUNE, *NAMES), "tune"),
        **dict.fromkeys(OWN, "finetune"),
    }  # fmt: skip
    known = {*Settings.model_fields, *own, *(NAMES if own is OWN_OF_TUNE else ())}
    hints = {name: f"it is an option of {command}" for name, command in elsewhere.items()}
    hints |= dict.fromkeys(COMMAND_LINE_ONLY, "it stands on the command line only")
    return [f"unknown setting '{name}'; {hints[name]}" for name in file if name in hints and name not in known]


# ------------------------------------------------------------------------------------------------ writing TOML


def toml_value(value: Any) -> str:
    """A setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(name)} = {toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, and for pairs of surrogates, which TOML does not know.
        text = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    if isinstance(value, float) and re.fullmatch(r"\d+e.\d+", repr(value)):
        return repr(value).replace("e", ".0e")  # TOML takes 1e-05 as well; other readers want the point
    return repr(value)


def as_toml(settings: Given) -> str:
    """Settings as lines of TOML; those without a value are left out."""
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in settings.items() if value is not None)


def template(backbone: str | None) -> Iterator[str]:
    """Lines of a file with every setting, its meaning and its default, commented out."""
    from transferkit.config import Settings
    from transferkit.setting import GROUPS, declared

    yield "# transferkit finetune DATA --config THIS-FILE    Options on the command line win over this file."
    yield "# Each setting stands at its default; take away the # to change it."
    settings = declared(Settings).values()
    for group, title in GROUPS.items():
        here = [setting for setting in settings if setting.said.group == group]
        if here:
            yield from ("", f"# ---- {title}")
        for setting in here:
            yield ""
            yield from _lines_of(setting, backbone)
    yield ""
    yield "# Options of the command that are no settings of the run:"
    yield '# output = "runs/name"'
    yield from (f"# {name} = false" for name, kinds in OWN.items() if kinds == (bool,))
    yield "# track = []"


def _lines_of(setting: Declared, backbone: str | None) -> Iterator[str]:
    """A setting's meaning, its values, and itself at its default."""
    values = ", ".join(filter(None, (setting.metavar, setting.bounds)))
    told = [setting.said.help, f"({values})" if values else ""]
    if setting.default is None or setting.said.default:
        told.append(f"By default: {setting.effective}.")
    for line in textwrap.wrap(" ".join(filter(None, told)), 98, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
    if setting.name == "backbone" and backbone:
        yield f"backbone = {toml_value(backbone)}"
    elif setting.default is None:
        yield f"# {setting.name} ="
    else:
        yield f"# {setting.name} = {toml_value(setting.default)}"


# --------------------------------------------------------------------------------------------------- commands


@click.group(cls=Group, epilog="Example:  transferkit config init run.toml --backbone vgg16")
def config() -> None:
    """Settings in files: write one, show what a run was given, check one."""


@config.command(epilog="Example:  transferkit config init run.toml --backbone vgg16")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--backbone", metavar="NAME|FILE", help="Set the network in it.")
@common()
def init(file: Path | None, backbone: str | None, quiet: bool, as_json: bool) -> None:
    """Write FILE (or print) a TOML file of every setting with its meaning and default, for finetune's --config."""
    from transferkit.errors import ConfigError
    from transferkit.files import write_text

    text = "\n".join(template(backbone)) + "\n"
    if file is None:
        emit({"content": text}) if as_json else echo(text, nl=False)
        return
    if file.exists():
        raise ConfigError(f"{file} exists and is not overwritten; choose another name")
    write_text(file, text)
    if as_json:
        emit({"file": str(file)})
    elif not quiet:
        tell(f"wrote {file}; check it with: transferkit config validate {file}")


@config.command(epilog="Example:  transferkit config show runs/flowers > flowers.toml")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="With the settings left at their defaults.")
@common()
def show(source: Path, everything: bool, quiet: bool, as_json: bool) -> None:
    """Print the settings of SOURCE, a run, its run.json or a TOML file, as TOML that finetune's --config takes."""
    settings = from_file(source)
    if everything:
        from transferkit.tuning.search_settings import NAMES

        other = {name: settings.pop(name) for name in (*OWN, *OWN_OF_TUNE, *NAMES, "distill") if name in settings}
        unnamed = {} if "backbone" in settings else {"backbone": None}  # each run chooses its own
        settings = {**_checked(settings, offline=False).model_dump(mode="json"), **unnamed, **other}
    if as_json:
        emit(settings)
    else:
        echo(as_toml(settings), nl=False)


@config.command(epilog="Example:  transferkit config validate run.toml")
@click.argument("file", type=click.Path(path_type=Path))
@common()
def validate(file: Path, quiet: bool, as_json: bool) -> None:
    """Check FILE as finetune, tune and best would, without data: names, values, contradictions, the network.

    What one of them takes is valid, and is said to be for that one.
    """
    from transferkit.console import plural

    content = from_file(file)
    wrong = {name: _refused(check, content) for name, check in _CHECKS.items()}
    commands = [name for name, error in wrong.items() if error is None]
    if "best" not in commands and "distill" not in content:
        del wrong["best"]  # it takes few settings: that it does not take these is no news
    if not commands:
        # Of two lists of problems the shorter is of the command that was meant.
        raise min((error for error in wrong.values() if error), key=lambda error: len(str(error)))
    settings = {name: value for name, value in content.items() if name not in (*OWN, *OWN_OF_TUNE, "distill")}
    missing = [] if "backbone" in content else ["backbone"]
    if as_json:
        emit({"file": str(file), "valid": True, "commands": commands, "settings": settings, "missing": missing})
    elif not quiet:
        more = f"; for {' and '.join(commands)}"
        if missing:
            more += "; backbone is not in it: --backbone names one, or one is chosen by the pictures"
        tell(f"{file} is valid: {plural(len(settings), 'setting')}{more}")
        for name in wrong.keys() - set(commands):
            tell(f"not for {name}: {wrong[name]}")


def _refused(check: Callable[[Given], object], content: Given) -> TransferKitError | None:
    from transferkit.errors import TransferKitError

    try:
        check(dict(content))
    except TransferKitError as error:
        return error
    return None


def _as_finetune(settings: Given) -> None:
    from transferkit.runs import trackers

    own = own_options(settings)
    _checked(settings, own.get("offline", False), trackers.problems(tuple(own.get("track", ()))))


def _as_tune(settings: Given) -> None:
    from transferkit.errors import ConfigError, raise_problems
    from transferkit.tuning import search_settings as how
    from transferkit.tuning.entry import of_a_choice, settle

    own = own_options(settings, OWN_OF_TUNE)
    network, offline = settings.pop("backbone", None), own.get("offline", False)
    if network is not None:
        settle(network, own.get("search", ()), own.get("space"), settings, offline, [])
        return
    _, problems = how.make({name: settings.pop(name) for name in how.NAMES if name in settings})
    raise_problems(ConfigError, problems)
    _checked(settings, offline, of_a_choice(settings))


def _as_best(settings: Given) -> None:
    from transferkit.tuning.portfolio_entry import settle

    own, named = own_options(settings, OWN_OF_BEST), settings.pop("backbone", None) or []
    networks = [named] if isinstance(named, str) else named
    settle(networks, own.get("budget", "10m"), own.get("distill", ""), settings, own.get("offline", False))


_CHECKS = {"finetune": _as_finetune, "tune": _as_tune, "best": _as_best}


def _checked(settings: Given, offline: bool, problems: Sequence[str] = ()) -> Any:
    """Validated settings; a backbone may come later by the command line, and is then not judged."""
    from transferkit.config import make
    from transferkit.runs import preflight

    if "backbone" in settings:
        return make(settings, [*problems, *preflight.problems(settings, offline)])
    found = preflight.problems({**settings, "unfreeze": "none"}, offline)
    return make({"backbone": "vgg16", **settings}, [*problems, *found])


@click.command(cls=Once, epilog="Example:  transferkit completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common()
def completion(shell: str, quiet: bool, as_json: bool) -> None:
    """Print the script that makes SHELL complete transferkit's commands and options with the tab key."""
    from click.shell_completion import get_completion_class

    from transferkit.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # one of the three above
    script = kind(cli, {}, "transferkit", "_TRANSFERKIT_COMPLETE").source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        echo(script)
