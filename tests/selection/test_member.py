"""Who answers together, in words and in the journal."""

import pytest

from transferkit.selection.member import Member, networks


@pytest.mark.parametrize(
    ("member", "said", "plain"),
    [
        (Member(("a",)), "a", True),
        (Member(("a",), mirrored=True), "a, also on mirror images", False),
        (Member(("a", "b")), "a with b", False),
    ],
)
def test_a_member_says_what_it_is_and_comes_back_from_the_journal(member, said, plain):
    assert str(member) == said
    assert member.plain is plain
    assert Member.read(member.as_json()) == member


def test_a_network_in_several_members_is_one_network():
    assert networks([Member(("a",), True), Member(("b", "a")), Member(("c",))]) == ["a", "b", "c"]
