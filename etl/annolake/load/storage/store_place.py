"""Opens the place of a lake in an object store. Imported where an address needs it: it brings the store's client."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from annolake.clock import Clock
from annolake.load.storage.bucket import Patience, connect
from annolake.load.storage.files import Gate
from annolake.load.storage.kinds import KINDS
from annolake.load.storage.lease import LeaseLocks
from annolake.load.storage.local import straight
from annolake.load.storage.object_path import ObjectPath
from annolake.load.storage.objects import ObjectFiles
from annolake.load.storage.probe import probe
from annolake.load.storage.store_options import access_to

_FOR_FILES = Patience(request_s=60, repeat_s=60, repeats=10)
_FOR_LOCKS = Patience(request_s=10, repeat_s=10, repeats=4)  # a lease has no time to wait


class StorePlace(NamedTuple):
    """A folder of a bucket: where it is, its files and its locks.

    `prove` raises `LakeError` where it cannot hold a lake, with what is missing; it leaves nothing there.
    `options` returns how it is reached, with the credentials of this moment, as `storage_options` of other readers;
    `delta_options` what deltalake takes to write there.
    """

    root: ObjectPath
    files: ObjectFiles
    locks: LeaseLocks
    prove: Callable[[], None]
    options: Callable[[], dict[str, str]]
    delta_options: Callable[[], dict[str, str]]


def open_store(
    address: str, given: Mapping[str, str], environ: Mapping[str, str], *, clock: Clock, gate: Gate = straight
) -> StorePlace:
    """Return the place at an address ("s3://bucket/lake"); nothing is asked of the store yet.

    `given` are the options of the settings. Raises ConfigError where one of them, or a profile, does not fit.
    """
    scheme, _, rest = address.partition("://")
    name, *folders = rest.strip("/").split("/")
    kind = KINDS[scheme]
    access = access_to(kind, given, environ)
    bucket, quick = (
        connect(kind, name, access.options, patience, access.credentials) for patience in (_FOR_FILES, _FOR_LOCKS)
    )

    def delta_options() -> dict[str, str]:
        bounds = {"max_retries": str(_FOR_FILES.repeats), "retry_timeout": f"{_FOR_FILES.repeat_s}s"}
        return bounds | ({"conditional_put": "etag"} if scheme == "s3" else {}) | access.frozen()

    root, files = ObjectPath(f"{scheme}://{name}", *folders), ObjectFiles(bucket, kind, gate)
    locks = LeaseLocks(quick, ObjectFiles(quick, kind, gate), clock)
    return StorePlace(root, files, locks, lambda: probe(bucket, files, root), access.frozen, delta_options)
