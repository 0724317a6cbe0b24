"""`transferkit config init | show | validate`: files of settings, written with every meaning, shown, checked."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferkit.cli._common import CommandGroup, common, echo, emit, tell
from transferkit.cli._config_file import OWN, OWN_OF_BEST, OWN_OF_TUNE, from_file, own_options
from transferkit.config import Given

if TYPE_CHECKING:
    from transferkit.errors import TransferKitError
    from transferkit.setting import Declared

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


@click.group(cls=CommandGroup, epilog="Example:  transferkit config init run.toml --backbone vgg16")
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
        tell(f"wrote {file}; check it with: transferkit config validate {shlex.quote(str(file))}")


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
    from transferkit.quantities import plural

    content, of_best = from_file(file), from_file(file, chosen=False)
    wrong = {name: _refused(check, of_best if name == "best" else content) for name, check in _CHECKS.items()}
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
    from transferkit.api.extraction import extraction_engine
    from transferkit.runs import trackers

    own = own_options(settings)
    _, problems = extraction_engine(own.get("engine", "local"), own.get("address"), own.get("cache"))
    _checked(settings, own.get("offline", False), [*trackers.problems(tuple(own.get("track", ()))), *problems])


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
