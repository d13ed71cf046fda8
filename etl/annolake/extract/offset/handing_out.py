"""When slices that were taken are handed out: while answers are waited for, so that requests never wait for rows.

Owns that sequence alone. Whoever gets a slice is busy with its rows for a while; at the end of a list the next one is
asked for first.
"""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing

from annolake.extract.paging.slices import Piece


def handed_out(
    steps: Generator[Piece | None, None, None], *, spare: Callable[[], int], is_ready: Callable[[], bool]
) -> Generator[Piece, None, None]:
    """Yield the slices that the steps of a reader take, in their order; None says that it waits for an answer next.

    As long as that `is_ready`, the reader goes on; no more slices are held than may be `spare`.
    """
    held: deque[Piece] = deque()
    with closing(steps):
        for taken in steps:
            if taken:
                held.append(taken)
            while held and (len(held) > spare() or (taken is None and not is_ready())):
                yield held.popleft()
    yield from held
