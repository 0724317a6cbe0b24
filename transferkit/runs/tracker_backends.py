"""The three trackers themselves: each speaks through its own library, imported only when it is used."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord

State = dict[str, Any]  # JSON that each tracker keeps as it likes between a kill and the resumption
Key = tuple[str, int]  # phase and epoch: what tells a row of history.csv from the others

FOLDER = "tensorboard"  # in the run directory
FINAL = "final"  # marks in a tracker that the last scores are in it
PROJECT = "transferkit"


class TensorBoard:
    """Event files in RUN/tensorboard: one tag for each phase and value, figures as images."""

    def start(self, folder: Path, name: str, about: RunRecord, state: State) -> set[Key]:
        """Every start writes a file of its own; what older ones hold is read, and not written again."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        place = folder / FOLDER
        seen = {(tag.rpartition("/")[0], step) for tag, step in _logged(place) if tag.endswith("/val_loss")}
        self._done = any(tag.startswith("test/") for tag, _ in _logged(place))
        self._writer = EventFileWriter(str(place))
        if not seen:
            lines = [f"    {about.command}", "", *(f"- {k}: {v}" for k, v in about.config.as_json().items())]
            self._add(0, [_text("settings", "\n".join(lines))])
        return seen

    def epoch(self, key: Key, values: Mapping[str, float]) -> None:
        """Scalars `phase/value`, on disk at once: a kill must not cost what was said."""
        self._scalars(key[1], {f"{key[0]}/{name}": value for name, value in values.items()})

    def finish(self, scores: Mapping[str, float], layout: Layout) -> None:
        """Final scores as scalars, figures as images."""
        if self._done:
            return
        self._scalars(0, scores)
        self._add(0, [_image(path) for path in sorted(layout.figures.glob("*.png"))])

    def close(self, status: str) -> None:
        """Flush and close the file."""
        self._writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(step, [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])

    def _add(self, step: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()


def _logged(folder: Path) -> Iterator[tuple[str, int]]:
    """Tag and step of everything in the event files of `folder`; a file torn by a kill is read up to the tear."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield value.tag, event.step


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode("utf-8", "replace")])
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, None), tensor=tensor)


def _image(path: Path) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(path) as picture:
        width, height = picture.size
    image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes())
    return Summary.Value(tag=f"figures/{path.stem}", image=image)


class MLflow:
    """A run in the store that MLFLOW_TRACKING_URI names (MLflow's own default without it), in MLFLOW_EXPERIMENT_NAME
    or "transferkit". The client is ours alone: an active run of the user's is left as it is."""

    def start(self, folder: Path, name: str, about: RunRecord, state: State) -> set[Key]:
        """A new run, or the one that was begun before."""
        # A server that does not answer may cost seconds, not the minutes of MLflow's usual patience.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
        import mlflow
        from mlflow.entities import Param, RunTag

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client = mlflow.MlflowClient()
        if state.get("run_id"):
            self._run = state["run_id"]
            self._client.update_run(self._run, "RUNNING")
            return self._epochs()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run = state["run_id"] = self._client.create_run(number, run_name=name).info.run_id
        params = [Param(k, str(v)[:500]) for k, v in about.config.as_json().items()]
        tags = [RunTag("command", about.command[:5000]), RunTag("folder", str(folder.absolute()))]
        tags += [RunTag(f"version {k}", v) for k, v in about.versions.items()]
        self._client.log_batch(self._run, params=params, tags=tags)
        return set()

    def _epochs(self) -> set[Key]:
        keys = [key for key in self._client.get_run(self._run).data.metrics if key.endswith("/val_loss")]
        return {(key[: -len("/val_loss")], m.step) for key in keys for m in self._history(key)}

    def _history(self, key: str) -> Any:
        return self._client.get_metric_history(self._run, key)

    def epoch(self, key: Key, values: Mapping[str, float]) -> None:
        """Metrics `phase/value` at the epoch's step."""
        self._log({f"{key[0]}/{name}": value for name, value in values.items()}, key[1])

    def finish(self, scores: Mapping[str, float], layout: Layout) -> None:
        """Final scores as metrics; report, card, tables, figures and the model as artifacts."""
        if self._client.get_run(self._run).data.tags.get(FINAL) == "true":
            return
        self._log(scores, 0)
        for path in _files(layout):
            self._client.log_artifact(self._run, str(path))
        if layout.figures.is_dir():
            self._client.log_artifacts(self._run, str(layout.figures), layout.figures.name)
        self._client.set_tag(self._run, FINAL, "true")

    def close(self, status: str) -> None:
        """Say how the run ended."""
        known = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, known[status])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), 500):  # a batch holds a thousand at most
            self._client.log_batch(self._run, metrics=metrics[start : start + 500])


class WeightsAndBiases:
    """A run of W&B, project WANDB_PROJECT or "transferkit"; its files lie in RUN/wandb. WANDB_MODE=offline keeps
    them there until `wandb sync`."""

    def start(self, folder: Path, name: str, about: RunRecord, state: State) -> set[Key]:
        """A new run, or the one that was begun before."""
        import wandb

        self._state = state
        known = state.get("id")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=name, dir=str(folder), id=known,
            resume="allow" if known else None, config={**about.config.as_json(), "command": about.command},
            settings=wandb.Settings(silent=True, console="off", disable_code=True, disable_git=True),
        )  # fmt: skip
        state["id"] = self._run.id
        # Offline it cannot be asked what it has.
        return {(phase, epoch) for phase, epoch in state.setdefault("epochs", [])}

    def epoch(self, key: Key, values: Mapping[str, float]) -> None:
        """Values `phase/value` over `phase/epoch`."""
        phase, epoch = key
        if not any(phase == known for known, _ in self._state["epochs"]):
            self._run.define_metric(f"{phase}/*", step_metric=f"{phase}/epoch")
        self._run.log({**{f"{phase}/{name}": value for name, value in values.items()}, f"{phase}/epoch": epoch})
        self._state["epochs"].append([phase, epoch])

    def finish(self, scores: Mapping[str, float], layout: Layout) -> None:
        """Final scores in the summary, figures as images, files as an artifact."""
        import wandb

        if self._state.get(FINAL):
            return
        self._run.summary.update(dict(scores))
        self._run.log({f"figures/{p.stem}": wandb.Image(str(p)) for p in sorted(layout.figures.glob("*.png"))})
        artifact = wandb.Artifact(f"run-{self._run.id}", type="run")
        for path in _files(layout):
            artifact.add_file(str(path))
        self._run.log_artifact(artifact)
        self._state[FINAL] = True

    def close(self, status: str) -> None:
        """End the run, and say how."""
        self._run.finish(exit_code=0 if status == "complete" else 1)


def _files(layout: Layout) -> list[Path]:
    """What a finished run hands over."""
    wanted = (layout.report, layout.card, layout.metrics, layout.history, layout.predictions, layout.splits,
              layout.manifest, layout.model)  # fmt: skip
    return [path for path in wanted if path.exists()]
