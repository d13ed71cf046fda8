"""Fixtures of the lake's tests."""

from collections.abc import Iterator

import pytest

from load.kinds import KINDS, Arrangement


@pytest.fixture(params=KINDS)
def arrangement(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have a test's lakes be of each kind, one after the other."""
    Arrangement.set(request.param, lambda: request.getfixturevalue("object_store"))
    yield request.param
    Arrangement.set("disk-parquet", lambda: request.getfixturevalue("object_store"))
