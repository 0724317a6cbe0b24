"""Every setting of a fine-tuning run, declared once: type, bounds, default, help, and what is made of them.

Options, help, the template, signatures and tables follow from here (see `transferkit.setting`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from transferkit.config.values import (
    check_policy,
    offered,
    parse_columns,
    parse_duration,
    parse_frames,
    parse_names,
    parse_numbers,
)
from transferkit.setting import Setting
from transferkit.tasks import TaskName

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Scaling = Literal["auto", "none", "unit", "tf", "tf128", "torch", "caffe"]
Resize = Literal["stretch", "crop", "letterbox"]
Intensity = Literal["full", "percentile"]
HEADS = ("auto", "mlp", "linear")
# Settings of how a head is trained by gradients: giving one asks for such a head.
TRAINED = (
    "head_width", "dropout", "l1", "l2", "pooling", "normalize", "loss", "mixup", "cutmix", "label_smoothing",
    "optimizer", "learning_rate", "weight_decay", "ema", "schedule", "batch_size", "epochs",
    "patience", "class_weights", "budget",
)  # fmt: skip
# Those of them that say what a head is or what it is trained for; the others say as much of layers that are unfrozen.
OF_HEADS = (
    "head_width", "dropout", "l1", "l2", "pooling", "normalize", "loss", "mixup", "cutmix", "class_weights",
)  # fmt: skip
USUAL_VIEWS = 4  # per training picture
# Settings that change which rows a run looks for, how they are computed, or which pictures there are.
OF_FEATURES = (
    "backbone", "weights", "scaling", "image_size", "resize", "intensity", "unfreeze", "head", "pooling", "augment",
    "views", "precision", "seed", "task", "classes", "exclude", "exclude_file", "reader", "image_column",
    "label_column", "split_column", "path_template", "label_delimiter", "crop_boxes", "frames", "class_level",
    "on_bad_file",
)  # fmt: skip
AUTO_VIEWS = 2  # per training picture where a head is chosen and nothing else was asked for
AUGMENTATIONS = ("none", "light", "medium", "strong")
Width = Annotated[int, Field(ge=1, le=65536)]
Unit = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=8, le=4096)]


class Declarations(BaseModel):
    """The fields of `Settings`, which adds what they must not say together."""

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
    intensity: Annotated[Intensity, Setting(
        "How grey pictures of more than 8 bits are scaled. By the full range of their numbers, in which 12-bit data in "
        "16-bit files are nearly black; or percentile, from each picture's own 0.1 to its 99.9 %.",
        "network")] = "full"
    # freezing
    unfreeze: Annotated[str, BeforeValidator(check_policy), Setting(
        "Part of the network to train. none, all, from:STAGE, last:N (layers) or gradual; `transferkit backbones show "
        "NAME` lists the stages.",
        "network", "POLICY", common=True, searched=True, features=True, takes="int")] = "none"
    adapt: Annotated[Literal["all", "norms", "lora"], Setting(
        "What is trained of unfrozen layers. all: every weight. norms: factors and biases, a thousandth of it. lora: "
        "additions of rank 8 to the kernels of dense layers, merged into them before the model is saved.",
        "network", searched=True)] = "all"
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
    pooling: Annotated[Literal[
        "avg", "max", "flatten", "gem", "cls", "mean", "cls+mean", "attention", "pooler"
    ], Setting(
        "From feature map to vector. cls takes a vision transformer's class token, mean its patches; attention learns "
        "with the head which places count; pooler is what SigLIP was trained with.",
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
    views: Annotated[Annotated[int, Field(ge=0, le=1000)] | Literal["auto"], Setting(
        "Changed views per training picture, beside the clean one. auto extracts more as long as left-out training "
        "pictures are answered better by them.",
        "augmentation", "K|auto", default="4; where a classifier is chosen, 2", searched=True,
        features=True)] = USUAL_VIEWS
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
        "Peak rate of the head. The trained part of the network gets 0.13 of it, ten times that with --adapt norms or "
        "lora; auto measures one.",
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
    batch_size: Annotated[Annotated[int, Field(ge=1, le=4096)] | Literal["auto"], Setting(
        "Pictures per step.",
        "training", "N|auto", searched=True)] = 32
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
    frames: Annotated[str, BeforeValidator(parse_frames), Setting(
        "Which pictures of a file that holds several are used. Those of a TIFF, an animation, a DICOM series in one "
        "file; all makes each a picture, every:1s takes a picture of each second of films. Those of one file stay in "
        "one split.",
        "data", "first|all|every:TIME")] = "first"
    class_level: Annotated[Literal["top", "leaf", "path"], Setting(
        "Which of nested folders is the class. Of animal/cat/1.jpg top is animal, leaf is cat, path is animal/cat.",
        "data")] = "top"
    on_bad_file: Annotated[Literal["error", "skip"], Setting(
        "What to do where pictures cannot be read.",
        "data")] = "error"
    unlabeled: Annotated[str | None, Setting(
        "Pictures without labels, to be learnt from as well. A folder or a list; they get the labels that are likely, "
        "and are kept where cross-validation on the labelled ones gains by it, which is said.",
        "data", "POOL", default="none", takes="PathLike[str]")] = None
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
        return self.used_views if self._counts_views else min(self.used_views, AUTO_VIEWS)

    @property
    def used_views(self) -> int:
        """Augmented views of each training picture that are made; of `auto`, as many as are reckoned with."""
        if self.augment == "none":
            return 0
        few = self.chooses_head and self.unfreeze == "none" and not self._counts_views
        return AUTO_VIEWS if few else self.full_views

    @property
    def full_views(self) -> int:
        """Views where a head is trained, whether or not one is chosen."""
        return USUAL_VIEWS if self.views == "auto" else self.views

    @property
    def _counts_views(self) -> bool:
        """Whether a number of views was asked for."""
        return "views" in self.model_fields_set and self.views != "auto"
