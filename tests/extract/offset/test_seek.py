"""Reading only what was added after a mark, of lists sorted either way, still or changing."""

import bisect
import random
from dataclasses import dataclass

import pytest

from annolake.errors import UnavailableError
from annolake.extract.offset.list_reader import Listing
from annolake.extract.offset.queue_reader import QueueReader
from annolake.extract.paging.sort_order import Order
from annolake.extract.paging.verdict import Signs
from annolake.extract.paging.watermark import Watermark
from extract.moving import Change, Model, still
from extract.rows import PlainSeenKeys, key

MARK = 1_000_000


@dataclass
class Sorted:
    """A queue whose lists are sorted by `column`; rows from the mark on are new."""

    model: Model
    column: str
    descending: bool

    @classmethod
    def of(
        cls, old: tuple[int, int], new: tuple[int, int], *, column: str = "added_at", descending: bool = False
    ) -> "Sorted":
        """Make lists of so many old and new rows (active, archived)."""
        model = Model(old[0] + new[0], old[1] + new[1])
        for rows, count in zip(model.lists.values(), old, strict=True):
            for place, row in enumerate(rows):
                added = MARK + place - count
                model.times[row] = {"added_at": added, "reviewed": None if column == "added_at" else added + 1}
                if column != "added_at":
                    model.times[row]["added_at"] = added - added % 5
            if descending:
                rows.reverse()
        return cls(model, column, descending)

    def place(self, name: str, row: bytes) -> int:
        """Return where a row belongs in a list."""
        sign = -1 if self.descending else 1
        times = [sign * (self.model.times[one][self.column] or 0) for one in self.model.lists[name]]
        return bisect.bisect(times, sign * (self.model.times[row][self.column] or 0))

    def reader(self, *, lanes: int = 1, hints: tuple[int | None, int | None] = (None, None)) -> QueueReader:
        """Return a reader of the new rows."""
        since = Watermark(Order(self.column, self.descending), MARK)
        self.model.told = dict(zip(self.model.lists, hints, strict=True)).__getitem__
        listings = [self.model.listing(name, watermark=since) for name in self.model.lists]
        return QueueReader(listings, seen_keys=PlainSeenKeys(), lanes=lanes, limit=lambda: 100, wait=self.model.wait)

    def new(self) -> set[bytes]:
        """Return the rows from the mark on that were there throughout."""
        return {row for row in self.model.throughout if (self.model.times[row][self.column] or MARK) >= MARK}


def read(reader: QueueReader, model: Model, change: Change = still, seed: float = 0) -> list[bytes]:
    """Return the rows read, those read twice included."""
    model.change, model.rng = change, random.Random(seed)
    return [row for piece in reader.read() for row in piece.slice.keys]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", ["added_at", "reviewed"])
@pytest.mark.parametrize("lanes", [1, 6, 8, 16])
@pytest.mark.parametrize(
    "sizes",
    [
        ((6000, 0), (150, 0)),
        ((0, 6000), (0, 150)),
        ((3000, 3000), (75, 75)),
        ((4000, 2000), (0, 150)),
        ((5900, 100), (50, 100)),
        ((6000, 1), (149, 1)),
        ((3000, 3000), (0, 0)),
    ],
)
@pytest.mark.parametrize("hinted", [False, True])
def test_new_rows_are_read_without_a_sweep(
    descending: bool, column: str, lanes: int, sizes: tuple[tuple[int, int], tuple[int, int]], hinted: bool
) -> None:
    """150 new rows in a queue of 6,000 cost at most 45 requests and some 600 rows, sorted either way."""
    queue = Sorted.of(*sizes, column=column, descending=descending)
    reader = queue.reader(lanes=lanes, hints=sizes[0] if hinted else (None, None))
    rows = read(reader, queue.model)

    assert queue.new() <= set(rows)
    assert reader.verdict.complete
    assert not reader.verdict.swept
    assert reader.verdict.signs.repairs == 0
    assert reader.requests == len(queue.model.log) <= (37 if hinted else 45)
    assert len(rows) <= 900


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("told", [0, 1, 100, 2900, 3076, -1])
def test_wrong_sizes_mislead_no_search(told: int, descending: bool) -> None:
    """Whatever the service says of the sizes, the search finds the new rows, with some requests more."""
    queue = Sorted.of((3000, 3000), (75, 75), descending=descending)
    reader = queue.reader(lanes=8, hints=(told, told))

    assert queue.new() <= set(read(reader, queue.model))
    assert reader.verdict.complete
    assert not reader.verdict.swept
    assert reader.requests <= 70
    assert max(offset for _, offset, *_ in queue.model.log) <= 20_000


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("old", "new"), [((0, 0), (0, 0)), ((0, 0), (350, 1)), ((350, 1), (0, 0)), ((1, 2), (2, 1))])
def test_lists_may_be_all_new_all_old_or_empty(descending: bool, old: tuple[int, int], new: tuple[int, int]) -> None:
    """The mark may lie before the first row, behind the last one, or in a list of none."""
    queue = Sorted.of(old, new, descending=descending)
    reader = queue.reader(lanes=3)
    rows = read(reader, queue.model)

    assert queue.new() <= set(rows)
    assert reader.verdict.complete
    assert reader.requests <= 25


def test_a_list_without_new_rows_leaves_no_sign() -> None:
    """Wherever the search ends, be it at the last row, the reading begins and ends quietly."""
    for rows in range(300, 370):
        queue = Sorted.of((rows, 0), (0, 0))
        reader = queue.reader()
        read(reader, queue.model)

        assert reader.verdict.signs == Signs()


@pytest.mark.parametrize("descending", [False, True])
def test_rows_of_the_mark_itself_are_new(descending: bool) -> None:
    """Three pages of rows have the mark's own time."""
    queue = Sorted.of((500, 0), (300, 0), descending=descending)
    for row in queue.new():
        queue.model.times[row]["added_at"] = MARK
    reader = queue.reader()

    assert queue.new() <= set(read(reader, queue.model))


@pytest.mark.parametrize("descending", [False, True])
def test_rows_without_added_at_count_as_new(descending: bool) -> None:
    """They are at the newest end, and are read every time."""
    queue = Sorted.of((500, 0), (20, 0), descending=descending)
    late = queue.model.lists["active"][:5] if descending else queue.model.lists["active"][-5:]
    for row in late:
        queue.model.times[row]["added_at"] = None
    reader = queue.reader()

    assert set(late) <= set(read(reader, queue.model))
    assert not reader.verdict.swept


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("how", ["swapped", "null", "before added_at"])
def test_a_list_that_is_no_longer_sorted_is_swept(descending: bool, how: str) -> None:
    """Rows read that contradict the recorded order have that list read whole, and only that one."""
    queue = Sorted.of((600, 600), (60, 60), column="reviewed", descending=descending)
    rows = queue.model.lists["archived"]
    place = 30 if descending else -30
    if how == "swapped":
        rows[place], rows[place + 1] = rows[place + 1], rows[place]
    elif how == "null":
        queue.model.times[rows[place]] = {"added_at": MARK, "reviewed": None}
    else:
        queue.model.times[rows[place]]["added_at"] = 2 * MARK
    reader = queue.reader(lanes=2)
    met = set(read(reader, queue.model))

    assert reader.verdict.swept == ["archived"]
    assert reader.verdict.complete
    assert set(rows) <= met
    assert len(set(queue.model.lists["active"]) & met) < 300


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("recorded", ["added_at", "effective_added_at"])
@pytest.mark.parametrize("requeued", [1, 40, 130, 400])
def test_rows_requeued_behind_new_ones_hide_none(requeued: int, recorded: str, descending: bool) -> None:
    """They have an old added_at, and stand where the newest rows are: nothing tells that the new ones lie before them.

    Where the order was recorded by the time that changes with requeueing, no list need be read whole.
    """
    queue = Sorted.of((800, 0), (60, 0), descending=descending)
    model, rows = queue.model, queue.model.lists["active"]
    for row, times in model.times.items():
        model.times[row] = {"added_at": times["added_at"], "effective_added_at": times["added_at"]}
    oldest_first = rows[100 : 100 + requeued][:: -1 if descending else 1]
    for number, row in enumerate(oldest_first):
        model.times[row]["effective_added_at"] = 2 * MARK + number
        rows.remove(row)
        rows.insert(0 if descending else len(rows), row)
    new = queue.new()
    queue.column = recorded
    reader = queue.reader()

    assert new <= set(read(reader, model))
    assert reader.verdict.complete
    assert recorded == "added_at" or not reader.verdict.swept


def test_a_row_requeued_in_its_place_costs_no_sweep() -> None:
    """Where lists stay sorted by added_at, whatever the other times are, a reading ends as early as ever."""
    queue = Sorted.of((800, 0), (60, 0), descending=True)
    for place, row in enumerate(queue.model.lists["active"]):
        added = queue.model.times[row]["added_at"]
        queue.model.times[row] = {"added_at": added, "effective_added_at": 2 * MARK if place % 50 == 49 else added}
    reader = queue.reader()
    met = set(read(reader, queue.model))

    assert queue.new() <= met
    assert reader.verdict.complete
    assert not reader.verdict.swept
    assert len(met) <= 200


def test_a_list_that_shrinks_while_it_is_searched_loses_nothing() -> None:
    """The rows found to lie before the mark leave; the reading steps back to one that still does."""
    for requests in range(1, 14):
        queue = Sorted.of((3000, 0), (150, 0))

        def change(model: Model, _rng: random.Random, requests: int = requests) -> None:
            if len(model.log) == requests:
                model.delete("active", 1500, 1000)

        reader = queue.reader()

        assert queue.new() <= set(read(reader, queue.model, change))
        assert reader.verdict.complete


class Work:
    """Reviewers at work on a queue whose lists stay sorted."""

    def __init__(self, queue: Sorted, kinds: str, rate: float) -> None:
        self._queue = queue
        self._kinds = kinds.split()
        self._rate = rate

    def __call__(self, model: Model, rng: random.Random) -> None:
        """Let things happen."""
        for _ in range(int(self._rate) + (rng.random() < self._rate % 1)):
            getattr(self, rng.choice(self._kinds))(model, rng)

    def _newest(self, name: str, rng: random.Random) -> int | None:
        """Return the place of a row, likely a new one."""
        size = len(self._queue.model.lists[name])
        back = int(rng.expovariate(1 / 100))
        return None if back >= size else back if self._queue.descending else size - 1 - back

    def _hand_over(self, name: str, to: str, rng: random.Random, *, once: bool = False) -> None:
        model, place = self._queue.model, self._newest(name, rng)
        if place is not None and not (once and to in model.passed.get(model.lists[name][place], [])):
            model.hand_over(name, place, self._queue.place(to, model.lists[name][place]))

    def finish(self, _model: Model, rng: random.Random) -> None:
        """A row finishes."""
        self._hand_over("active", "archived", rng)

    def requeue(self, _model: Model, rng: random.Random) -> None:
        """A row comes back, once."""
        self._hand_over("archived", "active", rng, once=True)

    def delete(self, model: Model, rng: random.Random) -> None:
        """Rows leave, some of them sixty at once."""
        name = rng.choice(["active", "archived"])
        model.delete(name, rng.randrange(len(model.lists[name]) + 1), rng.choice([1, 1, 60]))

    def insert(self, model: Model, _rng: random.Random) -> None:
        """A row comes to the newest end."""
        time = 2 * MARK + len(model.times)
        size = len(model.lists["active"])
        row = model.insert("active", 0 if self._queue.descending else size)[0]
        model.times[row] = {"added_at": time, "reviewed": time + 1}


@pytest.mark.parametrize("kinds", ["finish", "delete", "insert", "finish delete insert"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("lanes", [1, 6])
def test_new_rows_are_never_missed_while_rows_come_and_go(kinds: str, descending: bool, lanes: int) -> None:
    """The list moves while it is searched and read; every new row that stays is met, and the reader says so."""
    for rate in (0.1, 1, 3):
        rng = random.Random(f"{kinds} {descending} {lanes} {rate}")
        queue = Sorted.of(
            (rng.choice([0, 500, 2500]), 1500), (rng.choice([20, 300]), rng.choice([0, 90])), descending=descending
        )
        reader = queue.reader(lanes=lanes)
        rows = read(reader, queue.model, Work(queue, kinds, rate), rng.random())

        assert queue.new() <= set(rows)
        assert reader.verdict.complete
        assert not reader.verdict.swept


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("lanes", [1, 6])
def test_new_rows_that_come_back_are_never_missed(descending: bool, lanes: int) -> None:
    """New rows finish and are requeued, each once, while they are read."""
    for rate in (0.1, 0.3, 1):
        rng = random.Random(f"{descending} {lanes} {rate}")
        queue = Sorted.of((800, 1500), (200, 90), descending=descending)
        reader = queue.reader(lanes=lanes)
        rows = read(reader, queue.model, Work(queue, "finish requeue", rate), rng.random())

        assert queue.new() <= set(rows)


def test_a_server_that_repeats_one_row_ends_the_search() -> None:
    """Whatever the offset, the row lies before the mark: the search gives up, the pages tell."""
    model = Model(1)
    model.times[key(0)] = {"added_at": 0}
    fetch = model.fetch("active")
    since = Watermark(Order("added_at", descending=False), MARK)
    source = Listing("active", lambda _, limit: fetch(0, limit), watermark=since)
    reader = QueueReader([source], seen_keys=PlainSeenKeys(), lanes=1, limit=lambda: 100, wait=model.wait)

    with pytest.raises(UnavailableError, match="never ends"):
        list(reader.read())
