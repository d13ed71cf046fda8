"""The compact index against a plain dictionary."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annolake.load.merge.columns import halves
from annolake.load.merge.index import ACCEPTED, ASKED, DUE, MET, NO_PAYLOAD, REMOVED, STORED, Index


def _key(number: int) -> bytes:
    """Return keys that differ in their last bytes alone, as ids given out in order do."""
    return UUID(int=number).bytes


PAGES = st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=8), max_size=20)


@given(st.sets(st.integers(0, 40)), PAGES)
def test_the_index_is_a_dictionary_in_little_room(stored: set[int], pages: list[list[tuple[int, int]]]) -> None:
    """Met, changed and gone rows are those that a dictionary would tell, in any order of pages."""
    index = Index()
    here = sorted(stored)
    lake = halves(b"".join(_key(number) for number in here))
    nothing = halves(bytes(16) * len(here))
    index.enter(lake, nothing, 3, removed=np.zeros(len(here), np.bool_), exported=np.zeros(len(here), np.int64))
    index.close_reading()
    last = dict.fromkeys(stored, 0)
    met: dict[int, int] = {}
    for reading, page in enumerate(pages, 1):
        keys = [_key(number) for number, _ in page]
        numbers = [number for number, _ in page]
        before, places = index.meet(keys, reading)
        assert before == [met.get(number, 0) for number in numbers]
        assert places == index.find(halves(b"".join(keys))).tolist()
        met.update(dict.fromkeys(numbers, reading))
        wanted = index.changed(places, [bytes([version]) * 16 for _, version in page])
        for (number, version), want in zip(page, wanted, strict=True):
            assert want == (last.get(number) != version or numbers.count(number) > 1)
        last.update(page)

    assert index.count(MET) == len(met)
    assert index.count(STORED) == len(stored)
    assert index.size == len(stored | met.keys())
    assert index.days_of_gone() == ({3} if stored - met.keys() else set())
    assert index.gone(index.find(lake)).tolist() == [number not in met for number in here]


def _pages(keys: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def test_a_hundred_thousand_rows_take_little_room() -> None:
    """About 50 bytes a row, found again under ids in order as under random ones."""
    for keys in (
        [_key(number) for number in range(100_000)],
        [bytes(row) for row in np.random.default_rng(1).integers(0, 256, (100_000, 16), np.uint8)],
    ):
        index = Index()
        index.close_reading()
        new = [index.meet(page, 1)[0] for page in _pages(keys, 1000)]
        again = [index.meet(page, 2)[0] for page in _pages(keys, 777)]

        assert not any(map(any, new))
        assert all(map(all, again))
        assert index.nbytes / index.size < 60


def test_a_row_asked_for_is_awaited_until_it_is_taken() -> None:
    """A changed row is asked for once, and counts as awaited until it is spilled."""
    index = Index()
    index.close_reading()

    _, numbers = index.meet([_key(1)])
    asked = [index.changed(numbers, [b"a" * 16]), index.changed(numbers, [b"a" * 16])]
    awaited = index.awaited
    index.take(np.array(numbers, np.int32), np.array([5], np.int32))

    assert (asked, awaited, index.awaited, index.count(ASKED)) == ([[True], [False]], 1, 0, 1)


def test_a_row_in_two_partitions_is_where_it_was_written_last() -> None:
    """The later exported_at is true, whichever partition is read first; the other day is left over."""
    one, two = 1, 2
    for first, second in ((one, two), (two, one)):
        index = Index()
        for day in (first, second):
            index.enter(
                halves(_key(1)), halves(bytes([day]) * 16), day, removed=np.array([False]), exported=np.array([day])
            )
        index.close_reading()

        assert index.days(index.find(halves(_key(1)))).tolist() == [two]
        assert index.days_left() == {one}
        assert index.changed(index.meet([_key(1)])[1], [bytes([two]) * 16]) == [False]


def test_a_row_twice_in_one_partition_is_refused() -> None:
    """No export writes that."""
    index = Index()

    entered = index.enter(
        halves(_key(1) * 2), halves(bytes(32)), 1, removed=np.zeros(2, np.bool_), exported=np.zeros(2, np.int64)
    )

    assert entered is False


def _stored_items(count: int, marks: Sequence[int] = ()) -> Index:
    """Return an index of rows whose keys and items' hashes are their numbers from 1 on, with flags besides."""
    index, one = Index(items=True), np.arange(1, count + 1)
    keys = halves(b"".join(_key(int(number)) for number in one))
    flags = np.array([*marks, *[0] * (count - len(marks))], np.uint8)
    no = np.zeros(count, np.bool_)
    index.enter(keys, keys, 1, removed=no, exported=np.zeros(count, np.int64), items=keys, marks=flags)
    index.close_reading()
    return index


def test_a_row_is_kept_while_its_item_is_the_stored_one() -> None:
    """Not a new one, nor one of another item, one that is due, one that was removed, or one twice on a page."""
    index = _stored_items(5, [0, 0, DUE, REMOVED])
    keys = [_key(number) for number in (1, 2, 3, 4, 6, 5, 5)]
    items = [_key(1), _key(9), _key(3), _key(4), _key(6), _key(5), _key(5)]

    kept = index.keep(index.meet(keys)[1], items)

    assert kept == [True, False, False, False, False, False, False]
    assert (index.count(ACCEPTED), index.count(ACCEPTED | DUE), index.count(DUE)) == (1, 0, 5)


def test_a_row_that_was_asked_for_once_is_asked_for_again() -> None:
    """Also where its item is the stored one by then: the version that was read last counts."""
    index = _stored_items(1)
    (number,) = index.meet([_key(1)])[1]

    assert [index.keep([number], [item]) for item in (_key(1), _key(7), _key(1))] == [[True], [False], [False]]


def test_runs_of_stored_rows_can_be_asked_for_by_their_keys() -> None:
    """A key that the lake does not hold is passed over."""
    index = _stored_items(2)

    index.ask_for([_key(2), _key(8)])

    assert index.keep(index.meet([_key(1), _key(2)])[1], [_key(1), _key(2)]) == [True, False]
    assert index.size == 2


def test_without_stored_items_nothing_is_kept_and_no_room_is_taken() -> None:
    """Over runs, at a first export and at a refresh the index has no byte more."""
    index, other = Index(), _stored_items(50_000)
    keys = halves(b"".join(_key(number) for number in range(1, 50_001)))
    no = np.zeros(50_000, np.bool_)
    index.enter(keys, keys, 1, removed=no, exported=np.zeros(50_000, np.int64))
    index.close_reading()

    assert index.keep([0], [_key(1)]) == [False]
    assert 15 <= (other.nbytes - index.nbytes) / 50_000 <= 18.5  # arrays grow by an eighth


def test_a_payload_is_missing_where_neither_the_lake_nor_the_service_has_the_run() -> None:
    """What the lake has had stays; what it never had stays missing until the run is found."""
    index = _stored_items(3, [NO_PAYLOAD, NO_PAYLOAD, 0])
    numbers = index.meet([_key(number) for number in (1, 2, 3, 4, 5)])[1]

    index.note_found(numbers, [True, False, False, False, None])

    assert [bool(index.flagged(np.array([number]), NO_PAYLOAD)[0]) for number in numbers] == [
        *(False, True, False, True, False)
    ]


def test_when_all_rows_were_met_only_what_merges_ask_is_kept() -> None:
    """Half of the room is free while partitions are merged."""
    index = _stored_items(100_000)
    index.meet([_key(number) for number in range(1, 50_001)])
    before = index.nbytes
    index.no_more_rows()

    every = index.find(halves(b"".join(_key(number) for number in range(1, 100_001))))
    assert before - index.nbytes == 33 * 100_000
    assert index.gone(every).tolist() == [False] * 50_000 + [True] * 50_000
    assert (index.live, index.missing, set(index.days(every).tolist())) == (100_000, 50_000, {1})
