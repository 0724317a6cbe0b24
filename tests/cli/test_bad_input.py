"""Bad input: one clear message on standard error, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.calls import Result, call, spawn, tree
from tests.data.pictures import folder_of_classes, photo
from tests.marks import ordinary_user
from tests.runs.sealing import put_manifest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with nothing of this machine's weights in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-weights"))
    monkeypatch.setenv("TRANSFERKIT_WEIGHTS", str(tmp_path / "no-weights"))
    return tmp_path


def mine(here: Path) -> dict[str, bytes]:
    """Every file but those of the cache, and Keras' own settings in the weights store."""
    return {k: v for k, v in tree(here).items() if "/cache/" not in k and not k.endswith("/no-weights/keras.json")}


def sound(here: Path) -> Path:
    return folder_of_classes(here / "flowers", {"rose": 8, "iris": 8})


def refused(result: Result, *words: str) -> None:
    """Exit code 2, the words in one message, and no sign of a crash."""
    assert result.code == 2, result
    assert result.out == ""
    assert "Traceback" not in result.err
    assert "unexpected" not in result.err
    for word in words:
        assert word in result.err, (word, result.err)


def _missing(here: Path) -> list[object]:
    (here / "flowers").mkdir()
    return [here / "flwers", "--backbone", "mini"]


def _empty(here: Path) -> list[object]:
    (here / "empty").mkdir()
    return [here / "empty", "--backbone", "mini"]


def _one_class(here: Path) -> list[object]:
    return [folder_of_classes(here / "flowers", {"rose": 8}), "--backbone", "mini"]


def _too_small(here: Path) -> list[object]:
    return [folder_of_classes(here / "flowers", {"rose": 8, "iris": 2}), "--backbone", "mini"]


def _no_picture(here: Path) -> list[object]:
    (sound(here) / "rose" / "page.jpg").write_text("<html>")
    return [here / "flowers", "--backbone", "mini"]


def _truncated(here: Path) -> list[object]:
    path = sound(here) / "iris" / "cut.jpg"
    photo(99, 200, 200).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    return [here / "flowers", "--backbone", "mini"]


def _csv(text: str) -> Callable[[Path], list[object]]:
    def make(here: Path) -> list[object]:
        (here / "table.csv").write_text(text)
        return [here / "table.csv", "--backbone", "mini"]

    return make


def _settings(*words: str) -> Callable[[Path], list[object]]:
    def make(here: Path) -> list[object]:
        return [sound(here), *words]

    return make


def _config(content: str) -> Callable[[Path], list[object]]:
    def make(here: Path) -> list[object]:
        (here / "run.toml").write_text(content)
        return [sound(here), "--backbone", "mini", "--config", here / "run.toml"]

    return make


def _whole_split(here: Path) -> list[object]:
    for number, part in enumerate(("train", "val", "test")):
        folder_of_classes(here / "parts" / part, {"a": 3, "b": 3}, start=10 * number)
    return [here / "parts", "--backbone", "mini", "--split", ".8,.1,.1"]


def _regression(*words: str) -> Callable[[Path], list[object]]:
    def make(here: Path) -> list[object]:
        sound(here)
        rows = [f"flowers/{name}/{i}.png,{i / 3}" for name in ("rose", "iris") for i in range(8)]
        (here / "numbers.csv").write_text("\n".join(["path,label", *rows]))
        return [here / "numbers.csv", "--backbone", "mini", "--task", "regress", *words]

    return make


MANY_MISSING = "path,label\n" + "\n".join(f"gone/{i}.png,{'ab'[i % 2]}" for i in range(14))
MINI = ("--backbone", "mini")
CASES: dict[str, tuple[Callable[[Path], list[object]], tuple[str, ...]]] = {
    "missing folder": (_missing, ("flwers does not exist", "nearest: 'flowers'")),
    "empty folder": (_empty, ("empty", "sub-folder")),
    "one class": (_one_class, ("one class only", "rose")),
    "class too small": (_too_small, ("iris", "2", "three")),
    "no picture": (_no_picture, ("rose/page.jpg", "--on-bad-file skip")),
    "truncated picture": (_truncated, ("iris/cut.jpg", "--on-bad-file skip")),
    "weights of no backbone": (_settings("--weights", "a.h5"), ("--weights a.h5 needs --backbone", "no weights file")),
    "stage of no backbone": (_settings("--unfreeze", "from:blok3"), ("'mini' has no stage 'blok3'", "'block3'")),
    "unknown backbone": (_settings("--backbone", "vgg61"), ("vgg61", "nearest: ", "'vgg16'", "backbones recommend")),
    "backbone file absent": (_settings("--backbone", "my/net.keras"), ("no file", "my/net.keras")),
    "unknown stage": (_settings(*MINI, "--unfreeze", "from:blok3"), ("blok3", "block3", "block1")),
    "too many layers": (_settings(*MINI, "--unfreeze", "last:999"), ("999",)),
    "no policy": (_settings(*MINI, "--unfreeze", "top"), ("'top'", "from:STAGE", "last:N")),
    "picture size below the minimum": (
        _settings("--backbone", "vgg16", "--weights", "random", "--image-size", "16"),
        ("'vgg16' takes pictures of 32 pixels or more, not 16", "--image-size 224"),
    ),
    "weights absent": (
        _settings("--backbone", "mobilenet_0.25", "--offline"),
        ("mobilenet_2_5_224_tf_no_top.h5", "no-weights", "no hash is published", "--weights random"),
    ),
    "weights absent, hash known": (
        _settings("--backbone", "vgg16", "--offline"),
        ("vgg16_weights_tf", "hash 6d6bbae143d832006294945121d1f1fc", "weights add", "--weights random"),
    ),
    "weights file absent": (_settings(*MINI, "--weights", "mine.h5"), ("no weights file mine.h5", "random")),
    "unknown metric": (_settings(*MINI, "--metric", "acuracy"), ("acuracy", "nearest: 'accuracy'", "macro_f1")),
    "metric of another task": (_settings(*MINI, "--metric", "mae"), ("mae", "regress", "accuracy, ")),
    "metric against --task": (_settings(*MINI, "--metric", "r2", "--task", "classify"), ("r2", "for classify")),
    "--split with two parts": (_settings(*MINI, "--split", ".8,.2"), ("has 2 parts", ".7,.15,.15")),
    "--split that sums to 1.1": (_settings(*MINI, "--split", ".8,.2,.1"), ("sums to 1.1",)),
    "--split that is no number": (_settings(*MINI, "--split", "a,b,c"), ("three numbers",)),
    "--split in numbers of other data": (_settings(*MINI, "--split", "10,5,5"), ("16 pictures", "20")),
    "--split without effect": (_whole_split, ("--split has no effect", "train, val and test")),
    "--config absent": (_settings(*MINI, "--config", "absent.toml"), ("--config absent.toml", "No such file")),
    "--config a folder": (_settings(*MINI, "--config", "."), ("--config .", "directory")),
    "--config no TOML": (_config("epochs: 3"), ("run.toml", "not valid TOML")),
    "--config unknown key": (_config("epoch = 3"), ("unknown setting 'epoch'", "it is called epochs here")),
    "--config wrong type": (_config("epochs = 'many'"), ("--epochs many", "whole number")),
    "--budget": (_settings(*MINI, "--budget", "5x"), ("'5x' is not a duration", "10m")),
    "--seed": (_settings(*MINI, "--seed", "-1"), ("--seed -1",)),
    "--learning-rate": (_settings(*MINI, "--learning-rate", "fast"), ("--learning-rate fast", "or auto")),
    "--learning-rate nan": (_settings(*MINI, "--learning-rate", "nan"), ("--learning-rate nan",)),
    "--l2 inf": (_settings(*MINI, "--l2", "inf"), ("--l2 inf", "finite")),
    "--exclude nothing": (_settings(*MINI, "--exclude", "rosse"), ("rosse", "nearest: 'rose'")),
    "--exclude-file absent": (_settings(*MINI, "--exclude-file", "out.txt"), ("out.txt", "cannot be read")),
    "twice": (_settings(*MINI, "--epochs", "3", "--epochs", "4"), ("--epochs is given 2 times",)),
    "on and off": (_settings(*MINI, "--ema", "--no-ema"), ("--ema/--no-ema is given 2 times",)),
    "unknown option": (_settings(*MINI, "--epocs", "3"), ("--epocs", "--epochs")),
    "--resume without --output": (_settings(*MINI, "--resume"), ("--resume needs --output",)),
    "--views without views": (_settings(*MINI, "--views", "4", "--augment", "none"), ("--views 4 has no effect",)),
    "--augment without views": (_settings(*MINI, "--views", "0", "--augment", "light"), ("--augment light has no",)),
    "--batchnorm frozen network": (_settings(*MINI, "--batchnorm", "train"), ("--batchnorm train has no effect",)),
    "--layer-decay frozen network": (_settings(*MINI, "--layer-decay", ".5"), ("--layer-decay 0.5 has no effect",)),
    "--layer-decay top stage": (
        _settings(*MINI, "--unfreeze", "last:1", "--layer-decay", ".5"),
        ("--layer-decay 0.5 has no effect with --unfreeze last:1",),
    ),
    "--head-width linear": (_settings(*MINI, "--head", "linear", "--head-width", "9"), ("--head-width 9 has no",)),
    "--patience": (_settings(*MINI, "--epochs", "3", "--patience", "5"), ("--patience 5 has no effect",)),
    "--weight-decay": (_settings(*MINI, "--optimizer", "sgd", "--weight-decay", ".1"), ("--weight-decay 0.1 has no",)),
    "--mixup and --cutmix": (_settings(*MINI, "--mixup", ".2", "--cutmix", "1"), ("choose one",)),
    "--loss": (_settings(*MINI, "--loss", "huber"), ("--loss huber is for regression",)),
    "--scaling of mini": (_settings(*MINI, "--scaling", "tf"), ("--scaling tf has no effect",)),
    "--folds 1": (_settings(*MINI, "--folds", "1"), ("--folds 1",)),
    "--folds beyond the class": (_settings(*MINI, "--folds", "50"), ("50 folds",)),
    "--task of a folder": (_settings(*MINI, "--task", "multilabel"), ("multilabel", "CSV")),
    "regression smoothing": (_regression("--label-smoothing", ".1"), ("--label-smoothing 0.1 has no effect",)),
    "regression weights": (_regression("--class-weights", "balanced"), ("--class-weights balanced has no effect",)),
    "regression metric": (_regression("--metric", "accuracy"), ("accuracy", "metrics for regress")),
    "CSV without columns": (_csv("file,kind\na.png,x\n"), ("table.csv", "no column 'path'", "file, kind")),
    "CSV with missing files": (_csv(MANY_MISSING), ("14", "line 2: gone/0.png", "line 11: gone/9.png")),
    "CSV without rows": (_csv("path,label\n"), ("no rows",)),
    "DATA is a file": (lambda here: [photo(1).save(here / "a.png") or here / "a.png", *MINI], ("neither a folder",)),
}


@pytest.mark.parametrize("case", CASES)
def test_finetune_refuses(case: str, here: Path) -> None:
    make, words = CASES[case]
    arguments = make(here)
    before = mine(here)
    result = call("finetune", *arguments, "--output", here / "run") if case != "--resume without --output" else call(
        "finetune", *arguments
    )  # fmt: skip
    refused(result, *words)
    assert not (here / "run").exists()
    assert not (here / "runs").exists()
    assert mine(here) == before


def test_csv_with_missing_files_shows_ten_lines(here: Path) -> None:
    arguments = _csv(MANY_MISSING)(here)
    err = call("finetune", *arguments, "--output", here / "run").err
    assert err.count("gone/") == 10


def test_all_problems_come_in_one_message(here: Path) -> None:
    words = "--backbone vgg61 --epochs abc --head linear --head-width 9 --split .8,.1 --metric nothing --budget 5x"
    (here / "taken").mkdir()
    (here / "taken" / "letter.txt").write_text("mine")
    result = call("finetune", sound(here), *words.split(), "--output", here / "taken")
    refused(result, "7 problems", "vgg61", "abc", "--head-width 9", "0.8,0.1", "nothing", "5x", "not empty")


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p: p.write_text("mine"), "is a file"),
        (lambda p: (p.mkdir(), (p / "letter.txt").write_text("mine")), "exists and is not empty"),
        (lambda p: (p.mkdir(), (p / "run.json").write_text("{}")), "holds a run"),
    ],
)
def test_an_output_in_use_is_refused(make: Callable[[Path], object], word: str, here: Path) -> None:
    data, output = sound(here), here / "run"
    make(output)
    before = mine(here)
    refused(call("finetune", data, *MINI, "--output", output), word)
    assert mine(here) == before


def test_an_output_below_a_file_inside_the_data_or_without_permission_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sound(here)
    (here / "letter.txt").write_text("mine")
    refused(call("finetune", data, *MINI, "--output", here / "letter.txt" / "run"), "letter.txt is a file")
    refused(call("finetune", data, *MINI, "--output", data / "run"), "inside the data")
    assert not (data / "run").exists()
    monkeypatch.setattr(os, "access", lambda path, mode, **options: mode == os.R_OK)
    refused(call("finetune", data, *MINI, "--output", here / "locked"), "no permission to write in")


@pytest.mark.parametrize("before", ["", "last:", "from:"])
@pytest.mark.parametrize("option", ["unfreeze", "image-size", "frames", "views", "head-width", "seed", "class-level"])
def test_a_value_of_5000_digits_is_refused_in_few_words(option: str, before: str, here: Path) -> None:
    """Python makes no numbers of as many."""
    result = call("finetune", sound(here), *MINI, f"--{option}", before + "9" * 5000)
    refused(result, "9" * 100)
    assert len(result.err) < 1000


def naming(place: Path, data: Path) -> list[tuple[object, ...]]:
    """Commands with a name of the user's where one may stand."""
    return [
        *((name, place) for name in ("summary", "evaluate", "report", "explain", "diagnose", "serve", "open",
                                     "reproduce", "resume", "label", "finetune", "tune", "best")),
        ("export", place, "--format", "keras"), ("predict", place, data),
        ("runs", place), ("compare", place, data), ("label", data, "--run", place), ("weights", "add", place),
        *(("data", name, place) for name in ("summary", "check", "split", "preview", "clean")),
        ("data", "convert", place, "new"), ("data", "split", data, "--output", place),
        ("data", "check", data, "--html", place), ("data", "summary", data, "--exclude-file", place),
        ("data", "preview", data, "--output", place / "a.png"), ("finetune", data, *MINI, "--output", place),
        ("finetune", data, "--backbone", place / "a.keras"), ("tune", data, *MINI, "--output", place),
        ("best", data, "--output", place), ("demo", "--output", place), ("features", "extract", place),
        *(("config", name, place) for name in ("init", "show", "validate")), ("backbones", "recommend", place),
    ]  # fmt: skip


def test_names_that_are_too_long_are_refused(here: Path) -> None:
    data = sound(here)
    for words in naming(here / ("n" * 256), data):
        refused(call(*words), "File name too long")


def test_folders_without_permission_are_refused_by_name(here: Path) -> None:
    data, locked = sound(here), here / "locked"
    locked.mkdir(0)
    with ordinary_user():
        for words in naming(locked / "within", data):
            refused(call(*words), str(locked), "ermission")
    locked.chmod(0o700)
    assert list(locked.iterdir()) == []


def test_a_name_with_a_zero_byte_is_refused(here: Path) -> None:
    (here / "run.toml").write_text('output = "a\\u0000b"\nbackbone = "mini"\n')
    refused(call("finetune", sound(here), "--config", "run.toml"), "zero byte")


def test_resume_of_what_is_no_run_is_refused(here: Path) -> None:
    data, output = sound(here), here / "run"
    output.mkdir()
    (output / "letter.txt").write_text("mine")
    refused(call("finetune", data, *MINI, "--output", output, "--resume"), "no run that could be resumed")
    (output / "run.json").write_text('{"status": "runn')
    refused(call("finetune", data, *MINI, "--output", output, "--resume"), "run.json is damaged")
    (output / "run.json").write_text("{}")
    refused(call("finetune", data, *MINI, "--output", output, "--resume"), "not a run's manifest")


@pytest.mark.extended
def test_resume_with_other_settings_shows_the_differences(here: Path, digits: Path, digits_run: object) -> None:
    folder = digits_run.folder  # type: ignore[attr-defined]
    result = call("finetune", digits, *MINI, "--output", folder, "--resume", "--epochs", "5", "--seed", "3")
    refused(result, "epochs: 8 then, 5 now", "seed: 0 then, 3 now", "views: 1 then, 4 now", "Its command was")


FOLDERS: dict[str, tuple[str, ...]] = {
    "evaluate": (),
    "predict": ("PICTURE",),
    "report": (),
    "summary": (),
}


@pytest.mark.parametrize("command", FOLDERS)
def test_commands_refuse_what_is_no_run(command: str, here: Path) -> None:
    photo(1).save(here / "a.png")
    more = [here / "a.png"] if FOLDERS[command] else []
    refused(call(command, here / "absent", *more), "no run directory", "absent")
    refused(call(command, here, *more), "has no run.json")


@pytest.mark.parametrize("command", FOLDERS)
def test_commands_refuse_an_unfinished_run(command: str, here: Path, digits_run: object) -> None:
    photo(1).save(here / "a.png")
    more = [here / "a.png"] if FOLDERS[command] else []
    shutil.copytree(digits_run.folder, here / "run")  # type: ignore[attr-defined]
    manifest = json.loads((here / "run" / "run.json").read_text())
    put_manifest(here / "run", {**manifest, "status": "interrupted"})
    refused(call(command, here / "run", *more), "is interrupted, not complete", "transferkit resume")


def test_predict_refuses_missing_paths_before_it_answers(here: Path, digits_run: object) -> None:
    run = digits_run.folder  # type: ignore[attr-defined]
    photo(1).save(here / "a.png")
    (here / "none").mkdir()
    arguments = [run, here / "a.png", here / "b.png", here / "none"]
    refused(call("predict", *arguments, "--format", "csv"), "b.png: no such file", "none: no pictures in this folder")
    refused(call("predict", run, here / "a.png", "--format", "csv", "--top", 2), "--top 2 has no effect")
    refused(call("predict", run, here / "a.png", "--format", "csv", "--json"), "contradict")
    refused(call("predict", run, here / "a.png", "--top", 0), "--top", "0")
    refused(call("predict", run), "PATHS")
    (here / "fake.keras").write_bytes(b"PK")
    refused(call("predict", here / "fake.keras", here / "a.png"), "fake.keras", "damaged")


def test_evaluate_refuses_unknown_classes(here: Path, digits_run: object) -> None:
    run = digits_run.folder  # type: ignore[attr-defined]
    refused(call("evaluate", run, folder_of_classes(here / "other", {"rose": 2, "7": 2})), "rose", "7")
    refused(call("evaluate", run, here / "absent"), "absent does not exist")


def test_a_real_process_ends_the_same_way(here: Path) -> None:
    data = sound(here)
    for arguments, words in (
        ([data, "--backbone", "vgg61"], ["error:", "nearest: ", "'vgg16'"]),
        ([data, *MINI, "--epochs", "0"], ["--epochs 0"]),
    ):
        result = spawn("finetune", *arguments, "--output", here / "run")
        assert result.returncode == 2
        assert result.stdout == ""
        assert all(word in result.stderr for word in words)
        assert len(result.stderr.splitlines()) == 1
    assert not (here / "run").exists()


def test_an_unknown_command_shows_the_nearest(here: Path) -> None:
    refused(call("finetun", "x"), "no command 'finetun'", "nearest: 'finetune'")
    refused(call("backbones", "lists"), "no command 'lists'", "nearest: 'list'")
