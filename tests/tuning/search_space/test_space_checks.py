"""Everything that is wrong with a space is said before the first trial."""

import pytest

from transferkit.config import make
from transferkit.tuning.search_space.space import Dimension, Space, check, parse_search


def problems(*texts, **given):
    return check(parse_search(texts), {"backbone": "mini", **given})


def test_a_sound_space_has_no_problems():
    assert (
        problems("learning_rate=1e-4:1e-2:log", "batch_size=16,32", "optimizer=adamw,sgd", "backbone=mini,vgg16") == []
    )
    assert (
        problems("views=2,4 if augment=light", "augment=none,light", "l2=0:0.1", "layer_decay=0.5:1", unfreeze="all")
        == []
    )
    assert check(parse_search(["dropout=0:0.5"]), make({"backbone": "mini", "batch_size": 16})) == []


def test_every_end_and_choice_is_judged_by_the_settings():
    found = problems("batch_size=16,0", "dropout=0:2", "optimizer=adam,adma", "unfreeze=none,some", "views=0:1001")
    assert len(found) == 5
    for said in ("--batch-size 0: must be", "--dropout 2: must be less than 1", "--optimizer adma: must be",
                 "--unfreeze: 'some' is no freeze policy", "--views 1001: must be"):  # fmt: skip
        assert any(text.startswith(said) for text in found), said


def test_settings_that_exclude_each_other_are_named_with_the_trial_and_the_remedy():
    found = problems("head=linear,mlp", "head_width=64,128")
    assert "--head-width 64 has no effect with --head linear" in found[0]
    assert "(as in the trial head=linear, head_width=64)" in found[0]
    assert found[-1].startswith("a condition keeps settings apart")
    assert problems("head=linear,mlp", "head_width=64,128 if head=mlp") == []
    assert "--mixup and --cutmix are both set" in problems("mixup=0,0.2", "cutmix=0,0.2")[0]
    # Against what is fixed, too.
    assert "--layer-decay 0.5 has no effect with --unfreeze none" in problems("layer_decay=0.5,0.9", unfreeze="none")[0]


def test_a_large_space_is_judged_by_pairs():
    texts = ["learning_rate=1e-4:1e-2", "dropout=0:0.5", "l1=0:0.1", "l2=0:0.1", "batch_size=8,16,32", "ema=on,off",
             "normalize=on,off", "schedule=cosine,constant,plateau", "pooling=avg,max,gem"]  # fmt: skip
    assert problems(*texts) == []
    found = problems(*texts, "mixup=0,0.2", "cutmix=0,0.2")
    assert "--mixup and --cutmix are both set" in found[0]


def test_fixed_and_searched_at_once_is_refused():
    assert problems("batch_size=16,32", batch_size=64) == [
        "batch_size is both searched and fixed by --batch-size 64; drop one of them"
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["views=2,4 if augment=light"], "augment is not searched; search it too"),
        (["views=2,4 if augment=strong", "augment=none,light"], "augment never is strong, only none, light"),
        (["views=2,4 if dropout=0.1", "dropout=0:0.5"], "dropout is continuous"),
        (["head=mlp,linear if pooling=avg", "pooling=avg,max if head=mlp"], "run in a circle"),
        (["batch_size=16,32", "batch_size=64,128"], "batch_size is searched twice"),
        (["l1=0,1 if head=mlp", "l1=2,3 if head=mlp,linear", "head=mlp,linear"], "l1 is searched twice"),
        (
            ["l1=0,1 if dropout=0", "dropout=0,0.1 if head=mlp", "dropout=0,0.2 if head=linear", "head=mlp,linear"],
            "dropout is itself searched in several ways",
        ),
    ],
)
def test_conditions_that_cannot_hold_are_refused(texts, said):
    assert any(said in text for text in problems(*texts))


def test_spaces_made_in_python_are_checked_alike():
    space = Space((Dimension("epochs", "int", low=1, high=3), Dimension("dropuot", "float", low=0, high=1),
                   Dimension("l1", "float", low=1, high=0), Dimension("pooling", "choice")))  # fmt: skip
    found = check(space, {"backbone": "mini"})
    assert any("'epochs' cannot be searched" in text for text in found)
    assert any("'dropuot' cannot be searched; nearest: 'dropout'" in text for text in found)
    assert "l1: the range 1:0 is empty; the low end comes first" in found
    assert "pooling has no values to choose from" in found
    assert check(Space(()), {"backbone": "mini"}) == [
        "nothing to search; name a setting, e.g. --search learning_rate=1e-4:1e-2:log"
    ]
