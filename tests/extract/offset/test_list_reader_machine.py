"""P1 to P3 of docs/paging.md, held against a list that changes between any two answers."""

from collections.abc import Collection, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from annolake.errors import UnavailableError
from annolake.extract.offset.list_reader import Listing, ListReader, Pace
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece
from annolake.extract.paging.waiting import answered
from extract.moving import Model
from extract.rows import PlainSeenKeys, key
from extract.scripted import PLACES, Scripted

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    stateful_step_count=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Reading(Scripted):
    """A reader of the active list."""

    in_sequence = False
    must_end = False
    may_hide = False  # rows are left out of the answers, and the hint is reported again when asked for

    @initialize(
        rows=st.integers(0, 60),
        cap=st.sampled_from([2, 3, 5, 9, 100]),
        limits=st.lists(st.integers(1, 20), min_size=1, max_size=4),
        lanes=st.integers(1, 4),
        hint=st.one_of(st.none(), st.integers(0, 80)),
        told_after=st.sampled_from([0, 0, 5, 20]),
        spare=st.sampled_from([0, 0, 3]),
        broken=st.one_of(st.just(set()), st.sets(st.integers(0, 60), max_size=4)),
        cuts=st.one_of(st.just([100]), st.lists(st.integers(1, 20), min_size=1, max_size=5)),
        hidden=st.one_of(st.just(set()), st.sets(st.integers(0, 60), max_size=40)),
    )
    def begin(  # noqa: PLR0917 - hypothesis names them all
        self,
        rows: int,
        cap: int,
        limits: list[int],
        lanes: int,
        hint: int | None,
        told_after: int,
        spare: int,
        broken: set[int],
        cuts: list[int],
        hidden: set[int],
    ) -> None:
        """Start reading; the hint is told when the limit has been asked for so many times."""
        self.model = Model(rows, cap=cap)
        self.model.cut = lambda shown: min(shown, cuts[len(self.model.log) % len(cuts)])
        self.model.hidden = {key(number) for number in hidden} if self.may_hide else set()
        self.model.broken = {key(number) for number in broken}
        self.met = PlainSeenKeys()
        self.asked = 0
        self.limits = limits
        self.hint, self.cuts = hint, cuts
        self.given_up = self.ended = self.signs = False
        self.reader: ListReader = ListReader(
            Listing("active", self.model.fetch("active"), size=lambda: answered(hint if self.may_hide else None)),
            Ledger(self.met),
            Pace(lanes, self.limit, lambda: spare, self.wait),
            hint=lambda: hint if self.asked >= told_after else None,
        )
        self.pieces: Iterator[Piece] = self.reader.pieces()

    def limit(self) -> int:
        """Return another limit each time."""
        self.asked += 1
        return self.limits[self.asked % len(self.limits)]

    def wait(self, requests: Collection[Future[Any]]) -> None:
        """Answer a request, whichever is planned."""
        self.check_frontier()
        which, pending = self.carry_out(), list(requests)
        self.model.answer(pending[0 if self.in_sequence else which % len(pending)])

    def check_frontier(self) -> None:
        """Hold a claim against what was read so far."""

    def read_on(self) -> None:
        """Take one more slice."""
        try:
            self.ended = next(self.pieces, None) is None
        except UnavailableError:
            self.given_up = self.ended = True
        if self.ended:
            self.signs |= self.reader.reading.moved

    @precondition(lambda self: not self.ended)
    @rule()
    def read(self) -> None:
        """A slice is taken."""
        self.read_on()

    @precondition(lambda self: self.ended and not self.given_up)
    @rule()
    def look_again(self) -> None:
        """The reader has ended and looks at the end again."""
        self.ended = False
        self.pieces = self.reader.pieces()

    def teardown(self) -> None:
        """Let the rest of the reading pass quietly, then hold the claims against it."""
        if not hasattr(self, "model"):
            return
        while not self.ended:
            self.read_on()
        if not self.given_up or self.must_end:
            self.check()

    def check(self) -> None:
        """Hold the claims against the reading."""
        raise NotImplementedError


class RowsComeAndGo(Reading):
    """P1: rows are inserted anywhere and leave anywhere, singly and in bursts; requests are answered in any order."""

    @rule(at=PLACES, count=st.sampled_from([1, 1, 2, 7]))
    def insert(self, at: int, count: int) -> None:
        """Rows come."""
        self.plan(lambda: self.model.insert("active", at % (len(self.model.lists["active"]) + 1), count))

    @rule(count=st.sampled_from([1, 3]))
    def insert_in_front(self, count: int) -> None:
        """Rows come where newest-first lists grow."""
        self.plan(lambda: self.model.insert("active", 0, count))

    @rule(at=PLACES, count=st.sampled_from([1, 1, 2, 15]))
    def delete(self, at: int, count: int) -> None:
        """Rows leave."""
        self.plan(lambda: self.model.delete("active", at % (len(self.model.lists["active"]) + 1), count))

    @rule(count=st.sampled_from([1, 4, 15]))
    def delete_at_the_end(self, count: int) -> None:
        """The last rows leave."""
        self.plan(lambda: self.model.delete("active", max(0, len(self.model.lists["active"]) - count), count))

    def check_frontier(self) -> None:
        """At any moment the rows that stayed are met up to the frontier; a gap in the reading is known as one."""
        if not self.reader.reading.joined or self.reader.reading.gaps:
            return
        stayed = [row for row in self.model.lists["active"] if row in self.model.start - self.model.broken]
        met = [row in self.met.readings for row in stayed]

        assert met == sorted(met, reverse=True)

    def check(self) -> None:
        """Every row that stayed is met, and nothing looks as if rows had changed their order."""
        if self.reader.reading.joined:
            assert not self.reader.reading.restless
            assert self.model.throughout - self.model.broken <= self.met.readings.keys()


class RowsMove(Reading):
    """P2: rows move within the list and nothing else happens; requests are answered in the order asked."""

    in_sequence = True

    @rule(at=PLACES, to=st.one_of(st.just(0), PLACES))
    def move(self, at: int, to: int) -> None:
        """A row moves, often to the front; one that can't be told from others leaves no sign of that."""
        self.plan(lambda: self._move(at, to))

    def _move(self, at: int, to: int) -> None:
        rows = self.model.lists["active"]
        if rows and rows[at % len(rows)] not in self.model.broken:
            self.model.move("active", at % len(rows), to % len(rows))

    def check(self) -> None:
        """A missed row has left a sign."""
        missed = self.model.throughout - self.model.broken - self.met.readings.keys()

        assert self.signs or not missed or min(*self.limits, *self.cuts, 2) < 2


class NothingHappens(Reading):
    """P3: the list is still, whatever the sequence of the answers."""

    must_end = True
    may_hide = True

    def check(self) -> None:
        """All that is shown is met; rows that can't be told apart may be an error, rows left out look like movement."""
        unclear = not self.model.start.isdisjoint(self.model.broken)
        told = not self.model.hidden or (self.hint is not None and self.hint >= len(self.model.start))
        shown = self.model.start - self.model.broken - self.model.hidden

        assert not self.given_up or unclear
        assert self.given_up or not told or shown <= self.met.readings.keys()
        assert not self.signs or unclear or self.model.hidden or self.cuts != [100]


TestRowsComeAndGo = RowsComeAndGo.TestCase
TestRowsMove = RowsMove.TestCase
TestNothingHappens = NothingHappens.TestCase
TestRowsComeAndGo.settings = TestRowsMove.settings = TestNothingHappens.settings = SETTINGS


@pytest.mark.xfail(strict=True, reason="answers of a single row cannot show that a row moved; P2 does not cover them")
def test_a_row_that_moves_behind_answers_of_a_single_row() -> None:
    """The last row moves to the front while the end is looked at: it is missed, and nothing shows it."""
    reading = RowsMove()
    RowsMove.begin(reading, 4, 2, [1], 1, None, 0, 0, set(), [1], set())
    for _ in range(10):
        reading.plan_nothing()
    reading.move(0, 0)
    reading.move(3, 0)
    while not reading.ended:
        reading.read_on()

    assert reading.signs or not reading.model.throughout - reading.met.readings.keys()


@pytest.mark.xfail(strict=True, reason="found by the machine, with other examples than it draws here; not mended")
def test_a_row_pushed_behind_an_offset_that_showed_nothing() -> None:
    """Answers of three rows while rows come in front: the last row of the list is met by no reading, only by a look."""
    reading, begin = RowsComeAndGo(), RowsComeAndGo.begin
    begin(reading, 53, 3, [4], 1, None, 0, 0, set(), [100], set())
    for steps, change in ((12, 3), (9, 1), (1, -1), (2, 1), (1, 0)):
        for _ in range(steps):
            reading.read_on()
        if change > 0:
            reading.insert_in_front(change)
        elif change:
            reading.delete(0, 1)
    reading.teardown()
