"""`transferkit demo`: the main job on bundled data and the bundled network, with no network connection."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from transferkit.cli._common import Once, common, echo, present, reporter
from transferkit.text import shown


@click.command(cls=Once, epilog="Example:  transferkit demo --output my-demo")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("transferkit-demo"), show_default=True,
    help="New folder for the digits and the run.",
)  # fmt: skip
@common(seed=True)
def demo(output: Path, seed: int, quiet: bool, as_json: bool) -> None:
    """Fine-tune `mini` on 1,797 handwritten digits: everything the real job does, in about a minute."""
    from transferkit import api
    from transferkit.data.digits import write_digits
    from transferkit.errors import RunError
    from transferkit.runs.directory import check_new

    speaker = reporter(quiet, as_json)
    if check_new(output / "run", resume=False):
        raise RunError(f"--output {output} cannot take a new demo (it holds one, or is no folder); choose another name")
    write_digits(output / "digits")
    digits = output / "digits"
    speaker.say(f"wrote 1,797 handwritten digits to {digits}")
    run = api.finetune(digits, "mini", seed=seed, output=output / "run", offline=True, reporter=speaker)
    present(run, False, as_json)
    if not as_json:
        echo("\nTry it with the pictures of sevens:")
        echo(f"  transferkit predict {shlex.quote(shown(run.folder))} {shlex.quote(shown(digits / '7'))} --top 2")
