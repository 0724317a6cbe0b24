"""The public verbs. Each checks everything first, then works; plain functions, plain Keras objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.config import POLICY, Settings, make
from transferkit.console import Reporter
from transferkit.errors import ConfigError, DataError, RunError, TransferKitError, nearest, raise_problems
from transferkit.files import read_csv
from transferkit.runs.layout import Layout, check_new, free_name

if TYPE_CHECKING:
    import keras

    from transferkit.data.samples import Samples
    from transferkit.delivery.compare import Comparison
    from transferkit.delivery.explain import Explanation
    from transferkit.delivery.predict import Prediction


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
    offline: bool = False, cache: bool = True, quiet: bool = False, reporter: Reporter | None = None, **settings: Any,
) -> Run:  # fmt: skip
    """Train the best classifier `data` allows on top of `backbone`, judge it, and write a run directory.

    `data` is what `load_data` reads, or its result. `settings` are the fields of `transferkit.Settings`
    (`unfreeze`, `head_width`, `augment`, …). `output` must not exist, unless `resume` finishes the run in it.
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
    problems += [*_problems(given, offline), *check_new(folder, resume), *_inside(folder, origin)]
    chosen = make(given, problems)
    layout = Layout(folder)
    if resume and layout.manifest.exists() and _is_complete(layout, chosen, reporter):
        return Run(folder)
    _finetune(layout, loaded or data, origin, chosen, reporter, resume, offline, cache)
    return Run(folder)


def _adopt(data: Data, settings: dict[str, Any]) -> list[str]:
    """Take split and seed of `load_data` into `settings`; problems where `finetune` was given others."""
    problems = []
    for name, value in (("split", data.split), ("seed", data.seed)):
        if value is not None and settings.setdefault(name, value) != value:
            problems.append(f"{name}={settings[name]} contradicts load_data, which was given {name}={value}; drop one")
    return problems


def _is_complete(layout: Layout, settings: Settings, reporter: Reporter) -> bool:
    """Whether the run to be resumed is done; its report is written if a kill came before that."""
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import same_settings

    manifest = layout.read_manifest()
    same_settings(manifest, settings)
    if manifest["status"] != "complete":
        return False
    reporter.say(f"{layout.folder} is complete already; nothing to resume")
    if not layout.report.exists():
        publish(layout, reporter)
    return True


def _finetune(
    layout: Layout, data: Any, origin: str, settings: Settings, reporter: Reporter, resume: bool, offline: bool,
    cache: bool,
) -> None:  # fmt: skip
    import time

    from transferkit.data.source import is_table, scan
    from transferkit.delivery.publish import publish
    from transferkit.runs.finetune import Job
    from transferkit.runs.intake import readable

    task = None if settings.task == "auto" else settings.task
    source = data.samples if isinstance(data, Data) else data
    # A row of a CSV without its file is named by its line; all else that cannot be read is for `readable` to name.
    strict = settings.on_bad_file == "error" and isinstance(source, str | os.PathLike) and is_table(source)
    samples = scan(source, task, exclude=settings.exclude, exclude_file=settings.exclude_file, strict=strict)
    _check_task(samples, settings)
    started = time.monotonic()
    samples, skipped = readable(samples, settings.on_bad_file, reporter)
    samples = samples.hashed()
    _short_check(samples, origin, settings, reporter)
    timings = {"check": time.monotonic() - started}
    findings = {"skipped": skipped} if skipped else {}
    Job(samples, settings, layout, origin, reporter, resume, offline, cache, findings, timings).run()
    publish(layout, reporter)


def _short_check(samples: Samples, origin: str, settings: Settings, reporter: Reporter) -> None:
    """Say what headers and hashes show, and which command shows it all. Stops nothing: a split that leaks does."""
    import shlex

    from transferkit.data.audit import quick

    audit = quick(samples)
    if not audit.brief():
        return
    more = ["--exclude-file", settings.exclude_file] if settings.exclude_file else []
    more += [word for item in settings.exclude for word in ("--exclude", item)]
    words = ["transferkit", "data", "check", origin, *more]
    where = "" if origin == "arrays" else f"; to see them: {shlex.join(words)}"
    # A warning is recorded in run.json.
    (reporter.warn if audit.errors else reporter.say)(f"data: found {audit.brief()}{where}")


def _problems(settings: dict[str, Any], offline: bool) -> list[str]:
    """What is wrong with backbone and metric; settings by themselves are checked by `config.make`."""
    from transferkit.backbones.build import check
    from transferkit.evaluation.goals import GOALS, goal

    found = []
    name, size = settings.get("backbone"), str(settings.get("image_size", ""))
    if isinstance(name, str):
        policy = str(settings.get("unfreeze", "none"))
        # A malformed policy or size is reported by `make`, once.
        policy = policy if POLICY.fullmatch(policy) else "none"
        pixels = int(size) if size.isdecimal() and int(size) >= 8 else None
        found += check(name.strip(), pixels, policy, str(settings.get("weights", "auto")), offline)
    metric, task = settings.get("metric", "auto"), settings.get("task", "auto")
    if metric != "auto" and metric not in GOALS:
        found.append(f"--metric {metric} is unknown; choose from {', '.join(GOALS)}{nearest(str(metric), GOALS)}")
    elif metric != "auto" and task in ("classify", "multilabel", "regress"):
        try:
            goal(metric, task)
        except ConfigError as error:
            found.append(f"--metric {metric}: {error}")
    return found


def _inside(folder: Path, origin: str) -> list[str]:
    """A run inside the data folder would be read as a class by the next one."""
    data = Path(origin).expanduser()
    if origin == "arrays" or not data.is_dir() or not folder.absolute().resolve().is_relative_to(data.resolve()):
        return []
    return [f"--output {folder} lies inside the data {origin}, which is never written to; choose a folder outside"]


def _check_task(samples: Samples, settings: Settings) -> None:
    """Settings that only the data can refute."""
    from transferkit.evaluation.goals import goal

    task, problems = samples.task, []
    if "split" in settings.model_fields_set and set(samples.split) == {"train", "val", "test"}:
        problems.append("--split has no effect: the data comes with its own train, val and test; drop it")
    if settings.metric != "auto":
        try:
            goal(settings.metric, task)
        except ConfigError as error:
            problems.append(f"--metric {settings.metric}: {error}")
    if task != "classify" and settings.class_weights != "none":
        problems.append(f"--class-weights {settings.class_weights} is for single-label data; this is {task}")
    if task == "regress" and settings.label_smoothing:
        problems.append("--label-smoothing has no effect on regression")
    if task != "regress" and settings.loss not in ("auto", "crossentropy"):
        problems.append(f"--loss {settings.loss} is for regression; pass --task regress, or drop it")
    if task == "regress" and settings.loss == "crossentropy":
        problems.append("--loss crossentropy is for classification; regression has squared, absolute, huber")
    raise_problems(ConfigError, problems)


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
    import numpy as np

    from transferkit import compute
    from transferkit.data.decode import DecodeSettings
    from transferkit.evaluation.drift import drift
    from transferkit.runs import judging, model_file, scoring

    layout, reporter = Layout(Path(run)), Reporter(quiet)
    manifest = layout.complete()
    facts = model_file.facts(layout.model)
    samples = _own_test(layout, manifest, facts) if data is None else _with_classes(data, facts)
    decode = DecodeSettings.from_key(facts["decode"])
    compute.start()
    model, reference = model_file.load(layout.model), None if data is None else judging.load_typical(layout.typical)
    model = model if reference is None else judging.with_features(model)
    outputs = scoring.predictions(model, samples, decode, reporter, "evaluating")
    thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
    count = len(facts["classes"])
    scores = scoring.scores(samples, outputs[:, :count], manifest["seed"], thresholds)
    if reference is not None:
        scores["drift"] = drift(reference, outputs[:, count:])
        if scores["drift"]["far"]:
            reporter.warn(scores["drift"]["note"])
    return scores


def compare(*runs: str | Path | Run, seed: int = 0) -> Comparison:
    """Finished runs side by side on the same test pictures, with paired tests; print it, or see its `pairs`.

    Raises RunError where their test splits differ, with the reason.
    """
    from transferkit.delivery.compare import compare as room

    return room([Layout(run.folder if isinstance(run, Run) else Path(run)) for run in runs], seed)


def _with_classes(data: Any, facts: dict[str, Any]) -> Samples:
    """New data, its labels numbered as the run's model numbers them."""
    from transferkit.data.source import scan

    samples = scan(data.samples if isinstance(data, Data) else data, facts["task"], classes=facts["classes"])
    if list(samples.classes) != facts["classes"]:
        raise DataError(
            f"this data has the classes {', '.join(samples.classes)}, the run has {', '.join(facts['classes'])}; "
            "give evaluate the folder or CSV itself, so that it is read with the run's classes"
        )
    return samples


def _own_test(layout: Layout, manifest: dict[str, Any], facts: dict[str, Any]) -> Samples:
    """The pictures of the run's test split, unchanged since then."""
    from transferkit.data.samples import listed
    from transferkit.data.source import scan

    origin = manifest["data"]["path"]
    if origin == "arrays":
        raise DataError("this run was trained on arrays, which it does not keep; pass the data to evaluate")
    if not Path(origin).exists():
        raise DataError(f"the run's data {origin} is no longer there; pass it, or other data, to evaluate as DATA")
    saved = {row["path"]: row["sha256"] for row in read_csv(layout.splits) if row["split"] == "test"}
    if not saved:
        raise DataError("this run has no test split; pass pictures with labels to evaluate as DATA")
    # What could not be read then may still be there.
    how = {"exclude": manifest["config"]["exclude"], "classes": facts["classes"], "strict": False}
    samples = scan(origin, facts["task"], **how)
    samples = samples.select([i for i, path in enumerate(samples.paths) if path in saved]).hashed()
    hashes = dict(zip(samples.paths, samples.sha256 or (), strict=True))
    changed = [path for path in saved if hashes.get(path) != saved[path]]
    if changed:
        raise DataError(
            f"{len(changed)} of the run's {len(saved)} test pictures are missing or changed: {listed(changed)}; "
            "put them back, or pass other data to evaluate as DATA"
        )
    return samples


def backbone(
    name: str, *, weights: str = "auto", size: int | None = None, seed: int = 0, offline: bool = False
) -> keras.Model:
    """A pretrained network without its top, as a plain keras.Model that takes scaled float pictures.

    `assemble` puts the scaling it expects in front. Raises BackboneError or WeightsError.
    """
    from transferkit import compute
    from transferkit.backbones.build import build

    compute.start()
    return build(name, weights, size, seed, offline).model


def freeze(base: keras.Model, policy: str, batchnorm: str = "frozen") -> keras.Model:
    """Set what trains in `base` by a freeze policy (`none`, `all`, `from:STAGE`, `last:N`); returns `base`."""
    from transferkit.backbones import freeze as room

    return room.freeze(base, policy, batchnorm)


def build_head(
    base: keras.Model,
    classes: int,
    width: int | Sequence[int] | None = 256,
    dropout: float = 0.3,
    **options: Any,
) -> keras.Model:
    """A head for `base`; see `transferkit.heads.build_head` for `l1`, `l2`, `pooling`, `task` and `seed`."""
    from transferkit import heads

    return heads.build_head(base, classes, width, dropout, **options)


def assemble(base: keras.Model, head: keras.Model, scaling: str | None = None) -> keras.Model:
    """One keras.Model from uint8 RGB pictures [n, size, size, 3] through the scaling, `base` and `head`.

    `scaling` is what `base` expects: found from its name for networks of the catalog, "none" (pixels 0…255)
    for others.
    """
    import keras

    from transferkit.backbones.catalog import ROWS
    from transferkit.backbones.scaling import preprocessing

    row = ROWS.get(base.name)
    scaling = scaling or (row.scaling if row else "none")
    x = inputs = keras.Input(base.input_shape[1:], dtype="uint8", name="picture")
    for layer in preprocessing(scaling):
        x = layer(x)
    return keras.Model(inputs, head(base(x)), name="transferkit")


__all__ = [
    "ConfigError", "Data", "DataError", "Run", "RunError", "Settings", "TransferKitError", "assemble", "backbone",
    "build_head", "compare", "evaluate", "finetune", "freeze", "load_data", "predict",
]  # fmt: skip
