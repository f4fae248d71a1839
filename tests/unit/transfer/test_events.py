"""The journal comes first and may stop a run; a display may not, in a push, a pull, an undo or on a cluster."""

import threading

import pytest

from xnatferry.transfer.events import Stage, emitter


def test_an_error_of_a_display_stops_nothing():
    seen = []

    def display(event):
        raise RuntimeError("no terminal")

    emit = emitter(seen.append, display)
    emit(Stage("push"))
    emit(Stage("verify"))
    assert [event.name for event in seen] == ["push", "verify"]


def test_what_cannot_be_recorded_is_not_shown():
    shown = []

    def full(event):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        emitter(full, shown.append)(Stage("push"))
    assert shown == []


def test_a_display_is_called_from_one_thread_at_a_time():
    met, inside, past_journal = [], threading.Barrier(2), threading.Barrier(2)

    def display(event):
        try:
            inside.wait(0.2)  # is another thread here too?
        except threading.BrokenBarrierError:
            return
        met.append(event)

    emit = emitter(lambda _: past_journal.wait(), display)
    threads = [threading.Thread(target=emit, args=(Stage("push"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == []
