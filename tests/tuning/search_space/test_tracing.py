"""A function of Keras Tuner's hyperparameters becomes the space that it asks for, in all its branches."""

import pytest

from transferkit.errors import ConfigError
from transferkit.tuning.search_space.space import check, from_function


def test_python_branches_and_conditional_scopes_become_conditions():
    def build(hp):
        hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        hp.Int("batch_size", 16, 128, step=2, sampling="log")
        if hp.Choice("head", ["mlp", "linear"]) == "mlp":
            hp.Choice("head_width", ["64", "256x128"])
            if hp.Boolean("normalize"):
                hp.Float("dropout", 0.0, 0.5, step=0.25)
        optimizer = hp.Choice("optimizer", ["sgd", "adamw"])
        with hp.conditional_scope("optimizer", ["adamw"]):
            hp.Float("weight_decay", 1e-5, 1e-2, sampling="log")
        assert optimizer

    space = from_function(build)
    assert {str(d) for d in space.dimensions} == {
        "learning_rate=0.0001:0.01:log",
        "batch_size=16:128:log:2",
        "head=mlp,linear",
        "head_width=64,256x128 if head=mlp",
        "normalize=true,false if head=mlp",
        "dropout=0:0.5:0.25 if normalize=true",
        "optimizer=sgd,adamw",
        "weight_decay=1e-05:0.01:log if optimizer=adamw",
    }
    assert check(space, {"backbone": "mini"}) == []
    # Asked again through Keras Tuner, the space asks for itself.
    again = from_function(lambda hp: hp.merge(space.hyperparameters()))
    assert set(again.dimensions) == set(space.dimensions)


def test_one_setting_under_two_conditions_and_fixed_values():
    def build(hp):
        hp.Fixed("head_width", 64)
        if hp.Choice("optimizer", ["adamw", "sgd"]) == "adamw":
            hp.Float("learning_rate", 1e-4, 1e-2)
        else:
            hp.Float("learning_rate", 1e-2, 1.0)

    space = from_function(build)
    assert {str(d) for d in space.dimensions} == {
        "head_width=64",
        "optimizer=adamw,sgd",
        "learning_rate=0.0001:0.01 if optimizer=adamw",
        "learning_rate=0.01:1 if optimizer=sgd",
    }
    assert check(space, {"backbone": "mini"}) == []
    assert space.dimensions[0].values == ((64,),)


def test_names_that_are_no_settings_are_found_by_check():
    space = from_function(lambda hp: hp.Int("units", 8, 16))
    assert "'units' cannot be searched" in check(space, {"backbone": "mini"})[0]


def test_what_cannot_be_searched_is_refused():
    def crossed(hp):
        a, b = hp.Boolean("ema"), hp.Boolean("normalize")
        if a != b:
            hp.Float("dropout", 0.1, 0.2)

    def vast(hp):
        for name in ("l1", "l2", "dropout", "mixup"):
            hp.Choice(name, [0.1 * i for i in range(9)])

    with pytest.raises(ConfigError, match="asks for no hyperparameter"):
        from_function(lambda hp: None)
    with pytest.raises(ConfigError, match="sampling 'reverse_log' is not supported"):
        from_function(lambda hp: hp.Float("dropout", 0.1, 0.2, sampling="reverse_log"))
    with pytest.raises(ConfigError, match=r"dropout .* under a condition that no single choice decides"):
        from_function(crossed)
    with pytest.raises(ConfigError, match="more than 500 combinations"):
        from_function(vast)
