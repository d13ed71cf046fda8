"""How many readings a queue may take."""

import pytest

from annolake.errors import UnavailableError
from annolake.extract.paging.readings import MOST_READINGS, Ledger
from extract.rows import PlainSeenKeys


def test_readings_are_numbered_up_to_what_a_byte_holds() -> None:
    """A service that makes a reading begin again and again is an error, not a bug."""
    ledger = Ledger(PlainSeenKeys())

    assert [ledger.open("active") for _ in range(MOST_READINGS)] == list(range(1, 256))
    with pytest.raises(UnavailableError, match="active: the service shows other rows each time"):
        ledger.open("active")
