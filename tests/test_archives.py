"""Archives that would fill the memory are refused by what their directories say; real ones pass."""

import contextlib
import errno
import io
import json
import os
import tempfile
import time
import zipfile

import h5py
import numpy as np
import pytest

from transferkit import archives
from transferkit.errors import BackboneError, RunError, StorageError, WeightsError
from transferkit.runs import model_file

HUGE = 10**10  # bytes


def weights(**arrays):
    """An HDF5 file; an array given as its length is declared and never written."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in arrays.items():
            if isinstance(value, int):
                file.create_dataset(f"layers/{name}/vars/0", (value,), "f4", chunks=(1 << 16,), compression="gzip")
            else:
                file.create_dataset(f"layers/{name}/vars/0", data=value)
    return buffer.getvalue()


def keras_file(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def zeros(path, name, megabytes):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(1 << 20))
    return path


@pytest.fixture
def bombs(tmp_path):
    outside = tmp_path / "secret.bin"
    outside.write_bytes(bytes(4000))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("layers/a/vars/0", (1000,), "f4", external=[(str(outside), 0, 4000)])
    return {
        "facts": zeros(tmp_path / "facts.keras", model_file.MEMBER, 300),
        "zipped weights": zeros(tmp_path / "zipped.keras", "model.weights.h5", 300),
        "declared weights": keras_file(tmp_path / "declared.keras", {"model.weights.h5": weights(a=HUGE // 4)}),
        "both": keras_file(tmp_path / "both.keras", {"model.weights.h5": weights(a=HUGE // 4)}, zipfile.ZIP_DEFLATED),
        "a member outside": keras_file(tmp_path / "out.keras", {"../x": b"x"}),
        "a member that is a command": keras_file(tmp_path / "esc.keras", {"\x1b]0;x\x07": b"x"}),
        "elsewhere": keras_file(tmp_path / "elsewhere.keras", {"model.weights.h5": buffer.getvalue()}),
    }


def test_each_bomb_is_refused_at_once_by_every_reader(bombs):
    from transferkit.backbones import loading, userfile

    started = time.monotonic()
    for name, path in bombs.items():
        assert archives.problem(path), name
        with pytest.raises(RunError, match=r"is not loaded|is damaged"):
            model_file.load(path)
        with pytest.raises(RunError, match=model_file.MEMBER.replace(".", r"\.")):
            model_file.facts(path)
        with pytest.raises(BackboneError, match="is not loaded"):
            userfile.open_file(str(path))
        with pytest.raises(WeightsError, match="is not loaded"):
            loading.load(path, None)
    assert time.monotonic() - started < 60


UNITS = 20_000_000
WIDER = {
    "as Keras says it": {"units": UNITS},
    "without the shape it had": {"units": UNITS, "build_config": None},
    "its shape told otherwise": {"units": UNITS, "build_config": {"shapes_dict": {"input_shape": [None, 192]}}},
    "another kind of layer": {"class_name": "EinsumDense", "equation": "ab,bc->ac", "output_shape": [UNITS]},
}


@pytest.mark.parametrize("form", WIDER)
def test_layers_that_declare_more_weights_than_the_file_can_hold(form, tmp_path):
    """Whatever the layers are called, and whatever they say of themselves: it is told before the weights are made."""
    import keras

    from transferkit.backbones import loading, userfile

    path, before = tmp_path / "wide.keras", keras.layers.Layer.add_weight
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential(layers).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members["config.json"])
    (layer,) = [layer for layer in content["config"]["layers"] if layer["class_name"] == "Dense"]
    if "class_name" in WIDER[form]:
        layer.update(class_name=WIDER[form]["class_name"], config={"name": "x"})
    for name, value in WIDER[form].items():
        (layer if name in layer else layer["config"])[name] = value
    keras_file(path, members | {"config.json": json.dumps(content).encode()})
    for read, kind in (
        (model_file.load, RunError),
        (lambda path: userfile.open_file(str(path)), BackboneError),
        (lambda path: loading.load(path, keras.Sequential(layers)), WeightsError),
    ):
        with pytest.raises(kind, match="declare weights of"):
            read(path)
    assert keras.layers.Layer.add_weight is before


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_real_weights_pass(tmp_path, compression):
    rng = np.random.default_rng(0)
    content = weights(**{f"layer{i}": rng.normal(size=(64, 1000)).astype("f4") for i in range(8)}, bias=1 << 20)
    assert archives.problem(keras_file(tmp_path / "a.keras", {"model.weights.h5": content}, compression)) == ""


def test_the_shipped_model_passes_and_damage_is_named(digits_run, tmp_path):
    assert archives.problem(digits_run.layout.model) == ""
    assert model_file.load(digits_run.layout.model).count_params() > 1000
    content = digits_run.layout.model.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(12):
        broken = bytearray(content[: rng.integers(len(content))] if number % 2 else content)
        broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        path = tmp_path / "model.keras"
        path.write_bytes(broken)
        with contextlib.suppress(RunError):  # a bit of padding does not matter; all else is this error, no other
            model_file.load(path)


FACTS = {"task": "classify", "classes": ["a", "b"], "decode": {"decoder": 2, "size": 32, "resize": "stretch"},
         "thresholds": None, "temperature": 1.0, "backbone": "mini"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "guess"), ("task", None), ("classes", []), ("classes", ["a", "a"]), ("classes", "ab"),
        ("classes", [1, 2]), ("decode", None), ("decode", {"decoder": 2, "size": "32"}), ("decode", {"size": -1}),
        ("temperature", float("nan")), ("temperature", 0), ("temperature", "1"), ("thresholds", ["x"]),
        ("thresholds", 0.5), ("backbone", 7),
    ],
)  # fmt: skip
def test_facts_of_wrong_types_are_one_clear_error(tmp_path, name, value):
    text = json.dumps({**FACTS, name: value})
    with pytest.raises(RunError, match=r"m\.keras is damaged \(transferkit\.json"):
        model_file.facts(keras_file(tmp_path / "m.keras", {model_file.MEMBER: text}))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "9" * 6000, "null", "\x00", '{"task": "\x1b[31m"}'])
def test_facts_that_are_none(tmp_path, text):
    with pytest.raises(RunError, match="damaged") as error:
        model_file.facts(keras_file(tmp_path / "m.keras", {model_file.MEMBER: text}))
    assert "\x1b" not in str(error.value)


def test_saving_leaves_nothing_in_a_full_folder_for_temporary_files(tmp_path, monkeypatch):
    """Keras makes a folder there, tries it, and leaves it where that fails."""
    import keras

    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(StorageError, match="no space left"):
        model_file.save(model, None, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == [place]
    assert list(place.iterdir()) == []


def test_what_loading_leaves_in_the_folder_for_temporary_files_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = keras_file(tmp_path / "m.keras", {"config.json": b"{}"})
    with archives.bounded(path):
        tempfile.mkdtemp()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_archives_are_written_under_a_clock_that_was_never_set(tmp_path, monkeypatch):
    old, path = tmp_path / "old.txt", tmp_path / "a.zip"
    old.write_text("old")
    os.utime(old, (1000, 1000))
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    with zipfile.ZipFile(path, "w") as archive, pytest.raises(ValueError, match="1980"):
        archive.writestr("a", "content")
    with archives.dated(), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "content")
        archive.write(old, "old")
    assert zipfile.time is time  # type: ignore[attr-defined]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("a") == b"content"
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
