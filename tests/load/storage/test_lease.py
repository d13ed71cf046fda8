"""Leases on an object store: one holder at a time, whoever dies, stops, or loses an answer."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from annolake.clock import Clock
from annolake.errors import LakeError, LockedError
from annolake.load.storage.kinds import S3
from annolake.load.storage.lease import LeaseLocks
from annolake.load.storage.object_path import ObjectPath
from annolake.load.storage.objects import ObjectFiles
from load.storage.buckets import bucket_of, fresh_folder
from losing_proxy import Fault, LosingProxy, Request, losing_proxy
from object_store import ObjectStore

TESTS = Path(__file__).parents[2]
SINCE = datetime(2026, 11, 20, 8, tzinfo=UTC)
TTL_S = 60.0


class FakeTime:
    """Clocks that move when told to."""

    def __init__(self) -> None:
        self.boot = 1000.0
        self.ahead = timedelta()

    @property
    def clock(self) -> Clock:
        """What the leases are given."""
        return Clock(now=lambda: datetime.now(UTC) + self.ahead, since_boot=lambda: self.boot)  # noqa: TID251 - the store's clock is real


def locks_of(
    store: ObjectStore, clock: Clock, *, ttl_s: float = TTL_S, user: str = "writer", endpoint: str | None = None
) -> LeaseLocks:
    """Return locks without a thread: a test beats."""
    bucket = bucket_of(store, user, endpoint=endpoint)
    return LeaseLocks(bucket, ObjectFiles(bucket, S3), clock, ttl_s=ttl_s, beat_s=0)


@pytest.fixture
def path(object_store: ObjectStore) -> ObjectPath:
    """Return where a queue's lock lies in a lake of its own."""
    return fresh_folder(object_store) / "_annolake/locks/queue"


@pytest.fixture
def time() -> FakeTime:
    """Return clocks that stand still."""
    return FakeTime()


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[LosingProxy]:
    """Run a proxy before the store."""
    with losing_proxy(object_store.endpoint) as proxy:
        yield proxy


def is_write(request: Request) -> bool:
    """Pick conditional writes."""
    return request.method == "PUT" and request.conditional


def test_a_lease_is_held_by_one_and_names_him(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """A second one is told by whom; afterwards it is free, and the next one's generation is higher."""
    mine, other = locks_of(object_store, time.clock), locks_of(object_store, time.clock)

    with mine.hold(path, since=SINCE) as first, other.hold(path, since=SINCE) as second:
        first.check()
        with pytest.raises(LockedError, match="queue is held by pid"):
            second.check()
        during = other.is_free(path)
    after = other.is_free(path)
    with other.hold(path, since=SINCE) as third:
        third.check()

    assert first.holder is None
    assert second.holder == f"pid {os.getpid()} on host {os.uname().nodename} since 2026-11-20T08:00:00+00:00"
    assert (during, after) == (False, True)
    assert third.holder is None
    assert third.generation == first.generation + 1


def test_of_eight_who_want_it_at_once_one_gets_it(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """Each round has one holder at a time, over a lease that is new and over one that was released."""
    everyone = [locks_of(object_store, time.clock) for _ in range(8)]
    barrier = threading.Barrier(8)

    def take(locks: LeaseLocks, round_path: ObjectPath) -> int | None:
        barrier.wait()
        with locks.hold(round_path, since=SINCE) as hold:
            barrier.wait()  # all have tried before one releases
            return hold.generation if hold.holder is None else None

    rounds = [path, path, path.with_name("another"), path]
    with ThreadPoolExecutor(8) as pool:
        winners = [
            [won for won in pool.map(take, everyone, [round_path] * 8) if won is not None] for round_path in rounds
        ]

    assert [len(won) for won in winners] == [1, 1, 1, 1]
    generations = [won[0] for won in winners]
    assert generations[0] < generations[1] < generations[3]


def test_beats_keep_a_lease_and_silence_makes_it_doubtful(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime
) -> None:
    """The holder trusts it for 0.8 of the ttl after the last beat, by a clock that counts sleep."""
    locks = locks_of(object_store, time.clock)

    with locks.hold(path, since=SINCE) as hold:
        time.boot += 0.8 * TTL_S - 1
        locks.beat()
        time.boot += 0.8 * TTL_S - 1
        hold.check()
        time.boot += 1
        with pytest.raises(LockedError, match="could not be renewed in time"):
            hold.check()
        locks.beat()
        hold.check()


def test_the_clocks_of_machines_do_not_count(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """Whoever wants the lease may be days ahead or behind: its age is told by the store."""
    mine, other = locks_of(object_store, Clock()), locks_of(object_store, time.clock)

    with mine.hold(path, since=SINCE):
        for days in (-3, 3):
            time.ahead = timedelta(days=days)
            assert not other.is_free(path)
            with other.hold(path, since=SINCE) as hold:
                assert hold.holder is not None
    time.ahead = timedelta(days=-3)
    with mine.hold(path, since=SINCE):
        assert locks_of(object_store, time.clock, ttl_s=-1).is_free(path)


def test_several_leases_live_side_by_side(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """One beat renews them all; one that is released leaves the others held."""
    locks = locks_of(object_store, time.clock)
    paths = [path.with_name(name) for name in ("a", "b", "c")]

    with locks.hold(paths[0], since=SINCE) as first:
        with locks.hold(paths[1], since=SINCE) as second, locks.hold(paths[2], since=SINCE) as third:
            time.boot += 0.5 * TTL_S
            locks.beat()
            time.boot += 0.5 * TTL_S
            for hold in (first, second, third):
                hold.check()
        free = [locks.is_free(each) for each in paths]
        locks.beat()
        time.boot += 0.5 * TTL_S
        first.check()

    assert free == [False, True, True]
    assert locks.is_free(paths[0])


def test_a_thread_beats_by_itself(object_store: ObjectStore, path: ObjectPath, proxy: LosingProxy) -> None:
    """While a lease is held, and no longer."""
    bucket = bucket_of(object_store, endpoint=proxy.endpoint)
    locks = LeaseLocks(bucket, ObjectFiles(bucket, S3), Clock(), ttl_s=TTL_S, beat_s=0.01)

    with locks.hold(path, since=SINCE) as hold:
        release = proxy.hold(is_write)
        assert proxy.held.wait(30)  # a beat has come by itself
        release.set()
        hold.check()
    beating = [thread for thread in threading.enumerate() if thread.name == "leases"]
    for thread in beating:
        thread.join(30)
    at_end = len(proxy.requests)

    assert not any(thread.is_alive() for thread in beating)
    assert len(proxy.requests) == at_end
    assert locks.is_free(path)


@pytest.mark.parametrize(
    "fault", [Fault.LOSE, Fault.LOSE_AS_412, Fault.LOSE_AS_500, Fault.DENY_409], ids=lambda fault: fault.name
)
def test_a_lost_answer_costs_no_lease(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime, proxy: LosingProxy, fault: Fault
) -> None:
    """What was carried out though the answer was lost is known as our own deed: taking, renewing and releasing."""
    locks = locks_of(object_store, time.clock, endpoint=proxy.endpoint)
    watcher = locks_of(object_store, time.clock)

    proxy.on(is_write, fault)
    with locks.hold(path, since=SINCE) as hold:
        assert hold.holder is None
        for _ in range(3):
            proxy.on(is_write, fault)
            locks.beat()
            time.boot += 0.5 * TTL_S
            hold.check()
        held = watcher.is_free(path)
        proxy.on(is_write, fault)

    assert not held
    assert watcher.is_free(path)


def test_a_beat_whose_answer_never_came_is_continued(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime, proxy: LosingProxy
) -> None:
    """The store does not answer at all for a while; the object is then another one than the holder knows."""
    locks = locks_of(object_store, time.clock, endpoint=proxy.endpoint)

    with locks.hold(path, since=SINCE) as hold:
        proxy.on(is_write, Fault.LOSE_AS_500)
        proxy.on(lambda _: True, Fault.REFUSE_503, times=50)
        locks.beat()
        time.boot += 0.5 * TTL_S
        proxy.clear()
        locks.beat()
        time.boot += 0.5 * TTL_S
        hold.check()


def test_who_loses_the_lease_is_told_at_the_next_check(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime
) -> None:
    """After a takeover by another the old holder's beat finds out, and its release leaves the new one alone."""
    mine = locks_of(object_store, time.clock)
    impatient = locks_of(object_store, time.clock, ttl_s=-1)

    with mine.hold(path, since=SINCE) as old:
        with impatient.hold(path, since=SINCE + timedelta(hours=1)) as new:
            mine.beat()
            with pytest.raises(LockedError, match="has passed to pid .* since 2026-11-20T09"):
                old.check()
            mine.beat()
            taken = mine.is_free(path)
        assert new.generation == old.generation + 1
        assert not taken
    assert mine.is_free(path)


HOLD = """
import sys
from datetime import UTC, datetime
from annolake.clock import Clock
from annolake.errors import LockedError
from annolake.load.storage.kinds import S3
from annolake.load.storage.lease import LeaseLocks
from annolake.load.storage.object_path import ObjectPath
from annolake.load.storage.objects import ObjectFiles
from load.storage.buckets import bucket_of, fresh_folder
from object_store import BUCKET, ObjectStore
bucket = bucket_of(ObjectStore(sys.argv[1]))
locks = LeaseLocks(bucket, ObjectFiles(bucket, S3), Clock(), ttl_s=float(sys.argv[3]), beat_s=0.2)
with locks.hold(ObjectPath(f"s3://{BUCKET}", *sys.argv[2].split("/")), since=datetime(2026, 1, 2, tzinfo=UTC)) as hold:
    print(hold.generation, flush=True)
    for line in sys.stdin:
        try:
            hold.check()
        except LockedError as error:
            print(error, flush=True)
        else:
            print("sure", flush=True)
"""


@contextmanager
def _holding(store: ObjectStore, path: ObjectPath, ttl_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, store.endpoint, path.key, str(ttl_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _asked(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("check\n")
    process.stdin.flush()
    return _line(process)


def _take_when_stale(locks: LeaseLocks, path: ObjectPath) -> int:
    """Try until the dead holder's lease is old enough; return the generation."""
    while True:
        with locks.hold(path, since=SINCE) as hold:
            if hold.holder is None:
                return hold.generation
            assert "since 2026-01-02" in hold.holder


def test_the_lease_of_a_killed_process_is_taken_over(object_store: ObjectStore, path: ObjectPath) -> None:
    """Not while it lives, and not before its ttl is over."""
    locks = locks_of(object_store, Clock(), ttl_s=2)

    with _holding(object_store, path, 2) as process:
        generation = int(_line(process))
        alive = _asked(process)
        with locks.hold(path, since=SINCE) as hold:
            assert f"pid {process.pid} " in str(hold.holder)
        process.kill()
        process.wait()
        killed_at = Clock().monotonic()
        taken = _take_when_stale(locks, path)
        waited = Clock().monotonic() - killed_at

    assert alive == "sure"
    assert taken == generation + 1
    assert waited > 1.5


def test_a_stopped_and_woken_process_knows_that_it_lost(object_store: ObjectStore, path: ObjectPath) -> None:
    """It publishes nothing over the work of who took over while it was stopped."""
    locks = locks_of(object_store, Clock(), ttl_s=2)

    with _holding(object_store, path, 2) as process:
        generation = int(_line(process))
        process.send_signal(signal.SIGSTOP)
        taken = _take_when_stale(locks, path)
        with locks.hold(path, since=SINCE):
            process.send_signal(signal.SIGCONT)
            said = _asked(process)

    assert taken == generation + 1
    assert "has passed to" in said or "could not be renewed in time" in said


def test_a_reader_may_ask_whether_it_is_free(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """Without a grant to write; the age is told by his own clock."""
    with locks_of(object_store, time.clock).hold(path, since=SINCE):
        reader = locks_of(object_store, time.clock, user="reader")
        held = reader.is_free(path)
        time.ahead = timedelta(seconds=TTL_S + 10)
        old = reader.is_free(path)
        with pytest.raises(LakeError, match=r"cannot lock .*not allowed to: grant .*s3:PutObject"):
            reader.hold(path.with_name("new"), since=SINCE).__enter__()

    assert (held, old) == (False, True)


def test_unlock_takes_a_lease_away(object_store: ObjectStore, path: ObjectPath, time: FakeTime) -> None:
    """A living holder's too, which then publishes nothing, before its next beat; whether it was stale is told."""
    locks, admin = locks_of(object_store, time.clock), locks_of(object_store, time.clock)
    nobody = admin.unlock(path)

    with locks.hold(path, since=SINCE) as hold:
        unlocked = admin.unlock(path)
        again = admin.unlock(path)
        with admin.hold(path, since=SINCE) as next_one:
            assert next_one.holder is None
        time.boot += 1
        with pytest.raises(LockedError, match="has passed to"):
            hold.check()
    with locks.hold(path, since=SINCE) as hold:
        old = locks_of(object_store, time.clock, ttl_s=-1).unlock(path)
        time.boot += 1
        with pytest.raises(LockedError, match="was taken away by annolake unlock"):
            hold.check()

    assert (nobody.holder, again.holder) == (None, None)
    assert (str(unlocked.holder).startswith(f"pid {os.getpid()} "), unlocked.stale) == (True, False)
    assert old.stale


def test_a_damaged_lease_is_told_and_can_be_unlocked(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime
) -> None:
    """What somebody wrote over it is not taken for free."""
    locks = locks_of(object_store, time.clock)
    with locks.hold(path, since=SINCE) as before:
        pass
    bucket_of(object_store).put(path.key, b'{"held": fal')

    with pytest.raises(LakeError, match=f"cannot lock {path}: it is damaged"):
        locks.hold(path, since=SINCE).__enter__()
    locks.unlock(path)
    with locks.hold(path, since=SINCE) as hold:
        assert hold.holder is None
        assert hold.generation > before.generation


def test_generations_grow_though_the_object_was_removed(
    object_store: ObjectStore, path: ObjectPath, time: FakeTime
) -> None:
    """Deleting `_annolake` must not make a later writer look older than an earlier one."""
    locks = locks_of(object_store, time.clock)
    with locks.hold(path, since=SINCE) as first:
        pass
    bucket_of(object_store).delete([path.key])
    time.ahead = timedelta(seconds=2)
    with locks.hold(path, since=SINCE) as second:
        pass

    assert second.generation > first.generation
