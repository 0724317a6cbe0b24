"""Who answers together, in words and in the journal."""

import pytest

from transferkit.selection.member import Voter, networks


@pytest.mark.parametrize(
    ("member", "said", "plain"),
    [
        (Voter(("a",)), "a", True),
        (Voter(("a",), mirrored=True), "a, also on mirror images", False),
        (Voter(("a", "b")), "a with b", False),
    ],
)
def test_a_member_says_what_it_is_and_comes_back_from_the_journal(member, said, plain):
    assert str(member) == said
    assert member.plain is plain
    assert Voter.read(member.as_json()) == member


def test_a_network_in_several_members_is_one_network():
    assert networks([Voter(("a",), True), Voter(("b", "a")), Voter(("c",))]) == ["a", "b", "c"]
