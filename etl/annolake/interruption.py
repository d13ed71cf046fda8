"""How a signal reaches an export."""

from threading import Event


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
