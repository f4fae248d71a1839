import threading
import tracemalloc

import pytest

from xnatferry.xnat.thread_map import thread_map


def test_results_come_in_the_order_of_the_items_from_several_threads():
    both = threading.Barrier(2, timeout=500)

    def act(number):
        if number < 2:
            both.wait()  # passes only when two threads are at work
        return number * number

    assert list(thread_map(act, range(500), workers=2)) == [number * number for number in range(500)]
    assert list(thread_map(act, [], workers=None)) == []


def test_items_are_asked_for_as_the_work_goes_on():
    asked = []

    def items():
        for number in range(10_000):
            asked.append(number)
            yield number

    results = thread_map(str, items(), workers=2)
    assert next(results) == "0"
    assert len(asked) < 100
    results.close()
    assert len(asked) < 100


def test_the_first_error_ends_it_and_nothing_new_begins():
    begun = []

    def act(number):
        begun.append(number)
        if number == 5:
            msg = "five"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="five"):
        list(thread_map(act, range(10_000), workers=2))
    assert len(begun) < 100


def test_memory_does_not_grow_with_the_number_of_items():
    def peak(number):
        tracemalloc.start()
        try:
            assert sum(1 for _ in thread_map(lambda one: None, range(number), workers=2)) == number
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is imported and started once
    assert peak(10_000) < peak(500) + 100_000
