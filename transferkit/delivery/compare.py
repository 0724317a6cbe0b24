"""Runs side by side, on the same test pictures: what differs, by how much, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import tasks
from transferkit.console import duration, figure
from transferkit.data.samples import listed, shown
from transferkit.delivery import notebook
from transferkit.errors import RunError
from transferkit.evaluation import charts, intervals
from transferkit.evaluation.figures import save
from transferkit.evaluation.metric_registry import GOALS
from transferkit.evaluation.metrics import score
from transferkit.runs.layout import Layout
from transferkit.runs.tables import Predictions

LEVEL = 0.05  # adjusted p below which a difference is called one


@dataclass(frozen=True)
class Comparison:
    """`runs`: a row each, best first. `pairs`: for each two runs the `difference` of `metric` with its 95 % interval
    `low`, `high`, p-values of paired tests, and `p_adjusted`. `histories` and `curves` are by run name."""

    metric: str
    test_pictures: int
    runs: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    histories: dict[str, list[dict[str, Any]]]
    curves: dict[str, dict[str, Any]]

    def _repr_html_(self) -> str:
        return notebook.text(str(self))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"metric": self.metric, "test_pictures": self.test_pictures, "runs": self.runs, "pairs": self.pairs}

    def figure(self, path: str | Path) -> Path:
        """Write training and learning curves of all runs, overlaid, as a PNG."""
        return save(charts.overlaid(self.histories, self.curves), Path(path))

    def __str__(self) -> str:
        return "\n".join([*_table(self), "", *_verdicts(self)])


def compare(layouts: Sequence[Layout], seed: int = 0) -> Comparison:
    """Compare finished runs of one task on one test split.

    Accuracy is tested by McNemar's exact test, every score by a paired bootstrap (Koehn 2004); p-values of several
    pairs are adjusted by Holm's method (1979). Raises RunError, with the reason, where the runs cannot be compared.
    """
    names = _names([layout.folder for layout in layouts])
    manifests = [layout.complete() for layout in layouts]
    metrics = [layout.read_metrics() for layout in layouts]
    _check_alike(names, layouts, metrics)
    task, classes = metrics[0]["task"], metrics[0]["classes"]
    metric = tasks.of(task).default_metric
    tables = [layout.read_predictions() for layout in layouts]
    paths, targets = tables[0].paths, tables[0].targets
    answers = [_answers(table, paths) for table in tables]
    rows = [_row(n, layout, m, c, metric) for n, layout, m, c in zip(names, layouts, manifests, metrics, strict=True)]
    signed = -1 if GOALS[metric].direction == "max" else 1
    order = sorted(range(len(rows)), key=lambda i: np.inf if rows[i][metric] is None else signed * rows[i][metric])
    pairs = [_pair(names, i, j, answers, targets, task, classes, metrics, seed) for i, j in combinations(order, 2)]
    _adjust(pairs)
    curves = {n: m["learning_curve"] for n, m in zip(names, metrics, strict=True) if m.get("learning_curve")}
    histories = {n: layout.read_history() for n, layout in zip(names, layouts, strict=True)}
    return Comparison(metric, len(paths), [rows[i] for i in order], pairs, histories, curves)


def _names(folders: list[Path]) -> list[str]:
    """Folder names, whole paths where two are the same. Raises RunError for fewer than two runs."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < 2 or len(set(resolved)) < len(folders):
        raise RunError("compare takes two or more different runs; give their folders")
    short = [folder.name for folder in resolved]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _check_alike(names: list[str], layouts: Sequence[Layout], metrics: list[dict[str, Any]]) -> None:
    first = metrics[0]
    known = _test_rows(layouts[0])
    if not known:
        raise RunError(f"{names[0]} has no test split, so there is nothing to compare on")
    for name, layout, other in zip(names[1:], layouts[1:], metrics[1:], strict=True):
        if other["task"] != first["task"]:
            raise RunError(f"{names[0]} is {first['task']} and {name} is {other['task']}; their scores differ in kind")
        if other["classes"] != first["classes"]:
            odd = sorted(set(other["classes"]) ^ set(first["classes"]))
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


def _row(name: str, layout: Layout, manifest: dict[str, Any], metrics: dict[str, Any], metric: str) -> dict[str, Any]:
    test, chosen = metrics["test"], [p for p in manifest["phases"] if p["name"] == manifest["chosen"]]
    return {
        "run": name,
        "folder": str(layout.folder),
        "backbone": manifest["config"]["backbone"],
        "unfreeze": manifest["config"]["unfreeze"],
        metric: test[metric],
        f"{metric}_ci95": test.get(f"{metric}_ci95"),
        "loss": test.get("loss"),
        "ece": test.get("ece"),
        "trained_weights": chosen[0]["parameters"] if chosen else None,
        "seconds": manifest["timings"]["total"],
        "diagnosis": (metrics.get("diagnosis") or {}).get("state"),
    }


def _pair(
    names: list[str], i: int, j: int, answers: list[np.ndarray], targets: np.ndarray, task: str, classes: list[str],
    metrics: list[dict[str, Any]], seed: int,
) -> dict[str, Any]:  # fmt: skip
    metric = tasks.of(task).default_metric
    left, right = answers[i], answers[j]
    found: dict[str, Any] = {"a": names[i], "b": names[j]}
    if metric == "accuracy":
        # Right or wrong is all that accuracy knows: a thousand resamples of it take no time.
        hits = [(tasks.of(task).decide(a) == targets).astype(float) for a in (left, right)]
        difference = intervals.paired_bootstrap(lambda _, h: float(h.mean()), targets, *hits, seed=seed)
        found["p_mcnemar"] = intervals.mcnemar(*(h > 0 for h in hits))
        found["only_a_right"], found["only_b_right"] = (int(((x > 0) & (y == 0)).sum()) for x, y in (hits, hits[::-1]))
    else:

        def measure(true: Any, guess: Any) -> float | None:
            value: float | None = score(task, true, guess, classes)[metric]
            return value

        difference = intervals.paired_bootstrap(measure, targets, left, right, seed=seed, repeats=500)
    low, high = sorted((difference.low, difference.high))
    found |= {"difference": difference.difference, "low": low, "high": high, "p_bootstrap": difference.p}
    return found


def _adjust(pairs: list[dict[str, Any]]) -> None:
    """Holm 1979: of m tests the k-th smallest p counts m - k + 1 times, and never less than one before it."""
    key = "p_mcnemar" if pairs and "p_mcnemar" in pairs[0] else "p_bootstrap"
    highest = 0.0
    for rank, pair in enumerate(sorted(pairs, key=lambda pair: pair[key])):
        highest = max(highest, min(1.0, (len(pairs) - rank) * pair[key]))
        pair["p_adjusted"] = highest


# ---------------------------------------------------------------------------------------------- text


def _table(found: Comparison) -> list[str]:
    width = max(len(shown(row["run"])) for row in found.runs)
    lines = [f"{'run':<{width}}  {found.metric:>9}  {'95 % interval':<16}  {'loss':>6}  {'time':>12}  network"]
    for row in found.runs:
        interval = row[f"{found.metric}_ci95"]
        between = f"{figure(interval[0])} to {figure(interval[1])}" if interval else ""
        value = figure(row[found.metric])
        lines.append(
            f"{shown(row['run']):<{width}}  {value:>9}  {between:<16}  {figure(row['loss']):>6}  "
            f"{duration(row['seconds']):>12}  {shown(row['backbone'])}, unfreeze {shown(row['unfreeze'])}"
        )
    return lines


def _verdicts(found: Comparison) -> list[str]:
    lines = [f"On the same {found.test_pictures:,} test pictures:"]
    for pair in found.pairs:
        clear = pair["p_adjusted"] < LEVEL
        test = "McNemar" if "p_mcnemar" in pair else "paired bootstrap"
        verdict = "a real difference" if clear else "no clear difference"
        lines.append(
            f"{shown(pair['a'])} against {shown(pair['b'])}: {found.metric} {figure(pair['difference'], '+')} "
            f"({figure(pair['low'], '+')} to {figure(pair['high'], '+')}), "
            f"{test} p = {pair['p_adjusted']:.3g}: {verdict}"
        )
    return lines
