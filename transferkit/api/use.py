"""The verbs that use a run: `predict`, `evaluate`, `compare`, `reproduce`, `label`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transferkit.api.arguments import checked
from transferkit.api.data import Data
from transferkit.api.objects import Run
from transferkit.api.train import finetune
from transferkit.compute import restoring
from transferkit.console import Reporter
from transferkit.errors import DataError, RunError, raise_problems
from transferkit.runs.directory import check_new, free_name
from transferkit.runs.layout import Layout

if TYPE_CHECKING:
    from transferkit.delivery.compare import Comparison
    from transferkit.delivery.labeling import Labeling
    from transferkit.delivery.predict import Prediction
    from transferkit.delivery.reproduction import Reproduction


Named = str | Path | Run


@restoring
@checked
def predict(
    run: Named | Sequence[Named], pictures: Any, *, tta: bool = False, engine: Literal["local", "ray"] = "local",
    address: str | None = None, workers: int | None = None, worker_cpus: float | None = None,
    worker_gpus: float | None = None, quiet: bool = False,
) -> list[Prediction]:  # fmt: skip
    """Answers of a run, or of several together, for pictures, in their order.

    Args:
        run: a run (its folder or a `Run`) or a model.keras; several of them, in a list or as "runs/a,runs/b", answer
            together: the mean of their calibrated probabilities, or of their numbers. Their task and classes must be
            the same; the order of classes may differ.
        pictures: a file, a folder, a Pillow image, a uint8 array or tensor [H, W, 3] or [n, H, W, 3], the bytes of a
            picture file, or a list of these. A Pillow image counts as the pixels it holds.
        tta: average each run over mirrored pictures and crops, where its validation pictures show that this helps.
        engine: where: "local", in this process, or "ray", by workers on a Ray cluster, which takes files only.
        address: of the cluster (`auto`, `host:port`, `ray://host:port`); None: one on this machine.
        workers: how many of them; None: as many as there is room for.
        worker_cpus: CPUs of a worker; None: 4, or as many as the smallest machine has.
        worker_gpus: GPUs of a worker.
        quiet: say nothing of what is done.

    Raises:
        ConfigError, RunError: runs that are not finished, or cannot answer together; no cluster, or pictures that have
            no path for its workers.
        DataError: pictures that do not exist, objects that are none; for `tta` also validation pictures that are gone
            or changed.
    """
    from transferkit.delivery import members
    from transferkit.delivery.ray_predict import predictor_of, require_paths
    from transferkit.features.extraction_engines import engine_of

    runs, reporter = members.named(run), Reporter(quiet)
    members.common(runs)
    where = engine_of(engine, address, workers, worker_cpus, worker_gpus)
    items = pictures if isinstance(pictures, list | tuple) else [pictures]
    sources: list[Any] = []
    for item in items:
        sources += _sources(item, reporter, runs)
    if engine == "ray":
        require_paths(sources)
    return list(predictor_of(where, list(runs), tta=tta, reporter=reporter).stream(sources, reporter))


def _sources(item: Any, reporter: Reporter, runs: Sequence[Path]) -> Sequence[Any]:
    """What the decoder reads for one of `pictures`."""
    from PIL import Image

    from transferkit.data.images.handed import TAKEN, sources_of
    from transferkit.delivery import members
    from transferkit.delivery.inputs import find

    # Only an image object may hold grey of more than 8 bits; all else is read by each model's own settings.
    found = sources_of(item, members.intensity(runs) if isinstance(item, Image.Image) else "full")
    if found is None and not isinstance(item, str | os.PathLike):
        raise DataError(f"pictures: {type(item).__name__} is no picture; give {TAKEN}")
    return find([item], reporter.warn, runs, members.film_step(runs)) if found is None else found


@restoring
@checked
def evaluate(run: str | Path | Run, data: Any = None, *, quiet: bool = False) -> dict[str, Any]:
    """Scores of a run's model on `data`, or on the run's own test split (decoded and predicted again).

    Args:
        run: a finished run, or its folder.
        data: labelled pictures, as `finetune` takes them; None: the run's own test pictures, where they are now.
        quiet: no progress, warnings only.

    Returns:
        The scores of docs/metrics.md by name; with `data` also `drift`, which says whether the pictures lie far from
        those of training (see `evaluation.drift`).

    Raises:
        RunError: no finished run.
        DataError: pictures or labels that do not fit the run.
    """
    from transferkit.data.readers import datasets
    from transferkit.delivery.evaluate import evaluate as room

    data = datasets.read(data)
    return room(Layout(Path(run)), data.samples if isinstance(data, Data) else data, Reporter(quiet)).as_dict()


@restoring
@checked
def reproduce(
    run: str | Path | Run, data: Any = None, *, output: str | Path | None = None, fresh: bool = False,
    offline: bool = False, quiet: bool = False, reporter: Reporter | None = None,
) -> Reproduction:  # fmt: skip
    """Repeat a finished run with its own settings, and compare the two.

    Args:
        run: a finished run, or its folder.
        data: where its data is now, if it moved, or the arrays it was trained on.
        output: the folder of the repeated run; by default beside the first.
        fresh: compute the features again instead of taking them from the cache.
        offline: never download weights.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.

    Returns:
        Whether splits, answers and weights are the same, which numbers differ, and what may explain it.

    Raises:
        RunError: no finished run, or something is at `output`.
        DataError, WeightsError: data or weights are not those of then.
    """
    from transferkit.data.readers import datasets
    from transferkit.delivery import reproduce as room
    from transferkit.delivery import reproduction

    reporter = reporter or Reporter(quiet)
    before = Layout(Path(run))
    settings: dict[str, Any] = room.settings_of(before)
    default = free_name(before.folder.absolute().parent, f"{before.folder.absolute().name}-reproduced")
    folder = default if output is None else Path(output)
    raise_problems(RunError, check_new(folder, resume=False))
    origin, reasons = room.check(before, datasets.read(data), offline, reporter)
    with room.cache(fresh, folder):
        kept = room.cache_of(before)
        again = finetune(origin, output=folder, offline=offline, cache=kept, reporter=reporter, **settings)
    return reproduction.compare(before, again.layout, reasons)


@checked
def compare(*runs: str | Path | Run, seed: int = 0) -> Comparison:
    """Finished runs side by side on the same test pictures, with paired tests; print it, or see its `pairs`.

    Args:
        runs: finished runs, or their folders.
        seed: of the bootstrap.

    Returns:
        The comparison, the best run first.

    Raises:
        RunError: the runs are fewer than two, or their test splits or tasks differ.
    """
    from transferkit.delivery.compare import compare as room

    return room([Layout(Path(run)) for run in runs], seed)


@restoring
@checked
def label(
    pool: str | Path | Sequence[str | Path], run: str | Path | Run | None = None, *, next: int = 20,
    test: int | None = None, output: str | Path | None = None, backbone: str | Path | None = None, seed: int = 0,
    offline: bool = False, quiet: bool = False, reporter: Reporter | None = None,
) -> Labeling:  # fmt: skip
    """Which pictures of a pool are worth a label next, written into a table to fill in; `finetune` reads it then.

    Args:
        pool: a file, folder, pattern or list of pictures, or several of these.
        run: a finished run. With few labels typical pictures are chosen, with more those that its model is unsure of
            and that are unlike one another. Without one: typical pictures, by a pretrained network.
        next: how many to choose.
        test: how many to draw at random first, for testing: scores on pictures that were chosen are biased. By default
            50, but no more than a third of the pool, and none where there are test pictures already.
        output: the table, by default `POOL-labels.csv`; one that is there is gone on with.
        backbone: the network to compare by, without a run. By default one that suits the pictures.
        seed: of drawing and clustering.
        offline: never download weights.
        quiet: say nothing of what is done.
        reporter: who is told instead of the terminal.

    Raises:
        ConfigError: options without effect, or a run whose pictures have not one class each.
        DataError: nothing of the pool is new.
    """
    from transferkit.delivery.labeling import label as room

    items = [pool] if isinstance(pool, str | os.PathLike) else pool
    several = [Path(item).expanduser() for item in items]
    if not several:
        raise DataError("pool names no picture; give a folder, files, or a list of them")
    parts = Path(os.path.abspath(several[0])).parts
    plain = Path(*itertools.takewhile(lambda part: not set(part) & set("*?["), parts))  # of a pattern, its folder
    first = several[0] if several[0].exists() else plain
    name = (first.stem if first.is_file() else Path(os.path.abspath(first)).name) or "pool"
    return room(
        several, None if run is None else Path(run), count=next, test=test,
        output=Path(f"{name}-labels.csv") if output is None else Path(output),
        backbone=None if backbone is None else os.fspath(backbone), seed=seed, offline=offline,
        reporter=reporter or Reporter(quiet),
    )  # fmt: skip
