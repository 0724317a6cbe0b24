"""Words of other tools for our commands and settings: what means the same is understood, what does not is answered."""

from __future__ import annotations

from collections.abc import Collection

# Option → ours, where the value is written alike. An option that a command has itself is never looked up here.
OPTIONS = {
    "model": "backbone", "arch": "backbone", "architecture": "backbone", "network": "backbone", "net": "backbone",
    "base-model": "backbone", "encoder": "backbone",
    "lr": "learning-rate", "rate": "learning-rate", "base-lr": "learning-rate",
    "epoch": "epochs", "num-epochs": "epochs", "n-epochs": "epochs", "max-epochs": "epochs",
    "bs": "batch-size", "batch": "batch-size", "batchsize": "batch-size",
    "size": "image-size", "img-size": "image-size", "imgsz": "image-size", "input-size": "image-size",
    "resolution": "image-size",
    "out": "output", "output-dir": "output", "out-dir": "output", "save-dir": "output",
    "optim": "optimizer", "opt": "optimizer", "scheduler": "schedule", "lr-schedule": "schedule",
    "wd": "weight-decay", "decay": "weight-decay", "drop": "dropout", "dropout-rate": "dropout",
    "augmentation": "augment", "aug": "augment", "augmentations": "augment", "smoothing": "label-smoothing",
    "early-stopping": "patience", "cv": "folds", "k-folds": "folds", "kfold": "folds", "cross-validation": "folds",
    "hidden": "head-width", "hidden-units": "head-width", "units": "head-width", "pool": "pooling",
    "objective": "metric", "monitor": "metric", "goal": "metric", "class-weight": "class-weights",
    "time": "budget", "time-limit": "budget", "max-time": "budget", "random-seed": "seed", "random-state": "seed",
    "pretrained": "weights", "dtype": "precision", "n-trials": "trials", "max-trials": "trials", "jobs": "workers",
    "n-jobs": "workers", "continue": "resume", "no-internet": "offline", "clean": "exclude-file", "silent": "quiet",
    "test-time-augmentation": "tta", "sample-submission": "sample", "dryrun": "dry-run", "simulate": "dry-run",
    "class-names": "classes", "label-map": "classes", "labels-file": "classes", "filename-column": "image-column",
    "path-column": "image-column", "x-col": "image-column", "y-col": "label-column", "target-column": "label-column",
    "label-sep": "label-delimiter", "label-delim": "label-delimiter", "separator": "label-delimiter",
    "unlabelled": "unlabeled", "unsup": "unlabeled", "pseudo-label": "unlabeled", "n-next": "next",
    "k": "top", "topk": "top", "top-k": "top", "fmt": "format",
}  # fmt: skip

# What is always done, whatever it is called.
_CLIPPED = "the norm of the whole gradient is always held to 5"
_WARMED = "the rate of the network's trained part always rises over its first 5 % of steps (--schedule cosine)"
_ADDED = "a batch that does not fit into memory is divided by itself, and its parts make one update (--batch-size)"
_ALWAYS = {
    **dict.fromkeys(("clip-norm", "clipnorm", "grad-clip", "max-grad-norm", "gradient-clip-val"), _CLIPPED),
    **dict.fromkeys(("warmup", "warmup-ratio", "warmup-steps", "warmup-epochs"), _WARMED),
    **dict.fromkeys(("accumulate", "gradient-accumulation-steps", "accumulate-grad-batches"), _ADDED),
}
# Option → what to say: it means something else here, or its value is written otherwise.
ANSWERS = {
    **_ALWAYS,
    "lora": "--adapt lora trains low-rank additions to the layers that --unfreeze names",
    "peft": "--adapt lora|norms trains a small part of the layers that --unfreeze names",
    "freeze": "say what is to be trained instead: --unfreeze none (the whole network stays frozen, the default), "
    "from:STAGE, last:N, gradual or all; `transferkit backbones show NAME` lists the stages",
    "trainable": "--unfreeze says what is trained: none, from:STAGE, last:N, gradual or all",
    "data": "the pictures come without an option: transferkit {command} DATA",
    "dataset": "the pictures come without an option: transferkit {command} DATA",
    "data-dir": "the pictures come without an option: transferkit {command} DATA",
    "input": "what to read comes without an option; see `transferkit {command} --help`",
    "train-dir": "give the folder above: one with train/, val/ and test/ inside is read as such",
    "val-split": "--split takes train, validation and test together, e.g. --split .7,.15,.15",
    "validation-split": "--split takes train, validation and test together, e.g. --split .7,.15,.15",
    "test-size": "--split takes train, validation and test together, e.g. --split .7,.15,.15",
    "num-classes": "the number of classes is found from the data; drop it",
    "gpu": "an accelerator that TensorFlow or JAX sees is used by itself; CUDA_VISIBLE_DEVICES chooses one",
    "gpus": "an accelerator that TensorFlow or JAX sees is used by itself; CUDA_VISIBLE_DEVICES chooses some",
    "device": "an accelerator that TensorFlow or JAX sees is used by itself; CUDA_VISIBLE_DEVICES chooses one",
    "amp": "--precision auto|float32|bfloat16|float16 chooses the arithmetic; auto measures which is faster",
    "fp16": "--precision float16 computes so; --precision auto measures what is faster and as exact",
    "workers": "pictures are read on all cores by themselves; --workers belongs to `transferkit tune`",
    "num-workers": "pictures are read on all cores by themselves; drop it",
    "photos": "no photographs ship with the package, and pieces of one or two would show nothing; on your own, by the "
    "bundled network for photographs: transferkit finetune photos/",
    "ensemble": "give several runs to predict, separated by commas: transferkit predict runs/a,runs/b PICTURES",
}

COMMANDS = {
    "train": "finetune", "fit": "finetune", "fine-tune": "finetune", "fine_tune": "finetune", "learn": "finetune",
    "automl": "best", "search": "tune", "hpo": "tune", "optimize": "tune", "sweep": "tune",
    "test": "evaluate", "eval": "evaluate", "score": "evaluate", "validate": "evaluate", "val": "evaluate",
    "infer": "predict", "inference": "predict", "classify": "predict", "detect": "predict",
    "gradcam": "explain", "grad-cam": "explain", "heatmap": "explain", "interpret": "explain",
    "convert": "export", "save": "export", "deploy": "serve", "app": "serve", "web": "serve", "ui": "serve",
    "models": "backbones", "networks": "backbones", "model": "backbones", "dataset": "data", "check": "data",
    "list": "runs", "ls": "runs", "history": "runs", "show": "open", "view": "open", "continue": "resume",
    "annotate": "label", "active-learning": "label",
    "restart": "resume", "diff": "compare", "example": "demo", "examples": "demo", "quickstart": "demo",
}  # fmt: skip


def canonical(arguments: list[str], known: Collection[str]) -> list[str]:
    """`arguments` with options of other tools replaced by those in `known` (names with dashes) that mean the same.

    Args:
        arguments: words of a command line; what follows `--` is left alone.
        known: options of the command, e.g. `{"--learning-rate", "-q"}`.
    """
    found: list[str] = []
    for position, word in enumerate(arguments):
        if word == "--":
            return found + arguments[position:]
        name, equals, value = word.partition("=")
        ours = _ours(name, known)
        found.append(f"{ours}{equals}{value}" if ours else word)
    return found


def _ours(name: str, known: Collection[str]) -> str | None:
    if not name.startswith("-") or name in known:
        return None
    bare = name.lstrip("-").lower()
    for candidate in (bare.replace("_", "-"), OPTIONS.get(bare), OPTIONS.get(bare.replace("_", "-"))):
        if candidate and f"--{candidate}" in known:
            return f"--{candidate}"
    return None


def answer(option: str, command: str) -> str | None:
    """What to say of an option that a command does not have; None where nothing is known of it.

    Args:
        option: as it was written.
        command: where.
    """
    text = ANSWERS.get(option.lstrip("-").lower().replace("_", "-"))
    return None if text is None else text.format(command=command)
