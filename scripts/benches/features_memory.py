"""Peak memory of a whole run whose feature maps lie on disk, above that of importing TensorFlow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from benches.measuring import Bar, in_child, measurement, peak_mb, scratch
from benches.noting import Noting
from benches.pictures import synthetic

BARS = (
    Bar("peak_above_import_mb", "<=", 1500, "peak memory above the import, 50,000 pictures of 64 pixels, maps on disk"),
)  # fmt: skip
SIZE = 64


@measurement("features-memory", BARS)
@click.option("--pictures", default=50_000, show_default=True)
@click.option("--epochs", default=1, show_default=True)
def measure(quick: bool, pictures: int, epochs: int) -> dict[str, Any]:
    """`finetune` of mini's last block on maps of 8×8×144 at the cut: check, extraction, training, test and report."""
    pictures = 600 if quick else pictures
    with scratch() as folder:
        synthetic(folder / "data", pictures, (SIZE, SIZE))
        arguments = {"data": folder / "data", "epochs": epochs}
        found = in_child("features_memory", "whole", arguments, folder / "cache")
        stored = sum(path.stat().st_size for path in (folder / "cache" / "features").rglob("*.npy"))
    return {"pictures": pictures, "size": SIZE, "epochs": epochs, "stored_mb": stored / (1 << 20), **found}


def whole(data: str, epochs: int) -> dict[str, Any]:
    """What is measured, in a process that does nothing else. Mapped pages of files count as memory too."""
    import transferkit as tk
    from transferkit import compute

    compute.start()
    stages: dict[str, float] = {}
    before = peak_mb()
    started = time.perf_counter()
    run = tk.finetune(
        data, "mini", image_size=SIZE, head="mlp", unfreeze="from:block4", augment="none", views=0, epochs=epochs,
        output=Path(data).parent / "run", offline=True, reporter=Noting(stages, before),
    )  # fmt: skip
    return {"import_mb": before, "above_import_mb": stages, "seconds": time.perf_counter() - started,
            "peak_above_import_mb": peak_mb() - before, "stages": run.manifest["timings"]}  # fmt: skip
