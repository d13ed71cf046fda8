"""When a thread is known to be read whole, and how it is asked for."""

from collections.abc import Sequence

import pytest

from annolake.errors import UnavailableError
from annolake.extract.endpoints.cursors import MOST_CURSOR, require_short
from annolake.extract.endpoints.threads import MOST_NAME, url_name
from annolake.sandbox import Population, Sandbox
from annolake.settings import Source
from annolake.sources.turns import MOST_READINGS, ThreadReading, TurnsSource
from annolake.transform.turns import Thread, TurnsPage
from sources.reading import access_to

THREAD = Thread("item", "thread", "project", None)


def page(keys: str, *, more: bool = False) -> TurnsPage:
    """Return a page with a turn for each letter, and a cursor behind it where there is more."""
    return TurnsPage(1, keys=[key.encode() for key in keys], cursor=f"behind {keys}" if more else None)


def reading_of(pages: Sequence[TurnsPage]) -> tuple[ThreadReading, int]:
    """Hand pages to a reading as long as it asks for more; return it, and how many it took."""
    reading = ThreadReading(THREAD)
    for taken, one in enumerate(pages, 1):
        if not reading.take(one):
            return reading, taken
    return reading, len(pages) + 1


def test_one_page_without_a_cursor_is_whole() -> None:
    """It shows one moment; an empty thread is one as well."""
    for keys in ("abc", ""):
        reading, taken = reading_of([page(keys), page(keys)])
        assert (reading.whole, reading.turns, taken) == (True, len(keys), 1)


def test_several_pages_are_whole_once_two_readings_agree() -> None:
    """The second reading begins at the start; the cursors of the first are not used again."""
    first = [page("ab", more=True), page("cd")]
    reading, taken = reading_of([*first, *first, *first])

    assert (reading.whole, reading.turns, taken) == (True, 4, 4)


def test_a_turn_that_was_skipped_is_found_by_the_next_readings() -> None:
    """One of the first page was deleted, so that another moved to it unseen."""
    moved = [page("ab", more=True), page("d")]
    after = [page("bc", more=True), page("d")]
    reading, taken = reading_of([*moved, *after, *after])

    assert (reading.whole, reading.turns, taken) == (True, 3, 6)


def test_a_thread_that_never_stands_still_is_not_whole() -> None:
    """After so many readings it is left."""
    pages = [one for number in range(20) for one in (page("ab", more=True), page(f"c{'d' * number}{number % 10}"))]
    reading, taken = reading_of(pages)

    assert (reading.whole, taken) == (False, 2 * MOST_READINGS)


def test_a_page_that_brings_nothing_and_goes_on_is_the_end_of_patience() -> None:
    """A cursor that leads back, or nowhere: not whole, and not asked for for ever."""
    reading, taken = reading_of([page("ab", more=True)] * 9)

    assert (reading.whole, taken) == (False, 2)


def test_ids_are_parts_of_a_path() -> None:
    """Slashes, question marks and dots are escaped; one too long for a URL has no name."""
    assert url_name("a/b ?c#d%é") == "a%2Fb%20%3Fc%23d%25%C3%A9"
    assert [url_name(dots) for dots in (".", "..", "...")] == ["%2E", "%2E%2E", "..."]
    assert url_name("x" * MOST_NAME) == "x" * MOST_NAME
    assert url_name("x" * (MOST_NAME + 1)) is None


def test_a_cursor_too_long_for_a_url_is_told() -> None:
    """In a sentence that names what it is a cursor of."""
    require_short("x" * MOST_CURSOR, title="a thread", endpoint="/e")
    with pytest.raises(UnavailableError, match="a thread has a cursor of 4,097 characters, too long for a URL"):
        require_short("x" * (MOST_CURSOR + 1), title="a thread", endpoint="/e")


@pytest.mark.parametrize("lanes", [1, 4])
def test_pages_come_for_every_thread_and_few_are_under_way(lanes: int) -> None:
    """Each thread once and whole; an id that no URL can hold is told as unread."""
    with (
        Sandbox(Population(rows=0, threads=12)) as sandbox,
        access_to(sandbox, Source(queues="all", concurrency=lanes)) as access,
    ):
        rows = [row.value() for row in (*sandbox.queue().threads("active"), *sandbox.queue().threads("archived"))]
        threads = [Thread(row["queue_run_id"], row["thread_id"], row["session_id"], None) for row in rows]
        long = Thread("long", "x" * 5_000, threads[0].project_id, None)
        source = TurnsSource(access)
        found: dict[str, set[str]] = {}
        whole = []
        for reading, one in (*source.read([*threads, long]), *source.rest()):
            found.setdefault(reading.thread.thread_id, set()).update(row.row.trace_id for row in one.rows)
            whole += [reading.thread.queue_run_id] if reading.whole and one.cursor is None else []

    assert found == {
        thread.thread_id: {turn.trace_id for turn in sandbox.threads.turns(thread.thread_id)} for thread in threads
    }
    assert set(whole) == {thread.queue_run_id for thread in threads}
    assert (source.unread, source.why, source.refused) == (1, "its id is too long for a URL", None)
