"""The page behind one that was answered is asked for before the reader takes that one, and only that page."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from annolake.extract.cursor.page_ahead import PageAhead
from annolake.extract.cursor.section_reader import CursorSlice
from annolake.extract.cursor.single_pass import Ask

PAGES = 6


class Lane:
    """A lane that answers when it is told to; `asked` has what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.limit = 100
        self.ahead = PageAhead(self._fetch, self._submit, lambda: self.limit)
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def _fetch(self, cursor: str | None, limit: int) -> CursorSlice:
        number = int(cursor or 0) + 1
        self.asked.append(Ask(cursor, limit))
        return CursorSlice([], {}, number, cursor=str(number) if number < PAGES else None)

    def _submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, call, arguments))
        return future

    def answer(self) -> None:
        """Answer what waits, and what is asked for by that."""
        while self._waiting:
            future, call, arguments = self._waiting.pop(0)
            if future.set_running_or_notify_cancel():
                future.set_result(call(*arguments))


def test_one_page_is_asked_for_ahead() -> None:
    """However long the reader is away; the pages come in their sequence, each asked for once."""
    lane, cursor = Lane(), None
    for number in range(1, PAGES + 1):
        page = lane.ahead.ask(Ask(cursor, 100))
        lane.answer()
        assert page.result().page == number
        assert len(lane.asked) == min(number + 1, PAGES)
        cursor = page.result().cursor
    assert lane.asked == [Ask(None, 100), *(Ask(str(number), 100) for number in range(1, PAGES))]


def test_a_page_of_another_size_is_asked_for_anew() -> None:
    """Where as many rows as were asked for ahead are too many by now."""
    lane = Lane()
    lane.ahead.ask(Ask(None, 100))
    lane.answer()
    fewer = lane.ahead.ask(Ask("1", 50))
    lane.limit = 50
    lane.answer()
    behind = lane.ahead.ask(Ask("2", 50))
    lane.answer()

    assert (fewer.result().page, behind.result().page) == (2, 3)
    assert lane.asked[2:] == [Ask("1", 50), Ask("2", 50), Ask("3", 50)]


def test_nothing_is_asked_for_behind_the_end_of_a_reading() -> None:
    """A reading that is broken off asks for no more, and what was not sent yet is not sent."""
    lane = Lane()
    lane.ahead.ask(Ask(None, 100))
    lane.ahead.end()
    lane.answer()

    assert lane.asked == [Ask(None, 100)]
