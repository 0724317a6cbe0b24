"""What the verbs take and give: pictures with labels, and a finished run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from transferkit.api import plain
from transferkit.api.data import Data
from transferkit.compute import restoring
from transferkit.console import Reporter
from transferkit.errors import ConfigError, DataError, RunError
from transferkit.runs.layout import Layout
from transferkit.text import shown

if TYPE_CHECKING:
    import keras

    from transferkit.data.readers.request import ReadingOptions
    from transferkit.delivery.explain import Explanation
    from transferkit.delivery.exporting.every import Exports
    from transferkit.delivery.exporting.export import Export
    from transferkit.delivery.predict import Prediction
    from transferkit.delivery.reproduction import Reproduction
    from transferkit.record import HistoryRow


def load_data(
    data: Any, split: Sequence[float] | None = None, seed: int | None = None, *, task: Any = None,
    exclude: Sequence[str] = (), classes: str | Sequence[str] | None = None, **reading: Unpack[ReadingOptions],
) -> Data:  # fmt: skip
    """Read pictures and their labels, as `finetune` and the other verbs take them.

    Args:
        data: a folder of class folders, a folder with train/val/test, a table (CSV and others, see docs/data.md),
            arrays `(x, y)`, or a finite `tf.data.Dataset` or `keras.utils.PyDataset` of uint8 pictures and labels,
            which is read into arrays.
        split: three fractions or counts (train, validation, test); None leaves it to the verb.
        seed: shuffles the split; None leaves it to the verb.
        task: what the labels mean, "classify", "multilabel", "regress" or "ordinal"; None: found from the data.
        exclude: classes or patterns of files that are left out.
        classes: all classes, the lowest first, for task="ordinal"; or a file of names for the codes that the data has.
        reading: the settings that say how data is read (`reader`, `image_column`, `label_column`, `path_template`, …).

    Returns:
        The samples, with the split and the seed that were given. No picture was decoded.

    Raises:
        ConfigError: no such split or seed; or an option of `reading` that is unknown, or that the data has no use for.
        DataError: with every problem found.
    """
    from transferkit.config import make
    from transferkit.data.readers.request import Reading
    from transferkit.data.source import origin_of, scan

    given = {name: value for name, value in (("split", split), ("seed", seed)) if value is not None}
    asked = make({"backbone": "mini", **given})  # which has no say in either
    data = plain.data(data, {} if task is None else {"task": task})
    how = Reading.checked({**reading, **({} if classes is None else {"classes": classes})})
    samples = scan(data, task, exclude=exclude, order=classes, reading=how)
    return Data(samples, origin_of(data), None if split is None else asked.split, None if seed is None else asked.seed)


@dataclass(frozen=True, repr=False, init=False)
class Run:
    """A run by its folder: its numbers and verbs. `load_run` opens one that is known to be finished.

    Args:
        folder: the run directory, as a path or a text. Raises ConfigError for anything else.
    """

    folder: Path

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        given: Any = folder  # whatever it is declared to be
        if not isinstance(given, str | os.PathLike):
            raise ConfigError(f"a run is named by the path of its folder, not by a {type(given).__name__}")
        object.__setattr__(self, "folder", Path(os.fspath(given)))

    def __fspath__(self) -> str:
        """Its folder: a run is taken wherever the path of one is."""
        return str(self.folder)

    def __repr__(self) -> str:
        """`Run('runs/a': vgg16, accuracy 0.912 on test of 115 pictures)`, or what is wrong with it."""
        return f"Run({str(self.folder)!r}: {_described(self.folder)})"

    @property
    def layout(self) -> Layout:
        """Paths of the run's files."""
        return Layout(self.folder)

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json."""
        return self.layout.read_metrics().as_json()

    @property
    def history(self) -> list[HistoryRow]:
        """history.csv, one dictionary a row."""
        return self.layout.read_history()

    @property
    def manifest(self) -> dict[str, Any]:
        """run.json."""
        return self.layout.read_manifest().as_json()

    @restoring
    def model(self) -> keras.Model:
        """The shipped model: uint8 RGB pictures [n, size, size, 3] to answers [n, t]."""
        from transferkit.runs import model_file

        self.layout.check_model()
        return model_file.load(self.layout.model)

    def predict(
        self, pictures: Any, quiet: bool = True, *, tta: bool = False, engine: Literal["local", "ray"] = "local",
        address: str | None = None, workers: int | None = None, worker_cpus: float | None = None,
        worker_gpus: float | None = None,
    ) -> list[Prediction]:  # fmt: skip
        """Answers for a file, a folder, an image, an array, or a list of these; see `transferkit.predict`."""
        from transferkit.api.use import predict

        return predict(
            self, pictures, tta=tta, engine=engine, address=address, workers=workers, worker_cpus=worker_cpus,
            worker_gpus=worker_gpus, quiet=quiet,
        )  # fmt: skip

    def evaluate(self, data: Any = None, quiet: bool = True) -> dict[str, Any]:
        """Scores on `data`, or on the run's own test split."""
        from transferkit.api.use import evaluate

        return evaluate(self.folder, data, quiet=quiet)

    @restoring
    def explain(self, picture: Any, method: str = "grad-cam", output: str | None = None) -> Explanation:
        """Where the model looked in a file, a Pillow image or a uint8 array [H, W, 3]: for its answer, or for the class
        `output`. Raises DataError for what is no picture, or several.
        """
        from transferkit import compute
        from transferkit.data.images.handed import sources_of
        from transferkit.delivery import members
        from transferkit.delivery.explain import Explaining

        compute.start()
        found = sources_of(picture, members.intensity([self.folder]))
        if found is None and not isinstance(picture, str | os.PathLike):
            raise DataError(f"picture: {type(picture).__name__} is no picture; give a file, an image or an array")
        if found is not None and len(found) != 1:
            raise DataError(f"picture: {len(found)} pictures are explained one by one; give one of them")
        sources = [Path(picture)] if found is None else found
        return next(Explaining.of(self.layout, method).stream(sources, output))

    @overload
    def export(  # type: ignore[overload-overlap]
        self, format: Literal["all"], *, quantize: str | None = None, output: str | Path | None = None,
        data: Any = None, replace: bool = False, allow_mismatch: bool = False, quiet: bool = True,
    ) -> Exports: ...  # fmt: skip

    @overload
    def export(
        self, format: str, *, quantize: str | None = None, output: str | Path | None = None, data: Any = None,
        replace: bool = False, allow_mismatch: bool = False, quiet: bool = True,
    ) -> Export: ...  # fmt: skip

    @restoring
    def export(
        self, format: str, *, quantize: str | None = None, output: str | Path | None = None, data: Any = None,
        replace: bool = False, allow_mismatch: bool = False, quiet: bool = True,
    ) -> Export | Exports:  # fmt: skip
        """Write the model as `keras`, `saved_model`, `litert` or `onnx`, proved on the run's own pictures.

        `all` makes every format that can be made here, and returns their table; `output` is the folder above then.

        `quantize`: float32, float16 (keras, litert) or int8 (litert). `data` is where the run's data is now, if it
        moved, or the arrays it was trained on. See `transferkit.delivery.exporting.export`.
        """
        from transferkit.data.readers import datasets
        from transferkit.delivery.exporting.every import export_all
        from transferkit.delivery.exporting.export import export

        options: dict[str, Any] = {
            "quantize": quantize,
            "output": None if output is None else Path(output),
            "data": datasets.read(data),
        }
        options |= {"replace": replace, "allow_mismatch": allow_mismatch}
        if format == "all":
            return export_all(self.layout, Reporter(quiet), **options)
        return export(self.layout, format, Reporter(quiet), **options)

    def reproduce(
        self, data: Any = None, *, output: str | Path | None = None, fresh: bool = False, offline: bool = False,
        quiet: bool = True,
    ) -> Reproduction:  # fmt: skip
        """Repeat the run with its own settings and compare; see `transferkit.api.reproduce`."""
        from transferkit.api.use import reproduce

        return reproduce(self, data, output=output, fresh=fresh, offline=offline, quiet=quiet)

    def summary(self, verbose: bool = False, width: int | None = None) -> str:
        """The closing summary as text: the answer first; `verbose` adds phases, times and files.

        Lines are wrapped at `width` columns, by default those of the terminal that standard output is, if it is one.
        """
        from transferkit.console import columns
        from transferkit.delivery.summary import summary

        return summary(self.layout, verbose, width or columns())

    @restoring
    def report(self) -> Path:
        """Write report.html, CARD.md and the figures again; returns its path, which notebooks show as a page."""
        from transferkit.delivery.notebook import Page
        from transferkit.delivery.report.publish import publish

        return Page(publish(self.layout, Reporter(quiet=True)))

    def _repr_html_(self) -> str:
        """For notebooks: the summary, the curves and the confusion matrix, and where the whole report is."""
        from base64 import b64encode
        from html import escape

        from transferkit.delivery import notebook

        shown = [self.layout.figures / f"{name}.png" for name in ("curves", "confusion")]
        pictures = [
            f'<img style="max-width:100%" alt="{path.stem}" src="data:image/png;base64,{data}">'
            for path in shown
            if path.is_file() and (data := b64encode(path.read_bytes()).decode())
        ]
        link = f'<p>Report: <a href="{escape(str(self.layout.report))}">{escape(str(self.layout.report))}</a></p>'
        return notebook.text(self.summary()) + "".join(pictures) + (link if self.layout.report.exists() else "")


def load_run(folder: str | os.PathLike[str]) -> Run:
    """The finished run in `folder`, checked: it is complete, and its record and scores are as they were written.

    Raises RunError where there is no run, or one that is unfinished or damaged, with the remedy; ConfigError for what
    is no path.
    """
    run = Run(folder)
    if run.folder.is_file():
        raise RunError(f"{shown(run.folder)} is a file; give the run directory, {shown(run.folder.parent)}")
    run.layout.complete()
    run.layout.read_metrics()
    return run


def _described(folder: Path) -> str:
    """What a run is, on one line; never raises what its files make wrong."""
    from transferkit.delivery.overview import described

    if not (folder / "run.json").exists():
        return "no run in this folder"
    row = described(folder)
    if row.problem is not None:
        return "its files cannot be read; load_run says why"
    if row.score is None:
        return f"{shown(row.backbone)}, {shown(row.status)}"
    pictures = f" of {row.test_pictures} pictures" if row.test_pictures else ""
    return f"{shown(row.backbone)}, {row.metric} {row.score:.3f} on test{pictures}"
