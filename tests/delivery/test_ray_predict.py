"""Answers in shards are those of one process, with workers that live in this one; real clusters are in
`test_ray_cluster_predict`."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.delivery.test_members import tiny
from tests.fake_engine import faked
from tests.marks import extended
from transferkit.compute.engines import EngineError
from transferkit.console import Reporter
from transferkit.delivery import ray_predict
from transferkit.delivery.answer_worker import AnswerParcel, AnswerWorker, ShardAnswers
from transferkit.delivery.ray_predict import HELD, PredictionShards, RayPredictor
from transferkit.delivery.tta_views import MIRRORED, PLAIN
from transferkit.errors import ConfigError, TransferKitError
from transferkit.features.extraction_engines import RayActors
from transferkit.features.precision import Precision
from transferkit.features.shards import ENDS, ShardQueue, Span

SHAPES = ["csv", "json", "table", "labelstudio", "coco"]


class Everywhere(RayActors):
    """A cluster of one worker, in this process; all that travels is packed. A path with `deadly` in it ends it."""

    deadly = "\0"
    last: Any = None  # what travelled once, of the latest work

    @contextmanager
    def on_cluster(self, work: Any, reporter: Reporter, room: int = 0, kept: str = "") -> Iterator[Any]:
        """Shards as a queue hands them out; the machine has two names."""
        Everywhere.last = work.parcel
        worker = work.worker(pickle.loads(pickle.dumps(work.parcel)))
        queue, machines = ShardQueue(len(work), work.most()), {"one": 0, "two": 0}

        def in_order(most: int) -> Iterator[tuple[Span, Any]]:
            worker.begin(1)
            early, place = {}, 0
            while not queue.finished:
                span = queue.take(2)
                assert span is not None
                if any(self.deadly in path for path in work.shard(span)):
                    if queue.lose(span):
                        early[span.start] = span, None
                else:
                    done = pickle.loads(pickle.dumps(worker.run(pickle.loads(pickle.dumps(work.shard(span))))))
                    queue.finish(span, done.seconds)
                    machines["one"] += len(span)
                    early[span.start] = span, done
                while place in early:
                    found = early.pop(place)
                    place = found[0].stop
                    yield found

        yield SimpleNamespace(in_order=in_order, queue=queue, machines=machines, slow=["a.jpg took 2 minutes on one"])


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.features.extraction_engines.RayActors", Everywhere)
    monkeypatch.setattr(Everywhere, "deadly", "\0")


pytestmark = pytest.mark.usefixtures("everywhere")


@pytest.fixture
def mixed(tmp_path: Path, digits: Path) -> Path:
    """Forty digits, and files that are no picture, first, last and between."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, path in enumerate(p for digit in "37" for p in sorted((digits / digit).iterdir())):
        shutil.copy(path, folder / f"{number:03}.png")
    for name in ("000.png", "017.png", "039.png"):
        (folder / name).write_text("<html>")
    return folder


def both(run: Any, *more: object) -> tuple[Any, Any]:
    """What the command prints in this process, and by workers."""
    return call("predict", run, *more), call("predict", run, *more, "--engine", "ray", "--address", "auto")


def test_answers_of_workers_are_those_of_one_process_to_the_last_bit(digits_run: Any, digits: Path) -> None:
    here, there = digits_run.predict(digits), digits_run.predict(digits, engine="ray", workers=2)
    assert len(here) == 200
    assert there == here
    assert tk.predict(digits_run, digits / "3", engine="ray", quiet=True) == digits_run.predict(digits / "3")


@pytest.mark.parametrize("shape", extended(SHAPES, SHAPES[1:]))
def test_what_is_written_is_the_same_in_every_format_with_files_that_cannot_be_read(
    shape: str, digits_run: Any, mixed: Path
) -> None:
    here, there = both(digits_run.folder, mixed, "--format", shape)
    assert (here.code, there.code) == (1, 1)
    assert there.out == here.out
    assert "37 pictures answered; 3 pictures could not be read" in there.err


def test_options_that_decide_and_write_do_as_ever(digits_run: Any, mixed: Path, tmp_path: Path) -> None:
    here, there = both(digits_run.folder, mixed, "--json", "--abstain", 0.6, "--top", 2)
    assert there.out == here.out
    assert '"abstained": true' in there.out
    words = ("--output", tmp_path / "a.parquet", "--copy-to", tmp_path / "sorted", "--engine", "ray")
    done = call("predict", digits_run.folder, mixed, *words)
    assert done.code == 1
    assert (tmp_path / "a.parquet").exists()
    assert len(list((tmp_path / "sorted").rglob("*.png"))) == 37


def test_several_runs_and_their_looks_answer_together(
    tmp_path: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "transferkit.delivery.predict.choose", lambda path, _: SimpleNamespace(looks=(PLAIN, MIRRORED))
    )  # fmt: skip
    files = [tiny(tmp_path / "a.keras", ["x", "y", "z"]), tiny(tmp_path / "b.keras", ["z", "x", "y"], 1, 24)]
    here = tk.predict(files, mixed, tta=True, quiet=True)
    assert tk.predict(files, mixed, tta=True, quiet=True, engine="ray") == here
    assert Everywhere.last.looks == [(PLAIN, MIRRORED)] * 2
    assert [path for path, _ in Everywhere.last.files] == files


def test_paths_from_standard_input_and_relative_ones_are_answered(
    digits_run: Any, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mixed)
    names = ["003.png", "gone.png", "001.png"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(names).encode())))
    done = call("predict", digits_run.folder, "-", "--json", "--engine", "ray")
    assert done.code == 1
    assert [json.loads(line)["path"] for line in done.out.splitlines()] == names
    assert Everywhere.last.folder == mixed
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert call("predict", digits_run.folder, "-", "--json", "--engine", "ray").out == ""


def test_a_picture_that_ends_every_process_is_one_that_cannot_be_read(
    digits_run: Any, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Everywhere, "deadly", "020.png")
    here = digits_run.predict(mixed)
    there = digits_run.predict(mixed, engine="ray")
    assert [p.path for p in there] == [p.path for p in here]
    assert (there[20].error, there[20].label, there[20].scores) == (ENDS, "", ())
    others = [(a, b) for number, (a, b) in enumerate(zip(here, there, strict=True)) if number != 20]
    assert all((a.label, a.error) == (b.label, b.error) for a, b in others)
    np.testing.assert_allclose(  # of other batches: the last digits are their own
        [a.confidence or 0 for a, _ in others], [b.confidence or 0 for _, b in others], atol=1e-6
    )
    done = call("predict", digits_run.folder, mixed, "--engine", "ray")
    assert done.code == 1
    assert f"cannot be read: {ENDS}" in done.out
    assert "4 pictures could not be read" in done.err
    assert "pictures by machine: one 39, two 0; workers lost: " in done.err
    assert "took much longer than others: a.jpg took 2 minutes on one" in done.err


def test_the_asking_process_chooses_the_engine_and_workers_follow_and_tell(
    tmp_path: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = faked(monkeypatch)
    file = tiny(tmp_path / "m.keras", ["a", "b", "c"])
    reporter = Reporter(quiet=True)

    def answers(**more: Any) -> list[Any]:
        actors = Everywhere(**more)
        made = RayPredictor.of(file, actors, reporter=reporter)
        return list(made.stream(sorted(mixed.iterdir()), Reporter(quiet=True)))

    first = answers()
    assert [engine.engine for engine in Everywhere.last.engines] == ["fake"]
    assert Everywhere.last.versions["fake"]
    used = fake.called
    assert answers() == first
    assert fake.called > used

    def failing(_: Any) -> Any:
        raise EngineError("Fake: broken")

    fake.change = failing
    assert [a.label for a in answers()] == [a.label for a in first]
    assert reporter.warnings == ["Fake: broken; going on with TensorFlow"], "once, though several workers say it"
    answers(gpus=1.0)
    assert [engine.engine for engine in Everywhere.last.engines] == [""], "a GPU is not left idle for an engine"


# ----------------------------------------------------------------------------------------------- what is refused


def work_of(run: Any, folder: Path) -> AnswerParcel:
    list(RayPredictor.of(run.folder, Everywhere()).stream(sorted(folder.iterdir()), Reporter(quiet=True)))
    found: AnswerParcel = Everywhere.last
    return found


def test_a_worker_whose_answers_would_differ_does_not_begin(digits_run: Any, mixed: Path, tmp_path: Path) -> None:
    work = work_of(digits_run, mixed)
    (path, sha256), seen = work.files[0], work.seen
    assert path == digits_run.folder / "model.keras"
    assert seen == mixed / "001.png", "the first that can be read"
    other = tiny(tmp_path / "other.keras", ["a", "b"])
    for changed, words in (
        (replace(work, version="0.0"), "this one is 0.0; install the same"),
        (replace(work, versions=work.versions | {"pillow": "1.0"}), "pillow .* answers would differ"),
        (replace(work, files=[(tmp_path / "gone.keras", sha256)]), "does not see .*gone.keras: the run has to lie on"),
        (replace(work, files=[(other, sha256)]), "another file at .*other.keras than the asking process"),
        (replace(work, seen=mixed / "gone.png"), "cannot read .*gone.png, which does not exist there"),
    ):
        with pytest.raises(ConfigError, match=words):
            AnswerWorker(changed).begin()
    assert AnswerWorker(replace(work, seen=None)).begin(1)


@pytest.mark.parametrize("what", ["array", "bytes", "image", "a list with a file"])
def test_pictures_without_a_path_are_refused_before_anything_is_loaded(
    what: str, digits_run: Any, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    path, image = digits / "5" / "5_0003.png", Image.new("RGB", (32, 32))
    given = {"array": np.zeros((2, 32, 32, 3), np.uint8), "bytes": path.read_bytes(), "image": image}
    monkeypatch.setattr(ray_predict.Predictor, "of", None)
    pictures = given.get(what, [path, path.read_bytes()])
    count = "2 pictures" if what == "array" else "1 picture"
    with pytest.raises(ConfigError, match=f"workers are given paths, and {count} came without one"):
        digits_run.predict(pictures, engine="ray")


def test_that_ray_is_not_installed_is_said_before_anything_is_loaded(
    digits_run: Any, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(ray_predict.Predictor, "of", None)
    done = call("predict", digits_run.folder, digits, "--engine", "ray")
    assert done.code == 2
    assert "--engine ray needs Ray, which is not installed; pip install 'transferkit[ray]'" in done.err


def test_what_has_no_effect_is_refused(digits_run: Any, digits: Path) -> None:
    done = call("predict", digits_run.folder, digits, "--workers", 2, "--worker-cpus", 1)
    assert done.code == 2
    assert "--workers, --worker-cpus has no effect with --engine local; add --engine ray, or drop it" in done.err
    assert "'spark' is not one of" in call("predict", digits_run.folder, digits, "--engine", "spark").err
    for more, words in (({"engine": "spark"}, "choose local or ray"), ({"address": "auto"}, "no effect"),
                        ({"engine": "ray", "worker_cpus": 2.5}, "whole numbers only")):  # fmt: skip
        with pytest.raises(TransferKitError, match=words):
            digits_run.predict(digits, **more)


@pytest.mark.parametrize(("width", "most"), [(1, 8192), (10, 8192), (1000, 512), (10**6, 64)])
def test_a_shard_has_whole_batches_and_its_answers_are_bounded(width: int, most: int) -> None:
    work = PredictionShards(None, [Path("a")], width)  # type: ignore[arg-type]
    assert work.most() == most
    assert work.held() * 8 * width <= HELD
    shard = PredictionShards(None, [Path(f"a/{i}.png") for i in range(9)], width).shard(Span(2, 4))  # type: ignore[arg-type]
    assert shard == [str(Path("a/2.png")), str(Path("a/3.png"))]


def test_an_answer_that_waits_holds_nothing_of_rays_memory() -> None:
    rows = np.random.default_rng(0).random((64, 1000), np.float32)
    answer, buffers = ShardAnswers(rows=rows, bad=[(1, "empty")], notes=[], seconds=1.0, node="n"), []
    found = pickle.loads(pickle.dumps(answer, protocol=5, buffer_callback=buffers.append))
    assert not buffers, "an array of its own would be a view into the object store"
    assert np.array_equal(found.rows, rows)
    assert (found.bad, found.node) == (answer.bad, "n")
    assert PredictionShards(None, [Path("a")], 10**6).room() == HELD  # type: ignore[arg-type]


def test_nothing_is_chosen_where_a_format_was_asked_for(digits_run: Any, mixed: Path) -> None:
    here, there = both(digits_run.folder, mixed, "--format", "csv", "--precision", "bfloat16")
    assert there.out == here.out
    assert [isinstance(e, Precision) and e.engine for e in Everywhere.last.engines] == [""]
    assert Everywhere.last.precision == "bfloat16"
