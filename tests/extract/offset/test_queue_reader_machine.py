"""P6 to P8 of docs/paging.md, held against a queue whose rows pass from list to list as it is read."""

from collections.abc import Collection, Iterator
from concurrent.futures import Future
from itertools import groupby
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from msgspec.structs import replace

from annolake.errors import UnavailableError
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.verdict import Signs
from extract.moving import Model
from extract.rows import PlainSeenKeys
from extract.scripted import PLACES, Scripted

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=120,
    stateful_step_count=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
_JOINED = 4  # rows: shorter slices join by a single row, or by none
NAMES = st.sampled_from(["active", "archived"])


class Queue(Scripted):
    """A reader of both lists."""

    @initialize(
        active=st.integers(0, 30),
        archived=st.integers(0, 30),
        lanes=st.integers(1, 3),
        spare=st.sampled_from([0, 0, 2]),
        told=st.one_of(st.just(0), st.none(), st.integers(-30, 90)),
        cuts=st.one_of(st.just([10]), st.lists(st.integers(1, 10), min_size=1, max_size=5)),
    )
    def begin(  # noqa: PLR0917 - hypothesis names them all
        self, active: int, archived: int, lanes: int, spare: int, told: int | None, cuts: list[int]
    ) -> None:
        """Start reading; `told` is by how much the sizes are wrong, None if there are none."""
        self.told, self.cuts = told, cuts
        self.model = Model(active, archived)
        self.model.cut = lambda shown: min(shown, cuts[len(self.model.log) % len(cuts)])
        self.met = PlainSeenKeys()
        self.model.told = lambda name: None if told is None else len(self.model.lists[name]) + told
        self.reader: QueueReader = QueueReader(
            [self.model.listing(name) for name in self.model.lists],
            seen_keys=self.met,
            lanes=lanes,
            limit=lambda: 10,
            spare=lambda: spare,
            wait=self.wait,
        )
        self.pieces: Iterator[Piece] = self.reader.read()
        self.ended = self.given_up = False

    def wait(self, requests: Collection[Future[Any]]) -> None:
        """Answer a request, whichever is planned."""
        which, pending = self.carry_out(), list(requests)
        self.model.answer(pending[which % len(pending)])

    @rule()
    def read(self) -> None:
        """A slice is taken."""
        try:
            self.ended = self.ended or next(self.pieces, None) is None
        except UnavailableError:
            self.given_up = self.ended = True

    def teardown(self) -> None:
        """Let the rest pass quietly, then hold the claims against the reader."""
        if not hasattr(self, "model"):
            return
        while not self.ended:
            self.read()
        if not self.given_up:
            self.check()

    def check(self) -> None:
        """Hold the claims against the reader."""
        raise NotImplementedError

    def _requeue(self, at: int, to: int) -> None:
        self.model.hand_over("archived", self.place("archived", at), self.place("active", to))

    def place(self, name: str, at: int) -> int:
        """Return a place in a list, its end included."""
        return at % (len(self.model.lists[name]) + 1)


class RowsComeAndGo(Queue):
    """P7: rows finish, are deleted and are inserted."""

    @rule(at=PLACES, to=PLACES, count=st.sampled_from([1, 1, 6]))
    def finish(self, at: int, to: int, count: int) -> None:
        """Rows pass from the active to the archived list, to any place of it."""
        self.plan(lambda: self.model.hand_over("active", self.place("active", at), self.place("archived", to), count))

    @rule(name=NAMES, at=PLACES, count=st.sampled_from([1, 2, 6]))
    def delete(self, name: str, at: int, count: int) -> None:
        """Rows leave the queue."""
        self.plan(lambda: self.model.delete(name, self.place(name, at), count))

    @rule(name=NAMES, at=st.one_of(st.just(0), PLACES), count=st.sampled_from([1, 2]))
    def insert(self, name: str, at: int, count: int) -> None:
        """Rows come to the queue."""
        self.plan(lambda: self.model.insert(name, self.place(name, at), count))

    def check(self) -> None:
        """Every row that was there throughout is met, and the reader says so, unless slices were cut or sizes wrong."""
        assert self.model.throughout <= self.met.readings.keys() or not self.reader.verdict.complete
        assert self.model.throughout <= self.met.readings.keys() or min(self.cuts) < _JOINED
        replaced = all("had not shown" in reason for reason in self.reader.verdict.reasons)  # P7's exception
        assert self.reader.verdict.complete or replaced or self.cuts != [10] or (self.told or 0) > 0


class RowsComeBack(RowsComeAndGo):
    """P6: rows are requeued besides."""

    @rule(at=PLACES, to=st.one_of(st.just(0), PLACES))
    def requeue(self, at: int, to: int) -> None:
        """A row passes from the archived to the active list."""
        self.plan(lambda: self._requeue(at, to))

    def check(self) -> None:
        """A row that was there throughout and did not change lists too often is met."""
        readings = len([name for name, _ in groupby(self.reader._ledger.lists)])
        passed = self.model.passed
        sure = {row for row in self.model.throughout if len(passed.get(row, [])) <= readings - 2}
        finished = {row for row in self.model.throughout if passed.get(row) == ["archived"]}

        if not any("join" in reason for reason in self.reader.verdict.reasons):
            assert sure | finished <= self.met.readings.keys()


class OneRowComesBack(Queue):
    """P8: a single row is requeued, once, and nothing else happens."""

    @rule(at=PLACES, to=PLACES)
    def requeue(self, at: int, to: int) -> None:
        """The row passes from the archived to the active list."""
        self.plan(lambda: None if self.model.passed else self._requeue(at, to))

    def check(self) -> None:
        """Everything is met, and where nothing happened there is no sign of it but a size that was told too large."""
        quiet = self.cuts == [10] and not self.model.passed
        signs = replace(self.reader.verdict.signs, rereadings=0) if (self.told or 0) > 0 else self.reader.verdict.signs

        assert self.met.readings.keys() == self.model.start or min(self.cuts) < _JOINED
        assert not quiet or signs == Signs()


TestRowsComeAndGo = RowsComeAndGo.TestCase
TestRowsComeBack = RowsComeBack.TestCase
TestOneRowComesBack = OneRowComesBack.TestCase
TestRowsComeAndGo.settings = TestRowsComeBack.settings = TestOneRowComesBack.settings = SETTINGS
