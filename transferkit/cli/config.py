"""Settings in files: `--config`, `transferkit config init|show|validate`, and completion for shells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import Group, Once, common, echo, emit
from transferkit.text import clipped

# Options of finetune that are no settings of the run, with their types in a file.
OWN: dict[str, type | tuple[type, ...]] = {
    "output": str, "offline": bool, "cache": bool, "tensorboard": bool, "track": (str, list),
}  # fmt: skip


def from_file(path: Path | None) -> dict[str, Any]:
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


def _of_toml(path: Path, text: str) -> dict[str, Any]:
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


def _of_run(path: Path, text: str) -> dict[str, Any]:
    from transferkit.delivery.reproduce import given_settings
    from transferkit.errors import ConfigError, RunError

    try:
        return given_settings(json.loads(text))
    except RunError as error:
        raise ConfigError(f"--config {path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"--config {path} is not the run.json of a run; give that, or a TOML file") from error


def own_options(file: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Take finetune's own options out of `file`; the command line's win. Raises ConfigError for wrong types."""
    from transferkit.errors import ConfigError, raise_problems

    found = {name: file.pop(name) for name in OWN if name in file}
    wanted = {str: "a text", bool: "true or false", (str, list): "a text or a list of texts"}
    wrong = {name: value for name, value in found.items() if not isinstance(value, OWN[name])}
    raise_problems(
        ConfigError, [f"--config: {n} = {clipped(repr(v))} must be {wanted[OWN[n]]}" for n, v in wrong.items()]
    )
    if isinstance(found.get("track"), str):
        found["track"] = [found["track"]]
    # --cache has three states: unset, on and off.
    chosen = {name: value for name, value in given.items() if value or (name == "cache" and value is not None)}
    return {**given, **found, **chosen}


# ------------------------------------------------------------------------------------------------ writing TOML


def toml_value(value: Any) -> str:
    """A setting's value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, and for pairs of surrogates, which TOML does not know.
        text = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    if isinstance(value, float) and re.fullmatch(r"\d+e.\d+", repr(value)):
        return repr(value).replace("e", ".0e")  # TOML takes 1e-05 as well; other readers want the point
    return repr(value)


def as_toml(settings: dict[str, Any]) -> str:
    """Settings as lines of TOML; those without a value are left out."""
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in settings.items() if value is not None)


def template(backbone: str | None) -> Iterator[str]:
    """Lines of a file with every setting, its meaning and its default, commented out."""
    from transferkit.cli.finetune import SETTINGS
    from transferkit.config import Settings

    yield "# transferkit finetune DATA --config THIS-FILE    Options on the command line win over this file."
    yield "# Each setting stands at its default; take away the # to change it."
    texts = {name.replace("-", "_"): (metavar, text) for name, metavar, text in SETTINGS}
    for name, field in Settings.model_fields.items():
        metavar, text = texts.get(name, ("", ""))
        default = None if field.is_required() else field.default
        meaning = " ".join(
            filter(None, (re.sub(r" \[(default|required).*", "", text), f"({metavar})" if metavar else ""))
        )
        yield ""
        if meaning:
            yield f"# {meaning}"
        if name == "backbone" and backbone:
            yield f"backbone = {toml_value(backbone)}"
        elif default is None:
            yield f"# {name} ="
        else:
            yield f"# {name} = {toml_value(list(default) if isinstance(default, tuple) else default)}"
    yield ""
    yield "# Options of the command that are no settings of the run:"
    yield '# output = "runs/name"'
    yield from (f"# {name} = false" for name, kind in OWN.items() if kind is bool)
    yield "# track = []"


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
        echo(f"wrote {file}; check it with: transferkit config validate {file}")


@config.command(epilog="Example:  transferkit config show runs/flowers > flowers.toml")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="With the settings left at their defaults.")
@common()
def show(source: Path, everything: bool, quiet: bool, as_json: bool) -> None:
    """Print the settings of SOURCE, a run, its run.json or a TOML file, as TOML that finetune's --config takes."""
    settings = from_file(source)
    if everything:
        own = {name: settings.pop(name) for name in OWN if name in settings}
        settings = {**_checked(settings).model_dump(mode="json"), **own}
    if as_json:
        emit(settings)
    else:
        echo(as_toml(settings), nl=False)


@config.command(epilog="Example:  transferkit config validate run.toml")
@click.argument("file", type=click.Path(path_type=Path))
@common()
def validate(file: Path, quiet: bool, as_json: bool) -> None:
    """Check FILE as finetune would, without data: names, values, contradictions, the network and its stages."""
    from transferkit.console import plural

    settings = from_file(file)
    own_options(settings)
    _checked(settings)
    missing = [] if "backbone" in settings else ["backbone"]
    if as_json:
        emit({"file": str(file), "valid": True, "settings": settings, "missing": missing})
    elif not quiet:
        more = "; backbone is not in it: give --backbone with the command" if missing else ""
        echo(f"{file} is valid: {plural(len(settings), 'setting')}{more}")


def _checked(settings: dict[str, Any]) -> Any:
    """Validated settings; a backbone may come later by the command line, and is then not judged."""
    from transferkit.config import make
    from transferkit.runs import refusals

    if "backbone" in settings:
        return make(settings, refusals.problems(settings, offline=False))
    return make({"backbone": "vgg16", **settings}, refusals.problems({**settings, "unfreeze": "none"}, offline=False))


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
