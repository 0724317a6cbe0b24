"""What `diagnose` says of a finished run, in the words of its task."""

from transferkit.delivery.diagnose import RunDiagnosis, as_lines
from transferkit.evaluation.metrics_record import DiagnosisRecord


def test_baselines_are_named_as_the_task_has_them():
    found = RunDiagnosis(
        task="regress", diagnosis=DiagnosisRecord(state="good fit", evidence=[]), more_pictures=None,
        beaten_by=["linear_probe"], no_clear_difference=["majority"],
    )  # fmt: skip
    text = "\n".join(as_lines(found))
    assert "the simplest model on the same network (linear probe) is better than this model" in text
    assert "always answering the median of training: no clear difference" in text
    assert "class" not in text
