import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from transferkit.data import threads
from transferkit.data.threads import ahead, begun, map_ordered


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


def test_begun_work_goes_on_beside_and_is_waited_for():
    let, where = threading.Event(), []

    def work():
        assert let.wait(10)
        where.append(threading.current_thread())
        return 7

    with begun(work, "test-begun") as result:
        let.set()
        assert result() == result() == 7
        let.clear()
    assert where[0] is not threading.main_thread()
    with begun(work, "test-begun"):
        let.set()
    assert len(where) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-begun")]


def test_an_error_of_begun_work_is_raised_where_it_is_asked_for():
    def fail():
        raise OSError("the disk is gone")

    with begun(fail, "test-begun") as result, pytest.raises(OSError, match="the disk is gone"):
        result()


def test_without_another_thread_begun_work_is_done_when_it_is_asked_for(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    with begun(threading.current_thread, "test-begun") as result:
        assert result() is threading.main_thread()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_without_a_word_is_not_waited_for(monkeypatch):
    class Line(threads.queue.Queue):
        def put(self, entry, *args, **named):
            if entry[0] == "error":
                raise MemoryError  # there is none left to hand the error on
            super().put(entry, *args, **named)

    def broken():
        yield 1
        raise MemoryError

    monkeypatch.setattr(threads.queue, "Queue", Line)
    monkeypatch.setattr(threads, "PATIENCE", 0.05)
    reader = ahead(broken())
    assert next(reader) == 1
    with pytest.raises(MemoryError, match="a thread that prepares batches ended"):
        next(reader)
