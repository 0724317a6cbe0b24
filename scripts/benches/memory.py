"""Peak memory of the way of `finetune` up to the stored features, above that of importing TensorFlow."""

from __future__ import annotations

from typing import Any

import click

from benches.measuring import Bar, in_child, measurement, peak_mb, scratch
from benches.pictures import synthetic

BARS = (
    Bar("peak_above_import_mb", "<", 600, "peak memory above the TensorFlow import, 20,000 pictures, in MB"),
)  # fmt: skip


@measurement("memory", BARS)
@click.option("--pictures", default=20_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Side at which mini looks at them.")
def measure(quick: bool, pictures: int, size: int) -> dict[str, Any]:
    """Peak memory of scan, check, hashing and extraction with mini, above that of importing TensorFlow."""
    pictures = 200 if quick else pictures
    with scratch() as folder:
        synthetic(folder / "data", pictures)
        found = in_child("memory", "up_to_features", {"data": folder / "data", "size": size}, folder / "cache")
    return {"pictures": pictures, "size": size, **found}


def up_to_features(data: str, size: int) -> dict[str, Any]:
    """What is measured: check, hash and extract with one view, in a process that does nothing else."""
    from transferkit import compute

    compute.start()
    import tensorflow as tf

    from transferkit.backbones.build import build
    from transferkit.config import make
    from transferkit.console import Reporter
    from transferkit.data.audit.audit import quick
    from transferkit.data.augmentation.augment import augmentation
    from transferkit.data.images.decode import DecodeSettings
    from transferkit.data.source import scan
    from transferkit.features.frozen import Frozen
    from transferkit.features.row_sources import Views
    from transferkit.runs.intake import readable

    tf.constant(0)  # the runtime is part of the import
    before, reporter, stages = peak_mb(), Reporter(quiet=True), {}
    samples = readable(scan(data, strict=False), "skip", reporter)[0].hashed()
    quick(samples)
    stages["checked"] = peak_mb() - before
    settings = make({"backbone": "mini", "image_size": size, "augment": "light", "views": 1})
    backbone = build("mini", "auto", size, 0, True)
    views = Views(DecodeSettings(backbone.size), augmentation("light"), 1, 0)
    frozen = Frozen(backbone, settings, views, True, reporter)
    frozen.prepare([frozen.pooled()], samples, {i: range(2) for i in range(len(samples))})
    stages["extracted"] = peak_mb() - before
    return {"import_mb": before, "above_import_mb": stages, "rows": frozen.rows_computed,
            "peak_above_import_mb": stages["extracted"]}  # fmt: skip
