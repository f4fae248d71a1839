"""Work that leads to more work."""

import threading
import time

import pytest

from xnatferry.transfer.task_pool import CompletionLatch, TaskPool


def test_everything_is_done_and_what_was_begun_comes_first():
    done = []

    def begin(name):
        def act():
            done.append(name)
            return [lambda: done.append(f"{name}-end")]

        return act

    TaskPool(1, threading.Event()).run([begin("a"), begin("b")])
    assert done == ["a", "a-end", "b", "b-end"]


def test_many_threads_lose_nothing():
    count = 0
    lock = threading.Lock()

    def grow(depth):
        def act():
            nonlocal count
            with lock:
                count += 1
            return [grow(depth - 1), grow(depth - 1)] if depth else None

        return act

    TaskPool(8, threading.Event()).run([grow(6) for _ in range(4)])
    assert count == 4 * (2**7 - 1)


def test_an_error_ends_the_flow_and_is_raised():
    stop = threading.Event()

    def fail():
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        TaskPool(2, stop).run([fail, *[lambda: time.sleep(0.001)] * 50])
    assert stop.is_set()


def test_a_hanging_request_does_not_keep_a_stopped_flow(monkeypatch):
    from xnatferry.transfer import task_pool

    monkeypatch.setattr(task_pool, "GRACE_S", 0.05)
    stop, release = threading.Event(), threading.Event()
    TaskPool(2, stop).run([stop.set, lambda: release.wait(30)])
    release.set()


def test_a_countdown_gives_its_follow_up_once():
    countdown = CompletionLatch(2, print)
    assert [countdown.count_down(), countdown.count_down()] == [[], [print]]
