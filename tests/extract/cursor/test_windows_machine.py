"""P17 of docs/paging.md, held against sections in windows that change between any two answers, counts included."""

import random
from contextlib import ExitStack
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from annolake.extract.cursor import window_plan
from annolake.extract.cursor.queue_reader import QueueReader
from annolake.extract.cursor.section_reader import WHOLE
from annolake.extract.cursor.single_pass import Place
from annolake.extract.endpoints.items import SECTIONS
from extract.any_order import AnyOrder
from extract.cursor.test_queue_reader_machine import CHECKED, LIMIT, Changing, counts
from extract.passing import Cursors
from extract.scripted import PLACES

MINE, THEIRS, ARCHIVED = SECTIONS
BEGUN = 10_000_000_000


class Windows(Changing):
    """Sections of a few short pages, cut into windows of one page and more."""

    backs = 0

    @initialize(
        sizes=st.tuples(st.integers(60, 150), st.integers(0, 40), st.integers(0, 100)),
        cursors=st.sampled_from(["offset", "keyset"]),
        seed=PLACES,
        quiet=st.integers(0, 50),
    )
    def start(self, sizes: tuple[int, int, int], cursors: Cursors, seed: int, quiet: int) -> None:
        """Begin to read; nothing happens before the first `quiet` answers."""
        self.begin(sizes, cursors)
        for _ in range(quiet):
            self.plan_nothing()
        rng = random.Random(seed)
        self.queue.restless = True
        self.queue.starts = {row: rng.randrange(9_000) for row in sorted(self.queue.start)}
        self.before = {name: list(rows) for name, rows in self.queue.sections.items()}
        self.reader = QueueReader(
            [self.queue.section(name) for name in SECTIONS],
            seen_keys=self.met,
            limit=lambda: LIMIT,
            lanes=AnyOrder(3, rng),
            touched_since=BEGUN,
        )
        self.patches = ExitStack()
        small = patch.multiple(window_plan, _FEWEST_PAGES=2, _PAGES_A_WINDOW=1)
        self.patches.enter_context(small)
        self.patches.enter_context(patch.object(Place, "fits", lambda *_: True))  # counts alone tell
        self.steps = filter(None, self.reader.read())

    @precondition(lambda self: self.backs < 2)
    @rule(way=st.sampled_from([(THEIRS, MINE), (ARCHIVED, MINE), (ARCHIVED, THEIRS)]), at=PLACES, to=PLACES)
    def go_back(self, way: tuple[str, str], at: int, to: int) -> None:
        """A row goes back."""
        self.backs += 1
        self.plan(lambda: self._pass(way, at, to, 1))

    @rule(way=st.sampled_from([(MINE, THEIRS), (MINE, ARCHIVED), (THEIRS, ARCHIVED)]), at=PLACES, to=PLACES, n=counts)
    def pass_on(self, way: tuple[str, str], at: int, to: int, n: int) -> None:
        """Neighbours pass on, to anywhere in a later section."""
        self.plan(lambda: self._pass(way, at, to, n))

    @rule(name=st.sampled_from(SECTIONS), at=PLACES, to=PLACES)
    def replace(self, name: str, at: int, to: int) -> None:
        """As many come as leave: no size tells."""
        self.plan(lambda: self.queue.delete(name, at % (len(self.queue.sections[name]) + 1)))
        self.plan(lambda: self.queue.insert(name, to % (len(self.queue.sections[name]) + 1)))

    @rule(at=PLACES, to=PLACES)
    def pass_on_while_others_come_and_leave(self, at: int, to: int) -> None:
        """Likewise, of a row that passes on."""
        self.plan(lambda: self._pass((MINE, ARCHIVED), at, to, 1))
        self.plan(lambda: self.queue.delete(ARCHIVED, to % (len(self.queue.sections[ARCHIVED]) + 1)))
        self.plan(lambda: self.queue.insert(MINE, at % (len(self.queue.sections[MINE]) + 1)))

    @rule()
    def read(self) -> None:
        """Take a page."""
        self.read_on()

    def teardown(self) -> None:
        """Read to the end and check the claims."""
        if not hasattr(self, "queue"):
            return
        try:
            for piece in self.steps:
                self.taken |= piece.wanted
        finally:
            self.patches.close()
        queue, reader = self.queue, self.reader

        assert reader.verdict.rows == len(self.taken)
        assert reader.verdict.complete or queue.backs
        assert not self.missed_in_windows() or queue.backs

    def missed_in_windows(self) -> set[bytes]:
        """Return the rows not met of sections that were read in windows, and not again, while they were in them."""
        if self.reader.verdict.signs.rereadings:
            return set()
        cut = {name for (name, _, _), part in zip(self.queue.log, self.queue.parts, strict=True) if part != WHOLE}
        behind = {
            name
            for (name, cursor, limit), part in zip(self.queue.log, self.queue.parts, strict=True)
            if part == WHOLE and cursor and limit > 1
        }
        stayers = {row for name in cut - behind for row in self.before[name] if row in self.queue.sections[name]}
        return (stayers & self.queue.throughout) - self.taken - self.queue.ons.keys() - self.queue.backs.keys()


TestWindows = Windows.TestCase
TestWindows.settings = settings(CHECKED, max_examples=300)
