"""Files nested without end, aliases that grow, cells, labels and numbers of thousands of characters, and values of the
wrong kind in well-formed JSON: each is read as it stands, or refused by one short error that names the file."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.pictures import photo
from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from tests.marks import extended
from tests.nested import places, put
from transferkit.data.readers.request import Reading
from transferkit.data.samples import Samples
from transferkit.data.source import scan
from transferkit.delivery.labels_file import LabelsFile
from transferkit.errors import ConfigError, DataError

DEEP = 100_000
NESTED = {
    "never closed": "[" * DEEP, "closed": "[" * DEEP + "]" * DEEP, "objects": '{"a":' * DEEP,
    # What the parser of JSON still takes, and what walks through the values by itself may not.
    "just parsed": "[" * 700 + "]" * 700,
}  # fmt: skip
SHORT = 1500  # characters of a message


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


def read(source: Path, **options: Any) -> Samples:
    return scan(source, reading=Reading.checked(options))


def refusal(source: Path, *words: str, **options: Any) -> str:
    """What is said where `source` is refused, in no long time: it has the words, and is short."""
    began = time.process_time()
    with pytest.raises((DataError, ConfigError)) as caught:
        read(source, **options).hashed()
    said = str(caught.value)
    assert [word for word in words if word not in said] == [], said[:SHORT]
    assert len(said) < SHORT
    assert time.process_time() - began < 5
    return said


def answer(work: Callable[[], Any]) -> str:
    """What is said where it is refused; "" where it is done."""
    try:
        work()
    except (DataError, ConfigError) as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------------------------ JSON


def web_json(corpus: Corpus, to: Path) -> forms.Source:
    """WebDataset's tar with a label in JSON."""
    with tarfile.open(to / "flowers-000000.tar", "w") as archive:
        for ending, content in (("png", next(iter(corpus))[2]), ("json", NESTED["closed"].encode())):
            info = tarfile.TarInfo(f"a.{ending}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return to, {}


FILES: dict[str, tuple[forms.Builder, str]] = {
    "coco": (forms.coco, "instances.json"), "coco beside": (forms.coco_beside, "instances_default.json"),
    "label studio": (forms.label_studio, "project-1.json"), "tfds": (forms.tfds, "dataset_info.json"),
    "names": (forms.webdataset, "names.json"), "json lines": (forms.json_lines, "metadata.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("form", FILES)
def test_nested_json_is_refused_by_the_name_of_its_file(form: str, kind: str, corpus: Corpus, tmp_path: Path) -> None:
    build, name = FILES[form]
    source, options = build(corpus, tmp_path)
    (path,) = tmp_path.rglob(name)
    path.write_text(NESTED[kind])
    # JSON that is read but is no export leaves a folder with a folder in it that holds no pictures.
    refusal(source, "annotations" if (form, kind) == ("coco beside", "just parsed") else name, **options)


def test_a_nested_label_in_an_archive_is_refused_by_name(corpus: Corpus, tmp_path: Path) -> None:
    source, options = web_json(corpus, tmp_path)
    refusal(source, "a.json is no JSON", **options)


def test_nested_words_of_a_table_about_itself_are_passed_over(corpus: Corpus, tmp_path: Path) -> None:
    """Names of classes as Hugging Face writes them into a Parquet file: without them there are numbers."""
    import pyarrow.parquet

    table = forms.arrow_table(corpus).replace_schema_metadata({"huggingface": NESTED["closed"]})
    pyarrow.parquet.write_table(table, tmp_path / "flowers.parquet")
    assert read(tmp_path / "flowers.parquet").classes == ("0", "1", "2")


def trimmed(content: Any) -> Any:
    """JSON with three entries at the most in each list, one of each class."""
    if isinstance(content, dict):
        return {key: trimmed(value) for key, value in content.items()}
    if isinstance(content, list):
        return [trimmed(item) for item in (content[:: forms.EACH] if len(content) > forms.EACH else content)]
    return content


WRONG: tuple[Any, ...] = (
    None, True, 7, -1.5, 10**400, float("nan"), float("inf"), "", "x" * 5000, "\x1b[31m\0", "9" * 5000, [], [7], [[]],
    {}, {"a": {}}, json.loads("[" * 400 + "]" * 400), json.loads(NESTED["just parsed"]),
)  # fmt: skip
EXPORTS = {
    "coco": forms.coco, "coco of boxes": forms.coco_beside, "label studio": forms.label_studio,
    "label studio, short": forms.label_studio_min,
    "tfds": forms.tfds, "json lines": forms.json_lines,
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "crop"), [*((form, False) for form in EXPORTS), ("coco of boxes", True), ("label studio", True)]
)
def test_values_of_a_wrong_kind_in_sound_json_are_one_clear_error(
    form: str, crop: bool, corpus: Corpus, tmp_path: Path
) -> None:
    (source, _), options = EXPORTS[form](corpus, tmp_path), {"crop_boxes": True} if crop else {}
    path = next(path for path in tmp_path.rglob("*.json*") if not path.name.startswith(("features", "captions")))
    text = path.read_text()
    content = trimmed(json.loads(text.split("\n")[0] if path.suffix == ".jsonl" else text))
    for place in places(content, most=1):
        for value in WRONG:
            path.write_text(json.dumps(put(content, place, value)))
            assert len(answer(lambda: read(source, **options))) < SHORT, (place, type(value))


# ------------------------------------------------------------------------------------------ YAML

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
YAMLS = {
    "nested": "names: " + "[" * 10_000 + "]" * 10_000, "nested, never closed": "names: " + "[" * 10_000,
    "nested blocks": "names:\n  " + "- " * 10_000 + "x", "nested keys": "names: " + "{a: " * 10_000,
    "aliases": ALIASES + "names: *a11", "aliases among names": ALIASES + "names: [daisy, *a11, tulip]",
    "aliases as keys": ALIASES + "names: {*a11 : x}", "an alias of itself": "names: &a [*a]",
    "a number of 5,000 digits": f"names: {{{'9' * 5000}: daisy}}",
    "larger than any": "names: [" + "daisy, " * 200_000 + "]", "an anchor of nothing": "names: *nothing",
    "one text": "names: daisy",
    "bytes": "names: \x01\x02", "a million colons": "names: " + ": " * 400_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", extended(YAMLS, [kind for kind in YAMLS if kind.startswith("nested, ")]))
@pytest.mark.parametrize("given", extended(["the folder", "the file"], ["the file"]))
def test_yaml_that_grows_or_is_nested_is_one_short_error(kind: str, given: str, corpus: Corpus, tmp_path: Path) -> None:
    folder, _ = forms.yolo(corpus, tmp_path)
    (folder / "data.yaml").write_text(YAMLS[kind])
    if given == "the folder":
        refusal(folder, "data.yaml")
    else:
        refusal(folder / "data.yaml", "data.yaml", reader="yolo")


def test_a_tag_in_yaml_makes_no_object(corpus: Corpus, tmp_path: Path) -> None:
    folder, _ = forms.yolo(corpus, tmp_path)
    (folder / "data.yaml").write_text("names: !!python/object/apply:os.mkdir [obeyed]")
    refusal(folder, "has the class 1, which has no name; there are 0 obeyed")
    assert not Path("obeyed").exists()


def test_classes_of_thousands_of_names_in_yaml_take_no_long_time(corpus: Corpus, tmp_path: Path) -> None:
    folder, _ = forms.yolo(corpus, tmp_path)
    names = [*forms.CLASSES, *(f"class {n}" for n in range(3_000))]
    (folder / "data.yaml").write_text("names:\n" + "".join(f"  {n}: {name}\n" for n, name in enumerate(names)))
    assert read(folder).classes == forms.CLASSES


# ------------------------------------------------------------------------------------------ cells and labels

LONG = "x" * 131_073
CELL = "a cell has more than 131,072 characters"


def listed(to: Path, *rows: str, name: str = "list.csv") -> Path:
    """A table of three pictures of two classes, and further rows."""
    for label in ("rose", "daisy"):
        for number in range(3):
            photo(number + (label == "rose") * 7).save(to / f"{label}{number}.png")
    lines = [f"{label}{number}.png,{label}" for label in ("rose", "daisy") for number in range(3)]
    (to / name).write_text("\n".join(["path,label", *lines, *rows]))
    return to / name


@pytest.mark.parametrize("row", [f"a.png,{LONG}", f"{LONG},rose", f'a.png,"{LONG}"', f'a.png,"{LONG}'])
def test_an_endless_cell_of_a_table_is_named_with_its_line(row: str, tmp_path: Path) -> None:
    refusal(listed(tmp_path, row), "list.csv", f"line 8: {CELL}")


def test_an_endless_header_is_named_with_its_file(tmp_path: Path) -> None:
    source = listed(tmp_path)
    source.write_text(f"path,{LONG}\na.png,rose\n")
    refusal(source, "list.csv: line 1", CELL)


EXCLUDED = {
    "a path decided on": f"path,action,label\n{LONG},exclude,\n", "a path of a table": f"path\nrose0.png\n{LONG}\n",
    "a quoted line": f'"{LONG}"\n', "a header": f"path,{LONG}\n", "a quoted line of brackets": '"' + "[" * DEEP,
}  # fmt: skip


@pytest.mark.parametrize("text", [*EXCLUDED.values(), f"rose0.png\n{LONG}\n", "[" * DEEP], ids=[*EXCLUDED, *"ab"])
def test_an_endless_line_of_an_exclusion_file_is_named_or_matches_nothing(text: str, tmp_path: Path) -> None:
    source = listed(tmp_path)
    (tmp_path / "out.csv").write_text(text)
    found: list[Samples] = []
    said = answer(lambda: found.append(scan(source, exclude_file=tmp_path / "out.csv")))
    notes = found[0].notes if found else [said]
    assert any("match no picture" in note for note in notes) if found else "out.csv" in said
    assert all(len(note) < SHORT for note in notes)


def test_an_endless_cell_of_names_and_of_a_labels_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(f"code,name\n0,daisy\n1,{LONG}\n")
    refusal(listed(tmp_path), "names.csv", "line 3", CELL, classes=str(tmp_path / "names.csv"), label_column="label")
    (tmp_path / "labels.csv").write_text(f"path,label\nrose0.png,{LONG}\n")
    with pytest.raises(DataError, match=rf"labels\.csv: line 2: {CELL}"):
        LabelsFile.read(tmp_path / "labels.csv")


DIGITS = "9" * 5000


def test_a_label_of_5000_digits_is_a_class_and_keeps_its_place(tmp_path: Path) -> None:
    source = listed(tmp_path)
    source.write_text(source.read_text().replace(",rose", f",{DIGITS}").replace(",daisy", ",10"))
    assert scan(source, "classify").classes == ("10", DIGITS)


def test_a_number_of_5000_digits_to_be_predicted_is_refused_with_its_line(tmp_path: Path) -> None:
    source = listed(tmp_path)
    source.write_text(source.read_text().replace(",rose", ",1.5").replace(",daisy", ",2.5") + f"\na.png,{DIGITS}")
    with pytest.raises(DataError, match=r"list\.csv: 1 rows hold .*line 8: label='9999") as caught:
        scan(source, "regress")
    assert len(str(caught.value)) < SHORT


def test_folders_of_as_many_digits_as_a_name_may_have_are_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    names = ["7", "9" * 255, "1" + "0" * 254]
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            photo(number).save(tmp_path / "data" / name / f"{number}.png")
    assert scan(tmp_path / "data").classes == ("7", "1" + "0" * 254, "9" * 255)


def test_names_of_5000_digits_in_an_archive_are_read_in_the_order_of_numbers(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for label in ("daisy", "rose"):
            for name in (DIGITS, "10", "9"):
                archive.writestr(f"{label}/{name}.png", next(iter(Corpus()))[2])
    found = scan(tmp_path / "a.zip").paths
    assert [os.path.basename(path).removesuffix(".png") for path in found[:3]] == ["9", "10", DIGITS]


@pytest.mark.parametrize("form", ["parquet", "tfrecords", "npz"])
def test_a_row_of_5000_digits_in_a_file_of_pictures_does_not_exist(form: str, corpus: Corpus, tmp_path: Path) -> None:
    source, _ = forms.FORMS[form](corpus, tmp_path)
    first = Path(read(source).paths[0])
    (tmp_path / "list.csv").write_text(f"path,label\n{first.with_name(DIGITS + first.suffix)},rose\n")
    refusal(tmp_path / "list.csv", "list.csv", "line 2")
