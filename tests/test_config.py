"""Settings: frozen, validated once, every problem in one message."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from transferkit.config import Settings, gone, make
from transferkit.config.declarations import OF_HEADS, TRAINED
from transferkit.errors import ConfigError
from transferkit.setting import declared


def test_text_as_from_a_command_line_becomes_values() -> None:
    words = {"head_width": "256, 128", "split": ".6,.2,.2", "budget": "1.5m", "learning_rate": "3e-4", "epochs": "5"}
    s = make({"backbone": " vgg16 ", **words, "batch_size": "auto", "ema": "no"})
    assert (s.backbone, s.head_width, s.split, s.budget) == ("vgg16", (256, 128), (0.6, 0.2, 0.2), 90.0)
    assert (s.learning_rate, s.epochs, s.batch_size, s.ema) == (3e-4, 5, "auto", False)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("45", 45), (30, 30)])
def test_budgets_are_durations(text: Any, seconds: float) -> None:
    assert make({"backbone": "mini", "budget": text}).budget == seconds


def test_seed_0_is_a_seed_and_equal_settings_have_equal_keys() -> None:
    assert make({"backbone": "mini", "seed": 0}).seed == 0
    assert make({"backbone": "mini"}).key() == make({"backbone": "mini", "epochs": 30}).key()
    assert make({"backbone": "mini"}).key() != make({"backbone": "mini", "seed": 1}).key()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make({"backbone": "mini"}).epochs = 3  # type: ignore[misc]


def test_invalid_values_contradictions_and_foreign_problems_come_together() -> None:
    values = {
        "backbone": "mini",
        "epochs": "abc",
        "colour": 1,
        "head": "linear",
        "head_width": 9,
        "mixup": 1,
        "cutmix": 1,
    }
    with pytest.raises(ConfigError) as caught:
        make(values, ["from elsewhere"])
    text = str(caught.value)
    assert text.startswith("5 problems:")
    for words in (
        "--epochs abc",
        "unknown setting 'colour'",
        "--head-width 9 has no effect",
        "choose one",
        "elsewhere",
    ):
        assert words in text


def test_what_follows_from_a_wrong_value_is_not_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        make({"backbone": "mini", "unfreeze": "top", "layer_decay": 0.5})
    assert "layer-decay" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_width": "9", "head": "linear"}, "--head-width 9 has no effect with --head linear"),
        ({"layer_decay": 0.5}, "--layer-decay 0.5 has no effect with --unfreeze none"),
        ({"batchnorm": "train"}, "--batchnorm train has no effect"),
        ({"views": 3, "augment": "none"}, "--views 3 has no effect with --augment none"),
        ({"views": 0, "augment": "light"}, "--augment light has no effect with --views 0"),
        ({"patience": 5, "epochs": 5}, "--patience 5 has no effect with --epochs 5"),
        ({"weight_decay": 0.1, "optimizer": "adam"}, "--weight-decay 0.1 has no effect with --optimizer adam"),
        ({"scaling": "tf"}, "--scaling tf has no effect with mini"),
        ({"cutmix": 1, "pooling": "flatten"}, "--cutmix with --pooling flatten"),
        ({"label_smoothing": 0.1, "task": "regress"}, "--label-smoothing 0.1 has no effect with --task regress"),
        ({"loss": "huber", "task": "classify"}, "--loss huber is for --task regress"),
        ({"folds": 1}, "--folds 1 is no cross-validation"),
        ({"split": (0.5, 0.5)}, "has 2 parts"),
        ({"split": (0.7, 0.0, 0.3)}, "must be above 0"),
        ({"split": (0.7, 0.7, 0.3)}, "sums to 1.7"),
        ({"l2": float("inf")}, "--l2 inf: must be a finite number"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"backbone": 3}, "--backbone 3: must be text"),
    ],
)
def test_what_cannot_take_effect_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        make({"backbone": "mini", **values})


def test_a_default_never_contradicts() -> None:
    make({"backbone": "mini", "head": "linear"})
    make({"backbone": "mini", "augment": "none"})
    make({"backbone": "mini", "epochs": 2})
    make({"backbone": "mini", "optimizer": "sgd", "task": "regress"})


def test_every_setting_is_an_option_of_finetune() -> None:
    from transferkit.cli.finetune import finetune

    options = {parameter.name for parameter in finetune.params}
    assert set(Settings.model_fields) <= options


def test_a_setting_of_training_by_gradients_asks_for_a_head_trained_so() -> None:
    """Or it would be without effect where a head is chosen: each in those groups is among them, or is named here."""
    groups = {"head", "augmentation", "training"}
    of_them = {name for name, setting in declared(Settings).items() if setting.said.group in groups}
    assert of_them - {*TRAINED} == {"head", "max_latency", "max_size", "augment", "views", "seed"}
    assert {*OF_HEADS} < {*TRAINED} < of_them


def test_what_a_run_of_another_version_was_given_is_told_by_the_settings_there_are() -> None:
    config = make({"backbone": "mini"}).model_dump(mode="json") | gone.GONE
    del config["adapt"]
    now = make({"backbone": "mini"}).model_dump(mode="json")
    assert gone.today(config) == now
    assert gone.given(config, ["backbone", "clip_norm", "dropout"]) == {"backbone": "mini", "dropout": 0.3}
    alone = gone.given(config, ["backbone", "clip_norm"])
    assert alone == {"backbone": "mini", "head": "mlp"}, "it asked for a head that is trained, and still does"
    assert gone.given(config | {"unfreeze": "all"}, ["unfreeze", "warmup"]) == {"unfreeze": "all"}
    assert list(gone.refusals(config)) == []
    assert list(gone.refusals(config | {"warmup": 0.2, "accumulate": 2})) == [
        "accumulate 2, no setting any more: a batch that does not fit into memory is divided by itself, and its parts "
        "make one update (--batch-size)",
        "warmup 0.2, no setting any more: the rate of the network's trained part always rises over its first 5 % of "
        "steps (--schedule cosine)",
    ]


@pytest.mark.parametrize("name", gone.GONE)
def test_a_setting_that_is_gone_is_no_setting_and_is_answered_with_what_is_done(name: str) -> None:
    assert name not in Settings.model_fields
    with pytest.raises(ConfigError, match=rf"unknown setting '{name}': .* (always|by itself)"):
        make({"backbone": "mini", name: 1})
