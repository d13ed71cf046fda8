"""Slices are handed out while answers are waited for, and not while the next request could be sent."""

from collections.abc import Generator, Sequence

import pytest

from annolake.extract.offset.handing_out import handed_out
from annolake.extract.paging.slices import Piece, Slice

ONE, TWO, THREE = (Piece(name, Slice([], {}, None), ()) for name in ("one", "two", "three"))


def run(steps: Sequence[Piece | None], *, spare: int, ready: Sequence[bool] = ()) -> list[str]:
    """Return what happens: "asks" where the reader waits next, and the names of slices as they are handed out."""
    told: list[str] = []
    answers = iter(ready)

    def taken() -> Generator[Piece | None, None, None]:
        for step in steps:
            told.extend(["asks"] if step is None else [])
            yield step

    pieces = handed_out(taken(), spare=lambda: spare, is_ready=lambda: next(answers, False))
    told.extend(piece.name for piece in pieces)
    return told


@pytest.mark.parametrize(
    ("spare", "told"),
    [
        (2, ["asks", "one", "two", "asks", "three"]),
        (1, ["one", "asks", "two", "asks", "three"]),
        (0, ["one", "two", "asks", "three", "asks"]),
    ],
)
def test_requests_go_before_rows(spare: int, told: list[str]) -> None:
    """As long as no more slices are held than may be: of a list's end those of the next list are sent first."""
    assert run([ONE, TWO, None, THREE, None], spare=spare) == told


def test_an_answer_goes_before_rows() -> None:
    """Where it is there, the reader goes on."""
    assert run([ONE, None, TWO, None], spare=5, ready=[True, False]) == ["asks", "asks", "one", "two"]
