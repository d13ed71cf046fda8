"""How a signal, or a program that wants it to stop, reaches an export."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

HEED_S = 0.2


class Stop(Protocol):
    """Says whether an export shall stop, as `threading.Event` does."""

    def is_set(self) -> bool:
        """Tell whether it shall."""


class Interruption:
    """A signal's way into an export: `interrupt` may be called from a signal handler."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._events: list[Event] = []

    def event(self) -> Event:
        """Return an event that is set when the signal comes, or at once where it has come."""
        event = Event()
        self._events.append(event)
        if self.signal_number is not None:
            event.set()
        return event

    def interrupt(self, signal_number: int) -> None:
        """Note the signal and wake whoever waits."""
        self.signal_number = signal_number
        for event in self._events:
            event.set()


@contextmanager
def heeding(
    stop: Stop | None, interruption: Interruption, failed: Callable[[Exception], object], *, every_s: float = HEED_S
) -> Iterator[None]:
    """Interrupt as SIGINT does once `stop` is set, as long as the block runs; it is looked at each `every_s`.

    One that raises when it is looked at counts as set, and `failed` gets what it raised.
    """
    if stop is None or stop.is_set():
        if stop is not None:
            interruption.interrupt(signal.SIGINT)
        yield
        return
    ended = Event()

    def watch() -> None:
        try:
            while not stop.is_set():
                if ended.wait(every_s):
                    return
        except Exception as error:  # noqa: BLE001 - the program's, whose wish to stop would be lost
            failed(error)
        interruption.interrupt(signal.SIGINT)

    watcher = Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(HEED_S)  # it may be in a look that takes long, and ends after it
