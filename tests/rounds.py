"""How long tests that repeat themselves go on: few rounds in `make test`, many in `make test-storage`."""

import os

LONG = "ANNOLAKE_TEST_LONG" in os.environ


def rounds(few: int, *, many: int) -> int:
    """Return how many rounds a test is to have."""
    return many if LONG else few
