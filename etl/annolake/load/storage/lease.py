"""Locks on an object store: leases, which their holder renews, and which pass on when it no longer does.

A lease is one object, replaced only where it is still as it was read (compare-and-swap), so that of many who want it
one gets it. Why it holds: docs/lake.md#leases. Needs a store with conditional writes.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from threading import Event, Lock, Thread
from typing import NamedTuple

import msgspec

from annolake.clock import Clock
from annolake.errors import LakeError, LockedError
from annolake.load.storage.bucket import Bucket, ConflictError, Version
from annolake.load.storage.files import Location, MissingError, Unlocked
from annolake.load.storage.holder import UNKNOWN, holder_name
from annolake.load.storage.object_path import key_of
from annolake.load.storage.objects import ObjectFiles
from annolake.load.storage.reasons import DAMAGED

TTL_S, BEAT_S = 60.0, 15.0
_SURE = 0.8  # of the ttl: the holder gives up before others may take over
_TICK_S = 1  # stores tell times in whole seconds
_ROUNDS = 5
_LOOK_EVERY_S = 1  # seconds that a lease may have been taken away without its holder knowing
_CLOCK = ".clock"
_FASTER = "another process, which was faster"


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in the object; `beat` is another one each time it is written."""

    holder: str
    id: str
    held: bool
    generation: int
    beat: str

    def again(self, *, held: bool = True) -> "Lease":
        """Return what is to be written next."""
        return msgspec.structs.replace(self, held=held, beat=uuid.uuid4().hex)


class _Stored(NamedTuple):
    lease: Lease
    version: Version
    modified: datetime


class LeaseLocks:
    """Leases that last `ttl_s` seconds without a beat; one thread beats for all that are held, each `beat_s`.

    Every method raises `LakeError` where the store fails. `beat_s` 0: only `beat` beats.
    """

    def __init__(
        self, bucket: Bucket, files: ObjectFiles, clock: Clock, *, ttl_s: float = TTL_S, beat_s: float = BEAT_S
    ) -> None:
        self._bucket, self._files, self._clock = bucket, files, clock
        self._ttl_s, self._beat_s = ttl_s, beat_s
        self._held: list[LeaseHold] = []
        self._lock = Lock()
        self._end = Event()

    @contextmanager
    def hold(self, path: Location, *, since: datetime) -> Iterator["LeaseHold"]:
        """Hold the lease as long as the block runs, where nobody else does; never waits for it."""
        hold = self._take(path, holder_name(since))
        if hold.holder is not None:
            yield hold
            return
        self._begin(hold)
        try:
            yield hold
        finally:
            self._finish(hold)
            hold.release()

    def _take(self, path: Location, holder: str) -> "LeaseHold":
        for _ in range(_ROUNDS):
            asked = self._clock.since_boot()
            there = self.find(path)
            if there and there.lease.held and not self._is_stale(path, there):
                return LeaseHold(self, path, there.lease, holder=there.lease.holder)
            generation = there.lease.generation + 1 if there else self._first_generation()
            mine = Lease(holder, uuid.uuid4().hex, held=True, generation=generation, beat=uuid.uuid4().hex)
            version = self.write(path, mine, there and there.version)
            if version:
                return LeaseHold(self, path, mine, version=version, sure_from=asked)
        return LeaseHold(self, path, mine, holder=_FASTER)

    def _first_generation(self) -> int:
        """Return one above those of a lease that was deleted, perhaps: none changes hands each second."""
        return int(self._clock.now().timestamp())

    def _is_stale(self, path: Location, there: _Stored) -> bool:
        """Tell by the store's own clock, which is asked by writing an object."""
        clock = path.parent / _CLOCK
        content = uuid.uuid4().hex.encode()
        self._files.step("lock", clock, lambda: self._bucket.put(key_of(clock), content))
        now = self._files.step("read", clock, lambda: self._bucket.find(key_of(clock)).modified)
        return self._is_old(there, now)

    def _is_old(self, there: _Stored, now: datetime) -> bool:
        return now - there.modified >= timedelta(seconds=self._ttl_s + _TICK_S)

    def is_free(self, path: Location) -> bool:
        """Tell whether nobody holds the lease; by this machine's clock where one may not write to ask the store's."""
        there = self.find(path)
        if there is None or not there.lease.held:
            return True
        try:
            return self._is_stale(path, there)
        except LakeError:
            return self._is_old(there, self._clock.now())

    def unlock(self, path: Location) -> Unlocked:
        """Mark a lease as free, whoever holds it: a living holder publishes nothing after that."""
        try:
            there = self.find(path)
        except LakeError:
            lease = Lease("", "", held=False, generation=self._first_generation(), beat=uuid.uuid4().hex)
            self._files.step("lock", path, lambda: self._bucket.put(key_of(path), msgspec.json.encode(lease)))
            return Unlocked(UNKNOWN, stale=False)
        if there is None or not there.lease.held:
            return Unlocked(None, stale=True)
        stale = self._is_stale(path, there)
        if not self.write(path, there.lease.again(held=False), there.version):
            return self.unlock(path)  # its holder has just renewed it
        return Unlocked(there.lease.holder, stale)

    # --- the object

    def find(self, path: Location) -> _Stored | None:
        """Return what is in the object, None where there is none."""
        try:
            found = self._files.step("read", path, lambda: self._bucket.find(key_of(path)))
            return _Stored(msgspec.json.decode(found.content, type=Lease), found.version, found.modified)
        except MissingError:
            return None
        except msgspec.MsgspecError:
            raise LakeError(f"cannot lock {path}: {DAMAGED}") from None

    def write(self, path: Location, lease: Lease, version: Version | None) -> Version | None:
        """Write the object where it still has that version (None: where there is none); return its new version.

        None where another was first. The client repeats a write whose answer was lost, and is then told that it came
        too late: hence the object is read again before that is believed.
        """
        content = msgspec.json.encode(lease)

        def put() -> Version:
            if version is None:
                return self._bucket.create(key_of(path), content)
            return self._bucket.swap(key_of(path), content, version)

        try:
            return self._files.step("lock", path, put)
        except (ConflictError, LakeError) as error:
            there = self.find(path)
            if there and there.lease == lease:
                return there.version
            if isinstance(error, ConflictError | MissingError):
                return None
            raise

    # --- beats

    def beat(self) -> None:
        """Renew every lease that is held; one that cannot be renewed now is tried again next time."""
        with self._lock:
            held = [*self._held]
        for hold in held:
            hold.renew()

    def _begin(self, hold: "LeaseHold") -> None:
        with self._lock:
            self._held.append(hold)
            if len(self._held) == 1 and self._beat_s:
                self._end = Event()
                Thread(target=self._beats, args=(self._end,), name="leases", daemon=True).start()

    def _finish(self, hold: "LeaseHold") -> None:
        with self._lock:
            self._held.remove(hold)
            if not self._held:
                self._end.set()

    def _beats(self, end: Event) -> None:
        while not end.wait(self._beat_s):
            self.beat()

    def is_sure(self, since: float) -> bool:
        """Tell whether nobody can have taken over a lease that was renewed at that time, by this machine's clock."""
        return self._clock.since_boot() - since < _SURE * self._ttl_s

    def now(self) -> float:
        """Return the time by which a renewal counts."""
        return self._clock.since_boot()


class LeaseHold:
    """A lease, held or not: `holder` is None where it is ours, else it says who has it."""

    def __init__(
        self,
        locks: LeaseLocks,
        path: Location,
        lease: Lease,
        *,
        holder: str | None = None,
        version: Version | None = None,
        sure_from: float = 0.0,
    ) -> None:
        self.holder = holder
        self.generation = lease.generation
        self._locks, self._path = locks, path
        self._lease, self._version, self._sure_from = lease, version, sure_from
        self._lost: str | None = holder and f"is held by {holder}"
        self._looked = sure_from
        self._lock = Lock()

    def check(self) -> None:
        """Raise `LockedError` where the lease was lost, or can have been lost since it was last renewed."""
        self._look()
        if self._lost is not None:
            raise LockedError(f"the lock {self._path} {self._lost}: run again when that has ended")
        if not self._locks.is_sure(self._sure_from):
            raise LockedError(
                f"the lock {self._path} could not be renewed in time, and may have passed to another: run again"
            )

    def _look(self) -> None:
        """See whether the lease was taken away since it was last looked at, where that is long ago."""
        asked = self._locks.now()
        if self._lost is None and asked - self._looked >= _LOOK_EVERY_S:
            with suppress(LakeError):  # of a store that does not answer: how long ago it was renewed decides
                self._lost = _loss(self._lease, self._locks.find(self._path))
                self._looked = asked

    def renew(self) -> None:
        """Write the lease anew, so that it does not become stale."""
        with self._lock, suppress(LakeError):  # of a store that does not answer: `check` knows for how long
            if self._lost is None and self._version is not None:
                self._write(self._lease.again())

    def _write(self, lease: Lease) -> None:
        for _ in range(2):
            asked = self._locks.now()
            version = self._locks.write(self._path, lease, self._version)
            if version:
                self._version, self._sure_from, self._looked = version, asked, asked
                return
            there = self._locks.find(self._path)
            self._lost = _loss(lease, there)
            if there is None or self._lost:
                return
            self._version = there.version  # a beat of ours landed whose answer never came

    def release(self) -> None:
        """Mark the lease as free; where that fails it becomes so by its age."""
        with self._lock, suppress(LakeError):
            if self._lost is None:
                self._write(self._lease.again(held=False))
            self._version = None


def _loss(mine: Lease, there: _Stored | None) -> str | None:
    """Return in words what became of a lease that is not as it was written, None where it still is ours."""
    if there is None:
        return "was removed"
    if there.lease.id != mine.id:
        return f"has passed to {there.lease.holder}"
    return None if there.lease.held else "was taken away by annolake unlock"
