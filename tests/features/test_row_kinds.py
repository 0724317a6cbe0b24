from transferkit.config import make
from transferkit.features import row_kinds


def test_cutmix_keeps_the_map(mini):
    kind = row_kinds.pooled(mini, make({"backbone": "mini", "cutmix": 1.0}))
    assert (kind.label, kind.shapes) == (row_kinds.MAP, [(4, 4, 224)])


def test_pooled_rows_of_one_network_with_those_of_a_cut_are_what_each_gives_alone(mini):
    settings = make({"backbone": "mini"})
    parts, lower = row_kinds.at(mini, settings, 20)
    upper = row_kinds.pooled(mini, settings)
    assert lower.tail is parts.tail
    both = row_kinds.together(mini, settings, [lower, upper])
    assert [tuple(tensor.shape[1:]) for tensor in both.outputs] == [*lower.shapes, *upper.shapes]
    assert row_kinds.together(mini, settings, [upper]) is upper.model
