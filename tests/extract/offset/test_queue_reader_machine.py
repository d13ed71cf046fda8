"""The claims in the docstring of `lists`, held against a queue whose rows pass from list to list as it is read.

Each rule is one event: something happens to a row, or one of the requests under way is answered.
"""

from collections.abc import Generator
from dataclasses import replace
from itertools import groupby

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from annolake.errors import UnavailableError
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.slices import Slice
from annolake.extract.paging.verdict import Signs
from extract.moving import Model, Page, PlainSeenKeys

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=120,
    stateful_step_count=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
_JOINED = 4  # rows: shorter slices join by a single row, or by none
PLACES = st.integers(0, 10_000)
NAMES = st.sampled_from(["active", "archived"])


class Queue(RuleBasedStateMachine):
    """A reader of both lists, stepped by hand."""

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
        sources = [self.model.source(name) for name in self.model.lists]
        self.reader: QueueReader[Page] = QueueReader(
            sources, seen_keys=self.met, lanes=lanes, limit=lambda: 10, spare=lambda: spare
        )
        self.steps: Generator[tuple[str, Slice[Page]] | None, None, None] = self.reader.steps()
        self.ended = self.given_up = False
        self.advance()

    def advance(self) -> None:
        """Let the reader take what it can."""
        try:
            for step in self.steps:
                if step is None:
                    return
        except UnavailableError:
            self.given_up = True
        self.ended = True

    @rule(which=PLACES)
    def answer(self, which: int) -> None:
        """A request is answered, whichever."""
        if not self.ended:
            pending = self.reader.pending()
            self.model.answer(pending[which % len(pending)])
            self.advance()

    def teardown(self) -> None:
        """Let the rest pass quietly, then hold the claims against the reader."""
        if not hasattr(self, "model"):
            return
        while not self.ended:
            self.answer(0)
        if not self.given_up:
            self.check()

    def check(self) -> None:
        """Hold the claims against the reader."""
        raise NotImplementedError

    def place(self, name: str, at: int) -> int:
        """Return a place in a list, its end included."""
        return at % (len(self.model.lists[name]) + 1)


class RowsComeAndGo(Queue):
    """Rows finish, are deleted and are inserted."""

    @rule(at=PLACES, to=PLACES, count=st.sampled_from([1, 1, 6]))
    def finish(self, at: int, to: int, count: int) -> None:
        """Rows pass from the active to the archived list, to any place of it."""
        if not self.ended:
            self.model.hand_over("active", self.place("active", at), self.place("archived", to), count)

    @rule(name=NAMES, at=PLACES, count=st.sampled_from([1, 2, 6]))
    def delete(self, name: str, at: int, count: int) -> None:
        """Rows leave the queue."""
        if not self.ended:
            self.model.delete(name, self.place(name, at), count)

    @rule(name=NAMES, at=st.one_of(st.just(0), PLACES), count=st.sampled_from([1, 2]))
    def insert(self, name: str, at: int, count: int) -> None:
        """Rows come to the queue."""
        if not self.ended:
            self.model.insert(name, self.place(name, at), count)

    def check(self) -> None:
        """Every row that was there throughout is met, and the reader says so, unless slices were cut or sizes wrong."""
        assert self.model.throughout <= self.met.numbers.keys() or not self.reader.complete
        assert self.model.throughout <= self.met.numbers.keys() or min(self.cuts) < _JOINED
        assert self.reader.complete or self.cuts != [10] or (self.told or 0) > 0


class RowsComeBack(RowsComeAndGo):
    """Rows are requeued besides."""

    @rule(at=PLACES, to=st.one_of(st.just(0), PLACES))
    def requeue(self, at: int, to: int) -> None:
        """A row passes from the archived to the active list."""
        if not self.ended:
            self.model.hand_over("archived", self.place("archived", at), self.place("active", to))

    def check(self) -> None:
        """A row that was there throughout and did not change lists too often is met."""
        readings = len([name for name, _ in groupby(self.reader._ledger.lists)])
        passed = self.model.passed
        sure = {row for row in self.model.throughout if len(passed.get(row, [])) <= readings - 2}
        finished = {row for row in self.model.throughout if passed.get(row) == ["archived"]}

        if not any("join" in reason for reason in self.reader.reasons):
            assert sure | finished <= self.met.numbers.keys()


class OneRowComesBack(Queue):
    """A single row is requeued, once, and nothing else happens."""

    @rule(at=PLACES, to=PLACES)
    def requeue(self, at: int, to: int) -> None:
        """The row passes from the archived to the active list."""
        if not (self.ended or self.model.passed):
            self.model.hand_over("archived", self.place("archived", at), self.place("active", to))

    def check(self) -> None:
        """Everything is met, and where nothing happened there is no sign of it but a size that was told too large."""
        quiet = self.cuts == [10] and not self.model.passed
        signs = replace(self.reader.signs, rereadings=0) if (self.told or 0) > 0 else self.reader.signs

        assert self.met.numbers.keys() == self.model.start or min(self.cuts) < _JOINED
        assert not quiet or signs == Signs()


TestRowsComeAndGo = RowsComeAndGo.TestCase
TestRowsComeBack = RowsComeBack.TestCase
TestOneRowComesBack = OneRowComesBack.TestCase
TestRowsComeAndGo.settings = TestRowsComeBack.settings = TestOneRowComesBack.settings = SETTINGS
