"""Large pictures: their pixels are what they always were, and all threads together hold what they may."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.corpus import corpus
from tests.data.pictures import encoded, photo
from transferkit.data.images import jpeg, tones
from transferkit.data.images.decode import DecodeSettings, open_pixels
from transferkit.data.images.memory import SMALL, MemoryBudget, needed

MB = 1 << 20


@pytest.mark.parametrize("intensity", ["full", "percentile"])
def test_strip_by_strip_every_form_gives_the_pixels_of_the_whole(
    intensity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DecodeSettings(64, intensity=intensity)  # type: ignore[arg-type]
    forms = {name: item.content for name, item in corpus().items()}
    whole = {name: open_pixels(content, settings).copy() for name, content in forms.items()}
    monkeypatch.setattr(tones, "STRIP", 60 * 7)  # seven rows of the scene at a time, and an incomplete last strip
    for name, content in forms.items():
        np.testing.assert_array_equal(open_pixels(content, settings), whole[name], err_msg=name)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_over_white_is_what_pillow_lays_over_it(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 40, 4), dtype=np.uint8)).convert("RGBA")
    if mode == "P":
        image = image.quantize(40)
        image.info["transparency"] = bytes(range(0, 240, 6))
    else:
        image = image.convert(mode)
    clear = Image.open(io.BytesIO(encoded(image, "PNG")))
    clear.load()
    expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), clear.convert("RGBA")).convert("RGB")
    monkeypatch.setattr(tones, "STRIP", 40 * 8)
    np.testing.assert_array_equal(np.asarray(tones.as_rgb(clear)), np.asarray(expected))


@pytest.mark.parametrize("values", [
    np.random.default_rng(0).normal(size=(37, 41)).astype(np.float32), np.arange(37 * 41).reshape(37, 41) * 7 % 60_000,
    np.array([[3.5]], np.float32), np.array([[1.0, np.nan, np.inf]], np.float32),
])  # fmt: skip
def test_percentiles_are_numpys_to_the_last_bit(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(values if values.dtype == np.float32 else values.astype(np.uint16))
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    expected = tuple(map(float, np.percentile(finite, tones.PERCENTILES)))
    monkeypatch.setattr(tones, "STRIP", 41 * 5)
    assert tones._percentiles(image) == expected


def test_threads_wait_for_room_and_one_that_needs_more_than_all_has_it_alone() -> None:
    budget, inside, most = MemoryBudget(100 * MB), [], []

    def work(megabytes: int) -> None:
        with budget.turn():
            budget.take(megabytes * MB)
            inside.append(megabytes)
            most.append(sum(inside))
            time.sleep(0.01)
            inside.remove(megabytes)

    threads = [threading.Thread(target=work, args=(size,)) for size in (40, 30, 60, 20, 400, 50, 90) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert max(total for total in most if total != 400) <= 100
    assert 400 in most, "the largest one was alone"
    assert not [total for total in most if total > 400]


def test_turns_may_be_nested_and_what_was_taken_is_given_back_at_the_end_of_the_outermost() -> None:
    budget, done = MemoryBudget(100 * MB), threading.Event()

    def other() -> None:
        with budget.turn():
            budget.take(60 * MB)
            done.set()

    with budget.turn():
        with budget.turn():
            budget.take(30 * MB)
        budget.take(30 * MB)  # what it reads with the first still there
        threading.Thread(target=other).start()
        assert not done.wait(0.2)
    assert done.wait(10)
    with suppress(KeyError), budget.turn():
        budget.take(100 * MB)
        raise KeyError
    with budget.turn():
        budget.take(100 * MB)


def test_small_pictures_do_not_wait() -> None:
    budget = MemoryBudget(20 * MB)
    with budget.turn():
        budget.take(20 * MB)

        def small() -> None:
            with budget.turn():
                budget.take(SMALL)

        thread = threading.Thread(target=small)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(("kind", "each"), [("JPEG", 3), ("PNG", 8)])
def test_large_pictures_wait_for_as_much_as_they_take(kind: str, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("RGB", (2400, 2000)), kind)
    taken: list[int] = []
    monkeypatch.setattr(MemoryBudget, "take", lambda budget, more: taken.append(more))
    open_pixels(content, DecodeSettings(2000))
    assert max(taken) >= each * 2400 * 2000


@pytest.mark.parametrize(("options", "one"), [({}, True), ({"progressive": True}, False)])
def test_jpegs_that_come_in_several_scans_are_known(options: dict[str, bool], one: bool) -> None:
    for image in (photo(3), photo(3).convert("L")):
        content = encoded(image, "JPEG", **options)
        assert jpeg.in_one_scan(content) == one
        assert needed(Image.open(io.BytesIO(content))) >= (14, 8)[one] * 48 * 40
    assert not jpeg.in_one_scan(encoded(photo(3), "JPEG")[:100])


# What a process holds at the most while it decodes large pictures on eight threads, in megabytes above what it held.
PROGRAM = """
import io, sys, time
from PIL import Image
from transferkit.data.images import memory
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.threads import map_ordered

threads, budget, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
content = open(path, "rb").read()
settings = DecodeSettings(64)
tiny = io.BytesIO()
Image.new("RGB", (64, 64)).save(tiny, "PNG")
decode(tiny.getvalue(), settings)
memory.MEMORY.most = budget << 20

def held():
    # Most kB so far, of this program alone: what getrusage says begins with what the process that started it held.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

before, began = held(), time.process_time()
list(map_ordered(lambda one: decode(one, settings), [content] * threads, threads))
seconds = time.process_time() - began
image = Image.open(io.BytesIO(content))
print((held() - before) // 1024, memory.needed(image) >> 20, memory.MEMORY.most >> 20, seconds)
"""


class Peak(NamedTuple):
    """Megabytes held, reckoned with for one picture, and kept for all together; seconds of the processor."""

    held: int
    reckoned: int
    bound: int
    seconds: float


def large(form: str, side: int, flat: bool = False) -> bytes:
    """A picture of so many pixels a side, all the same where it is to be `flat`, and thereby a small file."""
    ramp = np.add.outer(np.arange(side, dtype=np.uint32), np.arange(side, dtype=np.uint32)) * (not flat)
    kind, _, mode = form.partition(" ")
    if mode in ("RGB", "RGBA", "L", "P"):
        image = Image.fromarray((ramp // 64 % 256).astype(np.uint8)).convert(mode)
    elif mode == "16":
        image = Image.fromarray((ramp % 65536).astype(np.uint16))
    else:
        image = Image.fromarray(ramp.astype(np.float32))
    more = {"TIFF": {"compression": "tiff_deflate"}, "WEBP": {"quality": 20, "method": 0}, "AVIF": {"speed": 10}}
    options = {"progressive": True} if form == "JPEG RGB" else more.get(kind, {})
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def peak(path: Path, threads: int, budget: int = 0) -> Peak:
    """What a process takes that decodes the picture and has not made it; with the usual budget where none is given."""
    words = [sys.executable, "-c", PROGRAM, str(threads), str(budget), str(path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    *sizes, seconds = done.stdout.split()
    return Peak(*map(int, sizes), seconds=float(seconds))


FORMS = ["JPEG RGB", "PNG RGBA", "PNG 16", "PNG P", "TIFF RGB", "TIFF float", "WEBP RGBA", "GIF P",
         "BMP RGB", "AVIF RGB"]  # fmt: skip


@pytest.mark.extended
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory as Linux tells it")
@pytest.mark.parametrize("form", FORMS)
def test_no_picture_takes_more_than_is_reckoned_with(form: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(large(form, 3000))
    found = peak(tmp_path / "picture", 1)
    assert found.held <= found.reckoned + 20


@pytest.mark.extended
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory as Linux tells it")
@pytest.mark.parametrize("form", ["PNG RGBA", "TIFF float"])
def test_eight_threads_of_large_pictures_hold_what_the_budget_says(form: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(large(form, 3000))
    unbounded, reckoned, *_ = peak(tmp_path / "picture", 8, 8 * 1024)
    bounded = peak(tmp_path / "picture", 8, 2 * reckoned).held
    assert bounded <= 2 * reckoned + 20
    assert unbounded > 3 * reckoned, "one at a time as it is: the budget changes nothing"


@pytest.mark.extended
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory as Linux tells it")
@pytest.mark.parametrize("form", ["PNG 16", "TIFF float"])
def test_the_largest_picture_of_many_bits_stays_below_a_gigabyte_and_eight_below_what_there_is_for_all(
    form: str, tmp_path: Path
) -> None:
    """Of 170 kB; they took 2.4 and 2.7 GB and half a minute, times the threads."""
    (tmp_path / "picture").write_bytes(large(form, 9400, flat=True))
    assert (tmp_path / "picture").stat().st_size < 1 << 20
    one, eight = peak(tmp_path / "picture", 1), peak(tmp_path / "picture", 8)
    assert one.held < 1000
    assert one.seconds < 20
    assert eight.held <= max(eight.bound, eight.reckoned) + 20
    assert eight.seconds < 8 * 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="thresholds are those of glibc")
def test_small_pictures_on_threads_are_not_given_new_memory_each() -> None:
    """It was twenty page faults a picture; in a process of its own, since a large block that was freed mends them."""
    code = (
        "import resource\n"
        "from tests.data.pictures import encoded, photo\n"
        "from transferkit.data.images.decode import DecodeSettings, decode_many\n"
        "content = encoded(photo(0, 340, 256), 'JPEG')\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in decode_many([content] * 300, DecodeSettings(224), threads=2): pass\n"
        "    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 300\n"
        "faults()\n"
        "print(faults())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 8


def test_where_nobody_may_wait_what_is_too_large_is_refused() -> None:
    bound = MemoryBudget()
    bound.refuse_beyond(100 << 20)
    with bound.turn():
        bound.take(90 << 20)
        with pytest.raises(MemoryError, match="of which there are"):
            bound.take(20 << 20)
    with bound.turn():
        bound.take(100 << 20)
