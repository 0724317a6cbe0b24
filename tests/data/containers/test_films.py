"""What is seen in films at a time: the same however it is asked for, and nothing of a film that is not whole."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.data.containers import base, films, kept, kinds, places
from transferkit.data.convert import convert
from transferkit.data.images.decode import DecodeSettings, decode, open_picture
from transferkit.data.images.opening import PictureError
from transferkit.data.readers.request import Reading
from transferkit.data.source import scan
from transferkit.data.splitting.split import load_splits, save_splits, split
from transferkit.delivery.inputs import find, from_input
from transferkit.errors import ConfigError, DataError

EVERY = Reading(frames="every:0.5s")


def film(
    path: Path, seconds: float = 3, rate: int = 8, codec: str = "mpeg4", ground: int = -1, group: int = 12
) -> Path:
    """Frames of one grey each, 10 more than the frame before; the lower half of all is `ground`, if given."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.gop_size = 32, 24, group
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(int(seconds * rate)):
            grey = np.full((24, 32, 3), 10 * number % 250, np.uint8)
            grey[12:] = grey[12:] if ground < 0 else ground
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


def seen(path: Path, time: str) -> float:
    return float(decode(path / f"{time}s.png", DecodeSettings(24)).mean())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
def test_a_frame_is_what_is_seen_at_its_time(name: str, tmp_path: Path) -> None:
    path = film(tmp_path / name)
    for time, number in (("0", 0), ("0.5", 4), ("1.3", 10), ("2.875", 23)):
        assert seen(path, time) == pytest.approx(10 * number, abs=4)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_the_order_of_asking_changes_nothing(codec: str, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", seconds=40, rate=5, group=40, codec=codec)
    names = list(films.Film(path, path.read_bytes()[:64]).every(0.6))
    assert len(names) == 67
    forward = [places.sha256(path / name) for name in names]
    mixed = list(range(len(names)))
    random.Random(3).shuffle(mixed)
    again = {i: places.sha256(path / names[i]) for i in mixed}
    assert [again[i] for i in range(len(names))] == forward


def test_frames_in_their_order_are_decoded_on_from_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mp4", seconds=20, group=160)
    names = list(films.Film(path, path.read_bytes()[:64]).every(0.5))
    begun: list[films.Film] = []
    plain = films._Decoder.__init__

    def begin(self: films._Decoder, of: films.Film) -> None:
        begun.append(of)
        plain(self, of)

    monkeypatch.setattr(films._Decoder, "__init__", begin)
    assert len({places.sha256(path / name) for name in names}) > 10
    assert len(begun) == 1
    places.sha256(path / names[20])  # from the key frame before it
    assert len(begun) == 2


def test_frames_of_a_film_stay_in_one_split_and_are_found_again(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(6):
            film(tmp_path / "data" / label / f"{number}.mp4", 2, ground=20 * (2 * number + (label == "b")))
    found = scan(tmp_path / "data", reading=EVERY).hashed()
    assert len(found) == 2 * 6 * 4
    assert found.paths[:2] == ("a/0.mp4/0s.png", "a/0.mp4/0.5s.png")
    assert "12 films give 48 pictures; those of one film stay in one split" in found.notes
    splits = split(found, (0.5, 0.25, 0.25), 0)
    for name in set(found.group):
        assert len({part for part, group in zip(splits.assignment, found.group, strict=True) if group == name}) == 1
    save_splits(tmp_path / "splits.csv", found, splits)
    again = scan(tmp_path / "data", reading=EVERY).hashed()
    assert load_splits(tmp_path / "splits.csv", again).assignment == splits.assignment
    some = scan(tmp_path / "data", classes=found.classes, only=found.paths[3:5], reading=EVERY)
    assert some.paths == found.paths[3:5]
    assert len(scan(tmp_path / "data", exclude=["a/0.mp4/*"], reading=EVERY)) == 44
    convert(found, tmp_path / "out")
    written = scan(tmp_path / "out" / "labels.csv").hashed()
    assert (written.sha256, written.group) == (found.sha256, found.group)
    assert written.paths[5] == "images/1_0.5s.png"


def test_films_are_passed_over_where_they_are_not_asked_for_and_missed_where_they_are(tmp_path: Path) -> None:
    for label in "ab":
        film(tmp_path / label / "x.mp4")
        Image.new("RGB", (20, 20), label and (9, 9, 9)).save(tmp_path / label / "y.png")
    film(tmp_path / "films" / "a" / "x.mp4")
    film(tmp_path / "films" / "b" / "x.mp4")
    with pytest.raises(DataError, match=r"holds 1 \.mp4\); --frames every:1s takes pictures from films; add"):
        scan(tmp_path / "films")
    shutil.rmtree(tmp_path / "films")
    found = scan(tmp_path)
    assert len(found) == 2
    assert any("2 .mp4; --frames every:1s takes pictures from films" in note for note in found.notes)
    assert len(scan(tmp_path, reading=EVERY)) == 14
    for label in "ab":
        (tmp_path / label / "x.mp4").unlink()
    with pytest.raises(ConfigError, match=r"--frames every:0\.5s: there is no film"):
        scan(tmp_path, reading=EVERY)
    for wrong in ("every:", "every:0s", "every:x", "each:1s", "none", 3):
        with pytest.raises(ConfigError, match="write first, all, or every:1s"):
            Reading.checked({"frames": wrong})
        with pytest.raises(ConfigError, match="frames"):  # nor while a network is looked for
            tk.finetune(tmp_path, frames=wrong, output=tmp_path / "run", quiet=True)


def test_films_that_a_pattern_matches_are_looked_at_as_one_that_is_named(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "new" / name, seconds=2)
    both = find([tmp_path / "new" / "*.mp4"])
    assert both == find([tmp_path / "new" / "a.mp4", tmp_path / "new" / "b.mp4"])
    assert [path.name for path in both] == ["0s.png", "1s.png"] * 2
    assert [path.name for path in find([tmp_path / "new" / "a.mp4"], step=0.5)] == [
        "0s.png", "0.5s.png", "1s.png", "1.5s.png",
    ]  # fmt: skip
    (tmp_path / "list.csv").write_text("path\nnew/b.mp4\n")
    assert find([tmp_path / "list.csv"]) == both[2:]
    assert list(from_input(io.BytesIO(f"{tmp_path}/new/b.mp4\n".encode()))) == both[2:]


def test_a_film_that_cannot_be_read_is_answered_with_the_reason(tmp_path: Path) -> None:
    path = film(tmp_path / "cut.mp4", seconds=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (found,) = find([tmp_path / "*.mp4"])
    with pytest.raises(PictureError, match=r"cut\.mp4/0s\.png: cannot be opened \(.*cut\.mp4 is"):
        decode(found, DecodeSettings(24))


def test_films_of_a_folder_are_taken_where_nothing_else_is_in_it_or_training_took_some(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "b/y.mkv"):
        film(tmp_path / "new" / name, seconds=2)
    names = ["a/x.mp4/0s.png", "a/x.mp4/1s.png", "b/y.mkv/0s.png", "b/y.mkv/1s.png"]
    said: list[str] = []

    def found(step: float | None = None) -> list[str]:
        said.clear()
        return [
            path.relative_to(tmp_path / "new").as_posix() for path in find([tmp_path / "new"], said.append, (), step)
        ]

    assert (found(), said) == (names, [])
    Image.new("RGB", (20, 20)).save(tmp_path / "new" / "a" / "p.png")
    assert (found(), len(said)) == (["a/p.png"], 1)
    assert "left out 2 films of" in said[0]
    assert (sorted(found(1.0)), said) == (sorted([*names, "a/p.png"]), [])


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_films_in_archives_are_the_same_films(name: str, packed: int, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number, label in enumerate("aabb"):
        film(folder / label / f"{number}.mp4", 2, ground=40 * number)
    Image.new("RGB", (20, 20)).save(folder / "a" / "p.png")
    archive = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(archive, "w", packed) as out:
            for path in sorted(folder.rglob("*.*")):
                out.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as tar:
            tar.add(folder, "data")
    plain, found = scan(folder, reading=EVERY).hashed(), scan(archive, reading=EVERY).hashed()
    assert len(plain) == 4 * 4 + 1
    assert (found.sha256, found.targets.tolist()) == (plain.sha256, plain.targets.tolist())
    groups = [None if group is None else Path(group).name for group in found.group]
    assert groups == [None if group is None else Path(group).name for group in plain.group]
    first = found.source([".mp4" in path for path in found.paths].index(True))
    assert isinstance(first, Path)
    inside = first.parent
    assert find([inside]) == [inside / f"{second}s.png" for second in "01"]
    assert len(find([archive], step=0.5)) == 17
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"data", name}


def test_a_film_that_a_zip_has_packed_is_unpacked_once_and_again_where_it_had_to_go(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for label in "ab":
            out.write(film(tmp_path / f"{label}.mp4", 20, ground=100 * (label == "b")), f"{label}/x.mp4")
    before = set(kept.files("archives"))
    found = scan(tmp_path / "a.zip", reading=EVERY)
    hashes = found.hashed().sha256
    (first, *_) = made = set(kept.files("archives")) - before
    assert len(made) == 2
    for path in made:
        path.unlink()
    assert found.hashed().sha256 == hashes
    again = set(kept.files("archives")) - before
    assert again == made
    assert first.suffix == ".entry"


def test_a_film_that_is_damaged_in_a_zip_is_named(tmp_path: Path) -> None:
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", packed) as out:
            for label in "ab":
                out.write(film(tmp_path / f"{label}.mp4"), f"{label}/x.mp4")
        content = bytearray((tmp_path / "a.zip").read_bytes())
        at = content.index(b"a/x.mp4") + 100
        content[at : at + 20] = bytes(byte ^ 255 for byte in content[at : at + 20])
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.zip/a/x\.mp4 is damaged"):
            scan(tmp_path / "a.zip", reading=EVERY)


def test_a_large_film_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for label in "ab":
            out.write(film(tmp_path / f"{label}.mp4"), f"{label}/x.mp4")
    assert len(scan(tmp_path / "a.zip", reading=EVERY).hashed()) == 12
    with pytest.raises(PictureError, match="are not read at once"):
        decode(tmp_path / "a.zip" / "a" / "x.mp4", DecodeSettings(24))


# ------------------------------------------------------------------------------------------ hostile


def refusal(tmp_path: Path, reading: Reading = EVERY) -> str:
    film(tmp_path / "b" / "whole.mp4")
    with pytest.raises(DataError) as caught:
        scan(tmp_path, reading=reading)
    return str(caught.value)


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.avi"])
def test_a_film_that_is_cut_short_is_named(name: str, tmp_path: Path) -> None:
    path = film(tmp_path / "a" / name, 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"a/{name}" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"x" * 99]
)
def test_lists_of_other_files_and_what_is_no_film_are_refused_unread(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.mp4").write_bytes(content)
    said = refusal(tmp_path)
    assert "a/x.mp4" in said
    assert "empty" in said or "of no form that is read" in said


def test_a_film_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "a" / "x.mp4")
    assert "makes 2,876 pictures; more than 1,000" in _with(monkeypatch, "MOST_FRAMES", 1000, tmp_path, "every:0.001s")
    assert "has more than 5 frames" in _with(monkeypatch, "_MOST_PACKETS", 5, tmp_path, "every:1s")
    assert "32 × 24 pixels" in _with(monkeypatch, "_MOST_PIXELS", 32 * 24 - 1, tmp_path, "every:1s")


def _with(patch: pytest.MonkeyPatch, name: str, value: int, folder: Path, frames: str) -> str:
    kinds._open.clear()
    with patch.context() as inner:
        inner.setattr(films, name, value)
        return refusal(folder, Reading(frames=frames))


def test_a_frame_that_is_damaged_is_refused_by_name(tmp_path: Path) -> None:
    import av

    path = film(tmp_path / "a.mp4")
    with av.open(str(path)) as opened:
        packet = [packet for packet in opened.demux(video=0) if packet.size][8]
        at, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[at : at + size] = bytes(size)
    path.write_bytes(content)
    for _ in range(2):
        assert seen(path, "0.5") == pytest.approx(40, abs=4)
        with pytest.raises(PictureError, match=r"a\.mp4/1s\.png.*cannot be decoded"):
            seen(path, "1")
        assert seen(path, "0.5") == pytest.approx(40, abs=4)
        assert seen(path, "2") == pytest.approx(160, abs=4)  # from the key frame behind the damage
    with pytest.raises(PictureError, match="does not exist"):
        seen(path, "4")


def test_a_film_among_pictures_is_called_one(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.avi"):
        with pytest.raises(PictureError, match="it is a film; in training, --frames every:1s"):
            decode(film(tmp_path / name), DecodeSettings(24))


def test_a_missing_reader_names_what_to_install(tmp_path: Path) -> None:
    film(tmp_path / "a" / "x.mp4")
    film(tmp_path / "b" / "x.mp4")
    code = (
        "import sys; sys.modules['av'] = None; from transferkit.data.source import scan; "
        "from transferkit.data.readers.request import Reading; scan(sys.argv[1], reading=Reading(frames='every:1s'))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert "pip install 'transferkit[video]'" in done.stderr


def test_a_film_of_a_telephone_held_upright_is_turned(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, :16] = 200  # the left half, which is the upper one when it is turned clockwise
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *stream.encode()]:
            out.mux(packet)
    content = path.read_bytes()
    at = content.index(b"tkhd")
    one, none = struct.pack(">i", 1 << 16), bytes(4)
    upright = one + none * 3 + one + none * 3 + struct.pack(">i", 1 << 30)
    turned = none + one + none + struct.pack(">i", -(1 << 16)) + none * 4 + struct.pack(">i", 1 << 30)
    path.write_bytes(content[:at] + content[at:].replace(upright, turned, 1))
    seen_now = np.asarray(open_picture(path / "0s.png"))
    assert seen_now.shape == (32, 24, 3)
    assert seen_now[:12].mean() > 180
    assert seen_now[20:].mean() < 20
