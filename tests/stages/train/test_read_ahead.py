import threading

import pytest

from stages.train.read_ahead import AHEAD, read_ahead


def test_results_come_in_the_order_of_the_items_whichever_is_read_first():
    last_read = threading.Event()

    def read(item: int) -> int:
        if item == 0:
            assert last_read.wait(60)
        if item == AHEAD - 1:
            last_read.set()
        return item**2

    assert list(read_ahead(read, range(30))) == [n**2 for n in range(30)]


def test_no_more_is_read_than_is_needed_soon():
    begun = []
    results = read_ahead(begun.append, range(100))
    for _ in range(3):
        next(results)
    results.close()
    assert sorted(begun) == list(range(AHEAD + 3))


def test_an_error_is_raised_in_its_turn():
    def read(item: int) -> int:
        if item == 2:
            raise OSError("no more")
        return item

    results = read_ahead(read, range(10))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="no more"):
        next(results)
