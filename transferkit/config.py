"""Every setting of a fine-tuning run: frozen, validated once, all problems reported together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from transferkit import plugins, synonyms, tasks
from transferkit.errors import ConfigError, nearest, raise_problems
from transferkit.files import digest
from transferkit.setting import Setting
from transferkit.tasks import TaskName
from transferkit.text import clipped

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Scaling = Literal["auto", "none", "unit", "tf", "tf128", "torch", "caffe"]
Resize = Literal["stretch", "crop", "letterbox"]
POLICY = re.compile(r"none|all|gradual|from:.+|last:[1-9]\d*")


def parse_duration(value: Any) -> Any:
    """Seconds of `"90s"`, `"10m"`, `"1.5h"` or a plain number of seconds."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", value)
    if not found:
        raise ValueError(f"'{value}' is not a duration; write 90s, 10m or 1.5h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "": 1}[found[2]]


def parse_numbers(value: Any) -> Any:
    """`"256,128"` or a single number as a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return (value,) if isinstance(value, int | float) else value


def parse_names(value: Any) -> Any:
    """`"low,mid,high"`, by itself or alone in a sequence, as a tuple; several texts are taken as they are."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_columns(value: Any) -> Any:
    """A single name as a tuple."""
    return (value,) if isinstance(value, str) else value


def check_policy(value: Any) -> Any:
    """A freeze policy in the field's notation."""
    text = str(value).strip()
    if not POLICY.fullmatch(text):
        # A stage or a number alone says what is meant; for most words no stage has that name.
        meant = f"last:{text}" if text.isdecimal() and int(text) else f"from:{text}"
        offer = f" (did you mean {meant}?)" if re.fullmatch(r"[\w.-]+", text) and any(c.isdigit() for c in text) else ""
        raise ValueError(f"'{text}' is no freeze policy{offer}; write none, all, from:STAGE, last:N or gradual")
    return text


HEADS = ("auto", "mlp", "linear")
# Settings of how a head is trained by gradients: giving one asks for such a head.
TRAINED = (
    "head_width", "dropout", "l1", "l2", "pooling", "normalize", "loss", "mixup", "cutmix", "label_smoothing",
    "optimizer", "learning_rate", "weight_decay", "ema", "schedule", "warmup", "clip_norm", "batch_size",
    "accumulate", "epochs", "patience", "class_weights", "budget",
)  # fmt: skip
# Those of them that say what a head is or what it is trained for; the others say as much of layers that are unfrozen.
OF_HEADS = (
    "head_width", "dropout", "l1", "l2", "pooling", "normalize", "loss", "mixup", "cutmix", "class_weights",
)  # fmt: skip
AUTO_VIEWS = 2  # per training picture where a head is chosen and nothing else was asked for
AUGMENTATIONS = ("none", "light", "medium", "strong")


def offered(kind: str, builtin: tuple[str, ...]) -> AfterValidator:
    """One of the `builtin` names or a plugin's. Of plugins only the name is looked up; nothing is imported."""

    def check(value: str) -> str:
        if kind == "augmentations" and "=" in value:
            return value  # ranges of one's own, which the data room knows (`runs.preflight`)
        problem = plugins.choose(kind, value, builtin)
        if problem:
            raise PydanticCustomError("choice", "{problem}", {"problem": problem})
        return value

    return AfterValidator(check)


Width = Annotated[int, Field(ge=1, le=65536)]
Unit = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=8, le=4096)]


# Settings as people give them (options, files, Python's keywords) before they are checked: anything, under any name.
Given = dict[str, Any]


class Settings(BaseModel):
    """What `finetune` does with its data. Immutable; two equal settings give equal runs.

    Numbers are plain floats; rates are per step; `budget` is in seconds; `image_size` is in pixels. None means the
    recipe's own choice (see `transferkit.training.recipe`). What a setting's options, help, signatures and tables say
    is made of its `Setting` (see `transferkit.setting`): nothing else need be changed to add one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    # fmt: off
    # network
    backbone: Annotated[str, Setting(
        "Pretrained network. A name of `transferkit backbones list`, or a .keras file; where none is named, one is "
        "chosen by the pictures, and said.",
        "network", "NAME|FILE", default="chosen for you", common=True, searched=True, features=True,
        takes="PathLike[str]")]
    weights: Annotated[str, Setting(
        "Weights of the network. Its own pretrained ones, random ones, or those in a file.",
        "network", "auto|random|FILE", default="pretrained", takes="PathLike[str]")] = "auto"
    scaling: Annotated[Scaling, Setting(
        "Pixel scaling that a network of your own expects.",
        "network", default="as the weights expect")] = "auto"
    image_size: Annotated[Pixels | None, Setting(
        "Picture side in pixels.",
        "network", "N", default="the network's", common=True, searched=True, features=True)] = None
    resize: Annotated[Resize, Setting(
        "How pictures become square.",
        "network", searched=True, features=True)] = "stretch"
    # freezing
    unfreeze: Annotated[str, BeforeValidator(check_policy), Setting(
        "Part of the network to train. none, all, from:STAGE, last:N (layers) or gradual; `transferkit backbones show "
        "NAME` lists the stages.",
        "network", "POLICY", common=True, searched=True, features=True, takes="int")] = "none"
    batchnorm: Annotated[Literal["frozen", "train"], Setting(
        "BatchNorm statistics in the trained part.",
        "network", searched=True)] = "frozen"
    layer_decay: Annotated[float, Field(gt=0, le=1), Setting(
        "Learning-rate factor a quarter of the network further down.",
        "network", "0..1", searched=True)] = 0.7
    # head
    head: Annotated[str, offered("heads", HEADS), Setting(
        "Kind of classifier on top. auto chooses by cross-validation among linear ones, kernel machines and a neural "
        "network, on features of several depths, where no option says how a head is trained; else it is mlp. Unfrozen "
        "layers then start from the best linear one. mlp and linear are trained by gradients.",
        "head", "|".join(HEADS), common=True, searched=True)] = "auto"
    max_latency: Annotated[Annotated[float, Field(gt=0)] | None, Setting(
        "Longest that one picture may take, in milliseconds. Classifiers (and networks, where none is named) that take "
        "longer on this machine, measured on the network that is shipped, are left out of the choice.",
        "head", "MS", default="none")] = None
    max_size: Annotated[Annotated[float, Field(gt=0)] | None, Setting(
        "Largest that the file of the model may be, in megabytes. What is larger is left out of the choice.",
        "head", "MB", default="none")] = None
    head_width: Annotated[tuple[Width, ...], BeforeValidator(parse_numbers), Setting(
        "Hidden widths of the head.",
        "head", "N[,N]", searched=True, takes="int | str")] = (256,)
    dropout: Annotated[Unit, Setting(
        "Dropout in the head.",
        "head", "0..1", searched=True)] = 0.3
    l1: Annotated[float, Field(ge=0), Setting(
        "L1 penalty on the head's kernels.",
        "head", "X", searched=True)] = 0.0
    l2: Annotated[float, Field(ge=0), Setting(
        "L2 penalty on the head's kernels.",
        "head", "X", searched=True)] = 0.0
    pooling: Annotated[Literal["avg", "max", "flatten", "gem", "cls", "mean", "cls+mean"], Setting(
        "From feature map to vector. cls takes a vision transformer's class token, mean its patches.",
        "head", searched=True, features=True)] = "avg"
    normalize: Annotated[bool, Setting(
        "Standardise features.",
        "head", searched=True)] = True
    # task
    task: Annotated[Literal["auto", TaskName], Setting(
        "What the labels mean. One class each, several labels each, numbers (regress), or classes that have an order "
        "(ordinal); the last two are never guessed.",
        "data", default="found from the data")] = "auto"
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(parse_names), Setting(
        "All classes in their order, the lowest first; or names for codes. The order with --task ordinal, where they "
        "are no numbers; a FILE (table, JSON, or a text of names by their numbers) has the names of the data's codes.",
        "data", "A,B,C|FILE", default="by number; the labels themselves", takes="str")] = None
    loss: Annotated[Literal["auto", "crossentropy", "squared", "absolute", "huber"], Setting(
        "Training loss.",
        "training", default="crossentropy; regression squared")] = "auto"
    # augmentation
    augment: Annotated[str, offered("augmentations", AUGMENTATIONS), Setting(
        "Random changes to the pictures. In training only: none, light, medium, strong, or ranges of your own: "
        "rotate=15,zoom=0.8:1.2,flip_horizontal=yes (docs/data.md).",
        "augmentation", "STRENGTH", common=True, searched=True, features=True)] = "light"
    views: Annotated[int, Field(ge=0, le=1000), Setting(
        "Changed views per training picture, beside the clean one.",
        "augmentation", "K", default="4; where a classifier is chosen, 2", searched=True, features=True)] = 4
    mixup: Annotated[float, Field(ge=0, le=10), Setting(
        "MixUp strength.",
        "augmentation", "A", searched=True)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=10), Setting(
        "CutMix strength, instead of MixUp.",
        "augmentation", "A", searched=True)] = 0.0
    label_smoothing: Annotated[Unit | None, Setting(
        "Label smoothing.",
        "augmentation", "S", default="0.1; regression 0", searched=True)] = None
    # optimisation
    optimizer: Annotated[Literal["adamw", "adam", "sgd", "momentum", "rmsprop"], Setting(
        "Optimizer.",
        "training", searched=True)] = "adamw"
    learning_rate: Annotated[Annotated[float, Field(gt=0, le=10)] | Literal["auto"] | None, Setting(
        "Peak rate of the head. The trained part of the network gets 0.13 of it; auto measures one.",
        "training", "X|auto", default="0.003 for adamw", common=True, searched=True)] = None
    weight_decay: Annotated[Annotated[float, Field(ge=0, le=1)] | None, Setting(
        "Decoupled weight decay of adamw.",
        "training", "X", default="0.0001", searched=True)] = None
    ema: Annotated[bool, Setting(
        "Average weights over the last two epochs.",
        "training", searched=True)] = True
    schedule: Annotated[Literal["cosine", "constant", "plateau"], Setting(
        "Learning rate over time.",
        "training", searched=True)] = "cosine"
    warmup: Annotated[Unit | None, Setting(
        "Share of a phase's steps over which the learning rate rises (cosine).",
        "training", "0..1", default="head 0, trained part of the network 0.05")] = None
    clip_norm: Annotated[float, Field(ge=0, le=1e6), Setting(
        "Most that the norm of the whole gradient may be; 0 for no limit.",
        "training", "X")] = 5.0
    batch_size: Annotated[Annotated[int, Field(ge=1, le=4096)] | Literal["auto"], Setting(
        "Pictures per step.",
        "training", "N|auto", searched=True)] = 32
    accumulate: Annotated[int, Field(ge=1, le=1024), Setting(
        "Batches whose gradients make one update: large batches in little memory.",
        "training", "N")] = 1
    epochs: Annotated[int, Field(ge=1, le=10000), Setting(
        "Most epochs per phase.",
        "training", "N", common=True)] = 30
    patience: Annotated[int, Field(ge=1), Setting(
        "Epochs without improvement before a phase ends.",
        "training", "N")] = 8
    metric: Annotated[str, Setting(
        "Metric that decides. By default accuracy for classes, map for several labels, mae for numbers and ordered "
        "classes; or macro_f1, recall, auc, loss and those of docs/metrics.md.",
        "judging", "NAME", default="accuracy, map or mae", common=True)] = "auto"
    class_weights: Annotated[Literal["none", "balanced"], Setting(
        "Weigh rare classes up.",
        "training", searched=True)] = "none"
    precision: Annotated[Precision, Setting(
        "Arithmetic of the frozen part.",
        "network", default="auto: measured")] = "auto"
    # data
    split: Annotated[tuple[float, ...], BeforeValidator(parse_numbers), Setting(
        "Fractions (or counts) of training, validation and test.",
        "data", "A,B,C", takes="str")] = (0.7, 0.15, 0.15)
    folds: Annotated[int, Field(ge=0, le=100), Setting(
        "Also cross-validate the head over K folds. Of training and validation pictures together.",
        "judging", "K")] = 0
    exclude: Annotated[tuple[str, ...], Setting(
        "Leave out classes or files. Repeatable.",
        "data", "PATTERN", default="nothing")] = ()
    exclude_file: Annotated[str | None, Setting(
        "Leave out or relabel what this file says: `data clean`, or `data check --write-exclusions`, writes one.",
        "data", "FILE", default="none", takes="PathLike[str]")] = None
    reader: Annotated[str, Setting(
        "How the data is read, by name. Where two readers know it, or the wrong one does; `transferkit data summary` "
        "says which one reads it.",
        "data", "NAME", default="found from the data")] = ""
    image_column: Annotated[str, Setting(
        "Column of a table that names the picture.",
        "data", "COLUMN", default="found from the data")] = ""
    label_column: Annotated[tuple[str, ...], BeforeValidator(parse_columns), Setting(
        "Column of a table that holds the label. Repeatable: a column of 0 and 1 for each label, or of numbers with "
        "--task regress.",
        "data", "COLUMN", default="found from the data", takes="str")] = ()
    group_column: Annotated[str, Setting(
        "Column of a table that says what belongs together. Pictures of one group never straddle splits.",
        "data", "COLUMN", default="group")] = ""
    split_column: Annotated[str, Setting(
        "Column of a table that says train, val or test.",
        "data", "COLUMN", default="split")] = ""
    path_template: Annotated[str, Setting(
        "How a picture's path is made of a row's columns, as train/{id}.jpg. Relative to the table.",
        "data", "TEXT", default="found from the data")] = ""
    label_delimiter: Annotated[str, Setting(
        "What stands between several labels in one cell. A sign such as |, or comma, space, tab.",
        "data", "SIGN", default=";")] = ""
    crop_boxes: Annotated[bool, Setting(
        "Take each box of an export of annotations as a picture. Boxes of one picture stay in one split.",
        "data")] = False
    frames: Annotated[Literal["first", "all"], Setting(
        "Which pictures of a file that holds several are used. Those of a TIFF, an animation, a DICOM series in one "
        "file; all makes each a picture, and keeps those of one file in one split.",
        "data")] = "first"
    on_bad_file: Annotated[Literal["error", "skip"], Setting(
        "What to do where pictures cannot be read.",
        "data")] = "error"
    # judging
    random_baseline: Annotated[bool, Setting(
        "Also train the head on the same network with random weights.",
        "judging")] = False
    refit: Annotated[Literal["train", "train+val"], Setting(
        "What the shipped model has learnt from in the end.",
        "judging", default="train; where a classifier is chosen, train+val")] = "train"
    # running
    budget: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(parse_duration), Setting(
        "Longest training, as 10m or 1.5h. Counted again with --resume.",
        "training", "TIME", default="none", common=True, takes="str")] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1), Setting(
        "Seed of splits, views, weights and order.",
        "training", "N")] = 0
    # fmt: on

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        problems = list(contradictions(self))
        if problems:
            # One ValueError can carry one text; `make` takes the list apart again.
            raise ValueError("\x1e".join(problems))
        return self

    @property
    def chooses_head(self) -> bool:
        """Whether the classifier is chosen by cross-validation on the frozen network, by default only where nothing
        says how a head is to be trained. Layers that are unfrozen start from what was chosen."""
        given = self.model_fields_set
        asked = "head" in given or given.isdisjoint(TRAINED if self.unfreeze == "none" else OF_HEADS)
        return self.head == "auto" and asked

    @property
    def choice_views(self) -> int:
        """Augmented views of each picture that a classifier is chosen by: more cost more than they bring."""
        return self.used_views if "views" in self.model_fields_set else min(self.used_views, AUTO_VIEWS)

    @property
    def used_views(self) -> int:
        """Augmented views of each training picture that are made."""
        if self.augment == "none":
            return 0
        few = self.chooses_head and self.unfreeze == "none" and "views" not in self.model_fields_set
        return AUTO_VIEWS if few else self.views

    def key(self) -> str:
        """Hex digest of every setting: equal keys, equal runs (given equal data)."""
        return digest(self.model_dump(mode="json"))


def contradictions(s: Settings) -> list[str]:
    """Settings that cannot take effect together. A setting left at its default never contradicts."""
    given = s.model_fields_set
    found = []

    def clash(name: str, condition: bool, because: str) -> None:
        if name in given and condition:
            value = getattr(s, name)
            found.append(f"--{name.replace('_', '-')} {_shown(value)} has no effect {because}")

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
    clash("batchnorm", frozen and s.batchnorm == "train", "with --unfreeze none: nothing is trained there")
    clash("views", s.augment == "none" and s.views > 0, "with --augment none; drop one of them")
    clash("augment", s.augment != "none" and s.views == 0, "with --views 0; drop one of them")
    clash("patience", s.patience >= s.epochs, f"with --epochs {s.epochs}: training ends first")
    clash("warmup", s.schedule != "cosine", f"with --schedule {s.schedule}; use cosine")
    clash("scaling", s.backbone == "mini" and s.scaling != "auto", "with mini, whose scaling is fixed")
    if s.mixup and s.cutmix:
        found.append("--mixup and --cutmix are both set; choose one")
    if s.cutmix and s.pooling == "flatten" and frozen:
        found.append("--cutmix with --pooling flatten mixes pictures, not features; use --mixup")
    clash("weight_decay", s.optimizer not in ("adamw",), f"with --optimizer {s.optimizer}; use adamw, or --l2")
    for name, because in _task_problems(s):
        clash(name, getattr(s, name) not in (0.0, None, "none"), because)
    if s.task != "auto" and not tasks.of(s.task).numbers and s.loss not in ("auto", *tasks.of(s.task).losses):
        found.append(f"--loss {s.loss} is for --task regress; classification uses crossentropy")
    found += _split_problems(s.split)
    return found


def _task_problems(s: Settings) -> list[tuple[str, str]]:
    """Settings that the task makes void where they are given, and why."""
    task = None if s.task == "auto" else tasks.of(s.task)
    found = []
    if (task is None or not task.ordered) and len(s.classes or ()) != 1:  # one alone is a file of names
        found.append(("classes", f"with --task {s.task}, whose classes have no order; use --task ordinal, or drop it"))
    if task is not None and task.numbers:
        found += [(name, f"with --task {s.task}") for name in ("label_smoothing", "class_weights", "cutmix")]
    return found


def _choice_problems(s: Settings) -> list[str]:
    """Settings that a classifier chosen by cross-validation does not obey, or that only such a one does."""
    if not s.chooses_head:
        limits = {"--max-latency": s.max_latency, "--max-size": s.max_size}
        because = "has no effect where no classifier is chosen; drop it, or add --head auto"
        return [f"{flag} {value:g} {because}" for flag, value in limits.items() if value is not None]
    found = []
    ignored = {"pooling": "avg", "cutmix": 0.0, "mixup": 0.0, "class_weights": "none", "loss": "auto"}
    for name, default in ignored.items():
        if name in s.model_fields_set and getattr(s, name) != default:
            flag = name.replace("_", "-")
            found.append(f"--{flag} {_shown(getattr(s, name))} has no effect with --head auto; use --head mlp")
    return found


def _head_plugin_problems(s: Settings) -> list[str]:
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
    return [f"--{n.replace('_', '-')} {_shown(getattr(s, n))} {because}" for n in ignored]


def _split_problems(split: tuple[float, ...]) -> list[str]:
    shown = ",".join(f"{part:g}" for part in split)
    if len(split) != 3:
        return [f"--split {shown} has {len(split)} parts; give train,validation,test, e.g. .7,.15,.15"]
    if min(split) < 0 or split[0] == 0 or split[1] == 0:
        return [f"--split {shown}: training and validation parts must be above 0"]
    counts = all(part == int(part) for part in split)
    if not counts and abs(sum(split) - 1) > 1e-6:
        return [f"--split {shown} sums to {sum(split):g}; three fractions must sum to 1, e.g. .7,.15,.15"]
    return []


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return clipped(",".join(map(str, value)))
    return f"{value:g}" if isinstance(value, float) else clipped(value)


def make(values: Given, more_problems: list[str] | None = None) -> Settings:
    """Validated settings of plain values.

    Raises ConfigError that lists every problem: invalid values, contradictions, unknown names, and
    `more_problems` found elsewhere (the backbone's, the metric's).
    """
    settings, problems = _try(values)
    raise_problems(ConfigError, [*problems, *(more_problems or [])])
    assert settings is not None
    return settings


def _try(values: Given) -> tuple[Settings | None, list[str]]:
    """Settings, or every problem: of the values by themselves, then of the sound ones among each other."""
    try:
        return Settings(**values), []
    except ValidationError as error:
        problems = _explain(error)
        bad = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
    if not bad:
        return None, problems
    try:
        Settings(**{"backbone": "mini"} | {k: v for k, v in values.items() if k not in bad})
    except ValidationError as error:
        # A setting that was left out because it is wrong stands at its default here: what follows from that is noise.
        flags = ["--" + name.replace("_", "-") for name in bad]
        problems += [found for found in _explain(error) if not any(flag in found for flag in flags)]
    return None, problems


# What pydantic says of a union names each member in turn; this says it once.
EXPECTED = {
    "learning_rate": "must be a number above 0, at most 10, or auto",
    "batch_size": "must be a whole number from 1 to 4096, or auto",
    "head_width": "must be whole numbers from 1 to 65536, e.g. 256 or 256,128",
    "split": "must be three numbers: train,validation,test, e.g. .7,.15,.15",
    "exclude": "must be a list of patterns",
}


def _meant(field: str) -> str:
    """What a setting of that name is called here, by meaning, else by spelling."""
    ours = synonyms.OPTIONS.get(field.lower().replace("_", "-"), "").replace("-", "_")
    answer = synonyms.answer(field, "finetune")
    if ours in Settings.model_fields:
        return f"; it is called {ours} here"
    return f": {answer}" if answer else nearest(field, Settings.model_fields)


def must_be(item: Mapping[str, Any]) -> str:
    """What pydantic says of one wrong value, in plain words: `"must be a whole number"`."""
    kinds = {"int": "must be a whole number", "float": "must be a number", "bool": "must be true or false"}
    kind, _, how = str(item["type"]).partition("_")
    if kind in kinds and how in ("type", "parsing", "from_float"):
        return kinds[kind]
    return str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _explain(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for item in error.errors():
        path = [str(p) for p in item["loc"]]
        field = path[0] if path else ""
        name = "--" + field.replace("_", "-")
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown setting '{clipped(field)}'{_meant(field)}")
        elif item["type"] == "value_error":
            text = str(item["msg"]).removeprefix("Value error, ")
            problems += [f"{name}: {text}"] if field else text.split("\x1e")
        elif item["type"] == "missing":
            problems.append(
                f"{name} is required; `transferkit backbones list` shows the names, `backbones recommend` ranks them"
            )
        elif field in EXPECTED:
            problems.append(f"{name} {_shown(item['input'])}: {EXPECTED[field]}")
        else:
            problems.append(f"{name} {_shown(item['input'])}: {must_be(item)}")
    return problems
