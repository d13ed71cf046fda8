"""Short lists are whole by proof, or handed back: whatever the service cuts, and whatever comes and goes meanwhile."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annolake.extract.offset.whole_list import LongestAnswer, measure, read_whole

ROWS = 100


def key(number: int) -> bytes:
    """Return the key of a row."""
    return number.to_bytes(4, "big")


@dataclass
class Shown:
    """An answer of the model."""

    keys: list[bytes]
    size: int


@dataclass
class Service:
    """A list that is cut by rows and by bytes, and changes before each answer.

    `changes` has for each answer the places of rows to delete and to insert behind; `ignores_offset`.
    """

    rows: list[tuple[int, int]]  # number and bytes
    most: int = ROWS
    most_bytes: int = 1 << 30
    changes: list[tuple[list[int], list[int]]] = field(default_factory=list)
    ignores_offset: bool = False

    def __post_init__(self) -> None:
        self.asked = 0
        self.stayers = {key(number) for number, _ in self.rows}
        self._next = 1_000_000

    def ask(self, offset: int) -> Shown:
        """Change the list, then show what is at the offset."""
        deleted, inserted = self.changes[self.asked] if self.asked < len(self.changes) else ([], [])
        self.asked += 1
        for place in deleted:
            if self.rows:
                gone, _ = self.rows.pop(place % len(self.rows))
                self.stayers.discard(key(gone))
        for place in inserted:
            self._next += 1
            self.rows.insert(place % (len(self.rows) + 1), (self._next, 100))
        return self.show(0 if self.ignores_offset else offset)

    def show(self, offset: int) -> Shown:
        """Show what is at an offset: at least one row, if there is any."""
        shown: list[tuple[int, int]] = []
        for row in self.rows[offset : offset + self.most]:
            if shown and sum(size for _, size in (*shown, row)) > self.most_bytes:
                break
            shown.append(row)
        return Shown([key(number) for number, _ in shown], sum(size for _, size in shown))


def ordinary(rows: int) -> list[tuple[int, int]]:
    """Return that many rows of the same size."""
    return [(number, 100) for number in range(rows)]


def read(service: Service, longest: LongestAnswer | None = None) -> set[bytes] | None:
    """Read the list; return the keys that were shown, None where it could not be read whole."""
    whole = read_whole(service.ask, longest or seen(service.most))
    return None if whole is None else {each for answer in whole.answers for each in answer.keys}


def cutting() -> LongestAnswer:
    """Return what is known of a service that cuts answers short."""
    longest = seen(ROWS)
    longest.cuts = True
    return longest


def seen(rows: int, size: int | None = None) -> LongestAnswer:
    """Return what is known of a service that gave such an answer."""
    longest = LongestAnswer(ROWS)
    longest.saw(Shown([b""] * rows, rows * 100 if size is None else size))
    return longest


CHANGES = st.lists(
    st.tuples(st.lists(st.integers(0, 200), max_size=3), st.lists(st.integers(0, 200), max_size=3)), max_size=8
)


@settings(max_examples=600, deadline=None)
@given(
    service=st.builds(
        Service,
        rows=st.lists(st.sampled_from([50, 100, 500]), max_size=130).map(lambda sizes: list(enumerate(sizes))),
        most=st.sampled_from([1, 2, 3, 5, 37, 100]),
        most_bytes=st.sampled_from([1_000, 2_000, 5_000, 1 << 30]),
        changes=CHANGES,
        ignores_offset=st.sampled_from([False, False, False, True]),
    ),
    known=st.integers(0, 37),
)
def test_no_stayer_is_missed_untold(service: Service, known: int) -> None:
    """What was seen of the service before is an answer that it can have given."""
    longest = LongestAnswer(ROWS)
    longest.saw(replace(service, rows=[(number, 50) for number in range(known)]).show(0))
    met = read(service, longest)
    assert met is None or service.stayers <= met


ANY_WEIGHT = st.lists(st.sampled_from([1, 50, 400, 3_000, 20_000]), max_size=40)


@settings(max_examples=400, deadline=None)
@given(
    service=st.builds(
        Service,
        rows=ANY_WEIGHT.map(lambda sizes: list(enumerate(sizes))),
        most=st.sampled_from([1, 5, 37, 100]),
        most_bytes=st.sampled_from([10, 1_000, 5_000]),
        changes=CHANGES,
        ignores_offset=st.sampled_from([False, False, False, True]),
    )
)
def test_no_stayer_is_missed_of_a_service_that_is_known_to_cut(service: Service) -> None:
    """Whatever rows weigh, come and go."""
    met = read(service, cutting())
    assert met is None or service.stayers <= met


@settings(max_examples=400, deadline=None)
@given(lists=st.lists(ANY_WEIGHT, min_size=1, max_size=6), most_bytes=st.sampled_from([1_000, 5_000]))
def test_what_is_lost_before_a_cut_is_noticed_is_in_doubt(lists: list[list[int]], most_bytes: int) -> None:
    """Where none is noticed, only an answer before a row of more than half of what fits can have been cut."""
    longest = LongestAnswer(ROWS)
    lost = []
    for sizes in lists:
        service = Service(list(enumerate(sizes)), most_bytes=most_bytes)
        whole = read_whole(service.ask, longest)
        met = {each for answer in whole.answers for each in answer.keys} if whole else service.stayers
        if whole and met != service.stayers:
            lost.append(whole)
            assert 2 * sizes[len(met)] > most_bytes
    assert all(whole.by_size for whole in lost)


def test_a_small_answer_before_a_heavy_row_is_believed_until_a_cut_is_noticed() -> None:
    """Then the list is read whole, and what was read before is known to be in doubt."""
    rows = [*ordinary(5), (5, 8_800), *((number, 100) for number in range(6, 20))]
    service, longest = Service(rows, most_bytes=9_000), seen(90)
    before = read_whole(service.ask, longest)
    assert before
    assert (before.by_size, len(before.answers), longest.cuts) == (True, 1, False)
    many = Service(ordinary(200), most_bytes=9_000)
    assert (read(many, longest), longest.cuts) == (many.stayers, True)
    after = read_whole(service.ask, longest)
    assert after
    assert ({each for answer in after.answers for each in answer.keys}, after.by_size) == (service.stayers, False)


@pytest.mark.parametrize("most", [50, 20])
def test_a_service_that_shows_fewer_rows_than_are_asked_for_is_found_out(most: int) -> None:
    """By the first list of more."""
    longest = LongestAnswer(ROWS)
    service = Service(ordinary(most + 1), most=most)
    assert (read(service, longest), longest.cuts) == (service.stayers, True)


def test_a_list_that_grew_is_not_taken_for_one_that_was_cut() -> None:
    """A row came behind the last one meanwhile: asked again, the answer shows it too."""
    longest = seen(ROWS)
    service = Service(ordinary(60), changes=[([], []), ([], [60])])
    assert (read(service, longest), longest.cuts, service.asked) == (service.stayers | {key(1_000_001)}, False, 3)


@pytest.mark.parametrize(
    ("service", "cuts", "requests"),
    [
        (Service([]), False, 1),
        (Service(ordinary(99)), False, 2),
        (Service(ordinary(100)), False, 1),
        (Service(ordinary(500)), False, 1),
        (Service(ordinary(500), most_bytes=9_000), True, 3),
        (Service(ordinary(40), ignores_offset=True), False, 3),
        (Service(ordinary(60), changes=[([], []), ([], [60])]), False, 3),
    ],
)
def test_a_measurement_tells_whether_answers_are_cut(service: Service, cuts: bool, requests: int) -> None:
    """One request where it shows as many rows as were asked for, two where it shows all there is."""
    longest = LongestAnswer(ROWS)
    measure(service.ask, longest)
    assert (longest.cuts, service.asked) == (cuts, requests)


@pytest.mark.parametrize(("rows", "requests"), [(0, 1), (1, 3), (90, 3), (91, 5), (270, 7)])
def test_what_it_costs_where_answers_are_known_to_be_cut(rows: int, requests: int) -> None:
    """Each answer twice, and a look behind the last one."""
    service = Service(ordinary(rows), most_bytes=9_000)
    assert (read(service, cutting()), service.asked) == (service.stayers, requests)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.integers(0, 800),
    most=st.sampled_from([8, 37, 100]),
    size=st.integers(1, 500),
    most_bytes=st.sampled_from([4_000, 1 << 30]),
)
def test_a_list_that_stands_still_is_read_whole(rows: int, most: int, size: int, most_bytes: int) -> None:
    """A list that stands still is read whole."""
    service = Service([(number, size) for number in range(rows)], most, most_bytes)
    assert read(service, LongestAnswer(ROWS)) == service.stayers


@pytest.mark.parametrize(
    ("rows", "requests"), [(0, 1), (1, 1), (49, 1), (50, 2), (100, 2), (140, 2), (147, 3), (200, 3), (730, 9)]
)
def test_what_it_costs_where_a_long_answer_was_seen(rows: int, requests: int) -> None:
    """What it costs where a long answer was seen."""
    service = Service(ordinary(rows))
    assert read(service) == service.stayers
    assert service.asked == requests


def test_a_row_that_leaves_behind_the_last_known_one_hides_none() -> None:
    """Of three rows two are shown; one of them leaves before it is asked what follows them: nothing is shown there."""
    service = Service(ordinary(3), most=2, changes=[([], []), ([], []), ([0], [])])
    met = read(service)
    assert met is None or service.stayers <= met


def test_an_answer_of_few_rows_and_many_bytes_is_not_believed() -> None:
    """An answer of few rows and many bytes is not believed."""
    service = Service(ordinary(40), most_bytes=2_000)
    assert read(service, seen(100, 2_000)) == service.stayers
    assert service.asked > 1


def test_the_first_answer_ever_is_asked_for_again() -> None:
    """The first answer ever is asked for again."""
    service = Service(ordinary(2))
    assert read(service, LongestAnswer(ROWS)) == service.stayers
    assert service.asked > 1


def test_a_list_that_moves_all_the_time_is_handed_back() -> None:
    """A list that moves all the time is handed back."""
    changes = [([0] * 10, [0] * 3) for _ in range(50)]
    assert read(Service(ordinary(800), changes=changes)) is None


def test_a_service_that_ignores_the_offset_never_shows_a_long_list_whole() -> None:
    """A service that ignores the offset never shows a long list whole."""
    assert read(Service(ordinary(150), ignores_offset=True)) is None
