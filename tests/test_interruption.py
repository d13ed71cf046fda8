"""A signal reaches whoever waits, and whoever begins to wait afterwards."""

import signal
import threading
from functools import partial
from threading import Event

import pytest

from annolake.interruption import Interruption, heeding
from annolake.observers.protocols import LibraryLog, log_failed_stop


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
        with heeding(stop, interruption, print, every_s=0.001):
            assert (interruption.signal_number is not None) == ahead
            stop.set()
            assert waiter.wait(timeout=20)
        assert interruption.signal_number == signal.SIGINT

    quiet = Interruption()
    with heeding(Event(), quiet, print), heeding(None, quiet, print):
        pass
    assert quiet.signal_number is None
    assert "stop" not in {thread.name for thread in threading.enumerate()}


class Broken:
    """A stop that can be looked at once; then whoever kept it has gone."""

    looks = 0

    def is_set(self) -> bool:
        """Tell whether it is set."""
        self.looks += 1
        if self.looks > 1:
            raise EOFError
        return False


def test_a_stop_that_can_no_longer_be_looked_at_counts_as_set(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A deadline is not lost with it, and nothing is printed: the log says what happened."""
    interruption = Interruption()
    waiter = interruption.event()
    with heeding(Broken(), interruption, partial(log_failed_stop, LibraryLog()), every_s=0.001):
        assert waiter.wait(timeout=20)

    assert interruption.signal_number == signal.SIGINT
    assert "stop_failed error=EOFError" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_a_look_that_takes_long_holds_nobody_up() -> None:
    """The export has ended, and its program goes on."""
    looked, go_on = Event(), Event()

    class Slow:
        first = True

        def is_set(self) -> bool:
            if self.first:
                self.first = False
                return False
            looked.set()
            return go_on.wait(timeout=60)

    with heeding(Slow(), Interruption(), print, every_s=0.001):
        assert looked.wait(timeout=20)
    assert not go_on.is_set()
    go_on.set()
