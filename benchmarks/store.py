"""An S3 server for the benchmarks: that of the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from object_store import serving


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server whose data are in `folder`; yield the environment that leads to it."""
    folder.mkdir()
    with serving(folder) as store:
        yield store.environ()
