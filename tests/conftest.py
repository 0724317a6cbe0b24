"""What every room's tests share: an empty cache for each test, and a folder of digits."""

import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.chromium import Browser
from tests.fresh import Fresh
from transferkit.wording import speak_shell

# Before TensorFlow is imported by any test: no page of device discovery on standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before NumPy is: tests run beside each other, and threads of several processes on the same cores wait for one another.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Networks are many small objects that refer to each other, and to look through all of them as often as Python does by
# itself is a tenth of the tests' time.
gc.set_threshold(50_000, 20, 50)
# Commands write as they do for users: what is printed waits in the process, and whoever ends it has to hand it on.
os.environ.pop("PYTHONUNBUFFERED", None)
# A shell's `&` begins a program without Ctrl-C, and what that begins has none either; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Fixtures that outlive a test, and the processes they start: no run of the tests' counts among the user's own.
_STATE = tempfile.TemporaryDirectory(prefix="transferkit-state-")
os.environ["TRANSFERKIT_STATE"] = _STATE.name
_NUMBERS = count()


def pytest_collection_finish() -> None:
    """What is there before the first test stays: libraries and tests are a million objects, and to forget a network
    (`compute.release`) looks through all that there are, half a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def unsynced() -> Iterator[None]:
    """Nobody cuts the power under a test: nothing waits for the disk. Tests with `synced` hold that we would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)  # a handle that is none is still an error
        yield


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Of each file and folder that was to be on the disk its size then, by inode: what is there after a power cut."""
    found: dict[int, int] = {}

    def note(handle: int) -> None:
        status = os.fstat(handle)
        found[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", note)
    return found


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, which looks through the folders of all tests before it for a number that is free."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{name}_{next(_NUMBERS)}"  # a module may be called so
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder for features and probes; no test reads or fills the user's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(folder))
    monkeypatch.setenv("TRANSFERKIT_STATE", str(Path(_STATE.name, str(next(_NUMBERS)))))
    return folder


@pytest.fixture(autouse=True)
def words():
    """Messages are asserted as they are written: in the words of the command line."""
    before = speak_shell(True)
    yield
    speak_shell(before)


@pytest.fixture(autouse=True)
def arithmetic():
    """Every test begins in float32, whatever the one before it left behind."""
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        keras.config.set_dtype_policy("float32")
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and hasattr(tensorflow, "config"):
        tensorflow.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})


@pytest.fixture(scope="session")
def fresh() -> Iterator[Fresh]:
    """Runs programs in processes that have Keras and nothing of ours."""
    made = Fresh()
    yield made
    made.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The process behind `browser`."""
    made = Browser()
    yield made
    made.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """An empty page in headless Chromium; for tests that are marked `needs_chromium`."""
    with chromium.page() as page:
        yield page


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report: drawing it takes longer than these runs, and other tests read it."""
    monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)


@pytest.fixture
def parted() -> Iterator[None]:
    """A test that fails leaves no connection to Ray behind for the next one."""
    yield
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `one_cache`, for fixtures that make runs before any test does."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def one_cache(store: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of an empty cache for each test, one for all of a module: its runs are of the same pictures."""
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(store))
    return store


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> Path:
    """A folder of ten classes with twenty digits of 32×32 each. Shared: read only."""
    from transferkit.data.digits import write_digits

    return write_digits(tmp_path_factory.mktemp("data") / "digits", 20)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory, digits):
    """A finished run of `mini` on the digits. Shared: read only; copy what is to be changed."""
    import transferkit as tk

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        return tk.finetune(digits, "mini", output=folder / "digits", epochs=8, patience=7, views=1, quiet=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network of two convolutions that has seen nothing yet, and is compiled in no time. Read only."""
    import keras

    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("files") / "tiny.keras"
    x = inputs = keras.Input((32, 32, 3))
    for width in (4, 8):
        x = keras.layers.Conv2D(width, 3, strides=2, activation="relu")(x)
    keras.Model(inputs, x).save(path)
    return path
