"""The command line: parses, calls, prints. One error boundary; nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys

import click

from transferkit import importing
from transferkit._version import __version__
from transferkit.cli._boundary import guarded, heed_termination, open_streams
from transferkit.cli._help import WIDTH, Sections
from transferkit.cli._watch import watched
from transferkit.ending import leave
from transferkit.storage import cache_folder

# heading → command → where it lives, and what the overview says of it (uncut: a line has room for 64 letters).
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Train": {
        "finetune": ("transferkit.cli.finetune:finetune", "Train a classifier on your pictures"),
        "best": ("transferkit.cli.best:best", "Compare networks in the time you give, and train the best"),
        "tune": ("transferkit.cli.tune:tune", "Search for the settings that suit your pictures"),
        "resume": ("transferkit.cli.browse:resume", "Go on with a training or search that was interrupted"),
        "demo": ("transferkit.cli.demo:demo", "See it all on 1,797 handwritten digits, in a minute"),
    },
    "Look": {
        "runs": ("transferkit.cli.browse:runs", "List runs with score, network, time and size"),
        "open": ("transferkit.cli.browse:open_", "Show a run's report in the browser"),
        "summary": ("transferkit.cli.runs:summary", "Print a run's closing summary again"),
        "evaluate": ("transferkit.cli.runs:evaluate", "Score a run's model on its test pictures, or on others"),
        "compare": ("transferkit.cli.compare:compare", "Compare runs on the same test pictures, with paired tests"),
        "diagnose": ("transferkit.cli.compare:diagnose", "Name what is wrong with a run, and what to try"),
        "explain": ("transferkit.cli.explain:explain", "Show where in a picture the model looked"),
        "report": ("transferkit.cli.runs:report", "Write a run's report, card and figures again"),
    },
    "Ship": {
        "predict": ("transferkit.cli.predict:predict", "Classify pictures with a run's model"),
        "export": ("transferkit.cli.export:export", "Write a run's model for another runtime, proved equal"),
        "serve": ("transferkit.cli.serve:serve", "Open a page on which to drop pictures"),
        "reproduce": ("transferkit.cli.reproduce:reproduce", "Repeat a run: do the same numbers come out?"),
    },
    "Data and networks": {
        "data": ("transferkit.cli.data:data", "Check, clean, split, count and look at pictures"),
        "label": ("transferkit.cli.label:label", "Choose the pictures that are worth a label next"),
        "backbones": ("transferkit.cli.backbones:backbones", "List pretrained networks, or rank them on your pictures"),
        "weights": ("transferkit.cli.weights:weights", "Fetch, check and add pretrained weights"),
        "features": ("transferkit.cli.features:features", "Compute features beforehand, here or on many machines"),
        "cache": ("transferkit.cli.cache:cache", "See or shrink the store of computed features"),
    },
    "Setup": {
        "config": ("transferkit.cli.config:config", "Write, show and check files of settings"),
        "plugins": ("transferkit.cli.plugins:plugins", "List what installed packages add"),
        "completion": ("transferkit.cli.completion:completion", "Complete commands and options with the tab key"),
    },
}
COMMANDS = {name: target for commands in SECTIONS.values() for name, (target, _) in commands.items()}


@click.group(
    cls=Sections,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
    epilog="Example:  transferkit finetune flowers/ --output runs/flowers",
)
@click.version_option(__version__, prog_name="transferkit")
def cli() -> None:
    """Fine-tune pretrained networks on your own pictures, with an honest account of the result."""


def main() -> None:
    """Entry point: exit codes 0 ok, 2 usage or bad input, 1 failure, 130 interrupted, 143 terminated (SIGTERM)."""
    importing.secure()
    open_streams()
    watched()
    heed_termination()
    # matplotlib keeps a list of fonts in the user's home unless it is told a place; this process is ours.
    os.environ["MPLBACKEND"] = "agg"  # figures are files here; a notebook's choice may not even be installed
    os.environ.setdefault("MPLCONFIGDIR", os.path.join(cache_folder(), "matplotlib"))
    leave(guarded(cli, sys.argv[1:]))
