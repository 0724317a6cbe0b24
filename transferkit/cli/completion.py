"""`transferkit completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import click

from transferkit.cli._boundary import COMPLETE
from transferkit.cli._common import Once, common, echo, emit


@click.command(cls=Once, epilog="Example:  transferkit completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common()
def completion(shell: str, quiet: bool, as_json: bool) -> None:
    """Print the script that makes SHELL complete transferkit's commands and options with the tab key."""
    from click.shell_completion import get_completion_class

    from transferkit.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # one of the three above
    script = kind(cli, {}, "transferkit", COMPLETE).source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        echo(script)
