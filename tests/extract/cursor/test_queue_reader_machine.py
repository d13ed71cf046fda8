"""P11 and P13 to P15 of docs/paging.md, held against sections that change between any two requests."""

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from annolake.extract.cursor.overlapping import OverlappingReader
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.endpoints.items import SECTIONS
from annolake.extract.paging.readings import Ledger
from annolake.extract.paging.slices import Piece
from extract.passing import Cursors, Passing
from extract.rows import PlainSeenKeys
from extract.scripted import PLACES, Scripted

MINE, THEIRS, ARCHIVED = SECTIONS
LIMIT = 12
CHECKED = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

counts = st.sampled_from([1, 1, 1, 2, 5, 9, 30])


class Changing(Scripted):
    """A queue to which things happen between any two requests."""

    steps: Iterator[Piece]

    def begin(self, sizes: tuple[int, int, int], cursors: Cursors) -> None:
        """Set the model up."""
        self.queue = Passing(sizes, cursors, change=self.carry_out_before)
        self.met = PlainSeenKeys()
        self.taken: set[bytes] = set()

    def carry_out_before(self, _: Passing) -> None:
        """Have happen what is planned before the next request."""
        self.carry_out()

    def read_on(self) -> None:
        """Take one more page."""
        piece = next(self.steps, None)
        if piece is None:
            self.steps = iter(())
        else:
            self.taken |= piece.wanted

    def _pass(self, way: tuple[str, str], at: int, to: int, count: int) -> None:
        name, other = way
        rows, others = self.queue.sections[name], self.queue.sections[other]
        self.queue.pass_to(name, at % (len(rows) + 1), other, to % (len(others) + 1), count)

    @rule(name=st.sampled_from(SECTIONS), at=PLACES, count=counts)
    def insert(self, name: str, at: int, count: int) -> None:
        """Rows come."""
        self.plan(lambda: self.queue.insert(name, at % (len(self.queue.sections[name]) + 1), count))

    @rule(name=st.sampled_from(SECTIONS), at=PLACES, count=counts)
    def delete(self, name: str, at: int, count: int) -> None:
        """Neighbours leave for good."""
        self.plan(lambda: self.queue.delete(name, at % (len(self.queue.sections[name]) + 1), count))


class OneSection(Changing):
    """P11: every stayer at or before the last row taken in overlapping pages has been met."""

    moves = 0

    @initialize(rows=st.integers(0, 150), cursors=st.sampled_from(["offset", "keyset"]), cap=st.sampled_from([12, 5]))
    def start(self, rows: int, cursors: Cursors, cap: int) -> None:
        """Begin a reading."""
        self.begin((rows, 0, 0), cursors)
        self.queue.cap = cap
        self.order = list(self.queue.sections[MINE])
        self.reader = OverlappingReader(self.queue.section(MINE), Ledger(self.met), limit=lambda: LIMIT)
        self.steps = self.reader.pages()

    @precondition(lambda self: self.queue.cap == LIMIT and self.moves < 2)
    @rule(at=PLACES, to=PLACES)
    def move(self, at: int, to: int) -> None:
        """A row is moved; so few are that of the three rows of an overlap one was not."""
        self.moves += 1
        rows = self.queue.sections[MINE]
        self.plan(lambda: self.queue.move(MINE, at % len(rows), to % len(rows)) if rows else None)

    @rule()
    def read(self) -> None:
        """The invariant holds after each page."""
        self.read_on()

        stayers = [row for row in self.order if row in self.queue.throughout]
        reached = max((at for at, row in enumerate(stayers) if row in self.taken), default=-1)
        assert self.taken.issuperset(stayers[: reached + 1])

    def teardown(self) -> None:
        """At the end every stayer has been met; nothing but moves makes a section restless."""
        if not hasattr(self, "queue"):
            return
        for piece in self.steps:
            self.taken |= piece.wanted

        assert self.queue.throughout <= self.taken
        assert self.reader.reading.joined
        assert self.moves or not self.reader.reading.restless


class Watched(QueueReader):
    """Notes before how many requests each reading in overlapping pages began."""

    def __init__(self, queue: Passing, met: PlainSeenKeys) -> None:
        self.joined: list[tuple[str, int]] = []
        self._queue = queue
        sections = [queue.section(name) for name in SECTIONS]
        super().__init__(sections, seen_keys=met, limit=lambda: LIMIT)

    def _read_in_pairs(self, one: Any) -> Iterator[Piece | None]:
        self.joined.append((one.section.name, len(self._queue.log)))
        yield from super()._read_in_pairs(one)


class AllSections(Changing):
    """P13, P14 and P15: rows that pass on, leave or come, and few that go back."""

    backs = 0

    @initialize(
        sizes=st.tuples(*[st.integers(0, 60)] * 3), cursors=st.sampled_from(["offset", "keyset"]), told=st.booleans()
    )
    def start(self, sizes: tuple[int, int, int], cursors: Cursors, told: bool) -> None:
        """Begin to read."""
        self.begin(sizes, cursors)
        self.before = {name: list(rows) for name, rows in self.queue.sections.items()}
        self.queue.told = int if told else lambda _: None
        self.reader = Watched(self.queue, self.met)
        self.steps = filter(None, self.reader.read())

    @rule(way=st.sampled_from([(MINE, THEIRS), (MINE, ARCHIVED), (THEIRS, ARCHIVED)]), at=PLACES, to=PLACES, n=counts)
    def pass_on(self, way: tuple[str, str], at: int, to: int, n: int) -> None:
        """Neighbours pass on, to anywhere in a later section."""
        self.plan(lambda: self._pass(way, at, to, n))

    @precondition(lambda self: self.backs < 2)
    @rule(way=st.sampled_from([(THEIRS, MINE), (ARCHIVED, MINE), (ARCHIVED, THEIRS)]), at=PLACES, to=PLACES)
    def go_back(self, way: tuple[str, str], at: int, to: int) -> None:
        """A row goes back; so few do that of the three rows of an overlap one did not."""
        self.backs += 1
        self.plan(lambda: self._pass(way, at, to, 1))

    @precondition(lambda self: self.queue.backs and self.backs < 2)
    @rule(there=st.booleans())
    def go_on_or_back_again(self, there: bool) -> None:
        """A row that went back passes on again, or goes back once more."""
        self.backs += not there
        self.plan(lambda: self._again(there=there))

    def _again(self, *, there: bool) -> None:
        row = next(iter(self.queue.backs))
        name, other = (MINE, ARCHIVED) if there else (ARCHIVED, MINE)
        if row in self.queue.sections[name]:
            self.queue.pass_to(name, self.queue.sections[name].index(row), other, 0)

    @rule()
    def read(self) -> None:
        """Take a page."""
        self.read_on()

    def teardown(self) -> None:
        """Read to the end and check the claims."""
        if not hasattr(self, "queue"):
            return
        for piece in self.steps:
            self.taken |= piece.wanted
        queue, reader = self.queue, self.reader

        assert reader.verdict.rows == len(self.taken)
        assert reader.verdict.complete or queue.backs
        missed = queue.throughout - self.taken
        if not reader.joined:
            assert missed <= queue.backs.keys() or (queue.cursors == "offset" and self.changed)
            return
        first = reader.joined[0][1]
        passes = [name for name, _ in reader.joined].count(ARCHIVED)
        for row in missed:
            backs = [at for at in queue.backs.get(row, ()) if at > first]
            archived_again = any(at >= backs[-1] for at in queue.ons.get(row, ()) if backs)
            assert len(backs) > passes or (len(backs) == passes and archived_again)

    @property
    def changed(self) -> bool:
        """Whether anything happened."""
        return self.queue.sections != self.before or bool(self.queue.backs or self.queue.gone or self.queue.born)


TestOneSection = OneSection.TestCase
TestOneSection.settings = CHECKED
TestAllSections = AllSections.TestCase
TestAllSections.settings = CHECKED
