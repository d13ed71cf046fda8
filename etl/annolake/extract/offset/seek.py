"""Where the rows added after a watermark begin in a sorted list: a search by offset with one-row requests.

Proves nothing, for the list moves while it is searched: it only finds a good place to begin
(docs/paging.md#reading-from-a-watermark).
"""

from annolake.extract.offset.in_flight import Window
from annolake.extract.offset.prefetch import OVERLAP
from annolake.extract.paging.watermark import Watermark

_GRAIN = 64  # rows: nearer than this a page is cheaper than another probe
_FIRST = 128  # rows: where the search of a list of unknown length begins
_MOST = 1 << 27  # rows: a server that answers any offset with the same row is found out by its pages


def seek(watermark: Watermark, window: Window, hint: int | None) -> int:
    """Return an offset at or a little before the first row from the watermark on.

    O(log n) requests of one row. `hint`, the list's size as far as known, saves some.
    """
    if watermark.order.descending:
        return 0
    before, behind, step = -1, hint if hint and hint < _MOST else _FIRST, 3 * _FIRST
    while behind < _MOST and _is_old(watermark, window, behind):
        before, behind, step = behind, behind + step, step * 4
    while behind - before > _GRAIN:
        middle = (before + behind) // 2
        if _is_old(watermark, window, middle):
            before = middle
        else:
            behind = middle
    return max(before - OVERLAP, 0)  # some rows more, for the end's proof


def _is_old(watermark: Watermark, window: Window, offset: int) -> bool:
    window.send(offset, limit=1, expected=1, shared=0)
    _, page = window.take()
    return watermark.is_old(page)
