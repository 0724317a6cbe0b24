"""Settings that cannot take effect together, each said with what to do instead."""

from __future__ import annotations

from transferkit import plugins, tasks
from transferkit.config.declarations import HEADS, Declarations
from transferkit.config.values import shown
from transferkit.errors import ConfigError


def contradictions(s: Declarations) -> list[str]:
    """One text each. A setting left at its default never contradicts."""
    given = s.model_fields_set
    found = []

    def clash(name: str, condition: bool, because: str) -> None:
        if name in given and condition:
            value = getattr(s, name)
            found.append(f"--{name.replace('_', '-')} {shown(value)} has no effect {because}")

    if s.random_baseline and s.weights == "random":
        found.append("--random-baseline has no effect with --weights random: it would be the same network; drop it")
    if s.random_baseline and s.backbone.endswith(".keras"):
        found.append(f"--random-baseline needs a network of the catalog; {s.backbone} is a file, so drop it")
    if s.folds == 1:
        found.append("--folds 1 is no cross-validation; use 2 or more, or 0 for none")
    linear, frozen = s.head == "linear", s.unfreeze == "none"
    clash("head_width", linear, "with --head linear; drop one of them")
    found += _head_plugin_problems(s)
    found += _choice_problems(s)
    clash("layer_decay", frozen, "with --unfreeze none: no layer of the backbone is trained")
    clash("adapt", frozen, "with --unfreeze none: no layer of the backbone is trained")
    if s.adapt == "lora" and s.batchnorm == "train":
        found.append("--batchnorm train has no effect with --adapt lora, which trains no norm; drop one of them")
    clash("batchnorm", frozen and s.batchnorm == "train", "with --unfreeze none: nothing is trained there")
    clash("views", s.augment == "none" and s.views != 0, "with --augment none; drop one of them")
    every = "with --unfreeze all: nothing is kept there, and every epoch draws new views; drop it"
    clash("views", s.views == "auto" and s.unfreeze == "all" and s.augment != "none", every)
    clash("augment", s.augment != "none" and s.views == 0, "with --views 0; drop one of them")
    clash("patience", s.patience >= s.epochs, f"with --epochs {s.epochs}: training ends first")
    clash("scaling", s.backbone == "mini" and s.scaling != "auto", "with mini, whose scaling is fixed")
    if s.mixup and s.cutmix:
        found.append("--mixup and --cutmix are both set; choose one")
    if s.cutmix and s.pooling == "flatten" and frozen:
        found.append("--cutmix with --pooling flatten mixes pictures, not features; use --mixup")
    clash("weight_decay", s.optimizer != "adamw", f"with --optimizer {s.optimizer}; use adamw, or --l2")
    for name, because in _task_problems(s):
        clash(name, getattr(s, name) not in (0.0, None, "none"), because)
    if s.task != "auto" and not tasks.of(s.task).numbers and s.loss not in ("auto", *tasks.of(s.task).losses):
        found.append(f"--loss {s.loss} is for --task regress; classification uses crossentropy")
    found += _split_problems(s.split)
    return found


def _task_problems(s: Declarations) -> list[tuple[str, str]]:
    """Settings that the task makes void where they are given, and why."""
    task = None if s.task == "auto" else tasks.of(s.task)
    found = []
    if (task is None or not task.ordered) and len(s.classes or ()) != 1:  # one alone is a file of names
        found.append(("classes", f"with --task {s.task}, whose classes have no order; use --task ordinal, or drop it"))
    if task is not None and task.numbers:
        found += [(name, f"with --task {s.task}") for name in ("label_smoothing", "class_weights", "cutmix")]
    return found


def _choice_problems(s: Declarations) -> list[str]:
    """Settings that a classifier chosen by cross-validation does not obey, or that only such a one does."""
    if not s.chooses_head:
        limits = {"--max-latency": s.max_latency, "--max-size": s.max_size}
        because = "has no effect where no classifier is chosen; drop it, or add --head auto"
        found = [f"{flag} {value:g} {because}" for flag, value in limits.items() if value is not None]
        return found if s.unlabeled is None else [*found, f"--unlabeled {shown(s.unlabeled)} {because}"]
    found = []
    if s.unlabeled is not None and s.unfreeze != "none":
        found.append(
            f"--unlabeled {shown(s.unlabeled)} has no effect on layers that are trained; drop it, or drop --unfreeze"
        )
    if s.unlabeled is not None and s.task not in ("auto", "classify"):
        found.append(f"--unlabeled {shown(s.unlabeled)} is for one class a picture, not for --task {s.task}; drop it")
    ignored = {"pooling": "avg", "cutmix": 0.0, "mixup": 0.0, "class_weights": "none", "loss": "auto"}
    for name, default in ignored.items():
        if name in s.model_fields_set and getattr(s, name) != default:
            flag = name.replace("_", "-")
            found.append(f"--{flag} {shown(getattr(s, name))} has no effect with --head auto; use --head mlp")
    return found


def _head_plugin_problems(s: Declarations) -> list[str]:
    """Settings of the head that a plugin's head was given and does not obey."""
    try:
        known = None if s.head in HEADS else plugins.resolve("heads", s.head)
    except ConfigError as error:
        return [f"--head {s.head}: {error}"]
    if known is None:
        return []
    plugin, head = known
    ignored = [n for n in plugins.HEAD_SETTINGS if n in s.model_fields_set and n not in head.uses]
    because = f"has no effect with --head {s.head}: {plugin} does not use it; drop it"
    return [f"--{n.replace('_', '-')} {shown(getattr(s, n))} {because}" for n in ignored]


def _split_problems(split: tuple[float, ...]) -> list[str]:
    text = ",".join(f"{part:g}" for part in split)
    if len(split) != 3:
        return [f"--split {text} has {len(split)} parts; give train,validation,test, e.g. .7,.15,.15"]
    if min(split) < 0 or split[0] == 0 or split[1] == 0:
        return [f"--split {text}: training and validation parts must be above 0"]
    counts = all(part == int(part) for part in split)
    if not counts and abs(sum(split) - 1) > 1e-6:
        return [f"--split {text} sums to {sum(split):g}; three fractions must sum to 1, e.g. .7,.15,.15"]
    return []
