"""Fixtures of the lake's tests."""

from collections.abc import Iterator

import pytest

from load.model_queue import Arrangement


@pytest.fixture(params=["parquet", "delta"])
def arrangement(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have a test's lakes arranged as plain folders, then as Delta tables."""
    Arrangement.current = request.param
    yield request.param
    Arrangement.current = "parquet"
