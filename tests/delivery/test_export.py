"""Exports are proved in their own runtime; what fails the proof, or the disk, leaves nothing behind."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import photo
from tests.fresh import Fresh
from tests.holder import held
from tests.records import facts_of
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.delivery.exporting import companions, parity, parity_pictures, tf_functions, writers
from transferkit.delivery.exporting.export import _remove_stale, _whole_folder
from transferkit.delivery.exporting.formats import FORMATS, GATES, Gate, lookup
from transferkit.delivery.exporting.parity import ExportError
from transferkit.errors import ConfigError, DataError, RunError, StorageError

pytestmark = pytest.mark.extended  # every export is loaded by its own runtime in a fresh process

KINDS = [(name, None) for name in FORMATS] + [("litert", "float16"), ("litert", "int8")]
BAR = {None: 1e-4, "float16": 0.05, "int8": 1.0}


def copy_of(run: Any, to: Path) -> tk.Run:
    shutil.copytree(run.folder, to, ignore=shutil.ignore_patterns("exports"))
    return type(run)(to)


@pytest.fixture(scope="module")
def run(digits_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the finished run, to write exports into."""
    return copy_of(digits_run, tmp_path_factory.mktemp("exported") / "run")


@pytest.fixture(scope="module")
def table(run: Any) -> Any:
    """Every format of `run`, made at once; each is made and proved as by itself."""
    return run.export("all")


@pytest.fixture(scope="module")
def exported(run: Any, table: Any) -> Callable[[str, str | None], Any]:
    """Exports of `run` by format and precision, those of another precision made when first asked for."""
    made = {row.format: row.made for row in table.rows}
    return functools.cache(lambda kind, quantize: run.export(kind, quantize=quantize) if quantize else made[kind])


# --------------------------------------------------------------------------------------------- the formats


@pytest.mark.parametrize(("kind", "quantize"), KINDS)
def test_an_export_answers_as_the_run_and_its_example_runs(
    kind: str, quantize: str | None, run: Any, exported: Callable[[str, str | None], Any]
) -> None:
    made = exported(kind, quantize)
    assert made.folder.parent == run.folder / "exports"
    assert made.path.exists()
    figures = made.figures
    assert figures["passed"]
    assert (figures["split"], figures["n"]) == ("val", run.manifest["data"]["parts"]["val"])
    assert figures["largest_difference"] <= BAR[quantize]
    assert figures["latency_ms"] > 0
    facts = json.loads((made.folder / "export.json").read_text())
    assert facts["check"] == figures
    assert facts["labels"] == (made.folder / "labels.txt").read_text().splitlines() == run.metrics["classes"]
    assert facts["temperature"]["value"] == run.metrics["temperature"]
    # A digit the run is sure of, through the example: another process, Pillow, and no transferkit to be found.
    (made.folder / "none").mkdir()
    (made.folder / "none" / "transferkit.py").write_text("raise ImportError('it is not here')\n")
    picture = Path(run.manifest["data"]["path"]) / sure(run)["path"]
    done = subprocess.run([sys.executable, "-P", made.folder / "example.py", picture],
                          capture_output=True, text=True, check=False, cwd=made.folder,
                          env={**os.environ, "PYTHONPATH": str(made.folder / "none")})  # fmt: skip
    assert done.returncode == 0, done.stderr
    label, value = done.stdout.splitlines()[0].split()
    assert label == sure(run)["predicted"]
    assert float(value) == pytest.approx(float(sure(run)["confidence"]), abs=max(BAR[quantize], 1e-3))


def sure(run: Any) -> dict[str, str]:
    """The test picture with the most confident answer."""
    from transferkit.csv_files import read_csv

    return max(read_csv(run.layout.predictions), key=lambda row: float(row["confidence"]))


def test_quantizing_shrinks_the_file(exported: Callable[[str, str | None], Any]) -> None:
    sizes = [exported("litert", quantize).figures["size_bytes"] for quantize in (None, "float16", "int8")]
    assert sizes[0] > 1.8 * sizes[1]
    assert sizes[1] > 1.5 * sizes[2]


@pytest.mark.usefixtures("unpublished")
def test_keras_in_half_the_bytes_passes_the_check_of_float16(tmp_path: Path, digits: Any, run: Any) -> None:
    drawn = tk.finetune(digits, "mini", weights="random", head="linear", epochs=1, augment="none",
                        output=tmp_path / "run", quiet=True)  # fmt: skip
    half, whole = drawn.export("keras", quantize="float16"), drawn.layout.model.stat().st_size
    assert half.folder.name == "keras-float16"
    assert half.figures["passed"]
    assert half.figures["largest_difference"] <= BAR["float16"]
    assert half.figures["size_bytes"] < 0.6 * whole
    assert json.loads((half.folder / "export.json").read_text())["precision"] == "float16"
    # The weights that come with mini were kept in 16 bits, so the run's own file is as small already.
    assert run.layout.model.stat().st_size < 0.8 * whole
    assert any("are stored as float16" in note for note in run.manifest["notes"])
    with pytest.raises(ConfigError, match="stored as that already"):
        writers.write("keras", half.path, facts_of({}), tmp_path / "again.keras", "float16", lambda: iter(()))


@pytest.mark.usefixtures("unpublished")
def test_numbers_from_arrays_with_letterbox(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 24, 40, 3), np.uint8)
    y = x.mean(axis=(1, 2, 3)).astype(np.float32)
    run = tk.finetune((x, y), "mini", task="regress", resize="letterbox", epochs=1, augment="none", head_width=4,
                      output=tmp_path / "run", quiet=True)  # fmt: skip
    with pytest.raises(DataError, match=r"data=\(x, y\)"):
        run.export("onnx")
    made = run.export("onnx", data=(x, y))
    assert made.figures["agreement"] is None
    assert made.figures["largest_difference"] < 1e-3
    facts = json.loads((made.folder / "export.json").read_text())
    assert facts["output"]["name"] == "values"
    with pytest.raises(DataError, match="missing or changed"):
        run.export("litert", data=(x[::-1], y))


# ------------------------------------------------------------------------------------- the decoder in the graph


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("kind", ["jpeg", "large jpeg", "grey jpeg", "png", "transparent", "small"])
def test_the_graph_decodes_like_the_decoder(kind: str, resize: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    size = {"large jpeg": (1500, 1100), "small": (20, 31)}.get(kind, (210, 170))
    image, path = photo(5, *size), tmp_path / ("p.jpg" if "jpeg" in kind else "p.png")
    if kind == "transparent":
        image.putalpha(Image.linear_gradient("L").resize(size))
    (image.convert("L") if "grey" in kind else image).save(path, **({"quality": 90} if "jpeg" in kind else {}))
    settings = DecodeSettings(64, resize)
    ours = decode(path, settings).astype(int)
    theirs = tf_functions.decode(tf.constant(path.read_bytes()), settings).numpy().astype(int)
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 3
    assert np.abs(theirs - ours).mean() < 0.5


def test_the_bytes_signature_on_real_photographs(tmp_path: Path) -> None:
    import tensorflow as tf

    assets = Path(os.environ.get("TRANSFERKIT_TEST_ASSETS", Path(__file__).parents[3] / "shared"))
    found = sorted((assets / "data" / "trashnet").glob("*/*.jpg"))[::250]
    if not found:
        pytest.skip(f"no photographs in {assets}; set TRANSFERKIT_TEST_ASSETS")
    settings = DecodeSettings(224)
    off = [decode(path, settings).astype(int) - tf_functions.decode(tf.constant(path.read_bytes()), settings).numpy()
           for path in found]  # fmt: skip
    assert np.abs(np.stack(off)).mean() < 1.5


def test_what_the_graph_does_not_do_is_said_and_measured(run: Any) -> None:
    """EXIF rotation is ours alone: docs/export.md says so; the figures of an export show what it costs."""
    made = run.export("saved_model", output=run.folder / "encoded")
    assert made.figures["encoded"]["n"] == made.figures["n"]
    assert made.figures["encoded"]["largest_difference"] < 0.05
    assert "from JPEG or PNG bytes" in str(made)


# ----------------------------------------------------------------------------------------------- the gate


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that writes another function: every weight of the head's last layer is turned around."""
    right = writers._onnx

    def other(model: Any, facts: dict[str, Any], to: Path) -> None:
        logits = model.get_layer("head").get_layer("logits")
        logits.set_weights([-w for w in logits.get_weights()])
        right(model, facts, to)

    monkeypatch.setattr(writers, "_onnx", other)


@pytest.mark.usefixtures("wrong")
def test_a_wrong_file_is_an_error_with_the_figures_and_leaves_nothing(run: Any) -> None:
    before = sorted((run.folder / "exports").iterdir()) if (run.folder / "exports").exists() else []
    result = call("export", run.folder, "--format", "onnx", "--output", run.folder / "exports" / "wrong", "--quiet")
    assert result.code == 1
    for word in ("largest difference", "answers agree for", "--allow-mismatch", "ms a picture", "right for"):
        assert word in result.err
    assert sorted((run.folder / "exports").iterdir()) == before


@pytest.mark.usefixtures("wrong")
def test_a_wrong_file_may_be_kept_on_request(run: Any) -> None:
    target = run.folder / "kept"
    result = call("export", run.folder, "--format", "onnx", "--output", target, "--allow-mismatch", "--json")
    assert result.code == 0, result.err
    assert "kept because of --allow-mismatch" in result.err
    assert json.loads(result.out)["passed"] is False
    assert json.loads((target / "export.json").read_text())["check"]["missed"]


def test_the_gate_by_its_parts() -> None:
    reference = np.array([[0.7, 0.3], [0.50002, 0.49998], [0.1, 0.9], [0.2, 0.8]], np.float32)
    other = np.array([[0.6, 0.4], [0.4999, 0.5001], [0.1, 0.9], [0.6, 0.4]], np.float32)
    facts = facts_of({})
    found = parity.differences(reference, other, facts)
    assert found["agreement"] == 0.75  # the tie may fall either way
    assert found["largest_difference"] == pytest.approx(0.4)
    assert len(parity.failures(found, GATES["float32"])) == 2
    assert parity.failures(found, Gate(0.5, 0.7)) == []
    several = parity.differences(reference, other, facts_of({"task": "multilabel", "thresholds": [0.65, 0.5]}))
    assert several["agreement"] == pytest.approx(1 - 2 / 8)  # 0.7 and 0.8 fell below, 0.49998 is a tie
    numbers = parity.differences(reference * 10, other * 10, facts_of({"task": "regress"}))
    assert numbers["agreement"] is None
    assert parity.failures(numbers, GATES["int8"])
    with pytest.raises(ExportError):
        parity.differences(reference, other[:, :1], facts)


def test_not_a_number_fails_the_gate() -> None:
    reference = np.full((3, 2), 0.5, np.float32)
    found = parity.differences(reference, np.full((3, 2), np.nan, np.float32), facts_of({"task": "regress"}))
    assert parity.failures(found, GATES["float32"])
    assert parity.failures(found, GATES["int8"])


@pytest.mark.parametrize("kind", ["litert", "onnx"])
def test_a_damaged_file_is_an_error_with_the_reason(kind: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"not a model")
    with pytest.raises(ExportError, match="cannot be run"):
        parity.answers(kind, tmp_path / "bad", np.zeros((1, 8, 8, 3), np.uint8), [])


# --------------------------------------------------------------------------------- places, options, pictures


def test_int8_is_calibrated_on_training_pictures_only(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    right = parity_pictures.pick

    def spy(layout: Any, parts: tuple[str, ...], count: int, data: Any = None) -> Any:
        asked.append(parts)
        return right(layout, parts, count, data)

    monkeypatch.setattr(parity_pictures, "pick", spy)
    run.export("litert", quantize="int8", output=run.folder / "calibrated")
    assert asked == [("val", "test"), ("train",)]


def test_an_existing_folder_is_refused_and_only_exports_are_replaced(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "out"
    run.export("litert", output=target)
    inode = target.stat().st_ino
    with pytest.raises(RunError, match="--replace"):
        run.export("litert", output=target)
    run.export("litert", output=target, replace=True)
    assert target.stat().st_ino != inode
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    with pytest.raises(RunError, match="is no export"):
        run.export("litert", output=mine, replace=True)
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["mine", "out"]


def test_a_failure_while_replacing_keeps_the_old_export(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    run.export("litert", output=target)
    content = (target / "export.json").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(companions, "write", full)
    with pytest.raises(StorageError, match="no space left"):
        run.export("litert", output=target, replace=True)
    assert (target / "export.json").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["out"]


def test_a_run_that_is_renamed_meanwhile_does_not_get_its_old_folder_back(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, write = copy_of(run, tmp_path / "run"), companions.write

    def renamed(*given: Any) -> None:
        own.folder.rename(tmp_path / "renamed")
        write(*given)

    monkeypatch.setattr(companions, "write", renamed)
    with pytest.raises(RunError, match="was moved or removed meanwhile; export it where it is now"):
        own.export("litert")  # whose runtime starts soonest
    assert not own.folder.exists()


def test_an_export_is_on_the_disk_before_it_has_its_name(tmp_path: Path, synced: dict[int, int]) -> None:
    with _whole_folder(tmp_path / "out") as folder:
        for path in (folder / "a", folder / "deep" / "b"):
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
    made = [path.stat() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [synced[status.st_ino] for status in made] == [1, 1]


def test_what_a_killed_export_left_is_cleared_at_once_but_not_anothers_work(run: Any, tmp_path: Path) -> None:
    work = tmp_path / ".out.12345678.partial"
    (work / "saved_model").mkdir(parents=True)
    (tmp_path / ".out.87654321.old").mkdir()
    (tmp_path / ".other.12345678.partial").mkdir()
    holder = (
        "from transferkit.storage import claim_folder\n"
        "claim = claim_folder(Path(sys.argv[1])); print('held' * (claim is not None), flush=True); time.sleep(300)"
    )
    with held(holder, work):
        _remove_stale(tmp_path / "out")
        kept = {".out.12345678.partial", ".other.12345678.partial"}
        assert {p.name for p in tmp_path.iterdir() if p.name != "cache"} == kept
    run.export("litert", output=tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir() if p.name != "cache"} == {".other.12345678.partial", "out"}


def test_where_claims_cannot_tell_age_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferkit.delivery.exporting.export.claim_folder", lambda _: None)
    (tmp_path / ".out.12345678.partial").mkdir()
    _remove_stale(tmp_path / "out")
    assert list(tmp_path.glob(".*"))
    monkeypatch.setattr("transferkit.delivery.exporting.export.STALE", -1.0)
    _remove_stale(tmp_path / "out")
    assert not list(tmp_path.glob(".*"))


def test_a_kill_leaves_no_export(run: Any, tmp_path: Path, fresh: Fresh) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; import transferkit as tk; "
        "from transferkit.delivery.exporting import companions; "
        "companions.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "tk.Run(Path(sys.argv[1])).export('litert', output=sys.argv[2])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert fresh(code, run.folder, tmp_path / "out", env=environment).returncode == -9
    assert not (tmp_path / "out").exists()
    run.export("litert", output=tmp_path / "out")
    assert (tmp_path / "out" / "export.json").exists()


def test_data_that_moved_is_named(digits_run: Any, tmp_path: Path) -> None:
    run = copy_of(digits_run, tmp_path / "run")
    moved = shutil.copytree(run.manifest["data"]["path"], tmp_path / "elsewhere")
    manifest = run.manifest
    manifest["data"]["path"] = str(tmp_path / "gone")
    run.layout.manifest.write_text(json.dumps(manifest))
    result = call("export", run.folder, "--format", "litert", "--quiet")
    assert result.code == 2
    assert "--data" in result.err
    assert not (run.folder / "exports").exists()
    assert call("export", run.folder, "--format", "litert", "--quiet", "--data", moved).code == 0


def test_options_without_effect_and_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'tflite' is unknown; choose from keras, saved_model, litert, onnx"):
        lookup("tflite", None)
    with pytest.raises(ConfigError, match="nearest: 'saved_model'"):
        lookup("savedmodel", None)
    with pytest.raises(ConfigError, match="has no effect on format onnx"):
        lookup("onnx", "float16")
    with pytest.raises(ConfigError, match="'int4' is unknown"):
        lookup("litert", "int4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'transferkit\[onnx\]'"):
        lookup("onnx", None)


def test_bad_arguments_never_import_tensorflow(digits_run: Any) -> None:
    code = (
        "import sys; from transferkit.cli import cli; from transferkit.cli._boundary import guarded; "
        f"code = guarded(cli, ['export', {str(digits_run.folder)!r}, '--format', 'tflite']); "
        "assert code == 2; assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(210, 170), (500, 300), (20, 31)])
def test_examples_see_what_the_model_was_trained_on(resize: str, size: tuple[int, int], tmp_path: Path) -> None:
    settings = DecodeSettings(64, resize)  # type: ignore[arg-type]
    text = companions.example(FORMATS["onnx"], facts_of({"decode": settings.key()}))
    photo(3, *size).save(tmp_path / "p.png")
    (tmp_path / "export.json").write_text('{"input": {"size": 64}}')
    # Up to where the runtime comes in: the pixels it is given.
    start, end = text.index("import json"), text.index("model = onnxruntime")
    names: dict[str, Any] = {"__file__": str(tmp_path / "example.py")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example.py", str(tmp_path / "p.png")])
        exec(text[start:end].replace("import onnxruntime", ""), names)
    off = np.abs(names["pixels"][0].astype(int) - decode(tmp_path / "p.png", settings))
    assert off.max() <= 8
    assert off.mean() < 1.0


def test_examples_spread_deep_grey_as_the_model_was_trained(tmp_path: Path) -> None:
    settings = DecodeSettings(24, intensity="percentile")
    text = companions.example(FORMATS["onnx"], facts_of({"decode": settings.key()}))
    values = np.random.default_rng(2).integers(100, 2000, (24, 24)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "p.tif")
    (tmp_path / "export.json").write_text('{"input": {"size": 24}}')
    names: dict[str, Any] = {"__file__": str(tmp_path / "example.py")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example.py", str(tmp_path / "p.tif")])
        exec(
            text[text.index("import json") : text.index("model = onnxruntime")].replace("import onnxruntime", ""), names
        )
    assert np.array_equal(names["pixels"][0], decode(tmp_path / "p.tif", settings))


# ------------------------------------------------------------------------------------------------ every format


def test_all_formats_make_one_table(run: Any, table: Any) -> None:
    assert table.passed
    lines = str(table).splitlines()
    assert all(len(line) < 80 for line in lines if str(run.folder) not in line)
    assert [line.split()[0] for line in lines[1:5]] == ["keras", "saved_model", "litert", "onnx"]
    assert all("100.0%" in line and "MB" in line and "ms" in line for line in lines[1:5])
    folders = [row.made.folder for row in table.rows]
    assert sorted(p.name for p in folders) == ["keras", "litert-float32", "onnx", "saved_model"]
    assert {p.parent for p in folders} == {run.folder / "exports"}
    again = call("export", run.folder, "--format", "all", "--quiet")
    assert again.code == 2
    assert again.err.count("pass --replace") == 4


def few_formats(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    from transferkit.delivery.exporting import every

    monkeypatch.setattr(every, "FORMATS", {name: FORMATS[name] for name in names})


def test_a_format_without_its_package_is_a_row_and_no_failure(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_formats(monkeypatch, "litert", "onnx")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tf2onnx" else find(name))
    done = call("export", run.folder, "--format", "all", "--output", tmp_path / "all", "--json")
    assert done.code == 0, done.err
    litert, onnx = json.loads(done.out)
    assert (litert["status"], onnx["status"]) == ("made", "missing")
    assert "pip install 'transferkit[onnx]'" in onnx["reason"]
    assert litert["agreement"] == 1.0


@pytest.mark.usefixtures("wrong")
def test_a_format_that_fails_is_a_row_and_the_exit_code(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_formats(monkeypatch, "litert", "onnx")
    done = call("export", run.folder, "--format", "all", "--output", tmp_path / "all", "--quiet")
    assert done.code == 1
    assert "FAILED: the onnx file (float32) does not answer" in done.out
    assert [p.name for p in (tmp_path / "all").iterdir()] == ["litert-float32"]
    found = run.export("all", output=tmp_path / "kept", allow_mismatch=True)
    assert found.passed
    assert "kept although" in str(found)


def test_what_a_converter_cannot_express_is_said(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(writers, "_onnx", broken)
    with pytest.raises(ExportError, match=r"cannot write this model \(NotImplementedError: no such operation\)"):
        run.export("onnx", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
