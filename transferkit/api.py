"""The public verbs. Each checks everything first, then works; plain functions, plain Keras objects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.config import Settings, make
from transferkit.console import Reporter
from transferkit.errors import ConfigError, DataError, RunError, TransferKitError, raise_problems
from transferkit.parts import assemble, backbone, build_head, freeze
from transferkit.runs import refusals, trackers
from transferkit.runs.layout import Layout, check_new, free_name

if TYPE_CHECKING:
    import keras

    from transferkit.data.samples import Samples
    from transferkit.delivery.compare import Comparison
    from transferkit.delivery.explain import Explanation
    from transferkit.delivery.exporting.export import Export
    from transferkit.delivery.predict import Prediction
    from transferkit.delivery.reproduce import Reproduction


@dataclass(frozen=True)
class Data:
    """Pictures with labels and how they are to be split; from `load_data`."""

    samples: Samples
    origin: str
    split: tuple[float, ...] | None = None
    seed: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes, labels or targets."""
        return self.samples.classes

    def counts(self) -> dict[str, int]:
        """Pictures per class."""
        return self.samples.counts()


def load_data(
    data: Any, split: Sequence[float] | None = None, seed: int | None = None, *, task: Any = None,
    exclude: Sequence[str] = (),
) -> Data:  # fmt: skip
    """Read a folder of class folders, a folder with train/val/test, a CSV, or arrays `(x, y)`.

    `split` are three fractions or counts (train, validation, test) and `seed` shuffles; both may be left to
    `finetune`. Raises DataError with every problem found.
    """
    from transferkit.data.source import scan

    samples = scan(data, task, exclude=exclude)
    origin = os.fspath(data) if isinstance(data, str | os.PathLike) else "arrays"
    return Data(samples, str(origin), None if split is None else tuple(split), seed)


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, numbers and verbs."""

    folder: Path

    @property
    def layout(self) -> Layout:
        """Paths of the run's files."""
        return Layout(self.folder)

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json."""
        return self.layout.read_metrics()

    @property
    def history(self) -> list[dict[str, Any]]:
        """history.csv, one dictionary a row."""
        return self.layout.read_history()

    @property
    def manifest(self) -> dict[str, Any]:
        """run.json."""
        return self.layout.read_manifest()

    def model(self) -> keras.Model:
        """The shipped model: uint8 RGB pictures [n, size, size, 3] to answers [n, t]."""
        from transferkit.runs import model_file

        return model_file.load(self.layout.model)

    def predict(self, pictures: Any, quiet: bool = True) -> list[Prediction]:
        """Answers for a file, a folder, an array, or a list of these."""
        return predict(self.folder, pictures, quiet=quiet)

    def evaluate(self, data: Any = None, quiet: bool = True) -> dict[str, Any]:
        """Scores on `data`, or on the run's own test split."""
        return evaluate(self.folder, data, quiet=quiet)

    def explain(self, picture: Any, method: str = "grad-cam", output: str | None = None) -> Explanation:
        """Where the model looked in a file or uint8 array: for its answer, or for the class `output`."""
        from transferkit import compute
        from transferkit.delivery.explain import Explaining

        compute.start()
        source = Path(picture) if isinstance(picture, str) else picture
        return next(Explaining.of(self.layout, method).stream([source], output))

    def export(
        self, format: str, *, quantize: str | None = None, output: str | Path | None = None, data: Any = None,
        replace: bool = False, allow_mismatch: bool = False, quiet: bool = True,
    ) -> Export:  # fmt: skip
        """Write the model as `keras`, `saved_model`, `litert` or `onnx`, proved on the run's own pictures.

        `quantize` (litert): float32, float16 or int8. `data` is where the run's data is now, if it moved, or the
        arrays it was trained on. See `transferkit.delivery.exporting.export`.
        """
        from transferkit.delivery.exporting.export import export

        return export(
            self.layout, format, Reporter(quiet), quantize=quantize, output=None if output is None else Path(output),
            data=data, replace=replace, allow_mismatch=allow_mismatch,
        )  # fmt: skip

    def reproduce(
        self, data: Any = None, *, output: str | Path | None = None, fresh: bool = False, offline: bool = False,
        quiet: bool = True,
    ) -> Reproduction:  # fmt: skip
        """Repeat the run with its own settings and compare; see `transferkit.api.reproduce`."""
        return reproduce(self, data, output=output, fresh=fresh, offline=offline, quiet=quiet)

    def summary(self) -> str:
        """The closing summary as text."""
        from transferkit.delivery.summary import summary

        return summary(self.layout)

    def report(self) -> Path:
        """Write report.html, CARD.md and the figures anew; returns the report's path."""
        from transferkit.delivery.publish import publish

        return publish(self.layout, Reporter(quiet=True))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>"


def finetune(
    data: Any, backbone: str | None = None, *, output: str | Path | None = None, resume: bool = False,
    offline: bool = False, cache: bool = True, quiet: bool = False, reporter: Reporter | None = None,
    track: Sequence[str] = (), **settings: Any,
) -> Run:  # fmt: skip
    """Train the best classifier `data` allows on top of `backbone`, judge it, and write a run directory.

    `data` is what `load_data` reads, or its result. `settings` are the fields of `transferkit.Settings`
    (`unfreeze`, `head_width`, `augment`, …). `output` must not exist, unless `resume` finishes the run in it.
    `track` names who else is told of the run as it goes: "tensorboard", "mlflow", "wandb".
    Raises ConfigError, DataError, BackboneError or WeightsError before anything is written.
    """
    reporter = reporter or Reporter(quiet)
    loaded = data if isinstance(data, Data) else None
    given = {"backbone": backbone} if backbone is not None else {}
    # Paths may come as pathlib objects; settings hold text.
    given |= {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in settings.items()}
    problems = _adopt(loaded, given) if loaded else []
    origin = loaded.origin if loaded else os.fspath(data) if isinstance(data, str | os.PathLike) else "arrays"
    folder = Path(output) if output is not None else free_name(Path("runs"), _name(origin, given))
    if resume and output is None:
        problems.append("--resume needs --output: the run directory that is to be finished")
    problems += [*refusals.problems(given, offline), *check_new(folder, resume), *refusals.inside(folder, origin)]
    track = (track,) if isinstance(track, str) else tuple(track)
    problems += trackers.problems(track)
    chosen = make(given, problems)
    layout = Layout(folder)
    if resume and layout.manifest.exists() and _is_complete(layout, chosen, reporter, track):
        return Run(folder)
    _finetune(layout, loaded or data, origin, chosen, reporter, resume, offline, cache, track)
    return Run(folder)


def tune(
    data: Any, backbone: str | Sequence[str] | None = None, *, search: Sequence[str] | Mapping[str, Any] = (),
    space: Any = None, output: str | Path | None = None, resume: bool = False, offline: bool = False,
    cache: bool = True, quiet: bool = False, reporter: Reporter | None = None, **settings: Any,
) -> Run:  # fmt: skip
    """Search for the settings that suit `data`, train the best, and write a run directory with `trials.csv`.

    What is searched: `search` (`{"learning_rate": "1e-4:1e-2:log", "head_width": "64,128"}` or such texts), or `space`
    (a TOML or YAML file, a `Space`, or a function of `keras_tuner.HyperParameters`); by default learning rate, batch
    size and head width. Several backbones are searched over. `settings` are those of `finetune`, which stay as given,
    and those of the search: `algorithm`, `trials`, `workers`, `budget`, `seeds`… (`transferkit.tuning.settings`).
    Trials never see the test split. `resume` goes on with the search in `output`.
    Raises ConfigError, DataError, BackboneError or WeightsError before anything is written.
    """
    from transferkit.delivery.publish import publish
    from transferkit.runs.intake import take_in
    from transferkit.tuning.entry import request
    from transferkit.tuning.tune import Tuning

    reporter = reporter or Reporter(quiet)
    loaded = data if isinstance(data, Data) else None
    given = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in settings.items()}
    problems = _adopt(loaded, given) if loaded else []
    origin = loaded.origin if loaded else os.fspath(data) if isinstance(data, str | os.PathLike) else "arrays"
    if resume and output is None:
        problems.append("--resume needs --output: the run directory of the search")
    first = backbone if isinstance(backbone, str) or not backbone else backbone[0]
    name = _name(origin, {"backbone": first}) + "-tuned"
    folder = Path(output) if output is not None else free_name(Path("runs"), name)
    asked = request(backbone, search, space, given, origin, folder, resume, offline, problems)
    layout = Layout(folder)
    source = loaded.samples if loaded else data
    samples, findings, timings = take_in(source, asked.base, origin, reporter)
    Tuning(
        samples, asked.base, asked.space, asked.search, layout, origin, asked.command, reporter, offline, cache,
        findings, timings,
    ).run()  # fmt: skip
    publish(layout, reporter)
    return Run(folder)


def _adopt(data: Data, settings: dict[str, Any]) -> list[str]:
    """Take split and seed of `load_data` into `settings`; problems where `finetune` was given others."""
    problems = []
    for name, value in (("split", data.split), ("seed", data.seed)):
        if value is not None and settings.setdefault(name, value) != value:
            problems.append(f"{name}={settings[name]} contradicts load_data, which was given {name}={value}; drop one")
    return problems


def _is_complete(layout: Layout, settings: Settings, reporter: Reporter, track: Sequence[str]) -> bool:
    """Whether the run to be resumed is done; its report is written, and told, if a kill came before that."""
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import same_settings

    manifest = layout.read_manifest()
    same_settings(manifest, settings)
    if manifest["status"] != "complete":
        return False
    reporter.say(f"{layout.folder} is complete already; nothing to resume")
    if not layout.report.exists():
        publish(layout, reporter)
    with trackers.tracked(track, reporter) as tracking:
        tracking.start(layout, manifest)
        tracking.finish(layout)
    return True


def _finetune(
    layout: Layout, data: Any, origin: str, settings: Settings, reporter: Reporter, resume: bool, offline: bool,
    cache: bool, track: Sequence[str],
) -> None:  # fmt: skip
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import Job
    from transferkit.runs.intake import take_in

    source = data.samples if isinstance(data, Data) else data
    samples, findings, timings = take_in(source, settings, origin, reporter)
    with trackers.tracked(track, reporter) as tracking:
        Job(samples, settings, layout, origin, reporter, resume, offline, cache, findings, timings, tracking).run()
        publish(layout, reporter)
        tracking.finish(layout)


def _name(origin: str, settings: dict[str, Any]) -> str:
    data, network = Path(origin).resolve(), str(settings.get("backbone"))
    words = [
        "arrays" if origin == "arrays" else data.name if data.is_dir() else data.stem,
        Path(network).stem if network.endswith(".keras") else network,
    ]
    return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in word) for word in words)


def predict(run: str | Path, pictures: Any, *, quiet: bool = False) -> list[Prediction]:
    """Answers of a run (or a model.keras) for files, folders, uint8 arrays, or a list of these, in order."""
    import numpy as np

    from transferkit import compute
    from transferkit.delivery.predict import Predictor, find, model_of

    path = model_of(Path(run))
    items = pictures if isinstance(pictures, list | tuple) else [pictures]
    sources: list[Any] = []
    for item in items:
        sources += (
            [item]
            if isinstance(item, np.ndarray) and item.ndim == 3
            else (list(item) if isinstance(item, np.ndarray) else find([item]))
        )
    compute.start()
    return list(Predictor.of(path).stream(sources, Reporter(quiet)))


def evaluate(run: str | Path, data: Any = None, *, quiet: bool = False) -> dict[str, Any]:
    """Scores of a run's model on `data`, or on the run's own test split (decoded and predicted anew).

    With `data`, `drift` says whether the pictures lie far from those of training (see `evaluation.drift`).
    """
    from transferkit.delivery.evaluate import evaluate as room

    return room(Layout(Path(run)), data.samples if isinstance(data, Data) else data, Reporter(quiet))


def reproduce(
    run: str | Path | Run, data: Any = None, *, output: str | Path | None = None, fresh: bool = False,
    offline: bool = False, quiet: bool = False, reporter: Reporter | None = None,
) -> Reproduction:  # fmt: skip
    """Repeat a finished run with its own settings into `output` (default: beside it), and compare the two.

    `data` is where its data is now, if it moved, or the arrays it was trained on. `fresh` computes the features anew
    instead of taking them from the cache. Raises DataError or WeightsError where these are not those of then.
    """
    from transferkit.delivery import reproduce as room

    reporter = reporter or Reporter(quiet)
    before = Layout(run.folder if isinstance(run, Run) else Path(run))
    settings = room.settings_of(before)
    default = free_name(before.folder.absolute().parent, f"{before.folder.absolute().name}-reproduced")
    folder = default if output is None else Path(output)
    raise_problems(RunError, check_new(folder, resume=False))
    origin, reasons = room.check(before, data, offline, reporter)
    with room.cache(fresh, folder):
        again = finetune(origin, output=folder, offline=offline, reporter=reporter, **settings)
    return room.compare(before, again.layout, reasons)


def compare(*runs: str | Path | Run, seed: int = 0) -> Comparison:
    """Finished runs side by side on the same test pictures, with paired tests; print it, or see its `pairs`.

    Raises RunError where their test splits differ, with the reason.
    """
    from transferkit.delivery.compare import compare as room

    return room([Layout(run.folder if isinstance(run, Run) else Path(run)) for run in runs], seed)


__all__ = [
    "ConfigError", "Data", "DataError", "Run", "RunError", "Settings", "TransferKitError", "assemble", "backbone",
    "build_head", "compare", "evaluate", "finetune", "freeze", "load_data", "predict", "tune",
]  # fmt: skip
