"""The progress of the command on a terminal, as it is drawn at several widths."""

import io
from collections import Counter

import pytest
from rich.cells import cell_len
from rich.console import Console

from annolake.observers.bar import drawn
from annolake.observers.events import ProgressEvent
from annolake.observers.overview import Totals

READING = ProgressEvent(
    queue_id="7c2d0f8e-1111-4222-8333-944455556666",
    name="Support answers of the third quarter",
    phase="reading",
    rows=1_234_567,
    total=2_000_000,
    steps=1_234_567,
    steps_total=2_000_000,
    rows_per_s=1820.4,
    seconds_left=420.4,
)
MERGING = ProgressEvent(queue_id="q2", name="訳文", phase="merging", rows=90, steps=3, steps_total=12)
NEW_ROWS = ProgressEvent(queue_id="q3\x1b[2J", phase="reading", rows=20, steps=20)
BEGUN = ProgressEvent(queue_id="q4", name="", phase="started")


def shown(width: int, *queues: ProgressEvent, height: int = 24, planned: int = 40, ended: int = 24) -> list[str]:
    """Return the lines of a terminal that shows these queues at work."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None)
    totals = Totals(
        queues=planned,
        ended=ended,
        outcomes=Counter(ok=ended - 1, failed=1),
        at_work=[*queues],
        rows=1_234_677,
        rows_total=None,
        rows_per_s=1820.4,
        requests=5_120,
        throttled=12,
        seconds=3_725.0,
        seconds_left=615.2,
    )
    console.print(drawn(totals, console))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_it_fits_at_any_width(width: int) -> None:
    """No line is longer than the terminal, each queue has one line or two, and the sums stand below."""
    lines = shown(width, READING, MERGING, NEW_ROWS, BEGUN)

    assert max(map(cell_len, lines)) <= width
    assert len(lines) == (8 if width < 76 else 5)
    assert lines[-1].startswith("24 of 40 queues")
    assert "\x1b" not in "".join(lines)


def test_what_is_shown_at_each_width() -> None:
    """The phase, percent, rows with separators and the time left everywhere; speed and a bar where there is room."""
    wide, usual, narrow = (shown(width, READING, MERGING, NEW_ROWS) for width in (140, 80, 40))

    figures = "61%  1,234,567 of 2,000,000 rows  1,820 rows/s  7:00 left"
    assert wide[0].startswith("Support answers of the third …  reading     ━━━")
    assert wide[0].rstrip().endswith(figures)
    assert wide[1].split("╸")[-1].split() == ["25%", "3", "of", "12", "days"]
    assert wide[2].startswith(r"q3\x1b[2J")
    assert " 20 rows" in wide[2]
    assert usual[0].rstrip() == "Support answers of t…  reading     61%  1,234,567 of 2,000,000 rows  7:00 left"
    assert narrow[:2] == ["Support answers of the third qu… reading", "  61%  1,234,567/2,000,000  7:00 left"]
    assert narrow[2:4] == ["訳文 merging", "  25%  3/12"]
    assert narrow[4:6] == [r"q3\x1b[2J reading", "  20 rows"]
    assert wide[-1] == (
        "24 of 40 queues, 1 failed, 10:15 left, 1,234,677 rows, 1,820 rows/s, 1:02:05 elapsed, 12 throttled, "
        "5,120 requests"
    )
    assert narrow[-1] == "24 of 40 queues, 1 failed, 10:15 left"


def test_a_hundred_percent_is_all() -> None:
    """Not what is rounded to it."""
    nearly = ProgressEvent(queue_id="q", name="q", phase="reading", rows=403, total=405, steps=403, steps_total=405)

    assert "99%" in shown(80, nearly)[0]


def test_one_queue_needs_no_sums() -> None:
    """Its own line has them; below are its speed, for which there may be no room, the time gone by and the requests."""
    lines = shown(80, READING, planned=1, ended=0)

    assert lines[1:] == ["1,820 rows/s, 1:02:05 elapsed, 12 throttled, 5,120 requests"]


def test_more_queues_than_lines_are_counted() -> None:
    """Workers of a cluster may have many at once: what has no room is told as a number."""
    many = [ProgressEvent(queue_id=f"q{number}", phase="reading") for number in range(60)]
    lines = shown(80, *many, height=12)

    assert len(lines) == 12
    assert lines[-2] == "and 50 queues more"
