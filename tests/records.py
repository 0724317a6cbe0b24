"""Records made of plain dictionaries, for tests that need only a part of one."""

from types import SimpleNamespace

from transferkit import tasks
from transferkit.data.images.decode import DecodeSettings
from transferkit.evaluation.diagnosis_context import ConfidentErrors, DiagnosisContext, DoubtfulLabels, NearDuplicates
from transferkit.evaluation.metrics_record import CurveFit, MetricsRecord
from transferkit.evaluation.scores import BaselineScores, Scores
from transferkit.runs.model_facts import ModelFacts


def metrics_of(content):
    """metrics.json of which only `content` is said: by default of two classes, with no test split."""
    task = content.get("task", "classify")
    goal = tasks.of(task).default_metric
    usual = {"task": task, "classes": ["a", "b"], "goal": goal, "test": {"n": 0}, "baselines": {}}
    test = {"n": 0, **content["test"]} if "test" in content else usual["test"]
    return MetricsRecord.read({**usual, **content, "test": test})


def judged(found):
    """What a diagnosis looks at of metrics.json."""
    parts = {name: Scores(found[name]) if name in found else None for name in ("train", "val")}
    rivals = {name: BaselineScores(scores) for name, scores in found.get("baselines", {}).items()}
    return SimpleNamespace(**parts, test=Scores(found.get("test", {})), baselines=rivals)


def about(context):
    """What else a diagnosis is told, its parts as plain dictionaries."""
    kinds = {
        "near_duplicates": lambda found: {name: NearDuplicates(**row) for name, row in found.items()},
        "doubtful_labels": lambda found: DoubtfulLabels(**found),
        "confident_errors": lambda found: ConfidentErrors(**found),
        "learning_curve": lambda found: CurveFit(curve=[], **found),
    }
    return DiagnosisContext(**{name: kinds.get(name, lambda found: found)(value) for name, value in context.items()})


def facts_of(content):
    """What travels in a model's file, of which only `content` is said: by default of two classes at 32 pixels."""
    usual = {"task": "classify", "classes": ["a", "b"], "decode": DecodeSettings(32).key(), "thresholds": None}
    return ModelFacts.read({**usual, **content})
