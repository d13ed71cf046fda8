"""A signal reaches whoever waits, and whoever begins to wait afterwards."""

import signal
import threading
from threading import Event

from annolake.interruption import Interruption, heeding


def test_an_interruption_wakes_every_waiter() -> None:
    """Events from before and after the signal are set; the number is kept."""
    interruption = Interruption()
    before = [interruption.event(), interruption.event()]
    assert (interruption.signal_number, [event.is_set() for event in before]) == (None, [False, False])

    interruption.interrupt(15)

    assert interruption.signal_number == 15
    assert all(event.is_set() for event in (*before, interruption.event()))


def test_an_event_of_a_program_interrupts_as_sigint_does() -> None:
    """Whether it is set before, or while the block runs; one that is never set leaves no thread behind."""
    for stop, ahead in ((Event(), False), (Event(), True)):
        interruption = Interruption()
        waiter = interruption.event()
        if ahead:
            stop.set()
        with heeding(stop, interruption, every_s=0.001):
            assert (interruption.signal_number is not None) == ahead
            stop.set()
            assert waiter.wait(timeout=20)
        assert interruption.signal_number == signal.SIGINT

    quiet = Interruption()
    with heeding(Event(), quiet), heeding(None, quiet):
        pass
    assert quiet.signal_number is None
    assert "stop" not in {thread.name for thread in threading.enumerate()}
