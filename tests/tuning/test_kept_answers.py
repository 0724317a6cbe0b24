"""What a comparison keeps of each member is read again as it was, and nothing that was changed since."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transferkit.selection.candidate_scores import OutOfFold
from transferkit.selection.member import Voter
from transferkit.selection.network_choice import NetworkAnswers
from transferkit.tuning.journal import Journal
from transferkit.tuning.kept_answers import KeptAnswers

NETWORKS = ["mini", "vgg16"]
MEMBERS = [Voter(("mini",)), Voter(("vgg16",)), Voter(("mini",), mirrored=True), Voter(("mini", "vgg16"))]


def of(member: Voter) -> NetworkAnswers:
    """Answers by which a member is known again."""
    score = float(MEMBERS.index(member))
    one = OutOfFold(logits=[np.full((5, 2), score)], scores=[score], by_picture=None)
    plain = NetworkAnswers(member.networks[0], 1, 32, "ridge", "last", score, None, [one], 0, 1.0, 1.0)
    return replace(plain, networks=member.networks, mirrored=member.mirrored)


@pytest.fixture
def kept(tmp_path: Path) -> KeptAnswers:
    journal = Journal.open(tmp_path / "networks.jsonl", {}, resume=True)
    found = KeptAnswers(tmp_path / "networks", journal, NETWORKS)
    for member in MEMBERS:
        assert found.read(member) is None
        found.keep(of(member))
    return found


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_each_member_has_its_own(kept: KeptAnswers, member: Voter) -> None:
    read, wanted = kept.read(member), of(member)
    assert read is not None
    assert replace(read, answers=[]) == replace(wanted, answers=[])
    assert np.array_equal(read.own.mean_logits, wanted.own.mean_logits)


def test_answers_that_were_changed_or_lost_are_none(kept: KeptAnswers) -> None:
    shutil.copyfile(kept.folder / "1.npz", kept.folder / "0.npz")  # whole, but not what the journal speaks of
    (kept.folder / "mirrored-0.npz").unlink()
    assert [kept.read(member) is None for member in MEMBERS] == [True, False, True, False]
