"""What is gone by when pictures to label are chosen: features, and where there is a run its answers, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferkit import compute
from transferkit.console import Reporter
from transferkit.data.samples import Samples
from transferkit.runs import model_file, scoring, typical_features
from transferkit.runs.layout import Layout
from transferkit.storage import ready_cache


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Features float32 of the pool [M, D] and of known pictures [N, D]; a model's probabilities `answers` [M, C] for
    the pool and the names of its `classes`, where there is a model."""

    pool: np.ndarray
    known: np.ndarray
    answers: np.ndarray | None = None
    classes: tuple[str, ...] = ()


def seen(
    run: Path | None, pool: Samples, known: Samples, backbone: str | None, seed: int, offline: bool, reporter: Reporter
) -> Seen:
    """By the model of `run`, else by a pretrained network: `backbone`, or one that suits the pictures.

    Args:
        run: whose model looks at the pictures, where there is one.
        pool: pictures without labels.
        known: those with labels.
        backbone: the network, where there is no run; None: one that suits the pictures.
        seed: of the choice.
        offline: never download weights.
        reporter: is told of the progress.
    """
    compute.start(reporter=reporter)
    if run is None:
        return _by_network(pool, known, backbone, seed, offline, reporter)
    layout = Layout(run)
    layout.check_model()
    facts = model_file.facts(layout.model)
    model, decode = typical_features.with_features(model_file.load(layout.model)), facts.decoding()
    count = len(facts.classes)
    outputs = scoring.predictions(model, pool, decode, reporter, "looking at the pool")
    others = scoring.predictions(model, known, decode, reporter, "looking at labelled pictures") if len(known) else None
    return Seen(
        pool=outputs[:, count:], known=outputs[:0, count:] if others is None else others[:, count:],
        answers=outputs[:, :count].astype(np.float64), classes=tuple(facts.classes),
    )  # fmt: skip


def _by_network(
    pool: Samples, known: Samples, backbone: str | None, seed: int, offline: bool, reporter: Reporter
) -> Seen:
    from transferkit.backbones import build as networks
    from transferkit.backbones.default import choose
    from transferkit.runs.network_scores import last_layer

    if backbone is None:
        choice = choose(pool, {}, offline)
        backbone = choice.backbone
        reporter.say(f"backbone: {backbone}, because {choice.reason}")
    ready_cache(reporter.warn)
    found = networks.build(backbone, seed=seed, offline=offline, reporter=reporter.say)
    # By percentiles: of deep grey that stays nearly black all would be alike, and nobody has said how it is meant.
    x = last_layer(found, backbone, pool, seed, reporter, "percentile")[2]
    if not len(known):
        return Seen(pool=x, known=x[:0])
    return Seen(pool=x, known=last_layer(found, backbone, known, seed, reporter, "percentile")[2])
