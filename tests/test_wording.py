"""Messages in Python's words, and other tools' words for ours."""

from __future__ import annotations

from typing import Any

import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit import synonyms
from transferkit.cli import COMMANDS
from transferkit.cli.finetune import finetune
from transferkit.config import Settings
from transferkit.errors import ConfigError
from transferkit.wording import in_python, speak_shell


@pytest.fixture(autouse=True)
def python(words):
    speak_shell(False)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("--head-width 64 has no effect with --head linear", "head_width=64 has no effect with head='linear'"),
        ("--split .7,.15,.1 sums to .95", "split=(.7, .15, .1) sums to .95"),
        ("--resume needs --output: the run", "resume=True needs output: the run"),
        ("give more with --no-cache.", "give more with cache=False."),
        ("pass --on-bad-file skip", "pass on_bad_file='skip'"),
        ("--mixup and --cutmix are both set", "mixup= and cutmix= are both set"),
        ("see `transferkit tune --help`, --seed 3", "see `transferkit tune --help`, seed=3"),
        ("again:\n  transferkit tune d --folds 3\n--views 0", "again:\n  transferkit tune d --folds 3\nviews=0"),
        ("say it with --label-column (repeat it)", "say it with label_column= (repeat it)"),
        ("--frames every:1s takes --unfreeze from:block5: x", "frames='every:1s' takes unfreeze='from:block5': x"),
        ("--seed a: must be a whole number", "seed='a': must be a whole number"),
        ("a -- b, x--y, ---", "a -- b, x--y, ---"),
    ],
)  # fmt: skip
def test_options_become_arguments_and_commands_stay(shell: str, expected: str) -> None:
    assert in_python(shell) == expected


def test_the_program_and_the_library_speak_to_their_own_readers() -> None:
    with pytest.raises(ConfigError, match=r"^head_width=64 has no effect with head='linear'") as caught:
        tk.finetune("nowhere", backbone="mini", head="linear", head_width=64)
    assert "--" not in str(caught.value)
    assert (
        "--head-width 64 has no effect with --head linear"
        in call("finetune", "nowhere", "--backbone", "mini", "--head", "linear", "--head-width", "64").err
    )
    assert speak_shell(False) is False  # the program has put it back


OWN = {name for option in finetune.params for name in option.opts}
UNDERSTOOD = [word for word, ours in synonyms.OPTIONS.items() if f"--{ours}" in OWN]


@pytest.mark.parametrize("word", UNDERSTOOD)
def test_each_synonym_is_understood_by_the_command(word: str) -> None:
    ours = synonyms.OPTIONS[word]
    option: Any = next(o for o in finetune.params if f"--{ours}" in o.opts)
    flag = option.is_flag or option.multiple
    value = [] if option.is_flag else ["1"]
    twice = call("finetune", "nowhere", f"--{word}", *value, f"--{ours}", *value)
    assert twice.code == 2
    assert (f"--{ours} is given 2 times" in twice.err) or flag
    assert "No such option" not in twice.err


@pytest.mark.parametrize(
    "word", [w for w, ours in synonyms.OPTIONS.items() if ours.replace("-", "_") in Settings.model_fields]
)
def test_each_synonym_is_named_to_python(word: str) -> None:
    ours = synonyms.OPTIONS[word].replace("-", "_")
    with pytest.raises(ConfigError, match=rf"unknown setting '{word}'; it is called {ours} here"):
        tk.finetune("nowhere", backbone="mini", **{word: 1})


@pytest.mark.parametrize("word", [word for word in synonyms.ANSWERS if f"--{word}" not in OWN])
def test_what_is_spelled_otherwise_here_is_answered(word: str) -> None:
    result = call("finetune", "nowhere", f"--{word}", "3")
    assert result.code == 2
    assert synonyms.ANSWERS[word].format(command="finetune") in result.err


@pytest.mark.parametrize("word", synonyms.COMMANDS)
def test_each_synonym_of_a_command_leads_to_it(word: str) -> None:
    assert word not in COMMANDS
    assert f"Usage: transferkit {synonyms.COMMANDS[word]}" in call(word, "--help").out


@pytest.mark.parametrize(("given", "meant"), [("block5", "from:block5"), ("3", "last:3"), (3, "last:3")])
def test_a_stage_or_a_number_alone_is_answered_with_the_policy(given: object, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        tk.finetune("nowhere", backbone="vgg16", unfreeze=given)


def test_what_follows_two_dashes_and_values_are_left_alone() -> None:
    assert synonyms.canonical(["--lr=3", "a", "--", "--lr"], {"--learning-rate"}) == [
        "--learning-rate=3",
        "a",
        "--",
        "--lr",
    ]
    assert synonyms.canonical(["--LR", "--batch_size", "-x"], {"--learning-rate", "--batch-size"}) == [
        "--learning-rate", "--batch-size", "-x",
    ]  # fmt: skip
