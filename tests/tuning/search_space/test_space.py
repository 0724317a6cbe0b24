"""The space: counted before listed, ordered by cost, conditional, and the same through JSON and Keras Tuner."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferkit.config import make
from transferkit.errors import ConfigError
from transferkit.tuning.search_space.space import (
    OUTER,
    USUAL_RATES,
    Dimension,
    Space,
    check,
    default_space,
    parse_search,
)

NESTED = parse_search(
    [
        "learning_rate=1e-4:1e-2:log",
        "mixup=0.1:0.4 if augment=light,strong",
        "head_width=64,128,256x128 if head=mlp",
        "augment=none,light,strong",
        "head=mlp,linear",
        "views=2,4 if augment=light,strong",
        "weight_decay=1e-5:1e-2:log if optimizer=adamw",
        "optimizer=adamw,sgd",
    ]
)


def test_the_grid_holds_every_active_combination_once():
    grid = NESTED.grid(3)
    # 3 rates; augment: 1 + 2 × (3 mixups × 2 views); head: 3 + 1; optimizer: 3 + 1.
    assert len(grid) == NESTED.grid_size(3) == 3 * (1 + 2 * 6) * 4 * 4
    assert len({json.dumps(v, sort_keys=True) for v in grid}) == len(grid)
    for values in grid:
        assert ("mixup" in values) == ("views" in values) == (values["augment"] != "none")
        assert ("head_width" in values) == (values["head"] == "mlp")
        assert ("weight_decay" in values) == (values["optimizer"] == "adamw")
    assert {v["learning_rate"] for v in grid} == {1e-4, 1e-3, 1e-2}


def test_what_needs_new_features_varies_slowest():
    seen = []
    for values in NESTED.grid(2):
        features = tuple(values.get(name) for name in OUTER)
        if not seen or seen[-1] != features:
            seen.append(features)
    assert len(seen) == len(set(seen)) == 5


def test_sizes_are_known_without_listing():
    assert NESTED.size() is None
    assert parse_search(["batch_size=16,32", "dropout=0:0.5:0.1"]).size() == 12
    assert parse_search(["batch_size=16:256:log:2"]).grid() == [{"batch_size": 2**i} for i in range(4, 9)]
    assert parse_search(["views=1:8"]).size() == 8
    huge = parse_search(["batch_size=1:4096", "image_size=32:1024", "views=1:1000", "dropout=0:0.9:0.001"])
    assert huge.size() == 4096 * 993 * 1000 * 901
    with pytest.raises(ConfigError, match="at most 100,000 are possible"):
        parse_search(["batch_size=1:4096:1", "image_size=32:1024:1"]).grid()
    assert [v["batch_size"] for v in parse_search(["batch_size=1:100"]).grid(4)] == [1, 34, 67, 100]


def test_json_and_back_is_the_same_space():
    back = Space.from_dict(json.loads(json.dumps(NESTED.as_dict())))
    assert back == NESTED
    assert back.key() == NESTED.key()
    assert parse_search(str(NESTED).split("; ")) == NESTED


def test_differences_are_named():
    other = parse_search(["learning_rate=1e-4:1e-2:log", "batch_size=16,32"])
    assert NESTED.difference(NESTED) == []
    assert "newly searched: batch_size=16,32" in NESTED.difference(other)
    assert "no longer searched: head=mlp,linear" in NESTED.difference(other)
    assert not [text for text in NESTED.difference(other) if "learning_rate" in text]
    assert NESTED.key() != other.key()


def test_values_become_what_settings_take_and_inactive_ones_go():
    raw = {"learning_rate": 0.00123456789, "augment": "none", "mixup": 0.3, "views": 4, "head": "mlp",
           "head_width": "256x128", "optimizer": "sgd", "weight_decay": 0.1}  # fmt: skip
    active = NESTED.active(raw)
    assert active == {
        "learning_rate": 0.00123457, "augment": "none", "head": "mlp", "head_width": (256, 128), "optimizer": "sgd"
    }  # fmt: skip
    assert NESTED.active(json.loads(json.dumps(active))) == active
    assert make({"backbone": "mini", **active}).head_width == (256, 128)
    with pytest.raises(ValueError, match="head_width 7 is none of 64, 128, 256x128"):
        NESTED.active({**raw, "head_width": 7})
    with pytest.raises(ValueError, match="optimizer is missing"):
        NESTED.active({k: v for k, v in raw.items() if k != "optimizer"})


def test_one_setting_may_have_a_range_for_each_parent():
    space = parse_search(
        [
            "optimizer=adamw,sgd",
            "learning_rate=1e-4:1e-2:log if optimizer=adamw",
            "learning_rate=1e-2:1:log if optimizer=sgd",
        ]
    )
    assert check(space, {"backbone": "mini"}) == []
    assert space.names == ("optimizer", "learning_rate")
    assert {(v["optimizer"], v["learning_rate"]) for v in space.grid(2)} == {
        ("adamw", 1e-4), ("adamw", 1e-2), ("sgd", 1e-2), ("sgd", 1.0),
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_space_counts_lists_and_reads_alike(data):
    parents = [Dimension(n, "choice", ("a", "b", "c")) for n in ("head", "optimizer", "augment")]
    children = []
    for name in ("dropout", "mixup", "l1", "batch_size"):
        when = None
        if data.draw(st.booleans()):
            chosen = data.draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True))
            when = (data.draw(st.sampled_from(("head", "optimizer", "augment"))), tuple(chosen))
        if name == "batch_size":
            children.append(Dimension(name, "int", low=1, high=data.draw(st.integers(2, 4)), when=when))
        else:
            children.append(Dimension(name, "float", low=0.0, high=0.5, step=0.25, when=when))
    dims = data.draw(st.permutations(parents + children))
    space = Space(tuple(dims))
    points = space.points()
    assert len(points) == space.size() == len({str(sorted(p.items())) for p in points})
    assert all(space.active(space.tokens(p)) == p for p in points[:50])
    assert Space(space.dimensions) == space


def test_keras_tuner_sees_the_same_conditions():
    hp = NESTED.hyperparameters()
    assert {item.name for item in hp.space} == set(NESTED.names)
    seen = set()
    for seed in range(40):
        values = {}
        for item in hp.space:
            if all(c.is_active(values) for c in item.conditions):
                values[item.name] = item.random_sample(seed * 100 + len(values))
        active = NESTED.active(values)
        assert set(active) == set(values)
        assert NESTED.tokens(active).keys() == values.keys()
        seen.add(tuple(sorted(active)))
    assert len(seen) > 4


def test_nested_conditions_reach_keras_tuner():
    space = parse_search(["pooling=avg,max", "head=mlp,linear if pooling=avg", "dropout=0:0.5:0.25 if head=mlp"])
    assert space.size() == 3 + 1 + 1
    hp = space.hyperparameters()
    child = next(item for item in hp.space if item.name == "dropout")
    assert [c.name for c in child.conditions] == ["pooling", "head"]


def test_the_default_space_leaves_alone_what_was_given():
    space = default_space(make({"backbone": "mini"}))
    assert space.names == ("learning_rate", "batch_size", "head_width")
    assert space.dimensions[0].range() == (1e-4, pytest.approx(3e-2))
    assert check(space, {"backbone": "mini"}) == []
    assert default_space(make({"backbone": "mini", "batch_size": 16, "head": "linear"})).names == ("learning_rate",)
    assert default_space(make({"backbone": "mini", "optimizer": "sgd"})).dimensions[0].range()[1] == pytest.approx(1)
    with pytest.raises(ConfigError, match="nothing is left to search"):
        default_space(make({"backbone": "mini", "batch_size": 16, "head_width": 8, "learning_rate": 0.1}))


def test_usual_rates_are_the_recipes():
    from transferkit.training.planning import HEAD_RATES

    assert USUAL_RATES == HEAD_RATES
