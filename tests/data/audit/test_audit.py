from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import TRASHNET, encoded, folder_of_classes, needs_trashnet, photo
from transferkit.data.audit.audit import Audit, check, quick
from transferkit.data.audit.audit_page import audit_page
from transferkit.data.audit.checks import KINDS
from transferkit.data.source import scan
from transferkit.errors import DataError
from transferkit.files import write_json


def found(audit: Audit, kind: str) -> list[str | None]:
    return [finding.path for finding in audit.findings if finding.kind == kind]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """One of everything that the audit knows of a folder."""
    root = folder_of_classes(tmp_path / "messy", {"a": 12, "b": 70, "c ": 3}, size=64)
    a, b = root / "a", root / "b"
    (a / "cut.jpg").write_bytes(encoded(photo(500, 200, 200), "JPEG")[:2000])
    (a / "page.jpg").write_bytes(b"<html>")
    (a / "empty.png").write_bytes(b"")
    (a / "really.jpg").write_bytes(encoded(photo(501, 64, 64), "PNG"))
    (a / "no_extension").write_bytes(encoded(photo(502, 64, 64), "PNG"))
    (a / "notes.txt").write_text("x")
    (a / "Thumbs.db").write_bytes(b"x")
    (b / "gone.png").symlink_to("/nowhere.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(503, 64, 48).save(b / "turned.jpg", exif=exif)
    photo(504, 64, 64).convert("CMYK").save(b / "cmyk.jpg")
    photo(505, 9, 9).save(b / "tiny.png")
    photo(506, 600, 40).save(b / "long.png")
    frames = [photo(507, 64, 64), photo(508, 64, 64)]
    frames[0].save(b / "moving.gif", save_all=True, append_images=frames[1:])
    shutil.copy(b / "3.png", b / "copy.png")
    shutil.copy(b / "4.png", a / "other_label.png")
    photo(12, 64, 64).resize((128, 128)).save(b / "again.jpg", quality=80)  # b/0.png once more
    return root


def test_a_messy_folder(messy: Path) -> None:
    before = snapshot(messy)
    audit = check(messy)
    assert found(audit, "damaged") == ["a/cut.jpg"]
    assert found(audit, "not_a_picture") == ["a/page.jpg"]
    assert found(audit, "empty") == ["a/empty.png"]
    assert found(audit, "unreadable") == ["b/gone.png"]
    assert found(audit, "wrong_extension") == ["a/really.jpg"]
    assert found(audit, "misnamed") == ["a/no_extension"]
    assert found(audit, "rotated") == ["b/turned.jpg"]
    assert "b/cmyk.jpg" in found(audit, "mode")
    assert found(audit, "tiny") == ["b/tiny.png"]
    assert found(audit, "extreme_shape") == ["b/long.png"]
    assert found(audit, "animation") == ["b/moving.gif"]
    assert found(audit, "duplicate") == ["b/3.png"]
    assert found(audit, "conflict") == ["a/other_label.png"]
    assert found(audit, "near_duplicate") == ["b/0.png"]
    assert audit.counts()["hidden"] == 1
    assert audit.counts()["other_file"] == 1
    assert audit.counts()["few"] == 1
    assert audit.counts()["imbalance"] == 1
    assert audit.counts()["odd_name"] == 1
    assert [f.severity for f in audit.findings] == sorted(
        (f.severity for f in audit.findings), key=["error", "warning", "info"].index
    )
    assert snapshot(messy) == before


def test_what_the_audit_leaves_out_makes_the_folder_usable(messy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png"):
        scan(messy)
    left_out = tmp_path / "left_out.txt"
    left_out.write_text(check(messy).exclusions())
    samples = scan(messy, exclude_file=left_out)
    again = check(messy, exclude_file=left_out)
    assert not again.errors
    assert len(samples) == again.pictures
    assert not any("match no picture" in note for note in samples.notes)


def test_quick_finds_what_headers_and_hashes_tell(messy: Path) -> None:
    (messy / "b" / "gone.png").unlink()
    audit = quick(scan(messy))
    assert not audit.deep
    assert found(audit, "empty") == ["a/empty.png"]
    assert found(audit, "not_a_picture") == ["a/page.jpg"]
    assert found(audit, "conflict") == ["a/other_label.png"]
    assert found(audit, "duplicate") == ["b/3.png"]
    assert found(audit, "damaged") == []  # its header is whole: only decoding finds it


def test_structure_problems_do_not_stop_the_audit(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "one", {"only": 3})
    (root / "only" / "bad.jpg").write_bytes(b"x")
    (root / "vacant").mkdir()
    audit = check(root)
    assert any("vacant holds no picture" in f.detail for f in audit.findings if f.kind == "structure")
    assert found(audit, "not_a_picture") == ["only/bad.jpg"]
    with pytest.raises(DataError, match="does not exist"):
        check(tmp_path / "nothing")


def test_tables_and_arrays(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path, {"a": 12, "b": 12})
    good = root / "good.csv"
    good.write_text("path,label,split\n" + "".join(f"{c}/{i}.png,{c},train\n" for c in "ab" for i in range(11)))
    assert check(good).counts() == {}
    bad = root / "bad.csv"
    bad.write_text("path,label\na/0.png,a\na/99.png,a\nb/0.png\n")
    audit = check(bad)
    assert audit.counts() == {"table": 2}
    assert any("line 3: a/99.png" in f.detail for f in audit.findings)
    x = np.stack([np.asarray(photo(i, 40, 40)) for i in range(20)] + [np.asarray(photo(0, 40, 40))])
    audit = check((x, [i % 2 for i in range(20)] + [1]))
    assert found(audit, "conflict") == ["array[0]"]


def test_leakage_keeps_the_copy_in_test(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "train", {"a": 12, "b": 12})
    folder_of_classes(tmp_path / "test", {"a": 12, "b": 12}, start=100)
    shutil.copy(tmp_path / "test" / "a" / "0.png", tmp_path / "train" / "a" / "leak.png")
    photo(101, 32, 32).resize((60, 60)).save(tmp_path / "train" / "a" / "alike.png")
    audit = check(tmp_path)
    assert found(audit, "leakage") == ["test/a/0.png"]
    assert audit.excluded() == ("train/a/leak.png",)
    assert len(found(audit, "near_leakage")) == 1


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path, {"<b>bold": 12, "b": 12})
    hostile = "<img src=x onerror=alert(1)>.jpg"
    (root / "b" / hostile).write_bytes(b"x")
    (root / "b" / os.fsdecode(b"\xff\n.jpg")).write_bytes(b"x")
    audit = check(root)
    page = audit_page(audit)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror" in page
    assert "<b>bold" not in page
    page.encode()  # no undecodable byte reaches the page
    assert page.count("http") == page.count("http-equiv")  # nothing is fetched
    write_json(tmp_path / "audit.json", audit.to_json())
    assert json.loads((tmp_path / "audit.json").read_text("utf-8", "surrogateescape"))["counts"]["not_a_picture"] == 2


def test_page_shows_both_pictures_of_a_pair(messy: Path) -> None:
    page = audit_page(check(messy))
    row = page[page.index('id="near-duplicate"') :]
    assert row[: row.index("</tr>")].count("data:image/jpeg;base64,") == 2


def test_grey_of_16_bits_is_told_how_it_may_be_spread(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(2):
            grey = np.random.default_rng(n).integers(0, 4096, (40, 40)).astype(np.uint16)
            Image.fromarray(grey).save(tmp_path / name / f"{name}{n}.png")
    audit = check(tmp_path)
    assert len(found(audit, "deep")) == 4
    assert not found(audit, "mode")
    assert "--intensity percentile" in audit.summary()


def test_every_finding_has_a_remedy_and_summary_shows_it(messy: Path) -> None:
    audit = check(messy)
    assert {f.kind for f in audit.findings} <= set(KINDS)
    assert all(f.remedy and f.detail for f in audit.findings)
    summary = audit.summary()
    assert "damaged: a/cut.jpg" in summary
    assert "Restore it from its source" in summary


def test_plain_pictures_of_other_colours_do_not_look_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for value in range(0, 250, 25):
            colour = (value, 255 - value, 40 if name == "a" else 200)
            Image.new("RGB", (40, 40), colour).save(tmp_path / name / f"{value}.png")
    assert not {"near_conflict", "near_duplicate"} & set(check(tmp_path).counts())


@needs_trashnet
@pytest.mark.slow
def test_planted_faults_in_trashnet_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    pictures = sorted(TRASHNET.glob("*/*.jpg"))
    chosen = [pictures[i] for i in rng.permutation(len(pictures))[:420]]
    for number, path in enumerate(chosen):
        target = tmp_path / ("test" if number % 5 == 0 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    clean = check(tmp_path)
    assert not [f for f in clean.findings if f.kind in ("leakage", "duplicate")]
    test = [p for number, p in enumerate(chosen) if number % 5 == 0]
    copied = set()
    for path in test[:20]:
        shutil.copyfile(path, tmp_path / "train" / path.parent.name / f"copy_{path.name}")
        copied.add(f"test/{path.parent.name}/{path.name}")
    for path in test[20:30]:
        buffer = io.BytesIO()
        Image.open(path).save(buffer, "JPEG", quality=55)
        (tmp_path / "train" / path.parent.name / f"again_{path.name}").write_bytes(buffer.getvalue())
    audit = check(tmp_path)
    assert set(found(audit, "leakage")) == copied
    again = [f for f in audit.findings if f.kind == "near_leakage" and "again_" in f"{f.path}{f.other}"]
    assert len(again) >= 9
    others = len(audit.findings) - len(clean.findings) - len(copied) - len(again)
    assert others <= 1  # false alarms
    assert sorted(audit.excluded()) == sorted(
        path.replace("test/", "train/").rpartition("/")[0] + "/copy_" + path.rpartition("/")[2] for path in copied
    )


def test_the_page_allows_its_own_style_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    import re

    root = folder_of_classes(tmp_path / "data", {"a": 12, "b": 12}, 40)
    shutil.copy(root / "a" / "0.png", root / "b" / "same.png")
    (root / "a" / "bad.jpg").write_bytes(b"<html>")
    page = audit_page(check(root))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.count('src="data:image/jpeg;base64,') == 2  # the pair; what is no picture has no thumbnail
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    assert re.search(r"border-collapse: collapse", page)


def test_of_very_many_copies_a_finding_names_some_and_counts_the_others(tmp_path: Path) -> None:
    folder = folder_of_classes(tmp_path / "blank", {"a": 1, "b": 3}, size=24)
    for number in range(30):
        shutil.copy(folder / "a" / "0.png", folder / "a" / f"copy-{number:02}.png")
    (finding,) = [finding for finding in check(folder).findings if finding.kind == "duplicate"]
    assert finding.detail.count("copy-") == 10
    assert finding.detail.endswith("; and 20 more")
    assert len(finding.exclude) == 30
    shutil.copy(folder / "a" / "0.png", folder / "b" / "other.png")
    (finding,) = [finding for finding in check(folder).findings if finding.kind == "conflict"]
    assert "is the same file as b/other.png (b); " in finding.detail
    assert finding.other == "b/other.png"
