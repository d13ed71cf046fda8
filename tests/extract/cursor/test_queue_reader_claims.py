"""State machines that check what `chains` and `sections` claim, between any two requests, against a model."""

from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from annolake.extract.cursor.overlapping import OverlappingReader
from annolake.extract.cursor.queue_reader import Reads, SectionsReader
from annolake.extract.cursor.section_reader import Piece
from annolake.extract.endpoints.items import SECTIONS
from annolake.extract.paging.readings import Ledger
from extract.passing import Cursors, Page, Passing, PlainSeenKeys

MINE, THEIRS, ARCHIVED = SECTIONS
LIMIT = 12
CHECKED = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

places = st.integers(0, 10_000)
counts = st.sampled_from([1, 1, 1, 2, 5, 9, 30])


class Changing(RuleBasedStateMachine):
    """A queue to which things happen between any two requests: rules say what, and before which request to come."""

    steps: Iterator[Piece[Page]]

    def begin(self, sizes: tuple[int, int, int], cursors: Cursors) -> None:
        """Set the model up."""
        self.queue = Passing(sizes, cursors, change=self._carry_out)
        self.met = PlainSeenKeys()
        self.taken: set[bytes] = set()
        self.planned: list[list[Callable[[], None]]] = [[]]

    def _carry_out(self, _: Passing) -> None:
        for change in self.planned.pop(0) if self.planned else ():
            change()

    def plan(self, change: Callable[[], None]) -> None:
        """Have a change happen before the request that is planned for."""
        self.planned = self.planned or [[]]
        self.planned[-1].append(change)

    def read_on(self) -> None:
        """Take one more page."""
        piece = next(self.steps, None)
        if piece is None:
            self.steps = iter(())
        else:
            self.taken |= piece.wanted

    @rule()
    def the_next_request(self) -> None:
        """Plan for the request behind the one planned for."""
        self.planned.append([])

    @rule(name=st.sampled_from(SECTIONS), at=places, count=counts)
    def insert(self, name: str, at: int, count: int) -> None:
        """Rows come."""
        self.plan(lambda: self.queue.insert(name, at % (len(self.queue.sections[name]) + 1), count))

    @rule(name=st.sampled_from(SECTIONS), at=places, count=counts)
    def delete(self, name: str, at: int, count: int) -> None:
        """Neighbours leave for good."""
        self.plan(lambda: self.queue.delete(name, at % (len(self.queue.sections[name]) + 1), count))


class Chains(Changing):
    """One section read in two chains: every stayer at or before the last row taken has been met."""

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
    @rule(at=places, to=places)
    def move(self, at: int, to: int) -> None:
        """A row is moved; so few are that of the three rows of a joint one was not."""
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


class Watched(SectionsReader[Page]):
    """Notes before how many requests each joined reading began."""

    def __init__(self, queue: Passing, met: PlainSeenKeys, *, told: bool) -> None:
        self.joined: list[tuple[str, int]] = []
        self._queue = queue
        sections = [queue.section(name) for name in SECTIONS]
        sizes = queue.told_now if told else dict
        super().__init__(sections, seen_keys=met, limit=lambda: LIMIT, sizes=sizes)

    def _join(self, name: str) -> Reads[Page, None]:
        self.joined.append((name, len(self._queue.log)))
        yield from super()._join(name)


class Sections(Changing):
    """All sections: claims 1 and 2, and that what only passes on, leaves or comes is never told as incomplete."""

    backs = 0

    @initialize(
        sizes=st.tuples(*[st.integers(0, 60)] * 3), cursors=st.sampled_from(["offset", "keyset"]), told=st.booleans()
    )
    def start(self, sizes: tuple[int, int, int], cursors: Cursors, told: bool) -> None:
        """Begin to read."""
        self.begin(sizes, cursors)
        self.before = {name: list(rows) for name, rows in self.queue.sections.items()}
        self.reader = Watched(self.queue, self.met, told=told)
        self.steps = self.reader.read()

    @rule(way=st.sampled_from([(MINE, THEIRS), (MINE, ARCHIVED), (THEIRS, ARCHIVED)]), at=places, to=places, n=counts)
    def pass_on(self, way: tuple[str, str], at: int, to: int, n: int) -> None:
        """Neighbours pass on, to anywhere in a later section."""
        self.plan(lambda: self._pass(way, at, to, n))

    @precondition(lambda self: self.backs < 2)
    @rule(way=st.sampled_from([(THEIRS, MINE), (ARCHIVED, MINE), (ARCHIVED, THEIRS)]), at=places, to=places)
    def go_back(self, way: tuple[str, str], at: int, to: int) -> None:
        """A row goes back; so few do that of the three rows of a joint one did not."""
        self.backs += 1
        self.plan(lambda: self._pass(way, at, to, 1))

    @precondition(lambda self: self.queue.backs and self.backs < 2)
    @rule(there=st.booleans())
    def go_on_or_back_again(self, there: bool) -> None:
        """A row that went back passes on again, or goes back once more."""
        self.backs += not there
        self.plan(lambda: self._again(there=there))

    def _pass(self, way: tuple[str, str], at: int, to: int, count: int) -> None:
        name, other = way
        rows, others = self.queue.sections[name], self.queue.sections[other]
        self.queue.pass_to(name, at % (len(rows) + 1), other, to % (len(others) + 1), count)

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

        assert reader.rows == len(self.taken)
        assert reader.complete or queue.backs
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


TestChains = Chains.TestCase
TestChains.settings = CHECKED
TestSections = Sections.TestCase
TestSections.settings = CHECKED
