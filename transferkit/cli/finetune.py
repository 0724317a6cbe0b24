"""`transferkit finetune`: every setting of a run as an option. Only what is given is passed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from transferkit.cli._common import VERBOSE, Once, common, echo, emit, reporter
from transferkit.cli.config import from_file, own_options

# option, metavar or choices, help. Values are validated by the settings, which list every problem at once.
SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("backbone", "NAME|FILE", "A network of `transferkit backbones list`, or a .keras file. "
     "[default: chosen by the pictures, and said]"),
    ("weights", "auto|random|FILE", "Its weights: its own pretrained ones by default."),
    ("image-size", "N", "Picture side in pixels. [default: what the network was trained on]"),
    ("resize", "stretch|crop|letterbox", "How pictures become square. [default: stretch]"),
    ("scaling", "auto|none|unit|tf|tf128|torch|caffe", "Pixel scaling a network of your own expects."),
    ("unfreeze", "none|all|from:STAGE|last:N|gradual", "What of the network is trained. [default: none]"),
    ("batchnorm", "frozen|train", "BatchNorm statistics in the trained part. [default: frozen]"),
    ("layer-decay", "0..1", "Learning-rate factor a quarter of the network further down. [default: 0.7]"),
    ("head", "mlp|linear", "Kind of head. [default: mlp]"),
    ("head-width", "N[,N]", "Hidden widths of the head. [default: 256]"),
    ("dropout", "0..1", "Dropout in the head. [default: 0.3]"),
    ("l1", "X", "L1 penalty on the head's kernels. [default: 0]"),
    ("l2", "X", "L2 penalty on the head's kernels. [default: 0]"),
    ("pooling", "avg|max|flatten|gem", "From feature map to vector. [default: avg]"),
    ("task", "auto|classify|multilabel|regress", "What the labels mean. [default: found from the data]"),
    ("loss", "auto|crossentropy|squared|absolute|huber", "Training loss. [default: by task]"),
    ("augment", "none|light|medium|strong|RANGES", "Random views of training pictures, or ranges of your own: "
     "rotate=15,zoom=0.8:1.2,flip_horizontal=yes. [default: light]"),
    ("views", "K", "Views per training picture beside the clean one. [default: 4]"),
    ("mixup", "A", "MixUp strength. [default: 0]"),
    ("cutmix", "A", "CutMix strength, instead of MixUp. [default: 0]"),
    ("label-smoothing", "S", "Label smoothing. [default: 0.1; regression 0]"),
    ("optimizer", "adamw|adam|sgd|momentum|rmsprop", "Optimizer. [default: adamw]"),
    ("learning-rate", "X|auto", "Peak rate of the head; the tail gets 0.13 of it. [default: 3e-3 for adamw]"),
    ("weight-decay", "X", "Decoupled weight decay of adamw. [default: 1e-4]"),
    ("schedule", "cosine|constant|plateau", "Learning rate over time. [default: cosine]"),
    ("warmup", "0..1", "Share of a phase's steps over which the rate rises (cosine). [default: head 0, tail .05]"),
    ("clip-norm", "X", "Most that the norm of the whole gradient may be; 0 for no limit. [default: 5]"),
    ("batch-size", "N|auto", "Pictures per step. [default: 32]"),
    ("accumulate", "N", "Batches whose gradients make one update: large batches in little memory. [default: 1]"),
    ("epochs", "N", "Most epochs per phase. [default: 30]"),
    ("patience", "N", "Epochs without improvement before a phase ends. [default: 8]"),
    ("metric", "NAME", "Goal metric: accuracy, macro_f1, recall, auc, loss, mae… [default: by task]"),
    ("class-weights", "none|balanced", "Weigh rare classes up. [default: none]"),
    ("precision", "auto|float32|bfloat16|float16", "Arithmetic of the frozen part. [default: auto]"),
    ("split", "A,B,C", "Train, validation and test fractions (or counts). [default: .7,.15,.15]"),
    ("folds", "K", "Also cross-validate the head over K folds of train + validation. [default: 0]"),
    ("exclude-file", "FILE", "Leave out the paths in this file, one a line (`data check --write-exclusions`)."),
    ("on-bad-file", "error|skip", "Pictures that cannot be read. [default: error]"),
    ("budget", "TIME", "Stop training after this long, e.g. 10m; counted anew with --resume."),
    ("refit", "train|train+val", "What the shipped model has learnt from in the end. [default: train]"),
    ("seed", "N", "Seed of splits, views, weights and order. [default: 0]"),
)  # fmt: skip


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """All settings as options without defaults: the settings class knows them."""
    function = click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out classes or files.")(function)
    function = click.option(
        "--random-baseline/--no-random-baseline", default=None,
        help="Also train the head on the same network with random weights. [default: off]",
    )(function)  # fmt: skip
    for flag in ("ema", "normalize"):
        what = {"ema": "Average weights over the last two epochs.", "normalize": "Standardise features."}[flag]
        function = click.option(f"--{flag}/--no-{flag}", default=None, help=f"{what} [default: on]")(function)
    for name, metavar, text in reversed(SETTINGS):
        function = click.option(f"--{name}", metavar=metavar, help=text)(function)
    return function


@click.command(
    cls=Once,
    epilog="Example:  transferkit finetune flowers/ --backbone vgg16 --unfreeze from:block5 --output runs/flowers",
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Run directory. [default: runs/DATA-BACKBONE]")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings from a TOML file, a run or its run.json; options win."
)
@click.option("--resume", is_flag=True, help="Finish the run in --output.")
@click.option("--offline", is_flag=True, help="Never download weights.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard logs into the run directory as it goes.")
@click.option(
    "--track", multiple=True, metavar="mlflow|wandb", help="Also tell MLflow or Weights & Biases (extras); repeatable."
)
@click.option(
    "--cache/--no-cache", default=None,
    help="Store features, or compute them anew. [default: what measured costs and the disk say]",
)  # fmt: skip
@settings_options
@VERBOSE
@common()
def finetune(
    data: Path, output: Path | None, config: Path | None, resume: bool, offline: bool, tensorboard: bool,
    track: tuple[str, ...], cache: bool | None, verbose: bool, quiet: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train the best classifier that the pictures in DATA allow.

    DATA is a folder of one sub-folder per class, a folder with train/, val/ and/or test/ inside, or a CSV with
    `path` and `label`.
    """
    from transferkit import api

    file = from_file(config)
    kept = own_options(file, offline=offline, cache=cache, tensorboard=tensorboard, output=output, track=track)
    settings = {**file, **{k: v for k, v in options.items() if v is not None and v != ()}}
    run = api.finetune(
        data, output=kept["output"], resume=resume, offline=kept["offline"], cache=kept["cache"],
        reporter=reporter(quiet, as_json), track=("tensorboard",) * kept["tensorboard"] + tuple(kept["track"]),
        **settings,
    )  # fmt: skip
    if as_json:
        emit({"run": str(run.folder), **run.metrics})
    else:
        echo(run.summary(verbose))
