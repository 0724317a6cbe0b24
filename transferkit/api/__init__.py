"""The public verbs: plain functions, plain Keras objects."""

from __future__ import annotations

from transferkit.api.data import Data
from transferkit.api.extraction import extract_features
from transferkit.api.objects import Run, load_data, load_run
from transferkit.api.portfolio import best
from transferkit.api.train import finetune, tune
from transferkit.api.use import compare, evaluate, label, predict, reproduce
from transferkit.parts import assemble, backbone, build_head, freeze

__all__ = [
    "Data", "Run", "assemble", "backbone", "best", "build_head", "compare", "evaluate", "extract_features",
    "finetune", "freeze", "label", "load_data", "load_run", "predict", "reproduce", "tune",
]  # fmt: skip
