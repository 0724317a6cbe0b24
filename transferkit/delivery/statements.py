"""What is said of a run, in sentences that summary, report, card and diagnosis share. Text from metrics.json alone.

A sentence that ranks rests on a test; where that shows nothing it says "no clear difference".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from transferkit import tasks, terms
from transferkit.data.samples import listed
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Scores
from transferkit.evaluation.versus import LEVEL, Verdict, holm, verdicts
from transferkit.quantities import figure, ordinal, plural
from transferkit.text import shown

WEAKEST = 3  # classes that are named
RELATED = 1.25  # pictures a group from which it is said that they count for less than their number
FLATTERS = "the best of several looks better than it is"


def network(backbone: str, metrics: MetricsRecord) -> str:
    """The network of a run; where several are shipped together, all of them.

    Args:
        backbone: of the run's settings.
        metrics: metrics.json.
    """
    return " + ".join(networks(backbone, metrics))


def networks(backbone: str, metrics: MetricsRecord) -> list[str]:
    """The networks of a run: several where these are shipped together.

    Args:
        backbone: of the run's settings.
        metrics: metrics.json.
    """
    if metrics.ensemble is None:
        return [backbone]
    found = [name for member in metrics.ensemble.members for name in member.networks or [member.network]]
    return list(dict.fromkeys(found))


def remark(verdict: Verdict) -> str:
    """What stands behind a baseline's score: whether it is better or worse than the model, beyond chance."""
    how = "" if verdict.p is None else f" ({_p(verdict.p)})"
    return {
        "ahead": f"better: the training lost against it{how}",
        "unclear": f"no clear difference{how}",
        "behind": f"clearly worse{how}",
    }[verdict.state]


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"


def answer(metrics: MetricsRecord) -> str:
    """How good the model is on the test pictures, in the words of its task, with the range that is likely."""
    task, test = tasks.of(metrics.task), metrics.test
    key, n = task.default_metric, test.n
    value = test.value(key)
    if not n:
        return "unknown: without a test split nothing says how good this is on new pictures"
    if value is None:
        return f"{terms.score(key)} is undefined on these {plural(n, 'test picture')}"
    if task.headline == "right":
        right = f"{round(value * n):,} of {plural(n, 'test picture')} right: {percent(value)}"
        return right + likely(test, key, percent)
    if task.headline == "off":
        off = f"off by {figure(value)}{task.unit} on average (mean absolute error) on {plural(n, 'test picture')}"
        return off + likely(test, key)
    whole = test.value("subset_accuracy")
    all_right = "" if whole is None else f"every label right on {round(whole * n):,} of {plural(n, 'test picture')}; "
    return f"{all_right}{terms.score(key)} {figure(value)}" + likely(test, key)


def likely(scores: Scores, key: str, written: Callable[[float], str] = figure) -> str:
    """The 95 % interval of a score, to stand behind it; empty where it has none.

    Args:
        scores: of a split.
        key: the score.
        written: how its ends are written.
    """
    limits = scores.interval(key)
    if limits is None:
        return ""
    low, high = (written(limit) for limit in limits)
    return f" (likely range {low.removesuffix(' %')} to {high}, 95 % interval)"


def related(scores: Scores) -> str | None:
    """That pictures of one group or film are alike, and tell less together than their number says; None where there
    are few such.

    Args:
        scores: of a split.
    """
    if not scores.groups or scores.n < RELATED * scores.groups:
        return None
    alike = (
        f"these {plural(scores.n, 'picture')} are of {plural(scores.groups, 'group')} or films, and those of one are "
    )
    if scores.by_groups:
        return alike + "alike: ranges and p-values are those of so many groups, not of so many pictures"
    return alike + "alike: ranges and p-values, which count each picture by itself, promise more than so few can tell"


def percent(share: float) -> str:
    """`"66.7 %"`."""
    return f"{100 * share:.1f} %"


def erred(metrics: MetricsRecord) -> bool:
    """Whether there is an answer on test that was not right; where that is not known, there may be."""
    if not metrics.test.n:
        return False
    key, perfect = tasks.of(metrics.task).faultless
    return metrics.test.value(key) != perfect


def weakest(metrics: MetricsRecord) -> str | None:
    """Classes that are found less often than the others, by Fisher's exact test, Holm's method over all classes.

    None where there is nothing to rank: fewer than three classes, no mistake, or numbers.
    """
    import numpy as np
    from scipy.stats import fisher_exact

    table = metrics.test.rows if "per_class" in metrics.test else []
    rows = [(row.name, round(recall * row.support), row.support) for row in table
            if (recall := row.value("recall")) is not None and row.support]  # fmt: skip
    right, total = sum(hits for _, hits, _ in rows), sum(n for _, _, n in rows)
    if len(rows) < 3 or right == total:
        return None
    tables = [np.array([[hits, n - hits], [right - hits, total - n - (right - hits)]]) for _, hits, n in rows]
    adjusted = holm({str(i): float(fisher_exact(t, alternative="less").pvalue) for i, t in enumerate(tables)})
    missed = [i for i, (_, hits, n) in enumerate(rows) if hits < n]
    lowest = sorted(missed, key=lambda i: (rows[i][1] / rows[i][2], -rows[i][2]))[:WEAKEST]
    clear = [i for i in lowest if adjusted[str(i)] < LEVEL]
    if clear:
        return f"{_found(rows, clear)}: found less often than the others, beyond chance"
    return f"no clear difference between classes; lowest here: {_found(rows, lowest)}"


def unseen(metrics: MetricsRecord) -> str | None:
    """Classes of which there is no test picture, if there are any (a split or groups that were given): no score counts
    them."""
    table = metrics.test.rows if "per_class" in metrics.test and metrics.test.n else []
    names = [row.name for row in table if row.get("support") == 0]
    if not names:
        return None
    each = "it is" if len(names) == 1 else "these are"
    return f"no test picture shows {listed(names, WEAKEST)}: how well {each} recognised is not known"


def _found(rows: list[tuple[str, int, int]], which: list[int]) -> str:
    return ", ".join(f"{shown(rows[i][0])} ({rows[i][1]} of {rows[i][2]})" for i in which)


def winner(metrics: MetricsRecord, key: str) -> str | None:
    """The best baseline that is clearly better than the model, if there is one.

    Args:
        metrics: metrics.json.
        key: the score.
    """
    ahead = [v for v in verdicts(metrics, key) if v.state == "ahead"]
    if not ahead:
        return None
    own = metrics.test.value(key) or 0.0
    best = max(ahead, key=lambda v: abs(v.value - own))
    how = "" if best.p is None else f"; {_p(best.p)}, in pairs on the same pictures"
    return (
        f"a baseline wins: {terms.rival(best.name, metrics.task).phrase} is better than this model "
        f"({figure(best.value)} against {figure(own)}{how})"
    )


def alike(metrics: MetricsRecord, key: str) -> str | None:
    """The baselines from which the model cannot be told apart, if there are any.

    Args:
        metrics: metrics.json.
        key: the score.
    """
    names = [terms.rival(v.name, metrics.task).phrase for v in verdicts(metrics, key) if v.state == "unclear"]
    return f"no clear difference from {' or '.join(names)} on these pictures" if names else None


def looks(metrics: MetricsRecord) -> str | None:
    """How often the test pictures had been scored before; None where that is not known (runs of earlier versions)."""
    uses = metrics.test_uses
    if uses is None or not uses.run:
        return None if uses is None else uses.note
    if uses.run < uses.runs:  # repeated after others
        return f"{ordinal(uses.run)} of {uses.runs} runs scored on these pictures: {FLATTERS}"
    if uses.run == 1:
        return uses.note or "never used before"
    return f"{ordinal(uses.run)} run scored on these pictures: {FLATTERS}"


def calibrated(metrics: MetricsRecord) -> str | None:
    """Said where calibration made the test pictures' calibration error larger."""
    after, before = metrics.test.value("ece"), metrics.test.value("ece_uncalibrated")
    uncalibrated = metrics.has("temperature") and metrics.temperature == 1.0
    if after is None or before is None or after <= before or uncalibrated:
        return None
    edge = metrics.calibration
    sure = edge is not None and edge.p < 0.05 and edge.gain < 0
    chance = "beyond chance" if sure else "with no clear difference in loss" if edge else ""
    return (
        f"calibration on validation made the calibration error on test larger: {figure(after)} instead of "
        f"{figure(before)}{', ' + chance if chance else ''}"
    )


def abstaining(metrics: MetricsRecord) -> Iterator[str]:
    """A sentence for each promised accuracy that test did not reach."""
    for row in metrics.abstention:
        reached, wanted = row.test_accuracy, row.accuracy
        if row.threshold is None or reached is None or reached >= wanted:
            continue
        between = row.test_accuracy_ci95
        interval = f", 95 % interval {100 * between[0]:.1f} to {100 * between[1]:.1f} %" if between else ""
        missed = "missed beyond chance" if between and between[1] < wanted else "no clear difference from the promise"
        yield (
            f"answers above confidence {row.threshold:.3f} were to be right in {100 * wanted:.0f} % and were in "
            f"{100 * reached:.1f} % on test{interval}" + (f": {missed}" if between else "")
        )
