import re

import pytest
import yaml

from tests.delivery.contents import SCRIPT, TASKS, classify
from tests.records import metrics_of
from transferkit.backbones.catalog import ROWS
from transferkit.delivery.report.card import card, markdown, write_card
from transferkit.delivery.report.report import ReportContent


def parts(text):
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize("task", TASKS)
def test_the_front_matter_is_what_the_hub_reads(task):
    header, body = parts(card(TASKS[task]()))
    assert header["library_name"] == "keras"
    assert "vgg16" in header["tags"]
    assert header.get("pipeline_tag") == (None if task == "regress" else "image-classification")
    values = header["model-index"][0]["results"][0]["metrics"]
    assert all(isinstance(value["value"], float) for value in values)
    assert body.lstrip().startswith("# flowers")


def test_the_scores_are_those_of_the_run():
    content = classify()
    header, body = parts(card(content))
    accuracy = content["metrics"].test["accuracy"]
    assert header["model-index"][0]["results"][0]["metrics"][0] == {
        "type": "accuracy", "name": "accuracy", "value": pytest.approx(accuracy, abs=1e-6)
    }  # fmt: skip
    assert f"{100 * accuracy:.1f} %" in body


@pytest.mark.parametrize("task", TASKS)
def test_names_cannot_become_html_or_break_a_table(task):
    _, body = parts(card(TASKS[task]()))
    assert "<script" not in body
    assert "&lt;script&gt;" in body
    for block in body.split("\n\n"):
        rows = [line.replace("\\|", "").count("|") for line in block.splitlines() if line.startswith("|")]
        assert len(set(rows)) <= 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b*c", "a\\_b\\*c"), ("x | y", "x \\| y"), ("two\nlines", "two lines"), ("- item", "\\- item"),
        ("1. item", "1\\. item"), ("<b>&", "&lt;b&gt;&amp;"), ("pre-trained", "pre-trained"),
        ("[a](b)", "\\[a\\](b)"),
    ],
)  # fmt: skip
def test_markdown_keeps_text_as_it_is(name, expected):
    assert markdown(name) == expected


def test_whose_the_pretrained_weights_are_is_said():
    row = ROWS["efficientnet_lite0"]
    _, body = parts(card({**classify(), "weights_licence": row.licence}))
    assert "Apache-2.0 (Google; PyTorch form by ML Illustrated)" in body
    assert "pretrained weights it started from" not in card(classify())


def test_a_command_with_a_fence_stays_inside_its_block():
    _, body = parts(card(ReportContent(title="t", metrics=metrics_of({}), command="echo '```'")))
    assert "````sh\necho '```'\n````" in body


def test_a_title_that_looks_like_yaml_stays_text():
    header, _ = parts(card({**classify(), "title": "a: [b\n---\nlicense: none"}))
    assert header["model-index"][0]["name"] == "a: [b --- license: none"
    assert header["license"] == "unknown"


def test_what_is_missing_is_left_out():
    text = card(ReportContent(title="bare", metrics=metrics_of({"task": "regress"})))
    for heading in ("## Evaluation", "## Data", "## Training", "## How to repeat"):
        assert heading not in text
    assert "None" not in text


def test_the_card_is_written_whole(tmp_path):
    path = write_card(classify(), tmp_path / "CARD.md")
    assert path.read_text("utf-8").startswith("---\nlibrary_name: keras")
    assert SCRIPT not in parts(path.read_text("utf-8"))[1]


def test_the_licence_is_that_of_the_weights_or_said_to_be_unknown():
    for row in ROWS.values():
        header, body = parts(card({**classify(), "weights_licence": row.licence}))
        assert header["license"] in ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "unknown")
        assert (header["license"] == "unknown") == row.licence.startswith("not stated")
        assert "## Licence" in body
    assert parts(card({**classify(), "license": "gpl-3.0"}))[0]["license"] == "gpl-3.0"


def test_many_classes_are_read_from_a_file_and_thresholds_are_those_chosen():
    names = [f"c{i}" for i in range(300)]
    assert 'json.load(open("metrics.json"))["classes"]' in card(
        ReportContent(title="t", metrics=metrics_of({"classes": names}))
    )
    content = {**TASKS["multilabel"]()}
    content["metrics"].thresholds = [0.25, 0.5, 0.75]
    assert "thresholds = [0.25, 0.5, 0.75]" in card(content)


@pytest.mark.parametrize("task", TASKS)
def test_the_example_is_python(task):
    import ast

    (code,) = re.findall(r"```python\n(.*?)```", card(TASKS[task]()), re.DOTALL)
    tree = ast.parse(code)
    names = [ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "classes"]
    assert names == [[" ".join(name.split()) for name in TASKS[task]()["metrics"].classes]]


def test_control_characters_and_undecodable_bytes_are_no_escapes():
    text = card({**classify(["a\x1b[31m", "b\udce9", "c\x07"]), "title": "t\x1b[0m\x9b"})
    header, _ = parts(text)
    assert header["model-index"][0]["name"] == "t�"
    assert not re.search(r"\\x|\\u|[^\S\n ]|\x1b", text)
    assert "b�" in text
