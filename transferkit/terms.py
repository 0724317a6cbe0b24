"""What things are called where a person reads them: the one table for terminal, summary, report, card and figures.

Plain words first, the field's term in brackets where one would search for it. The keys in files stay as they are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from transferkit import tasks


class Rival(NamedTuple):
    """A baseline: `label` in a table or under a bar, `phrase` inside a sentence ("… is better than this model")."""

    label: str
    phrase: str


RIVALS = {
    "linear_probe": Rival(
        "simplest classifier on the same network (linear probe)",
        "the simplest classifier on the same network (linear probe)",
    ),
    "nearest_neighbours": Rival(
        "most similar training pictures (nearest neighbours)",
        "going by the most similar training pictures (nearest neighbours)",
    ),
    "random_weights": Rival("same network, random weights", "the same network with random weights"),
}
NUMBERS = {  # the same where numbers are estimated, not classes
    "linear_probe": Rival(
        "simplest model on the same network (linear probe)",
        "the simplest model on the same network (linear probe)",
    ),
}
SCORES = {
    "map": "mean average precision", "mae": "mean absolute error", "rmse": "root mean squared error",
    "median_ae": "median absolute error", "r2": "R²", "ece": "calibration error",
    "ece_uncalibrated": "calibration error before calibration", "roc_auc": "ROC AUC", "auc": "ROC AUC",
    "pr_auc": "PR AUC", "mcc": "MCC", "mape": "MAPE", "n": "pictures", "recall": "macro recall",
    "macro_f1": "macro F1", "f1": "F1", "weighted_f1": "weighted F1", "micro_f1": "micro F1", "brier": "Brier score",
    "qwk": "quadratic weighted kappa", "top3_accuracy": "top-3 accuracy", "top5_accuracy": "top-5 accuracy",
}  # fmt: skip
PARTS = {"train": "training", "val": "validation", "test": "test"}
# Of the classifiers that `--head auto` chooses from: what they are, and what they read of the network.
CLASSIFIERS = {
    "mlp": "neural network", "kernel": "kernel machine", "logistic": "logistic regression",
    "discriminant": "linear discriminant", "class mean": "nearest class mean", "ridge": "ridge regression",
    "neighbours": "similar pictures' votes", "linear": "linear classifier",
}  # fmt: skip
PLACES = {
    "last": "the last layer", "top": "the upper layers", "all": "all depths", "tuned": "layers trained with it",
}  # fmt: skip
HEAD, TAIL = "new classifier", "upper layers"
PHASES = {"head": (HEAD, "head"), "tail": (TAIL, "tail"), "mlp": ("neural network among the candidates", "mlp")}
# Said of a run as its main problem. What the rules find, and no more than that: see docs/diagnosis.md.
STATES = {
    "leakage suspected": "pictures of one split may be known from another (leakage suspected)",
    "test unlike training": "the test pictures are of another kind than those of training (shift)",
    "learning rate too high": "the learning rate was too high",
    "unstable": "the training was unstable",
    "learning rate too low": "the learning rate was too low",
    "underfitting": "it has learnt too little so far (underfitting)",
    "label noise suspected": "some labels are probably wrong (label noise suspected)",
    "overfitting": "it does better on training pictures than on new ones (overfitting)",
    "too little data": "there are few training pictures (too little data)",
    "class imbalance hurting": "rare classes are recognised worse (class imbalance)",
    "good fit": "none found (good fit)",
    "unknown": "not known",
}


def rival(name: str, task: str) -> Rival:
    """A baseline's key in words; a key of another version as it is written.

    Args:
        name: its key in metrics.json.
        task: of the run.
    """
    if name == "majority":
        return Rival(*tasks.of(task).majority)
    known = {**RIVALS, **(NUMBERS if tasks.of(task).numbers else {})}.get(name)
    plain = name.replace("_", " ")
    return known or Rival(plain, plain)


def candidate(classifier: str, features: str) -> str:
    """A candidate in words: "kernel machine on all depths".

    Args:
        classifier: its key in metrics.json.
        features: likewise.
    """
    return f"{CLASSIFIERS.get(classifier, classifier)} on {PLACES.get(features, features)}"


def score(key: str) -> str:
    """A score's key in words."""
    return SCORES.get(key, key.replace("_", " "))


def part(name: str) -> str:
    """A split's key in words."""
    return PARTS.get(name, name)


def phase(name: str, technical: bool = False) -> str:
    """A phase's name in words: `"new classifier"`, `"upper layers"`, `"upper layers from:block5"`, `"fold 2/5"`.

    Args:
        name: as in history.csv and run.json (`head`, `tail`, `tail POLICY`, …).
        technical: with the field's term in brackets, `"new classifier (head)"`.
    """
    first, _, rest = name.partition(" ")
    if first not in PHASES or not re.fullmatch(r"\S*", rest):
        return name
    plain, term = PHASES[first]
    return " ".join(filter(None, (plain, rest, f"({term})" * technical)))


def state(name: str) -> str:
    """A diagnosis as the main problem, in words."""
    return STATES.get(name, name)
