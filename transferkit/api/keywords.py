"""The keywords of the verbs that make a run, for editors and type checkers. Made by scripts/keywords: do not edit."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict


class FinetuneSettings(TypedDict, total=False):
    """What `finetune` takes as keywords; every one may be left out."""

    weights: str | PathLike[str]
    """Weights of the network. Its own pretrained ones, random ones, or those in a file. [default: pretrained]"""
    scaling: Literal['auto', 'none', 'unit', 'tf', 'tf128', 'torch', 'caffe']
    """Pixel scaling that a network of your own expects. [default: as the weights expect]"""
    image_size: int | None
    """Picture side in pixels. [default: the network's]"""
    resize: Literal['stretch', 'crop', 'letterbox']
    """How pictures become square. [default: 'stretch']"""
    intensity: Literal['full', 'percentile']
    """How grey pictures of more than 8 bits are scaled. By the full range of their numbers, in which 12-bit data in 16-bit files are nearly black; or percentile, from each picture's own 0.1 to its 99.9 %. [default: 'full']"""
    unfreeze: str | int
    """Part of the network to train. none, all, from:STAGE, last:N (layers) or gradual; `transferkit backbones show NAME` lists the stages. [default: 'none']"""
    adapt: Literal['all', 'norms', 'lora']
    """What is trained of unfrozen layers. all: every weight. norms: factors and biases, a thousandth of it. lora: additions of rank 8 to the kernels of dense layers, merged into them before the model is saved. [default: 'all']"""
    batchnorm: Literal['frozen', 'train']
    """BatchNorm statistics in the trained part. [default: 'frozen']"""
    layer_decay: float
    """Learning-rate factor a quarter of the network further down. [default: 0.7]"""
    head: str
    """Kind of classifier on top. auto chooses by cross-validation among linear ones, kernel machines and a neural network, on features of several depths, where no option says how a head is trained; else it is mlp. Unfrozen layers then start from the best linear one. mlp and linear are trained by gradients. [default: 'auto']"""
    max_latency: float | None
    """Longest that one picture may take, in milliseconds. Classifiers (and networks, where none is named) that take longer on this machine, measured on the network that is shipped, are left out of the choice. [default: none]"""
    max_size: float | None
    """Largest that the file of the model may be, in megabytes. What is larger is left out of the choice. [default: none]"""
    head_width: Sequence[int] | int | str
    """Hidden widths of the head. [default: (256,)]"""
    dropout: float
    """Dropout in the head. [default: 0.3]"""
    l1: float
    """L1 penalty on the head's kernels. [default: 0.0]"""
    l2: float
    """L2 penalty on the head's kernels. [default: 0.0]"""
    pooling: Literal['avg', 'max', 'flatten', 'gem', 'cls', 'mean', 'cls+mean', 'attention', 'pooler']
    """From feature map to vector. cls takes a vision transformer's class token, mean its patches; attention learns with the head which places count; pooler is what SigLIP was trained with. [default: 'avg']"""
    normalize: bool
    """Standardise features. [default: True]"""
    task: Literal['auto', 'classify', 'multilabel', 'regress', 'ordinal']
    """What the labels mean. One class each, several labels each, numbers (regress), or classes that have an order (ordinal); the last two are never guessed. [default: found from the data]"""
    classes: Sequence[str] | str | None
    """All classes in their order, the lowest first; or names for codes. The order with task='ordinal', where they are no numbers; a FILE (table, JSON, or a text of names by their numbers) has the names of the data's codes. [default: by number; the labels themselves]"""
    loss: Literal['auto', 'crossentropy', 'squared', 'absolute', 'huber']
    """Training loss. [default: crossentropy; regression squared]"""
    augment: str
    """Random changes to the pictures. In training only: none, light, medium, strong, or ranges of your own: rotate=15,zoom=0.8:1.2,flip_horizontal=yes (docs/data.md). [default: 'light']"""
    views: int | Literal['auto']
    """Changed views per training picture, beside the clean one. auto extracts more as long as left-out training pictures are answered better by them. [default: 4; where a classifier is chosen, 2]"""
    mixup: float
    """MixUp strength. [default: 0.0]"""
    cutmix: float
    """CutMix strength, instead of MixUp. [default: 0.0]"""
    label_smoothing: float | None
    """Label smoothing. [default: 0.1; regression 0]"""
    optimizer: Literal['adamw', 'adam', 'sgd', 'momentum', 'rmsprop']
    """Optimizer. [default: 'adamw']"""
    learning_rate: float | Literal['auto'] | None
    """Peak rate of the head. The trained part of the network gets 0.13 of it, ten times that with adapt='norms' or lora; auto measures one. [default: 0.003 for adamw]"""
    weight_decay: float | None
    """Decoupled weight decay of adamw. [default: 0.0001]"""
    ema: bool
    """Average weights over the last two epochs. [default: True]"""
    schedule: Literal['cosine', 'constant', 'plateau']
    """Learning rate over time. [default: 'cosine']"""
    batch_size: int | Literal['auto']
    """Pictures per step. [default: 32]"""
    epochs: int
    """Most epochs per phase. [default: 30]"""
    patience: int
    """Epochs without improvement before a phase ends. [default: 8]"""
    metric: str
    """Metric that decides. By default accuracy for classes, map for several labels, mae for numbers and ordered classes; or macro_f1, recall, auc, loss and those of docs/metrics.md. [default: accuracy, map or mae]"""
    class_weights: Literal['none', 'balanced']
    """Weigh rare classes up. [default: 'none']"""
    precision: Literal['auto', 'float32', 'bfloat16', 'float16']
    """Arithmetic of the frozen part. [default: auto: measured]"""
    split: Sequence[float] | str
    """Fractions (or counts) of training, validation and test. [default: (0.7, 0.15, 0.15)]"""
    folds: int
    """Also cross-validate the head over K folds. Of training and validation pictures together. [default: 0]"""
    exclude: Sequence[str]
    """Leave out classes or files. Repeatable. [default: nothing]"""
    exclude_file: str | PathLike[str] | None
    """Leave out or relabel what this file says: `data clean`, or `data check --write-exclusions`, writes one. [default: none]"""
    reader: str
    """How the data is read, by name. Where two readers know it, or the wrong one does; `transferkit data summary` says which one reads it. [default: found from the data]"""
    image_column: str
    """Column of a table that names the picture. [default: found from the data]"""
    label_column: Sequence[str] | str
    """Column of a table that holds the label. Repeatable: a column of 0 and 1 for each label, or of numbers with task='regress'. [default: found from the data]"""
    group_column: str
    """Column of a table that says what belongs together. Pictures of one group never straddle splits. [default: group]"""
    split_column: str
    """Column of a table that says train, val or test. [default: split]"""
    path_template: str
    """How a picture's path is made of a row's columns, as train/{id}.jpg. Relative to the table. [default: found from the data]"""
    label_delimiter: str
    """What stands between several labels in one cell. A sign such as |, or comma, space, tab. [default: ;]"""
    crop_boxes: bool
    """Take each box of an export of annotations as a picture. Boxes of one picture stay in one split. [default: False]"""
    frames: str
    """Which pictures of a file that holds several are used. Those of a TIFF, an animation, a DICOM series in one file; all makes each a picture, every:1s takes a picture of each second of films. Those of one file stay in one split. [default: 'first']"""
    class_level: Literal['top', 'leaf', 'path']
    """Which of nested folders is the class. Of animal/cat/1.jpg top is animal, leaf is cat, path is animal/cat. [default: 'top']"""
    on_bad_file: Literal['error', 'skip']
    """What to do where pictures cannot be read. [default: 'error']"""
    unlabeled: str | PathLike[str] | None
    """Pictures without labels, to be learnt from as well. A folder or a list; they get the labels that are likely, and are kept where cross-validation on the labelled ones gains by it, which is said. [default: none]"""
    random_baseline: bool
    """Also train the head on the same network with random weights. [default: False]"""
    refit: Literal['train', 'train+val']
    """What the shipped model has learnt from in the end. [default: train; where a classifier is chosen, train+val]"""
    budget: float | str | None
    """Longest training, as 10m or 1.5h. Counted again with resume=True. [default: none]"""
    seed: int
    """Seed of splits, views, weights and order. [default: 0]"""



class BestSettings(TypedDict, total=False):
    """What `best` takes as keywords; every one may be left out."""

    image_size: int | None
    """Picture side in pixels. [default: the network's]"""
    resize: Literal['stretch', 'crop', 'letterbox']
    """How pictures become square. [default: 'stretch']"""
    intensity: Literal['full', 'percentile']
    """How grey pictures of more than 8 bits are scaled. By the full range of their numbers, in which 12-bit data in 16-bit files are nearly black; or percentile, from each picture's own 0.1 to its 99.9 %. [default: 'full']"""
    max_latency: float | None
    """Longest that one picture may take, in milliseconds. Classifiers (and networks, where none is named) that take longer on this machine, measured on the network that is shipped, are left out of the choice. [default: none]"""
    max_size: float | None
    """Largest that the file of the model may be, in megabytes. What is larger is left out of the choice. [default: none]"""
    task: Literal['auto', 'classify', 'multilabel', 'regress', 'ordinal']
    """What the labels mean. One class each, several labels each, numbers (regress), or classes that have an order (ordinal); the last two are never guessed. [default: found from the data]"""
    classes: Sequence[str] | str | None
    """All classes in their order, the lowest first; or names for codes. The order with task='ordinal', where they are no numbers; a FILE (table, JSON, or a text of names by their numbers) has the names of the data's codes. [default: by number; the labels themselves]"""
    augment: str
    """Random changes to the pictures. In training only: none, light, medium, strong, or ranges of your own: rotate=15,zoom=0.8:1.2,flip_horizontal=yes (docs/data.md). [default: 'light']"""
    views: int | Literal['auto']
    """Changed views per training picture, beside the clean one. auto extracts more as long as left-out training pictures are answered better by them. [default: 4; where a classifier is chosen, 2]"""
    metric: str
    """Metric that decides. By default accuracy for classes, map for several labels, mae for numbers and ordered classes; or macro_f1, recall, auc, loss and those of docs/metrics.md. [default: accuracy, map or mae]"""
    precision: Literal['auto', 'float32', 'bfloat16', 'float16']
    """Arithmetic of the frozen part. [default: auto: measured]"""
    split: Sequence[float] | str
    """Fractions (or counts) of training, validation and test. [default: (0.7, 0.15, 0.15)]"""
    exclude: Sequence[str]
    """Leave out classes or files. Repeatable. [default: nothing]"""
    exclude_file: str | PathLike[str] | None
    """Leave out or relabel what this file says: `data clean`, or `data check --write-exclusions`, writes one. [default: none]"""
    reader: str
    """How the data is read, by name. Where two readers know it, or the wrong one does; `transferkit data summary` says which one reads it. [default: found from the data]"""
    image_column: str
    """Column of a table that names the picture. [default: found from the data]"""
    label_column: Sequence[str] | str
    """Column of a table that holds the label. Repeatable: a column of 0 and 1 for each label, or of numbers with task='regress'. [default: found from the data]"""
    group_column: str
    """Column of a table that says what belongs together. Pictures of one group never straddle splits. [default: group]"""
    split_column: str
    """Column of a table that says train, val or test. [default: split]"""
    path_template: str
    """How a picture's path is made of a row's columns, as train/{id}.jpg. Relative to the table. [default: found from the data]"""
    label_delimiter: str
    """What stands between several labels in one cell. A sign such as |, or comma, space, tab. [default: ;]"""
    crop_boxes: bool
    """Take each box of an export of annotations as a picture. Boxes of one picture stay in one split. [default: False]"""
    frames: str
    """Which pictures of a file that holds several are used. Those of a TIFF, an animation, a DICOM series in one file; all makes each a picture, every:1s takes a picture of each second of films. Those of one file stay in one split. [default: 'first']"""
    class_level: Literal['top', 'leaf', 'path']
    """Which of nested folders is the class. Of animal/cat/1.jpg top is animal, leaf is cat, path is animal/cat. [default: 'top']"""
    on_bad_file: Literal['error', 'skip']
    """What to do where pictures cannot be read. [default: 'error']"""
    seed: int
    """Seed of splits, views, weights and order. [default: 0]"""
    workers: int
    """Networks at a time on Ray. [default: 1]"""
    engine: Literal['local', 'ray']
    """Where networks are compared. In this process, or on a Ray cluster. [default: 'local']"""
    address: str | None
    """The Ray cluster. [default: one on this machine]"""
    trial_cpus: float | None
    """CPUs of a network on Ray. [default: 1; on this machine its cores / workers]"""
    trial_gpus: float | None
    """GPUs of a network on Ray. [default: 0]"""



class TuneSettings(FinetuneSettings, total=False):
    """What `tune` takes as keywords: those of a run, and of a search."""

    algorithm: Literal['auto', 'grid', 'random', 'bayesian', 'hyperband']
    """grid, random, bayesian or hyperband. auto takes grid where it fits into the trials, else bayesian, or random for few. [default: 'auto']"""
    trials: int
    """How many settings to try. Grid tries all. [default: 20]"""
    workers: int
    """Trials at a time. Each in a process of its own. [default: 1]"""
    engine: Literal['local', 'ray']
    """Where trials run. On this machine, or on a Ray cluster. [default: 'local']"""
    address: str | None
    """The Ray cluster. [default: one on this machine]"""
    trial_cpus: float | None
    """CPUs of a trial on Ray. [default: 1; on this machine its cores / workers]"""
    trial_gpus: float | None
    """GPUs of a trial on Ray. [default: 0]"""
    trial_budget: float | str | None
    """End a trial after the epoch in which this time is over. [default: none]"""
    trial_memory: int | str | None
    """Fail a trial whose process takes more (4GB, 500MB). [default: 85 % of the machine's]"""
    finalists: int
    """How many of the best are trained with more seeds. [default: 3]"""
    seeds: int
    """Seeds of each finalist and of the default settings. The fresh ones decide. [default: 3]"""
