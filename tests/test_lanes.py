"""The lanes of an export in a process: shared while they are used, and gone afterwards."""

import pytest

from annolake.lanes import lanes_of


def test_tasks_of_one_export_share_its_lanes() -> None:
    """Those of another export have their own; the last to leave closes them, and the next begins anew."""
    with lanes_of("one", 3) as first:
        with lanes_of("one", 3) as second, lanes_of("another", 3) as other:
            assert second is first
            assert other is not first
        assert first.listing.submit(int).result() == first.query.submit(int).result() == 0

    with pytest.raises(RuntimeError, match="shutdown"):
        first.listing.submit(int)
    with lanes_of("one", 3) as anew:
        assert anew.listing.submit(int).result() == 0
