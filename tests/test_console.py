"""What stands on standard error: logs that parse, and a progress bar on terminals alone."""

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from annolake.clock import Clock
from annolake.console import Console
from annolake.observers.events import ProgressEvent, ToldQueue
from annolake.settings import LogFormat

NOW = datetime(2026, 11, 20, 18, 0, 0, 250_000, tzinfo=UTC)
START = "timestamp=2026-11-20T18:00:00.250Z level=warning event=told"


def logged(*, as_json: bool, **facts: Any) -> str:
    """Return the line that a warning becomes."""
    stream = io.StringIO()
    log_format: LogFormat = "json" if as_json else "text"
    Console(stream, now=lambda: NOW, quiet=True, log_format=log_format).log.warning("told", **facts)
    line, end = stream.getvalue()[:-1], stream.getvalue()[-1]
    assert end == "\n"
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("plain", "fact=plain"),
        ("", "fact="),
        (None, "fact="),
        (7, "fact=7"),
        (True, "fact"),
        (False, "fact=false"),
        ("two words", 'fact="two words"'),
        ("a=b", 'fact="a=b"'),
        ('say "yes"', r'fact="say \"yes\""'),
        ("a\\b", r"fact=a\b"),
        ("a b\\", r'fact="a b\\"'),
        ("two\nlines", r"fact=two\nlines"),
        ("\x1b[2J", r"fact=\x1b[2J"),
    ],
)
def test_a_line_of_text_has_one_key_and_value_for_each_fact(fact: object, told: str) -> None:
    """In logfmt: quoted where a reader would take the value for several, and one line whatever it holds."""
    assert logged(as_json=False, fact=fact) == f"{START} {told}"


def test_a_line_of_json_is_an_object() -> None:
    """What JSON cannot hold is shown as Python does."""
    facts = {"text": "zwei\nZeilen ✓", "none": None, "number": 1.5, "when": NOW}
    stamp = {"event": "told", "level": "warning", "timestamp": "2026-11-20T18:00:00.250Z"}
    assert json.loads(logged(as_json=True, **facts)) == {**facts, "when": repr(NOW), **stamp}


@pytest.mark.parametrize("routine", [True, False])
def test_only_routine_events_can_be_left_out(*, routine: bool) -> None:
    """Details for developers are in neither."""
    stream = io.StringIO()
    log = Console(stream, now=lambda: NOW, quiet=not routine).log
    for say in (log.debug, log.info, log.warning, log.error):
        say("told")
    levels = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert levels == [*(["level=info"] if routine else []), "level=warning", "level=error"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def read_for_a_minute(console: Console) -> None:
    """Show the progress of a queue that is read for a minute, with a warning in between."""
    seconds = [0.0]
    with console.progress(replace(Clock(), monotonic=lambda: seconds[0])) as progress:
        progress.planned(1)
        queue = ToldQueue(ProgressEvent(queue_id="q", name="Support\x1b[2J", phase="reading", rows=1_234))
        progress.entered(queue)
        progress.deliver()
        console.log.info("routine")
        console.log.warning("odd", why="a warning that is longer than the terminal is wide, so that it needs two lines")
        seconds[0] += 60
        progress.deliver()


def test_a_terminal_shows_how_far_each_queue_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could move the cursor is escaped. Warnings stand whole above what is drawn; routine logs are left out."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    read_for_a_minute(Console(stream, now=lambda: NOW))
    said = stream.getvalue()

    assert r"Support\x1b[2J" in said
    assert "1:00 elapsed, 0 requests" in said
    assert "routine" not in said
    assert 'event=odd why="a warning that is longer than the terminal is wide, so that it needs two lines"\n' in said
    assert "\x1b[36m" in said, "the phase has a colour"


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is drawn, in the terminal's own colour."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    read_for_a_minute(Console(stream, now=lambda: NOW, environ={"NO_COLOR": "1", "TERM": "xterm"}))

    assert "elapsed" in stream.getvalue()
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue()) is None


@pytest.mark.parametrize(
    ("stream", "settings"),
    [(Terminal(), {"environ": {"TERM": "dumb"}}), (io.StringIO(), {}), (Terminal(), {"json": 1})],
)
def test_elsewhere_lines_tell_the_progress(stream: io.StringIO, settings: dict[str, Any]) -> None:
    """Where there is no terminal, or one whose cursor cannot be moved; in JSON the figures are fields."""
    as_json = bool(settings.pop("json", False))
    read_for_a_minute(Console(stream, now=lambda: NOW, log_format="json" if as_json else "text", **settings))
    lines = stream.getvalue().splitlines()

    assert [line for line in lines if "\x1b" in line] == []
    assert len(lines) == 3
    if as_json:
        told = json.loads(lines[2])
        assert (told["event"], told["rows"], told["seconds"], told["requests"]) == ("progress", 1_234, 60.0, 0)
    else:
        assert "event=progress queue_id=q " in lines[2]
        assert " phase=reading rows=1234 rows_per_s=0.0 requests=0 throttled=0 seconds=60.0" in lines[2]


def test_a_quiet_console_leaves_progress_out() -> None:
    """Only the warning is told, on a terminal too."""
    for stream in (Terminal(), io.StringIO()):
        read_for_a_minute(Console(stream, now=lambda: NOW, quiet=True))
        (line,) = stream.getvalue().splitlines()
        assert "event=odd" in line


def test_a_process_that_ends_at_once_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is hidden while a bar is drawn, and only then."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    console = Console(stream, now=lambda: NOW)
    console.give_back()
    assert stream.getvalue() == ""
    with console.progress():
        console.give_back()
        assert stream.getvalue().endswith("\x1b[?25h")
