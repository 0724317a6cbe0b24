"""What ten minutes more would bring: a figure with its evidence, or the sentence that says why there is none."""

from types import SimpleNamespace

from transferkit.tuning.portfolio_forecast import record


def told(found=(), looks=None, waiting=None, late=False, metric="accuracy", best=0.77):
    networks = [SimpleNamespace(network=name, score=score) for name, score in found]
    named = {name: (kind, score) for name, kind, score in looks or ()}
    return record(networks, named, waiting or {}, late, metric, best)


COMPARED = [("a", 0.651), ("b", 0.75), ("c", 0.70)]
LOOKS = [("a", "accuracy", 0.60), ("b", "accuracy", 0.70), ("c", "accuracy", 0.65), ("d", "accuracy", 0.80)]


def test_a_figure_names_the_networks_and_what_it_goes_by():
    found = told(COMPARED, LOOKS, {"d": 200.0})
    assert found.networks == ["d"]
    assert found.compared == 3
    assert found.ci95[0] <= found.gain <= found.ci95[1]
    assert "ten minutes more would probably bring +" in found.words
    assert "d, judged by how the looks at 3 networks foretold their scores" in found.words


def test_with_everything_tried_more_time_brings_nothing():
    assert told(COMPARED, LOOKS[:3]).words == (
        "ten minutes more would bring nothing: there is nothing left to try with these networks"
    )


def test_what_nothing_supports_has_no_figure():
    cases = {
        "it takes 3 to tell": told(COMPARED[:2], [LOOKS[0], LOOKS[1], LOOKS[3]], {"d": 200.0}),
        "none of which was looked at": told(COMPARED, LOOKS[:3], {"d": None}),
        "none would be done by then": told(COMPARED, LOOKS, {"d": 700.0}),
        "by another score than the goal": told(COMPARED, LOOKS, {"d": 200.0}, metric="macro_f1"),
        "go to what was not tried": told(COMPARED, LOOKS[:3], late=True),
    }
    for words, found in cases.items():
        assert words in found.words
        assert "is not known" in found.words
        assert found.gain is None
        assert found.ci95 is None


def test_where_less_is_better_looks_foretell_nothing():
    assert told(COMPARED, LOOKS, {"d": 200.0}, best=None).gain is None
