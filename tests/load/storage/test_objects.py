"""Files in an object store: as on a disk for whoever uses them, and plain words where the store refuses."""

import errno
import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annolake.clock import Clock
from annolake.errors import LakeError
from annolake.load.storage.bucket import Bucket, Patience
from annolake.load.storage.files import MissingError
from annolake.load.storage.kinds import S3
from annolake.load.storage.object_path import ObjectPath
from annolake.load.storage.objects import ObjectFiles
from load.storage.buckets import bucket_of, fresh_folder
from losing_proxy import Fault, LosingProxy, Request, losing_proxy
from object_store import BUCKET, ObjectStore

MB = 1 << 20


@pytest.fixture
def folder(object_store: ObjectStore) -> ObjectPath:
    """Return a folder of its own."""
    return fresh_folder(object_store)


@pytest.fixture
def files(object_store: ObjectStore) -> ObjectFiles:
    """Return the files of the tests' bucket."""
    return ObjectFiles(bucket_of(object_store), S3)


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[LosingProxy]:
    """Run a proxy before the store."""
    with losing_proxy(object_store.endpoint) as proxy:
        yield proxy


@pytest.fixture
def put(files: ObjectFiles, tmp_path: Path) -> Callable[[ObjectPath, bytes], None]:
    """Return a function that puts bytes somewhere."""

    def put_bytes(target: ObjectPath, content: bytes) -> None:
        source = tmp_path / "source"
        source.write_bytes(content)
        files.put(source, target)

    return put_bytes


Put = Callable[[ObjectPath, bytes], None]


def test_a_location_is_what_users_write() -> None:
    """It has names, a folder, an order, and equals another of the same address."""
    root = ObjectPath("s3://bucket")
    part = root / "lake" / "runs/part-1.parquet"

    assert str(part) == "s3://bucket/lake/runs/part-1.parquet"
    assert (part.key, part.name, part.stem) == ("lake/runs/part-1.parquet", "part-1.parquet", "part-1")
    assert part.parent == ObjectPath("s3://bucket", "lake", "runs")
    assert part.with_name("other") == part.parent / "other"
    assert (str(root), root.key, root.name, root.parent) == ("s3://bucket", "", "", root)
    assert len({part, root / "lake/runs/part-1.parquet"}) == 1
    assert sorted([root / "b", root / "a/z", root / "a"]) == [root / "a", root / "a/z", root / "b"]
    assert part != ObjectPath("s3://other", "lake", "runs", "part-1.parquet")
    assert part != str(part)


def test_files_are_put_whole_listed_read_and_removed(
    files: ObjectFiles, folder: ObjectPath, put: Put, tmp_path: Path
) -> None:
    """The verbs of a disk, over objects."""
    for name in ("one.json", "runs/queue_id=a/added_date=2026-01-02/part-1.parquet", "runs/queue_id=b/part-2.parquet"):
        put(folder / name, name.encode())
    put(folder / "one.json", b"anew")
    source_left = (tmp_path / "source").exists()

    assert not source_left
    assert files.names(folder) == ["one.json", "runs"]
    assert files.names(folder / "runs") == ["queue_id=a", "queue_id=b"]
    assert files.names(folder / "nowhere") == []
    assert files.below(folder / "nowhere") == []
    assert sorted(map(str, files.below(folder / "runs"))) == [
        f"{folder}/runs/queue_id=a/added_date=2026-01-02/part-1.parquet",
        f"{folder}/runs/queue_id=b/part-2.parquet",
    ]
    assert (files.read(folder / "one.json"), files.size(folder / "one.json")) == (b"anew", 4)
    assert files.digest(folder / "one.json") == hashlib.blake2b(b"anew", digest_size=16).hexdigest()
    there = [files.exists(folder / name) for name in ("one.json", "runs", "runs/queue_id=a", "run", "one")]
    assert there == [True, True, True, False, False]

    files.remove(folder / "one.json")
    files.remove(folder / "one.json")
    files.remove(folder / "runs" / "queue_id=a")
    assert [files.exists(folder / name) for name in ("one.json", "runs/queue_id=a", "runs/queue_id=b")] == [
        False,
        False,
        True,
    ]
    files.remove(folder)
    assert not files.exists(folder)


def test_requests_wait_for_the_store_together(object_store: ObjectStore, folder: ObjectPath, put: Put) -> None:
    """Eight at a time pass a gate that opens for eight alone; what they return is in order."""
    eight = Barrier(8)

    def gate(_verb: str, _path: Any, call: Callable[[], Any]) -> Any:
        eight.wait(30)
        return call()

    names = [f"{number:02}" for number in range(16)]
    for name in names:
        put(folder / name, name.encode())
    files = ObjectFiles(bucket_of(object_store), S3, gate)

    assert list(files.map(lambda name: files.read(folder / name), names)) == [name.encode() for name in names]
    assert list(files.map(lambda name: files.read(folder / name), names[:0])) == []


def test_no_more_requests_begin_once_one_has_failed(files: ObjectFiles, folder: ObjectPath) -> None:
    """Those under way end, and the first error is raised, whichever comes first."""
    begun, second_failed = list[int](), Event()

    def ask(number: int) -> bytes:
        begun.append(number)
        if number == 0:
            assert second_failed.wait(30)
        if number == 1:
            second_failed.set()
        return files.read(folder / str(number))

    with pytest.raises(MissingError, match=f"cannot read {folder}/0"):
        list(files.map(ask, range(100)))

    assert len(begun) <= 9


def test_removing_goes_on_behind_a_file_that_is_not_there() -> None:
    """As some stores do not, which stop at the first key that they do not find."""

    class Store:
        def __init__(self) -> None:
            self.keys = {"a", "c", "d"}

        def delete(self, keys: Sequence[str]) -> None:
            for key in keys:
                if key not in self.keys:
                    raise FileNotFoundError(key)
                self.keys.remove(key)

    store = Store()
    Bucket(store).delete(["a", "b", "c", "e", "d"])

    assert store.keys == set()


@pytest.mark.parametrize("verb", ["read", "size", "open", "digest"])
def test_a_missing_file_is_told_as_such(files: ObjectFiles, folder: ObjectPath, verb: str) -> None:
    """A reader beside an export looks again."""
    with pytest.raises(MissingError, match=f"cannot read {folder}/gone: there is no such file or folder"):
        getattr(files, verb)(folder / "gone")


def test_folder_markers_of_other_tools_are_no_files(
    object_store: ObjectStore, files: ObjectFiles, folder: ObjectPath, put: Put
) -> None:
    """An empty object named as its folder, which some tools leave."""
    put(folder / "runs/part", b"1")
    for marker in (f"{folder.key}/", f"{folder.key}/runs/", f"{folder.key}/empty/"):
        assert _signed_put(object_store, marker) == 200

    assert files.names(folder / "runs") == ["part"]
    assert files.names(folder) == ["empty", "runs"]
    assert files.names(folder / "empty") == []


def _signed_put(store: ObjectStore, key: str) -> int:
    """Put an empty object of a name that obstore would not take; return the status."""
    import boto3  # noqa: PLC0415 - slow

    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id="owner",
        aws_secret_access_key="ownersecret",
        region_name="us-east-1",
    )
    answer = client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    client.close()
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def test_a_file_of_several_parts_is_read_back_as_it_was(files: ObjectFiles, folder: ObjectPath, put: Put) -> None:
    """More than one part is uploaded, and any range of it can be read, forwards and backwards."""
    content = random.Random(1).randbytes(19 * MB)
    put(folder / "big", content)

    with files.open(folder / "big") as file:
        assert file.size() == len(content)
        for start, count in [(18 * MB, 2 * MB), (0, 10), (5, 3 * MB), (3 * MB, 9 * MB), (19 * MB - 1, 1), (19 * MB, 1)]:
            file.seek(start)
            assert file.read(count) == content[start : start + count]
            assert file.tell() == min(start + count, len(content))
    assert files.digest(folder / "big") == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_a_parquet_file_is_read_in_few_requests(
    object_store: ObjectStore, folder: ObjectPath, proxy: LosingProxy, tmp_path: Path
) -> None:
    """A small one in one; of a large one the footer and what is asked for, without a request for each column."""
    files = ObjectFiles(bucket_of(object_store, endpoint=proxy.endpoint), S3)
    columns = {f"column_{number}": [os.urandom(8).hex() for _ in range(20_000)] for number in range(20)}
    table = pa.table(columns)
    for name, rows in (("small", 100), ("large", 20_000)):
        pq.write_table(table.slice(0, rows), tmp_path / name, row_group_size=10_000, use_dictionary=False)
        files.put(tmp_path / name, folder / name)
    seen = {}
    for name in ("small", "large"):
        proxy.clear()
        with files.open(folder / name) as source:
            read = pq.read_table(source)
        seen[name] = (read.equals(table.slice(0, 100 if name == "small" else 20_000)), len(proxy.requests))

    assert files.size(folder / "large") > 4 * MB
    assert seen["small"] == (True, 1)
    assert seen["large"][0]
    assert seen["large"][1] <= 2 + 20


def test_what_is_no_parquet_is_told_as_damaged(files: ObjectFiles, folder: ObjectPath, put: Put) -> None:
    """As on a disk."""
    put(folder / "bad", b"not parquet at all")

    with (
        pytest.raises(LakeError, match=f"cannot read {folder}/bad: it is damaged"),
        files.open(folder / "bad") as source,
    ):
        files.step("read", folder / "bad", lambda: pq.ParquetFile(source))


def test_each_touch_is_one_step_through_the_gate(object_store: ObjectStore, folder: ObjectPath, tmp_path: Path) -> None:
    """A test breaks any of them, and its error is told as a disk's is."""
    steps: list[str] = []

    def gate(verb: str, path: ObjectPath, call: Callable[[], Any]) -> Any:
        steps.append(f"{verb} {path.name}")
        done = call()
        if path.name == "broken":
            raise OSError(errno.ENOSPC, "", str(path))
        return done

    files = ObjectFiles(bucket_of(object_store), S3, gate)
    source = tmp_path / "source"
    source.write_bytes(b"1")
    files.put(source, folder / "a")
    files.read(folder / "a")
    files.names(folder)
    source.write_bytes(b"2")
    with pytest.raises(LakeError, match=f"cannot write {folder}/broken: No space left on device; free some space"):
        files.put(source, folder / "broken")
    files.remove(folder / "a")

    assert steps == ["write a", "read a", "list lake", "write broken", "list a", "remove a"]
    assert source.exists()


@pytest.mark.parametrize(
    "fault",
    [Fault.REFUSE_500, Fault.REFUSE_503, Fault.CUT, Fault.LOSE, Fault.LOSE_AS_500, Fault.CUT_BODY],
    ids=lambda fault: fault.name,
)
def test_a_passing_failure_is_not_noticed(
    object_store: ObjectStore, folder: ObjectPath, proxy: LosingProxy, tmp_path: Path, fault: Fault
) -> None:
    """Whatever is asked is asked again."""
    files = ObjectFiles(bucket_of(object_store, endpoint=proxy.endpoint), S3)
    (tmp_path / "source").write_bytes(b"content" * 1000)

    for method, call in (
        ("PUT", lambda: files.put(tmp_path / "source", folder / "a")),
        ("GET", lambda: files.read(folder / "a")),
        ("GET", lambda: files.names(folder)),
        ("HEAD", lambda: files.size(folder / "a")),
        ("DELETE", lambda: files.remove(folder / "a")),
        ("POST", lambda: files.remove(folder)),
    ):
        proxy.on(partial(_has_method, method), fault)
        call()
        proxy.clear()


def _has_method(method: str, request: Request) -> bool:
    return request.method == method


def reason(call: Callable[[], object]) -> str:
    """Return what an operator is told."""
    with pytest.raises(LakeError) as caught:
        call()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__  # a traceback would show the store's dump
    return str(caught.value)


def test_a_refusal_names_what_to_do(object_store: ObjectStore, folder: ObjectPath, tmp_path: Path) -> None:
    """The address, the reason in our words, and the grant or variable; nothing of what the store sent."""
    source = tmp_path / "source"
    source.write_bytes(b"1")

    def files(user: str, name: str = BUCKET, secret: str | None = None) -> ObjectFiles:
        return ObjectFiles(bucket_of(object_store, user, name=name, secret=secret), S3)

    files("owner").put(tmp_path / "source", folder / "there")
    source.write_bytes(b"1")
    keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    told = {
        reason(
            lambda: files("reader").put(source, folder / "a")
        ): "write {}/a: these credentials are not allowed to: grant s3:PutObject",
        reason(
            lambda: files("reader").remove(folder / "there")
        ): "remove {}/there: these credentials are not allowed to: grant s3:DeleteObject",
        reason(
            lambda: files("blind").names(folder)
        ): "list {}: these credentials are not allowed to: grant s3:ListBucket",
        reason(
            lambda: files("putter").read(folder / "there")
        ): "read {}/there: these credentials are not allowed to: grant s3:GetObject, "
        "and s3:ListBucket, without which a missing object is refused too",
        reason(
            lambda: files("nobody").read(folder / "a")
        ): f"read {{}}/a: the store does not know the key: correct {keys}",
        reason(
            lambda: files("owner", secret="wrong").read(folder / "a")
        ): f"read {{}}/a: the secret does not belong to the key: correct {keys}",
        reason(
            lambda: files("owner", secret="wrong").exists(folder)
        ): f"look for {{}}: the secret does not belong to the key: correct {keys}",
        reason(
            lambda: files("writer", name="no-such-bucket").read(folder / "a")
        ): "read {}/a: there is no such bucket: make it, or correct lake.path",
        reason(
            lambda: files("writer", name="no-such-bucket").names(folder)
        ): "list {}: there is no such bucket: make it, or correct lake.path",
    }

    assert [*told] == [f"cannot {each.format(folder)}" for each in told.values()]
    assert source.exists()


def test_a_store_that_is_not_there_is_given_up_soon(
    object_store: ObjectStore, folder: ObjectPath, proxy: LosingProxy
) -> None:
    """Nobody listens, no such host, no https, or it fails each time: told within seconds."""
    began = Clock().monotonic()

    def read(endpoint: str) -> str:
        files = ObjectFiles(bucket_of(object_store, endpoint=endpoint), S3)
        return reason(lambda: files.read(folder / "a")).removeprefix(f"cannot read {folder}/a: ")

    assert read("http://127.0.0.1:1") == (
        "there is no connection to the store: see whether the endpoint is right and can be reached from here"
    )
    assert read("http://nowhere.invalid") == "the name of the store's host is not known here: correct the endpoint"
    assert read(object_store.endpoint.replace("http", "https")) == (
        "the endpoint has no https that this machine trusts: correct the endpoint"
    )
    proxy.on(lambda _: True, Fault.REFUSE_503, times=50)
    assert read(proxy.endpoint) == "the store answered with status 503 each time: run again later"
    proxy.clear()
    proxy.on(lambda _: True, Fault.REFUSE_501, times=50)
    assert read(proxy.endpoint) == "the store does not know this request: it cannot hold a lake"
    assert Clock().monotonic() - began < 30


def test_a_store_that_does_not_answer_is_not_waited_for(
    object_store: ObjectStore, folder: ObjectPath, proxy: LosingProxy, tmp_path: Path
) -> None:
    """Neither where something is asked nor where something is written."""
    hasty = Patience(request_s=0.2, repeat_s=1, repeats=1)
    files = ObjectFiles(bucket_of(object_store, endpoint=proxy.endpoint, patience=hasty), S3)
    (tmp_path / "source").write_bytes(b"1")
    held = [proxy.hold(lambda _: True) for _ in range(10)]
    late = "the store did not answer in time: see whether it can be reached from here, then run again"

    try:
        assert reason(lambda: files.read(folder / "a")) == f"cannot read {folder}/a: {late}"
        written = reason(lambda: files.put(tmp_path / "source", folder / "a"))
    finally:
        for each in held:
            each.set()

    assert written == f"cannot write {folder}/a: {late}"
    assert (tmp_path / "source").exists()
