import errno
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from tests.marks import ordinary_user
from transferkit.errors import StorageError
from transferkit.features import number_formats, store

from .rows import SHAPES, SPEC, names, rows


def read(features, wanted):
    return features.gather(*features.places(wanted))


def chunk_files(features, suffix):
    return sorted(features.folder.glob(f"chunk-*{suffix}"))


@pytest.fixture
def features():
    return store.open_set(SPEC, SHAPES)


def test_rows_are_read_back_in_any_order_by_any_process(features):
    content = rows(7)
    features.append(names(4), content[:4])
    features.append(["x", "y", "z"], content[4:])
    again = store.open_set(SPEC, SHAPES)
    for one in (features, again):
        np.testing.assert_array_equal(read(one, ["z", "p0", "x", "p3", "p0"]), content[[6, 0, 4, 3, 0]])
        assert one.missing(["p0", "q", "z"]) == {"q"}
    with pytest.raises(StorageError, match="the cache was removed or damaged while they were needed"):
        again.places(["q"])


def test_a_few_rows_of_a_chunk_are_copied_at_a_time_and_given_back(features, monkeypatch):
    content, copied, released = rows(9), [], []
    features.append(names(9), content)
    monkeypatch.setattr(store, "BLOCK_BYTES", 2 * 4 * features.width)
    monkeypatch.setattr(store, "as_numbers", lambda some: copied.append(len(some)) or np.asarray(some, np.float32))
    monkeypatch.setattr(store, "release", lambda chunk: released.append(chunk))
    order = np.array([3, 8, 0, 5, 1])
    wanted = [f"p{number}" for number in order]
    np.testing.assert_array_equal(features.gather(*features.places(wanted), once=True), content[order])
    assert copied == [2, 2, 1]
    assert len(released) == 3


def test_a_chunk_is_verified_a_few_rows_at_a_time_and_given_back(monkeypatch):
    whole, released = store.checksum(rows(9)), []
    monkeypatch.setattr(store, "BLOCK_BYTES", 2 * rows(1).nbytes)
    monkeypatch.setattr(store, "release", lambda chunk: released.append(chunk))
    assert store.checksum(rows(9)) == whole
    assert len(released) == 5


def test_rows_unpack_to_the_cuts_tensors(features):
    content = rows(3)
    first, second = features.unpack(content)
    np.testing.assert_array_equal(first, content[:, :6].reshape(3, 2, 3))
    np.testing.assert_array_equal(second, content[:, 6:])


def test_nothing_wanted_is_nothing_read(features):
    assert read(features, []).shape == (0, 10)


@pytest.mark.parametrize(
    "damage",
    ["truncated", "flipped", "emptied", "gone", "other shape", "index cut short", "a header that does not close"],
)
def test_a_damaged_chunk_is_never_used_and_can_be_written_again(features, damage):
    content = rows(6)
    features.append(names(3), content[:3])
    features.append(names(3, "q"), content[3:])
    victim = chunk_files(features, ".npy")[0]
    if damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-5])
    elif damage == "flipped":
        flipped = bytearray(victim.read_bytes())
        flipped[-7] ^= 16
        victim.write_bytes(flipped)
    elif damage == "emptied":
        victim.write_bytes(b"")
    elif damage == "a header that does not close":
        victim.write_bytes(victim.read_bytes().replace(b"}", b" "))
    elif damage == "gone":
        victim.unlink()
    elif damage == "other shape":
        np.save(victim, rows(3, 11))
    else:
        index = victim.with_suffix(".json")
        index.write_bytes(index.read_bytes()[:-9])
    again = store.open_set(SPEC, SHAPES)
    assert again.missing([*names(3), *names(3, "q")]) == set(names(3))
    np.testing.assert_array_equal(read(again, names(3, "q")), content[3:])
    again.append(names(3), content[:3])
    np.testing.assert_array_equal(read(store.open_set(SPEC, SHAPES), names(3)), content[:3])
    assert len(chunk_files(features, ".npy")) == len(chunk_files(features, ".json")) == 2  # no rubbish is left


def test_a_chunk_that_may_not_be_read_is_left_alone(features, monkeypatch):
    features.append(names(2), rows(2))

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(np, "load", refuse)
    assert store.open_set(SPEC, SHAPES).missing(names(2)) == set(names(2))
    monkeypatch.undo()
    assert chunk_files(features, ".npy")


@pytest.mark.parametrize("readable", [True, False])
def test_a_set_that_may_not_be_written_is_read_and_what_is_to_be_added_is_an_error_with_the_remedy(features, readable):
    content = rows(3)
    features.append(names(3), content)
    for path in (*features.folder.iterdir(), features.folder):
        path.chmod((0o555 if path.is_dir() else 0o444) if readable or path.is_dir() else 0)
    with ordinary_user():
        again = store.open_set(SPEC, SHAPES)
        if readable:
            np.testing.assert_array_equal(read(again, names(3)), content)
        assert again.missing(names(3)) == (set() if readable else set(names(3)))
        with pytest.raises(StorageError, match=r"cannot write.*Permission denied.*TRANSFERKIT_CACHE.*--no-cache"):
            again.append(["q"], rows(1))
    for path in (features.folder, *features.folder.iterdir()):
        path.chmod(0o700)
    assert store.open_set(SPEC, SHAPES).missing(names(3)) == set()


def test_too_many_open_files_is_said_and_not_taken_for_damage(features, monkeypatch):
    features.append(names(2), rows(2))

    def refuse(*args, **kwargs):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(StorageError, match="ulimit"):
        store.open_set(SPEC, SHAPES)
    assert chunk_files(features, ".npy")


CHILD = """
import os, sys
import numpy as np
from transferkit import files
from transferkit import cache_quota
from transferkit.features import store
features = store.open_set({spec}, {shapes})
content = np.random.default_rng(0).normal(0, 1, (6, 10)).astype(np.float32)
features.append([f"p{{i}}" for i in range(3)], content[:3])
{then}
"""


def child(then, **options):
    program = textwrap.dedent(CHILD).format(spec=SPEC, shapes=SHAPES, then=textwrap.dedent(then))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, **options)


def test_a_kill_between_a_chunk_and_its_index_loses_that_chunk_only(features):
    done = child(
        """
        store.write_json = lambda *args: os.kill(os.getpid(), 9)
        features.append(["q0", "q1", "q2"], content[3:])
        """
    )
    assert done.returncode == -9, done.stderr
    again = store.open_set(SPEC, SHAPES)
    assert again.missing(["p0", "p1", "p2", "q0"]) == {"q0"}
    assert len(chunk_files(features, ".npy")) == 2
    again.append(["q0", "q1", "q2"], rows(6)[3:])
    assert len(chunk_files(features, ".npy")) == 2  # the orphan is gone
    np.testing.assert_array_equal(read(again, ["q1", "p2"]), rows(6)[[4, 2]])


def test_a_kill_while_writing_leaves_no_chunk_and_no_rubbish(features):
    done = child(
        """
        def half(handle, rows):
            handle.write(b"half a chunk")
            handle.flush()
            os.kill(os.getpid(), 9)
        store.write_rows = half
        features.append(["q0"], content[3:4])
        """
    )
    assert done.returncode == -9, done.stderr
    again = store.open_set(SPEC, SHAPES)
    again.append(["q0"], rows(6)[3:4])
    left = sorted(path.name for path in features.folder.iterdir() if "tmp" in path.name)
    assert left == []
    np.testing.assert_array_equal(read(again, ["q0", "p1"]), rows(6)[[3, 1]])


def test_processes_append_at_once(features):
    program = textwrap.dedent(
        f"""
        import sys
        import numpy as np
        from transferkit.features import store
        features = store.open_set({SPEC}, {SHAPES})
        who = int(sys.argv[1])
        for i in range(20):
            features.append([f"{{who}}-{{i}}"], np.full((1, 10), who * 100 + i, np.float32))
        """
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(who)]) for who in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    features.refresh()
    wanted = [f"{who}-{i}" for who in range(2) for i in range(20)]
    assert features.missing(wanted) == set()
    np.testing.assert_array_equal(read(features, wanted)[:, 0], [w * 100 + i for w in range(2) for i in range(20)])


def test_what_a_killed_writer_left_goes_with_the_next_rows(features):
    left = [features.folder / name for name in (".set.7-0a1b2c3d.tmp.json", ".chunk-1-7.7-0a1b2c3d.tmp.npy")]
    for path in left:
        path.write_text("{")
    again = store.open_set(SPEC, SHAPES)
    again.append(["more"], rows(1))
    assert not [path for path in left if path.exists()]
    (features.folder / "set.json").unlink()
    with store.locked(features.folder / "write.lock"):  # nobody writes it while another may be sweeping
        waiting = threading.Thread(target=store.open_set, args=(SPEC, SHAPES))
        waiting.start()
        waiting.join(0.3)
        assert not (features.folder / "set.json").exists()
    waiting.join(60)
    assert (features.folder / "set.json").exists()


def test_a_bound_on_the_size_of_files_is_called_that_and_harms_nothing(features):
    done = child(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        from transferkit.errors import StorageError
        try:
            features.append([f"q{i}" for i in range(500)], np.zeros((500, 10), np.float32))
        except StorageError as error:
            print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "ulimit -f" in done.stdout
    assert "no space left" not in done.stdout
    assert "TRANSFERKIT_CACHE" in done.stdout
    again = store.open_set(SPEC, SHAPES)
    assert again.missing(["p0", "p1", "p2", "q0"]) == {"q0"}
    assert not list(features.folder.glob(".chunk*"))


def test_a_full_disk(tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of its own needs root")
    try:
        monkeypatch.setenv("TRANSFERKIT_CACHE", str(small / "cache"))
        features = store.open_set(SPEC, SHAPES)
        features.append(names(50), rows(50))
        with pytest.raises(StorageError, match="no space left for features"):
            features.append(names(20000, "q"), rows(20000))
        np.testing.assert_array_equal(read(store.open_set(SPEC, SHAPES), names(50)), rows(50))
        features.append(["later"], rows(1))
        assert not store.open_set(SPEC, SHAPES).missing(["later"])
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_long_rows_are_halved_unless_they_overflow():
    wide = store.open_set({**SPEC, "rows": "wide"}, [(9000,)])
    fine, huge = rows(2, 9000), rows(2, 9000) * 1e6
    wide.append(["a", "b"], fine)
    wide.append(["c", "d"], huge)
    sizes = [path.stat().st_size for path in chunk_files(wide, ".npy")]
    assert sizes[0] < 2.1 * 18000
    assert sizes[1] > 4 * 18000
    np.testing.assert_allclose(read(wide, ["a", "b"]), fine, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(read(wide, ["c", "d"]), huge)


def test_maps_that_were_computed_in_bfloat16_are_kept_exactly_in_half_the_room():
    wide = store.open_set({**SPEC, "rows": "wide"}, [(9000,)])
    numbers = rows(3, 9000) * np.float32([[1.0], [1e30], [1e-30]])  # far out of what float16 can hold
    exact = (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)
    wide.append(["a", "b", "c"], exact)
    nearly = exact.copy()
    nearly[2, -1] = np.float32(1.001)
    wide.append(["d", "e", "f"], nearly)
    sizes = [path.stat().st_size for path in chunk_files(wide, ".npy")]
    assert sizes[0] < 3 * 9000 * 2 + 200
    assert sizes[1] > 3 * 9000 * 4
    again = store.open_set({**SPEC, "rows": "wide"}, [(9000,)])
    np.testing.assert_array_equal(read(again, ["c", "a", "b"]), exact[[2, 0, 1]])
    np.testing.assert_array_equal(read(again, ["d", "e"]), exact[:2])
    np.testing.assert_allclose(read(again, ["f"]), nearly[2:], atol=1e-3)


def test_what_the_store_gives_back_depends_on_the_row_alone():
    wide = rows(3, 9000)
    wide[0] = np.float32(1e-30) * (1 + np.arange(9000))  # float16 would make nothing of it
    wide[1, 0] = 1e30
    together = store.open_set({**SPEC, "rows": "together"}, [(9000,)])
    together.append(["a", "b", "c"], wide)
    apart = store.open_set({**SPEC, "rows": "apart"}, [(9000,)])
    for name, row in zip("abc", wide, strict=True):
        apart.append([name], row[None])
    np.testing.assert_array_equal(read(together, ["a", "b", "c"]), read(apart, ["a", "b", "c"]))
    np.testing.assert_array_equal(read(together, ["a", "b", "c"]), number_formats.rounded(wide))
    np.testing.assert_array_equal(number_formats.rounded(wide)[:2], wide[:2])
    np.testing.assert_array_equal(number_formats.rounded(wide)[2], wide[2].astype(np.float16))


def test_checksums_are_read_once_a_process(features, monkeypatch):
    features.append(names(3), rows(3))
    store.open_set(SPEC, SHAPES)
    monkeypatch.setattr(store, "checksum", lambda rows: pytest.fail("read again"))
    assert not store.open_set(SPEC, SHAPES).missing(names(3))
