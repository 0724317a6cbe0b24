"""What TensorBoard, MLflow and W&B are told is what the run's own files say, each epoch once, whatever happens."""

import json
import struct
import time
from importlib.util import find_spec

import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.marks import extended
from transferkit.console import Reporter
from transferkit.csv_files import read_csv
from transferkit.runs import tracker_backends, trackers
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord

SETTINGS = {"epochs": 3, "patience": 2, "views": 1, "quiet": True}
ABOUT = RunRecord.read(
    {
        "status": "running", "command": "transferkit finetune x", "config": {"epochs": 3}, "versions": {"keras": "3"},
        "data": {"path": "x"},
    }
)  # fmt: skip
needs_mlflow = pytest.mark.skipif(not find_spec("mlflow"), reason="mlflow-skinny is not installed")
needs_wandb = pytest.mark.skipif(not find_spec("wandb"), reason="wandb is not installed")
pytestmark = [
    pytest.mark.usefixtures("one_cache"),
    # Their own use of other libraries, nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def own_stores(tmp_path, monkeypatch):
    """No store but those of the test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps artifacts


def events(folder):
    """(tag, step) → values, of all event files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for path in sorted(folder.glob("events.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = value.tensor.float_val[0] if value.tensor.float_val else None
                found.setdefault((value.tag, event.step), []).append(number)
    return found


def row(phase, epoch):
    return {"phase": phase, "epoch": epoch, "loss": 1 / epoch, "accuracy": None, "val_loss": 2 / epoch, "seconds": 0.1}


def history_of(tracked):
    """Every value of history.csv as trackers name it."""
    return {
        (f"{r['phase']}/{key}", int(r["epoch"])): float(value)
        for r in read_csv(tracked.layout.history)
        for key, value in r.items()
        if key not in ("phase", "epoch") and value
    }


def test_tensorboard_holds_history_scores_and_figures(digits, tmp_path):
    arguments = ("--epochs", 3, "--patience", 2, "--views", 1, "--output", tmp_path / "run", "--quiet")
    result = call("finetune", digits, "--backbone", "mini", *arguments, "--tensorboard")
    assert result.code == 0, result.err
    run = tk.api.Run(tmp_path / "run")
    found = events(run.folder / "tensorboard")
    for key, value in history_of(run).items():
        assert found[key] == pytest.approx([value], rel=1e-6)
    assert found["test/accuracy", 0] == pytest.approx([run.metrics["test"]["accuracy"]])
    assert found["baseline linear_probe/loss", 0] == pytest.approx([run.metrics["baselines"]["linear_probe"]["loss"]])
    pictures = {tag for tag, _ in found if tag.startswith("figures/")}
    assert pictures == {f"figures/{p.stem}" for p in run.layout.figures.glob("*.png")} != set()


def test_after_a_kill_every_epoch_is_told_once_even_from_a_torn_file(tmp_path):
    layout = Layout(tmp_path)
    first = trackers.Tracking(["tensorboard"], Reporter(quiet=True))
    first.start(layout, ABOUT)
    for epoch in (1, 2, 3):
        first.epoch(row("tail from:block4", epoch))
    [path] = (tmp_path / "tensorboard").glob("events.*")
    path.write_bytes(path.read_bytes()[:-7])  # a kill in the middle of epoch 3
    again = trackers.Tracking(["tensorboard"], Reporter(quiet=True))
    again.start(layout, ABOUT)
    for epoch in (2, 3, 4):  # from the checkpoint on
        again.epoch(row("tail from:block4", epoch))
    again.close("complete")
    assert again.reporter.warnings == []
    found = events(tmp_path / "tensorboard")
    losses = {step: values for (tag, step), values in found.items() if tag == "tail from_block4/val_loss"}
    assert losses == {e: pytest.approx([2 / e]) for e in (1, 2, 3, 4)}
    first.close("failed")


@pytest.mark.parametrize("name", ["tensorboard", pytest.param("mlflow", marks=[needs_mlflow, pytest.mark.extended])])
def test_an_interrupted_run_goes_on_in_the_same_log(digits, tmp_path, monkeypatch, unpublished, name):
    kind = {"tensorboard": tracker_backends.TensorBoard, "mlflow": tracker_backends.MLflow}[name]
    told, epoch = [], kind.epoch

    def stop_after_two(self, key, values):
        epoch(self, key, values)
        told.append(key)
        if len(told) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, "epoch", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        tk.finetune(digits, "mini", output=tmp_path / "run", track=[name], **SETTINGS)
    monkeypatch.setattr(kind, "epoch", epoch)
    tracking = json.loads((tmp_path / "run" / "tracking.json").read_text())
    if name == "mlflow":
        assert mlflow_run(tracking["mlflow"]["run_id"])[0].info.status == "KILLED"
    run = tk.finetune(digits, "mini", output=tmp_path / "run", track=[name], resume=True, **SETTINGS)
    epochs = [int(r["epoch"]) for r in read_csv(run.layout.history)]
    if name == "tensorboard":
        logged = [(step, len(v)) for (tag, step), v in events(run.folder / "tensorboard").items() if tag == "head/loss"]
    else:
        ended, histories = mlflow_run(tracking["mlflow"]["run_id"])
        assert ended.info.status == "FINISHED"
        logged = [(m.step, 1) for m in histories("head/loss")]
    assert sorted(logged) == [(epoch, 1) for epoch in epochs]
    # A run that is complete is told nothing more.
    before = events(run.folder / "tensorboard")
    tk.finetune(digits, "mini", output=tmp_path / "run", track=[name], resume=True, **SETTINGS)
    assert events(run.folder / "tensorboard") == before


def mlflow_run(number):
    import mlflow

    client = mlflow.MlflowClient()
    return client.get_run(number), lambda key: client.get_metric_history(number, key)


@pytest.mark.extended
@needs_mlflow
def test_mlflow_holds_settings_history_scores_and_files(digits, tmp_path):
    run = tk.finetune(digits, "mini", output=tmp_path / "run", track="mlflow", learning_rate=0.002, **SETTINGS)
    import mlflow

    number = json.loads((run.folder / "tracking.json").read_text())["mlflow"]["run_id"]
    found, histories = mlflow_run(number)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert (found.data.params["backbone"], found.data.params["learning_rate"]) == ("mini", "0.002")
    assert found.data.tags["command"] == run.manifest["command"]
    for (key, step), value in history_of(run).items():
        assert [m.value for m in histories(key) if m.step == step] == pytest.approx([value])
    for key, value in run.metrics["test"].items():
        if isinstance(value, float):
            assert found.data.metrics[f"test/{key}"] == pytest.approx(value)
    client = mlflow.MlflowClient()
    names = {file.path for file in client.list_artifacts(number)}
    assert {"report.html", "CARD.md", "metrics.json", "history.csv", "model.keras", "figures"} <= names
    assert client.get_experiment(found.info.experiment_id).name == "transferkit"


@pytest.mark.extended
@needs_wandb
@pytest.mark.slow
def test_wandb_offline_holds_settings_history_and_scores(digits, tmp_path):
    run = tk.finetune(digits, "mini", output=tmp_path / "run", track="wandb", **SETTINGS)
    [path] = run.folder.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(60):  # W&B's own process writes the file, and on a busy machine still does
        rows, summary, config = wandb_records(path)
        if "backbone" in config and "test/accuracy" in summary:
            break
        time.sleep(0.5)
    assert config["backbone"] == "mini"
    for (key, step), value in history_of(run).items():
        phase = key.split("/")[0]
        assert [r[key] for r in rows if r.get(f"{phase}/epoch") == step] == pytest.approx([value])
    assert summary["test/accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])


def wandb_records(path):
    """History rows, summary and configuration in a file of W&B's own format."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, summary, config = [], {}, {}

    def key_of(item):
        return item.key or "/".join(item.nested_key)

    for data in leveldb_log(path.read_bytes()):
        record = Record.FromString(data)
        if record.HasField("history"):
            rows.append({key_of(item): json.loads(item.value_json) for item in record.history.item})
        summary |= {key_of(item): json.loads(item.value_json) for item in record.summary.update}
        for update in (record.run.config.update, record.config.update):
            config |= {key_of(item): json.loads(item.value_json) for item in update}
    return rows, summary, config


def leveldb_log(content, block=32768, header=7):
    """Records of a LevelDB log: in blocks, each fragment behind its checksum, length and kind."""
    place, parts = header, b""  # the file's own header is as long as a fragment's
    while place + header <= len(content):
        if block - place % block < header:
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts += content[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # whole, or the last fragment
            yield parts
            parts = b""


@pytest.mark.parametrize(("name", "reason"), [("mlflow", "pip install 'transferkit[mlflow]'"), ("comet", "is unknown")])
def test_what_cannot_be_used_is_refused_before_anything_is_done(digits, tmp_path, monkeypatch, name, reason):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    arguments = ("--backbone", "mini", "--output", tmp_path / "run", "--track", name)
    result = call("finetune", digits, *arguments)
    assert result.code == 2
    assert f"--track {name}" in result.err
    assert reason in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("when", extended(["start", "epoch", "finish", "close"], ["epoch", "finish", "close"]))
def test_a_tracker_that_fails_is_warned_of_once_and_the_run_is_whole(digits, tmp_path, monkeypatch, when, unpublished):
    def broken(*_):
        raise OSError("the server is on fire\nand more")

    monkeypatch.setattr(tracker_backends.TensorBoard, when, broken)
    reporter = Reporter(quiet=True)
    settings = {**SETTINGS, "quiet": False}
    run = tk.finetune(digits, "mini", output=tmp_path / "run", track=["tensorboard"], reporter=reporter, **settings)
    assert run.manifest["status"] == "complete"
    said = [text for text in reporter.warnings if "tensorboard" in text]
    assert said == ["tensorboard failed and is told no more of this run (OSError: the server is on fire); "
                    "the run goes on"]  # fmt: skip
