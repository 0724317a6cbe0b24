"""Search spaces as people write them: what is read, and what is said of what cannot be."""

import pytest

from transferkit.errors import ConfigError
from transferkit.tuning.search_space.space import Dimension, load_space, parse_search

TOML = """
batch_size = [16, 32]
pooling = "avg,max"
dropout = "0:0.5"
head_width = [64, [256, 128], "32x16"]
ema = [true, false]
unfreeze = ["none", "from:block5"]

[learning_rate]
low = 1e-4
high = 1e-2
log = true

[mixup]
low = 0
high = 0.4
step = 0.2
when = { pooling = ["avg"] }

[[weight_decay]]
values = [1, 0]
when = "batch_size=16"

[[weight_decay]]
low = 0.1
high = 0.2
when = { batch_size = 32 }
"""
OPTIONS = [
    "batch-size=16, 32",
    "pooling=avg,max",
    "dropout=0:0.5",
    "head_width=64,256x128,32x16",
    "ema=yes,no",
    "unfreeze=none,from:block5",
    "learning_rate=1e-4:1e-2:log",
    "mixup=0:0.4:0.2 if pooling=avg",
    "weight_decay=1,0 if batch_size=16",
    "weight_decay=0.1:0.2 if batch_size=32",
]


def only(text):
    [dimension] = parse_search([text]).dimensions
    return dimension


def test_options_and_a_file_say_the_same(tmp_path):
    (tmp_path / "a.toml").write_text(TOML)
    spaces = [parse_search(OPTIONS), load_space(tmp_path / "a.toml"), load_space(str(tmp_path / "a.toml"))]
    wanted = {str(d) for d in spaces[0].dimensions}
    assert all({str(d) for d in space.dimensions} == wanted for space in spaces)
    assert all(set(space.dimensions) == set(spaces[0].dimensions) for space in spaces)


def test_ranges_and_choices_get_the_settings_own_types():
    assert only("learning_rate=1e-4:1e-2:log") == Dimension("learning_rate", "float", low=1e-4, high=1e-2, log=True)
    assert only("batch_size=16:128:log:2").points() == [16, 32, 64, 128]
    assert only("batch_size=16:128:2:log").points() == [16, 32, 64, 128]
    assert only("dropout=0:0.3:0.1").points() == [0.0, 0.1, 0.2, 0.3]
    assert only("head_width=32:128:32").points() == [(32,), (64,), (96,), (128,)]
    assert only("head_width=64,256x128").values == ((64,), (256, 128))
    assert only("normalize=on,off").values == (True, False)
    assert only("backbone=mini,mobilenet_0.25").values == ("mini", "mobilenet_0.25")
    assert only("learning_rate=auto,1e-3").values == ("auto", 1e-3)
    conditional = parse_search(["views=2,4 if augment=light,strong", "augment=none,light,strong"]).dimensions[1]
    assert conditional.when == ("augment", ("light", "strong"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lerning_rate=1:2", "'lerning_rate' cannot be searched; nearest: 'learning_rate'"),
        ("epochs=1,2", "searchable are backbone, image_size"),
        ("learning_rate", "is no NAME=VALUES"),
        ("learning_rate=", "an empty value"),
        ("batch_size=16,,32", "an empty value"),
        ("learning_rate=1e-2:1e-4", "the range 0.01:0.0001 is empty"),
        ("learning_rate=0:1:log", "a log range starts above 0"),
        ("learning_rate=a:b", "low a is no number"),
        ("dropout=0:nan", "high nan is no number"),
        ("batch_size=1.5:8", "low 1.5 is not whole"),
        ("dropout=0.1:0.5:log:0.5", "the step 0.5 must be above 1"),
        ("dropout=0:0.5:-1", "the step -1 must be above 0"),
        ("dropout=0:0.5:0.6", "leaves a single value"),
        ("dropout=0:0.5:0.1:0.2", "is no range"),
        ("dropout=0:0.5:log:log", "is no range"),
        ("batch_size=16,32,16", "batch_size has 16 twice"),
        ("views=2,4 if augment", "the condition 'augment' is no PARENT=A,B"),
        ("views=2,4 if augmnt=light", "'augmnt' cannot be searched; nearest: 'augment'"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_option(text, said):
    with pytest.raises(ConfigError, match=said) as refused:
        parse_search([text])
    assert str(refused.value).startswith(f"--search {text}: ")


def test_every_problem_is_reported_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"^2 problems"):
        parse_search(["epoch=1,2", "batch_size=32", "dropout=1:0"])
    with pytest.raises(ConfigError, match="nothing to search"):
        parse_search([])
    file = tmp_path / "space.toml"
    file.write_text(
        "epoch = [1]\nbatch_size = []\npooling = [[1]]\nema = { low = 0, high = 1 }\n"
        "[dropout]\nlow = 0\n[mixup]\nvalues = [1]\nlow = 0\n[l1]\nhihg = 1\n[l2]\nlow = 0\nhigh = 1\nlog = 'yes'\n"
        "[views]\nvalues = [1]\nwhen = { augment = 'light', ema = true }\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_space(file)
    text = str(refused.value)
    for said in (
        "9 problems",
        "epoch: 'epoch' cannot be searched",
        "batch_size: an empty list",
        "pooling: [1] is no value of pooling",
        "ema: ema is no number and has no range",
        "dropout: high is missing",
        "mixup: give either values, or low and high",
        "l1: unknown 'hihg'; nearest: 'high'",
        "l2: log is true or false, not yes",
        "views: when is one parent and its values",
    ):
        assert said in text, said


# A billion values in ten lines.


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.toml", "batch_size = [16", "not valid TOML"),
        ("a.toml", "batch_size = [1]\nbatch_size = [2]", "not valid TOML"),
        ("a.toml", "", "names no setting"),
        ("a.yaml", "batch_size: [16, 32]", "is YAML; a search space is written in TOML"),
        ("a.toml", "batch_size = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=said) as found:
        load_space(tmp_path / name)
    assert len(str(found.value)) < 2000
    with pytest.raises(ConfigError, match="cannot be read"):
        load_space(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_space(tmp_path)


def test_a_space_is_read_without_keras():
    import subprocess
    import sys

    code = (
        "import sys; from transferkit.tuning.search_space.space import *; "
        f"check(parse_search({OPTIONS!r}), {{'backbone': 'mini'}}); "
        "print(sorted({'keras', 'keras_tuner', 'tensorflow', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
