"""The lake of odd rows: made once, and never changed."""

from collections.abc import Iterator

import pytest

from read.lakes import Odd, odd_lake


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    """The lake of odd rows, and what it has to show."""
    with odd_lake(tmp_path_factory.mktemp("odd")) as made:
        yield made
