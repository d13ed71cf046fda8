"""Where a list ends: services that show less of a window than there is, and sizes that are told wrong or not at all."""

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from annolake.errors import UnavailableError
from annolake.extract.cursor.queue_reader import QueueReader as SectionsReader
from annolake.extract.endpoints.items import SECTIONS
from annolake.extract.offset.list_end import MOST_ALONE, PROBED_ROWS
from annolake.extract.offset.list_reader import MOST_REQUESTS
from annolake.extract.offset.queue_reader import QueueReader
from extract.moving import Model
from extract.passing import Passing
from extract.rows import PlainSeenKeys


def queue_reader(model: Model, *, lanes: int = 3) -> QueueReader:
    """Return a reader of the model's lists."""
    listings = [model.listing(name) for name in model.lists]
    return QueueReader(listings, seen_keys=PlainSeenKeys(), lanes=lanes, limit=lambda: 100, wait=model.wait)


def read(reader: QueueReader, model: Model, seed: int = 0) -> set[bytes]:
    """Return the rows read."""
    model.rng = random.Random(seed)
    return {row for piece in reader.read() for row in piece.slice.keys}


LAYOUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "none": lambda _rows: [],
    "one": lambda rows: rows[333:334],
    "the first": lambda rows: rows[:1],
    "the first page": lambda rows: rows[:60],
    "the first two pages": lambda rows: rows[:200],
    "a page in the middle": lambda rows: rows[200:350],
    "every other": lambda rows: rows[::2],
    "nine of ten": lambda rows: [row for place, row in enumerate(rows) if place % 10],
    "the last": lambda rows: rows[-1:],
    "the last page": lambda rows: rows[-50:],
    "the last two pages": lambda rows: rows[-150:],
    "two blocks": lambda rows: rows[90:110] + rows[400:520],
    "all": lambda rows: rows,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lanes", [1, 8])
def test_rows_left_out_cost_no_other_row(layout: str, lanes: int) -> None:
    """Wherever rows are left out, all others are met, a second reading agrees, and the report tells how many."""
    model = Model(700, 300)
    model.hidden = set(LAYOUTS[layout](model.lists["active"]))
    reader = queue_reader(model, lanes=lanes)

    assert read(reader, model) == model.start - model.hidden
    assert reader.verdict.complete
    assert (reader.verdict.not_shown, reader.verdict.size_excess) == (len(model.hidden), len(model.hidden))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_probes_find_rows_where_no_size_is_told(layout: str) -> None:
    """Blocks shorter than the probes' reach are passed over without any told size."""
    model = Model(700, 300)
    model.hidden = set(LAYOUTS[layout](model.lists["active"]))
    model.told = lambda _name: None
    reader = queue_reader(model)

    assert read(reader, model) == model.start - model.hidden
    assert reader.verdict.complete
    assert (reader.verdict.not_shown, reader.verdict.size_excess) == (0, None)


def test_how_far_probes_reach() -> None:
    """A block longer than the stated reach hides what lies behind it, where no size is told."""
    for rows in (PROBED_ROWS // 2, 2 * PROBED_ROWS):
        model = Model(100 + rows + 100)
        model.hidden = set(model.lists["active"][100 : 100 + rows])
        model.told = lambda _name: None
        found = read(queue_reader(model), model) == model.start - model.hidden

        assert found is (rows < PROBED_ROWS)


@pytest.mark.parametrize("told", [int, lambda size: size // 3, {}.get, lambda size: size + 25])
@pytest.mark.parametrize("shown", [1, 2, 5, 8, 40])
def test_slices_cut_anywhere_are_read_to_the_end(shown: int, told: Callable[[int], int | None]) -> None:
    """However few rows an answer shows, and whatever size is told, the list is read to its end."""
    model = Model(260, 90)
    heavy = set(random.Random(shown).sample(model.lists["active"], 120))
    model.cut = lambda rows: min(rows, shown)
    model.told = lambda name: told(len(model.lists[name]))
    reader = queue_reader(model)

    assert heavy < read(reader, model) == model.start
    assert reader.verdict.complete


def test_windows_that_show_nothing_are_asked_for_row_by_row() -> None:
    """A service that shows nothing of a window too large for it is read in smaller ones."""
    model = Model(200, 40)
    model.shy = lambda rows: rows > 4
    reader = queue_reader(model)

    assert read(reader, model) == model.start
    assert reader.verdict.complete


def test_nothing_at_all_is_asked_for_to_the_last_offset() -> None:
    """Of a queue that is told to hold 340 rows and shows none, each offset is asked for alone, twice."""
    model = Model(300, 40)
    model.hidden = set(model.start)
    reader = queue_reader(model)

    assert read(reader, model) == set()
    assert reader.verdict.complete
    assert reader.verdict.not_shown == 340
    for name, rows in (("active", 300), ("archived", 40)):
        alone = [offset for listed, offset, limit, _ in model.log if (listed, limit) == (name, 1)]
        assert sorted(alone) == sorted(2 * [*range(rows)])


def test_more_offsets_than_can_be_asked_for_are_told() -> None:
    """A size that is told far too large is no reason to ask for each offset, and the export is not complete."""
    model = Model(100)
    model.told = lambda name: 100 + MOST_ALONE + 1 if name == "active" else 0
    reader = queue_reader(model)

    assert read(reader, model) == model.start
    assert reader.verdict.reasons == ["the service reports far more rows of the active list than it shows"]
    assert len(model.log) < 60


def test_rows_that_show_up_late_are_told() -> None:
    """Each reading shows rows that the ones before had left out: no two of them agree."""
    rng = random.Random(1)
    model = Model(400)
    model.view = lambda rows: [row for row in rows if rng.random() < 0.7]
    reader = queue_reader(model, lanes=1)
    read(reader, model)

    assert not reader.verdict.complete


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_service_that_answers_nothing_at_random_is_given_up(share: float) -> None:
    """Empty answers to any request, one alone included: an error or an incomplete export, after a bounded number."""
    rng = random.Random(share)
    model = Model(400)
    model.view = lambda rows: [] if rng.random() < share else rows
    reader = queue_reader(model)
    try:
        complete = read(reader, model) < model.start and reader.verdict.complete
    except UnavailableError:
        complete = False

    assert not complete
    assert len(model.log) < 3 * (MOST_REQUESTS + 4 * 400)


CUTS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def still_list(rows: int, told: int, cuts: list[int]) -> Model:
    """Return a model whose active list has so many rows, `told` more in its size, and slices of changing length."""
    model = Model(rows, 20)
    asked = iter(range(10**6))
    model.cut = lambda shown: min(shown, cuts[next(asked) % len(cuts)])
    model.told = lambda name: rows + told if name == "active" else 20
    return model


@given(
    rows=st.integers(0, 80),
    hidden=st.sets(st.integers(0, 80), max_size=60),
    cuts=CUTS,
    told=st.sampled_from([0, 0, 7]),
    lanes=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@example(rows=4, hidden={0, 1}, cuts=[1], told=0, lanes=1, seed=0)
@example(rows=5, hidden={1, 2}, cuts=[1], told=3, lanes=1, seed=0)
def test_whatever_is_left_out_and_cut(  # noqa: PLR0917 - hypothesis names them all
    rows: int, hidden: set[int], cuts: list[int], told: int, lanes: int, seed: int
) -> None:
    """A list that stands still is met as far as it is shown, though rows are left out and slices cut at random."""
    model = still_list(rows, told, cuts)
    model.hidden = {row for place, row in enumerate(model.lists["active"]) if place in hidden}
    reader = queue_reader(model, lanes=lanes)

    assert read(reader, model, seed) == model.start - model.hidden
    assert reader.verdict.complete


@given(rows=st.integers(0, 40), cuts=CUTS, over=st.integers(1, 30), lanes=st.integers(1, 4), seed=st.integers(0, 99))
def test_windows_that_are_cut_or_show_nothing(rows: int, cuts: list[int], over: int, lanes: int, seed: int) -> None:
    """A list is met whole by a service that cuts what it shows of a window, and shows nothing of a larger one."""
    model = still_list(rows, 0, cuts)
    model.shy = lambda window: window > over
    reader = queue_reader(model, lanes=lanes)

    assert read(reader, model, seed) == model.start
    assert reader.verdict.complete


# --- sections


def sections_reader(queue: Passing) -> SectionsReader:
    """Return a reader of the model's sections."""
    sections = [queue.section(name) for name in SECTIONS]
    return SectionsReader(sections, seen_keys=PlainSeenKeys(), limit=lambda: 100)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cursors", ["offset", "keyset"])
def test_items_left_out_cost_no_other_item(layout: str, cursors: str) -> None:
    """Pages that show less than they span are passed over, a second reading agrees, and the number is told."""
    queue = Passing((700, 0, 300), "offset" if cursors == "offset" else "keyset")
    queue.hidden = set(LAYOUTS[layout](queue.sections[SECTIONS[0]]))
    reader = sections_reader(queue)
    rows = [row for piece in filter(None, reader.read()) for row in piece.wanted]

    assert set(rows) == queue.start - queue.hidden
    assert len(rows) == len(set(rows))
    assert reader.verdict.complete
    assert reader.verdict.not_shown == len(queue.hidden)


def test_a_section_that_ends_at_its_first_short_page_is_told() -> None:
    """Where a page that lacks a row is told to be the last one, readings with other pages end elsewhere."""
    queue = Passing((700, 0, 300), ends_short=True)
    queue.hidden = {queue.sections[SECTIONS[0]][250]}
    reader = sections_reader(queue)
    list(reader.read())

    assert reader.verdict.reasons == ["no two readings of the section needs_my_review showed the same rows"]
