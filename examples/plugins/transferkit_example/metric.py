"""`worst_recall`: the recall of the class that is recognised worst."""

from transferkit.plugins import Metric


def score(targets, predictions, classes):
    """None where a class has no picture: its recall is unknown."""
    hits = predictions.argmax(axis=1) == targets
    recalls = [hits[targets == c].mean() if (targets == c).any() else None for c in range(len(classes))]
    return None if None in recalls else min(recalls)


WORST_RECALL = Metric(score, direction="max", tasks=("classify",))
