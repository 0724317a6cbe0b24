"""What is given away names no folder of this machine and carries no escapes."""

import pytest

from transferkit.delivery.report.public_text import placeless, readable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("transferkit finetune /home/ann/data/flowers --output runs/a", "transferkit finetune flowers --output runs/a"),
        ("transferkit finetune '/home/ann/my data/flowers of spring'", "transferkit finetune 'flowers of spring'"),
        ("--weights=/opt/w/vgg.h5", "--weights=vgg.h5"),
        ("transferkit.finetune((x, y), weights='/opt/w/vgg.h5', output='C:\\\\runs\\\\a')",
         "transferkit.finetune((x, y), weights='vgg.h5', output='a')"),
        (r"left out: C:\Users\ann\data\x.jpg: is empty", "left out: x.jpg: is empty"),
        ("the count in ~/state/uses/tests.json could not be kept", "the count in tests.json could not be kept"),
        ("rose/1.jpg and tulip/2.jpg, and/or 3/4 of https://example.org/a/b", None),
        ("n/a", None),
    ],
)  # fmt: skip
def test_of_absolute_paths_the_name_is_left(text, expected):
    assert placeless(text) == (text if expected is None else expected)


def test_what_lies_in_a_known_folder_keeps_its_path_from_there():
    places = ["/home/ann/my data", "/home/ann", "/"]
    assert placeless("left out: /home/ann/my data/rose/1.jpg: is empty", places) == "left out: rose/1.jpg: is empty"
    assert placeless("finetune '/home/ann/my data' --output runs/a", places) == "finetune 'my data' --output runs/a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\x1b[31mred\x1b[0m", "ared"), ("a\\x1b[31mred", "ared"), ("bell\x07", "bell�"), ("caf\udce9", "caf�"),
     ("\\u202egnp", "�gnp"), ("two\nlines", "two lines"), ("C:\\new", "C:\\new"), ("日本語 ü", "日本語 ü")],
)  # fmt: skip
def test_no_escapes_are_left(text, expected):
    assert readable(text) == expected
