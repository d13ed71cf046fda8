"""Whether a place can hold a lake is tried there, and nothing stays."""

from collections.abc import Callable, Iterator

import pytest

from annolake.errors import LakeError
from annolake.load.storage.kinds import S3
from annolake.load.storage.objects import ObjectFiles
from annolake.load.storage.probe import probe
from load.storage.buckets import bucket_of, fresh_folder
from losing_proxy import Fault, LosingProxy, Request, losing_proxy
from object_store import ObjectStore


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[LosingProxy]:
    """Run a proxy before the store."""
    with losing_proxy(object_store.endpoint) as proxy:
        yield proxy


def tried(store: ObjectStore, user: str, *, endpoint: str | None = None) -> tuple[str, list[str]]:
    """Return what a user is told of a fresh place, and what is there afterwards."""
    folder, bucket = fresh_folder(store), bucket_of(store, user, endpoint=endpoint)
    said = "fine"
    try:
        probe(bucket, ObjectFiles(bucket, S3), folder)
    except LakeError as error:
        said = str(error).partition(": ")[0].split()[1] + ": " + str(error).partition(": ")[2]
    return said, bucket_of(store, "owner").below(folder.key)


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("writer", "fine"),
        ("reader", "write: these credentials are not allowed to: grant s3:PutObject"),
        ("blind", "list: these credentials are not allowed to: grant s3:ListBucket"),
        ("putter", f"read: these credentials are not allowed to: grant {S3.grant('read')}"),
    ],
)
def test_the_missing_grant_is_named_and_nothing_stays(object_store: ObjectStore, user: str, said: str) -> None:
    """Each of the grants that a lake needs is needed for the probe."""
    assert tried(object_store, user) == (said, [])


def is_conditional(request: Request) -> bool:
    """Pick writes with a condition."""
    return request.conditional


def is_swap(request: Request) -> bool:
    """Pick writes in the place of a known version."""
    return "if-match" in request.headers


def is_removal(request: Request) -> bool:
    """Pick removals."""
    return request.method == "POST"


@pytest.mark.parametrize(
    ("picks", "fault", "said"),
    [
        (is_conditional, Fault.IGNORE_412, "lock: the store ignores the conditions of writes: it cannot hold a lake"),
        (is_swap, Fault.IGNORE_412, "lock: the store ignores the conditions of writes: it cannot hold a lake"),
        (is_conditional, Fault.REFUSE_501, "write: the store does not know this request: it cannot hold a lake"),
        (is_removal, Fault.DENY_403, "remove: these credentials are not allowed to: grant s3:DeleteObject"),
    ],
)
def test_a_store_without_compare_and_swap_is_refused(
    object_store: ObjectStore, proxy: LosingProxy, picks: Callable[[Request], bool], fault: Fault, said: str
) -> None:
    """Two exports could then hold one lease."""
    proxy.on(picks, fault, times=50)

    assert tried(object_store, "writer", endpoint=proxy.endpoint)[0] == said
