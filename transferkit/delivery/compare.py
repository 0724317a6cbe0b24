"""Runs side by side, on the same test pictures: what differs, by how much, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from transferkit import tasks, terms
from transferkit.data.samples import listed, shown
from transferkit.delivery import notebook
from transferkit.errors import RunError
from transferkit.evaluation import charts, clusters, intervals
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics import score
from transferkit.evaluation.metrics_record import LearningCurve, MetricsRecord
from transferkit.evaluation.plot_style import save
from transferkit.evaluation.versus import holm
from transferkit.quantities import duration, figure, plural
from transferkit.record import HistoryRow, JsonObject
from transferkit.runs.layout import Layout
from transferkit.runs.pictures import groups_at
from transferkit.runs.run_record import RunRecord
from transferkit.runs.tables import Predictions

LEVEL = 0.05  # adjusted p below which a difference is called one


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run: its `score` on the shared test pictures and what it took. None where a value is unknown."""

    run: str
    folder: str
    backbone: str
    unfreeze: str
    score: float | None
    interval: tuple[float, float] | None
    loss: float | None
    ece: float | None
    trained_weights: int | None
    seconds: float
    diagnosis: str | None

    def as_dict(self, metric: str) -> JsonObject:
        """Plain values, for JSON; the score under its own name."""
        found: JsonObject = {}
        for name, value in asdict(self).items():
            name = {"score": metric, "interval": f"{metric}_ci95"}.get(name, name)
            found[name] = list(value) if isinstance(value, tuple) else value
        return found


@dataclass(frozen=True, kw_only=True)
class ComparedPair:
    """Two runs: the `difference` of the score, `a` minus `b`, with its 95 % interval and p-values of paired tests.

    What McNemar's test counts is there for classes alone; its p-value, where each picture counts by itself.
    """

    a: str
    b: str
    p_mcnemar: float | None = None
    only_a_right: int | None = None
    only_b_right: int | None = None
    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_adjusted: float = 1.0

    @property
    def p(self) -> float:
        """Of McNemar's test where there is one, else of the bootstrap."""
        return self.p_bootstrap if self.p_mcnemar is None else self.p_mcnemar

    def as_dict(self) -> JsonObject:
        """Plain values, for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`ranked`: the runs, best first. `tested`: for each two runs the `difference` of `metric` with its 95 % interval
    `low`, `high`, p-values of paired tests, and `p_adjusted`. `histories` and `curves` are by run name."""

    metric: str
    test_pictures: int
    test_groups: int = 0  # that tests draw; 0: each picture counts by itself
    ranked: list[ComparedRun]
    tested: list[ComparedPair]
    histories: dict[str, list[HistoryRow]]
    curves: dict[str, LearningCurve]

    @property
    def runs(self) -> list[JsonObject]:
        """A row each run, best first, as plain values."""
        return [run.as_dict(self.metric) for run in self.ranked]

    @property
    def pairs(self) -> list[JsonObject]:
        """A row for each two runs, as plain values."""
        return [pair.as_dict() for pair in self.tested]

    def _repr_html_(self) -> str:
        return notebook.text(str(self))

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "metric": self.metric,
            "test_pictures": self.test_pictures,
            "runs": self.runs,
            "pairs": self.pairs,
        }

    def figure(self, path: str | Path) -> Path:
        """Write training and learning curves of all runs, overlaid, as a PNG."""
        return save(charts.overlaid(self.histories, self.curves), Path(path))

    def __str__(self) -> str:
        return "\n".join([*_table(self), "", *_verdicts(self)])


def compare(layouts: Sequence[Layout], seed: int = 0) -> Comparison:
    """Compare finished runs of one task on one test split.

    Accuracy is tested by McNemar's exact test, every score by a paired bootstrap (Koehn 2004), which draws groups where
    pictures are in groups and is the only test then; p-values of several pairs are adjusted by Holm's method (1979).

    Args:
        layouts: of the runs, two or more.
        seed: of the bootstrap.

    Raises:
        RunError: the runs cannot be compared, with the reason.
    """
    names = _names([layout.folder for layout in layouts])
    manifests = [layout.complete() for layout in layouts]
    metrics = [layout.read_metrics() for layout in layouts]
    _check_alike(names, layouts, metrics)
    task, classes = metrics[0].task, metrics[0].classes
    metric = tasks.of(task).default_metric
    tables = [layout.read_predictions() for layout in layouts]
    paths, targets = tables[0].paths, tables[0].targets
    answers, groups = [_answers(table, paths) for table in tables], groups_at(layouts[0], paths)
    rows = [_row(n, layout, m, c, metric) for n, layout, m, c in zip(names, layouts, manifests, metrics, strict=True)]
    signed = -1 if GOALS[metric].direction == "max" else 1
    order = sorted(range(len(rows)), key=lambda i: np.inf if (value := rows[i].score) is None else signed * value)
    pairs = _adjusted([
        _pair(
            (names[i], names[j]), (answers[i], answers[j]), targets, groups, task=task, classes=classes, seed=seed
        )
        for i, j in combinations(order, 2)
    ])  # fmt: skip
    curves = {n: m.learning_curve for n, m in zip(names, metrics, strict=True) if m.learning_curve}
    histories = {n: layout.read_history() for n, layout in zip(names, layouts, strict=True)}
    return Comparison(
        metric=metric, test_pictures=len(paths),
        test_groups=0 if groups is None else clusters.units(len(paths), groups),
        ranked=[rows[i] for i in order], tested=pairs, histories=histories,
        curves=curves,
    )  # fmt: skip


def _names(folders: list[Path]) -> list[str]:
    """Folder names, whole paths where two are the same. Raises RunError for fewer than two runs."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < 2 or len(set(resolved)) < len(folders):
        raise RunError("compare takes two or more different runs; give their folders")
    short = [folder.name for folder in resolved]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _check_alike(names: list[str], layouts: Sequence[Layout], metrics: list[MetricsRecord]) -> None:
    first = metrics[0]
    known = _test_rows(layouts[0])
    if not known:
        raise RunError(f"{names[0]} has no test split, so there is nothing to compare on")
    for name, layout, other in zip(names[1:], layouts[1:], metrics[1:], strict=True):
        if other.task != first.task:
            raise RunError(f"{names[0]} is {first.task} and {name} is {other.task}; their scores differ in kind")
        if other.classes != first.classes:
            odd = sorted(set(other.classes) ^ set(first.classes))
            raise RunError(f"{names[0]} and {name} have different classes ({listed(odd) or 'another order'})")
        reason = _difference(known, _test_rows(layout), names[0], name)
        if reason:
            raise RunError(
                f"the test splits of {names[0]} and {name} differ: {reason}. A fair comparison needs the same test "
                "pictures: repeat one run with the other's data, --split and --seed"
            )


def _test_rows(layout: Layout) -> dict[str, tuple[str, str]]:
    """Content hash and label of each test picture."""
    return {row.path: (row.sha256, row.label) for row in layout.read_splits() if row.split == "test"}


def _difference(a: dict[str, tuple[str, str]], b: dict[str, tuple[str, str]], first: str, second: str) -> str:
    """Why two test splits are not the same; empty where they are."""
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    parts = []
    for own, name, other in ((only_a, first, second), (only_b, second, first)):
        if own:
            parts.append(f"{len(own)} of {name}'s test pictures are not in {other}'s ({listed(own, 2)})")
    changed = [path for path in sorted(a.keys() & b.keys()) if a[path] != b[path]]
    contents = [path for path in changed if a[path][0] != b[path][0]]
    if contents:
        parts.append(f"{len(contents)} pictures have other content ({listed(contents, 2)})")
    labels = [path for path in changed if a[path][1] != b[path][1]]
    if labels:
        parts.append(f"{len(labels)} pictures have another label ({listed(labels, 2)})")
    return "; ".join(parts)


def _answers(table: Predictions, paths: Sequence[str]) -> np.ndarray:
    """Outputs [N, T] in the order of `paths`; that the pictures are the same has been checked."""
    place = {path: row for row, path in enumerate(table.paths)}
    return table.outputs[[place[path] for path in paths]]


def _row(name: str, layout: Layout, manifest: RunRecord, metrics: MetricsRecord, metric: str) -> ComparedRun:
    test, chosen = metrics.test, manifest.chosen_phase
    return ComparedRun(
        run=name,
        folder=str(layout.folder),
        backbone=manifest.config.backbone,
        unfreeze=manifest.config.unfreeze,
        score=test.value(metric),
        interval=test.interval(metric),
        loss=test.value("loss"),
        ece=test.value("ece"),
        trained_weights=chosen.parameters if chosen else None,
        seconds=manifest.timings["total"],
        diagnosis=metrics.diagnosis.state if metrics.diagnosis else None,
    )


def _pair(
    names: tuple[str, str], answers: tuple[np.ndarray, np.ndarray], targets: np.ndarray, groups: np.ndarray | None,
    *, task: str, classes: list[str], seed: int,
) -> ComparedPair:  # fmt: skip
    (a, b), (left, right) = names, answers
    metric = tasks.of(task).default_metric
    if metric == "accuracy":
        # Right or wrong is all that accuracy knows: a thousand resamples of it take no time.
        x, y = ((tasks.of(task).decide(answer) == targets).astype(float) for answer in answers)
        found = intervals.paired_bootstrap(lambda _, h: float(h.mean()), targets, x, y, seed=seed, groups=groups)
        low, high = sorted((found.low, found.high))
        return ComparedPair(
            a=a, b=b, p_mcnemar=intervals.mcnemar(x > 0, y > 0) if groups is None else None,
            only_a_right=int(((x > 0) & (y == 0)).sum()),
            only_b_right=int(((y > 0) & (x == 0)).sum()), difference=found.difference, low=low, high=high,
            p_bootstrap=found.p,
        )  # fmt: skip

    def measure(true: np.ndarray, guess: np.ndarray) -> float | None:
        return score(task, true, guess, classes).value(metric)

    found = intervals.paired_bootstrap(measure, targets, left, right, seed=seed, repeats=500, groups=groups)
    low, high = sorted((found.low, found.high))
    return ComparedPair(a=a, b=b, difference=found.difference, low=low, high=high, p_bootstrap=found.p)


def _adjusted(pairs: list[ComparedPair]) -> list[ComparedPair]:
    """The pairs with `p_adjusted` by Holm's method (1979)."""
    adjusted = holm({str(number): pair.p for number, pair in enumerate(pairs)})
    return [replace(pair, p_adjusted=adjusted[str(number)]) for number, pair in enumerate(pairs)]


# ---------------------------------------------------------------------------------------------- text


def _table(found: Comparison) -> list[str]:
    width = max(len(shown(row.run)) for row in found.ranked)
    lines = [f"{'run':<{width}}  {found.metric:>9}  {'95 % interval':<16}  {'loss':>6}  {'time':>12}  network"]
    for row in found.ranked:
        interval = row.interval
        between = f"{figure(interval[0])} to {figure(interval[1])}" if interval else ""
        value = figure(row.score)
        lines.append(
            f"{shown(row.run):<{width}}  {value:>9}  {between:<16}  {figure(row.loss):>6}  "
            f"{duration(row.seconds):>12}  {shown(row.backbone)}, unfreeze {shown(row.unfreeze)}"
        )
    return lines


def _range(pair: ComparedPair) -> str:
    """The interval of a difference; where it is nothing, that says nothing of other pictures."""
    if pair.low == pair.high == 0:
        return "the same in every resample of them"
    return f"{figure(pair.low, '+')} to {figure(pair.high, '+')}"


def _verdicts(found: Comparison) -> list[str]:
    of = f" of {plural(found.test_groups, 'group')}, which are drawn" if found.test_groups else ""
    lines = [f"On the same {found.test_pictures:,} test pictures{of}:"]
    for pair in found.tested:
        clear = pair.p_adjusted < LEVEL
        test = "McNemar" if pair.p_mcnemar is not None else "paired bootstrap"
        verdict = "a real difference" if clear else "no clear difference"
        lines.append(
            f"{shown(pair.a)} against {shown(pair.b)}: {terms.score(found.metric)} {figure(pair.difference, '+')} "
            f"({_range(pair)}), "
            f"{test} p = {pair.p_adjusted:.3g}: {verdict}"
        )
    return lines
