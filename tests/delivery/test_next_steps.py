"""Commands after a run: short, runnable from where it was begun, and none of a stranger's."""

from pathlib import Path

from tests.records import metrics_of
from transferkit.delivery.next_steps import next_steps, run_name
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import ConfigRecord, DataRecord, RunRecord

METRICS = {"task": "classify", "test": {"n": 9, "accuracy": 0.5}}
BEGUN = RunRecord(
    status="complete", command="", working_directory="/w", config=ConfigRecord(), data=DataRecord(path="d")
)


def commands(folder="/w/runs/my run", **metrics):
    found = next_steps(Layout(Path(folder)), BEGUN, metrics_of({**METRICS, **metrics}))
    return [step["command"] for step in found]


def test_the_run_is_called_as_from_where_it_was_begun():
    assert commands()[0] == "transferkit predict 'runs/my run' PICTURES"
    assert run_name(Layout(Path("/elsewhere/a")), BEGUN) == "a"


def test_without_a_test_the_first_step_is_one():
    assert commands(test={"n": 0})[0].startswith("transferkit evaluate")


def test_advice_of_the_diagnosis_comes_in_and_what_was_hidden_does_not():
    remedies = [{"why": "a", "command": ""}, {"why": "b", "command": "transferkit finetune x"}]
    assert "transferkit finetune x" in commands(diagnosis={"state": "s", "evidence": [], "remedies": remedies})
    assert all(commands(diagnosis={"state": "s", "evidence": [], "remedies": remedies}))


def test_a_format_is_advised_that_can_be_written_here(monkeypatch):
    known = {"tf2onnx": 1, "onnx": 1, "onnxruntime": 1}
    monkeypatch.setattr("transferkit.delivery.next_steps.find_spec", known.get)
    assert commands()[-1].endswith("--format onnx")
    del known["tf2onnx"]
    assert commands()[-1].endswith("--format litert")
