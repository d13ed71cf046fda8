"""A signal reaches whoever waits, and whoever begins to wait afterwards."""

from annolake.interruption import Interruption


def test_an_interruption_wakes_every_waiter() -> None:
    """Events from before and after the signal are set; the number is kept."""
    interruption = Interruption()
    before = [interruption.event(), interruption.event()]
    assert (interruption.signal_number, [event.is_set() for event in before]) == (None, [False, False])

    interruption.interrupt(15)

    assert interruption.signal_number == 15
    assert all(event.is_set() for event in (*before, interruption.event()))
