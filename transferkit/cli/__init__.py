"""The command line: parses, calls, prints. One error boundary; nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys

import click

from transferkit import importing
from transferkit._version import __version__
from transferkit.cli._common import Lazy, guarded, heed_termination, open_streams
from transferkit.files import cache_folder

COMMANDS = {
    "finetune": "transferkit.cli.finetune:finetune",
    "tune": "transferkit.cli.tune:tune",
    "resume": "transferkit.cli.browse:resume",
    "runs": "transferkit.cli.browse:runs",
    "open": "transferkit.cli.browse:open_",
    "evaluate": "transferkit.cli.runs:evaluate",
    "predict": "transferkit.cli.predict:predict",
    "explain": "transferkit.cli.explain:explain",
    "export": "transferkit.cli.export:export",
    "reproduce": "transferkit.cli.reproduce:reproduce",
    "serve": "transferkit.cli.serve:serve",
    "compare": "transferkit.cli.compare:compare",
    "diagnose": "transferkit.cli.compare:diagnose",
    "report": "transferkit.cli.runs:report",
    "summary": "transferkit.cli.runs:summary",
    "data": "transferkit.cli.data:data",
    "backbones": "transferkit.cli.backbones:backbones",
    "weights": "transferkit.cli.weights:weights",
    "cache": "transferkit.cli.cache:cache",
    "plugins": "transferkit.cli.plugins:plugins",
    "config": "transferkit.cli.config:config",
    "completion": "transferkit.cli.config:completion",
    "demo": "transferkit.cli.demo:demo",
}


@click.group(
    cls=Lazy,
    commands_at=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example:  transferkit finetune flowers/ --backbone vgg16 --output runs/flowers",
)
@click.version_option(__version__, prog_name="transferkit")
def cli() -> None:
    """Fine-tune pretrained networks on your own pictures, with an honest account of the result."""


def main() -> None:
    """Entry point: exit codes 0 ok, 2 usage or bad input, 1 failure, 130 interrupted, 143 terminated (SIGTERM)."""
    importing.secure()
    open_streams()
    heed_termination()
    # matplotlib keeps a list of fonts in the user's home unless it is told a place; this process is ours.
    os.environ["MPLBACKEND"] = "agg"  # figures are files here; a notebook's choice may not even be installed
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(cache_folder(), "matplotlib"))
    sys.exit(guarded(cli, sys.argv[1:]))
