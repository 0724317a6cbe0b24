"""`predict` of a run's model, from files to answers, against extraction of the same network from the same files."""

from __future__ import annotations

import statistics
import time
from typing import Any

import click

from benches.extraction import Extraction
from benches.measuring import MOBILENET, Bar, measurement, scratch, turns

BARS = (Bar("ratio", ">=", 0.85, "MobileNet-0.25: `predict` throughput / extraction throughput"),)


@measurement("predict", BARS)
@click.option("--rounds", default=3, show_default=True)
def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Both read 2,496 pictures of TrashNet at 224 pixels; one writes rows, the other gives answers."""
    rounds = 1 if quick else rounds
    with scratch() as folder:
        work = Extraction("mobilenet_0.25", str(MOBILENET), 128 if quick else 2496, folder, "float32")
        predictor = _Predictor(work)
        found = turns({"predict": predictor.speed, "extraction": work.speed}, rounds)
    medians = {side: statistics.median(speeds) for side, speeds in found.items()}
    return {"rounds": rounds, "pictures": work.count, "pictures_per_second": medians, "all": found,
            "ratio": medians["predict"] / medians["extraction"]}  # fmt: skip


class _Predictor:
    """The model of a run on the backbone of `work`: an untrained head costs what a trained one does."""

    def __init__(self, work: Extraction) -> None:
        from transferkit.console import Reporter
        from transferkit.delivery.members import Member
        from transferkit.delivery.predict import Predictor

        model, facts = untrained(work)
        self.predictor, self.reporter = Predictor([Member(model, facts)], facts), Reporter(quiet=True)
        self.sources = [work.samples.source(index) for index in range(work.count)]

    def speed(self) -> float:
        """Pictures a second, from files to answers."""
        started = time.perf_counter()
        answers = sum(not answer.error for answer in self.predictor.stream(self.sources, self.reporter))
        seconds = time.perf_counter() - started
        if answers != len(self.sources):
            raise AssertionError(f"{answers} of {len(self.sources)} pictures were answered")
        return answers / seconds


def untrained(work: Extraction) -> tuple[Any, Any]:
    """The model that a run on the backbone of `work` would save, before any training, and what its file says of it."""
    import keras

    from transferkit import heads
    from transferkit.config import make
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.runs.model_facts import ModelFacts
    from transferkit.training import models

    names = list(work.samples.classes)
    settings = make({"backbone": work.backbone.row.name, "head": "mlp"})  # one of a fixed shape
    width = work.backbone.model.output_shape[-1]
    shape = heads.HeadSettings(settings.head_width, settings.dropout, 0.0, 0.0, settings.pooling, 0, settings.head)
    body = heads.body(width, len(names), shape, None)
    whole = models.whole(work.backbone, body, settings.pooling)
    model = keras.Model(whole.inputs, keras.layers.Softmax()(whole.outputs[0]))
    decode = DecodeSettings(work.backbone.size).key()
    return model, ModelFacts.read({"decode": decode, "classes": names, "task": "classify", "thresholds": None})
