import threading
import time

import pytest

from transferkit.data.threads import ahead, map_ordered


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


@pytest.mark.parametrize("bundle", [1, 4, 7, 100])
def test_bundles_change_neither_order_nor_results(bundle):
    def slower_first(number):
        time.sleep(0.001 * (number % 3))
        return number * number

    found = list(map_ordered(slower_first, range(50), threads=3, bundle=bundle))
    assert found == [number * number for number in range(50)]


@pytest.mark.parametrize("bundle", [1, 4])
def test_an_error_comes_at_its_place_and_ends_the_work(bundle):
    done = []

    def broken(number):
        if number == 6:
            raise OSError("six")
        done.append(number)
        return number

    reader, found = map_ordered(broken, range(1000), threads=2, window=16, bundle=bundle), []
    with pytest.raises(OSError, match="six"):
        found.extend(iter(lambda: next(reader), None))
    assert found == list(range(6))
    assert len(done) < 100


def test_only_a_window_of_items_is_pulled_ahead():
    pulled = []

    def items():
        for number in range(200):
            pulled.append(number)
            yield number

    for count, _ in enumerate(map_ordered(abs, items(), threads=2, window=16, bundle=4), 1):
        assert len(pulled) - count < 16 + 4
