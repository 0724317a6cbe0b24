import threading
import time

import pytest

from transferkit.data.threads import ahead


def test_ahead_gives_everything_in_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter(()))) == []


def test_ahead_hands_errors_to_the_reader():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    reader = ahead(broken())
    assert next(reader) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(reader)


def running():
    return [thread for thread in threading.enumerate() if thread.name == "transferkit-ahead"]


def test_ahead_stops_its_thread_when_the_reader_leaves():
    pulled = []

    def endless():
        while True:
            pulled.append(len(pulled))
            yield pulled[-1]

    reader = ahead(endless(), depth=2)
    assert next(reader) == 0
    time.sleep(0.3)
    assert len(pulled) <= 4  # two waiting, one in hand, one offered
    assert running()
    reader.close()
    assert not running()
