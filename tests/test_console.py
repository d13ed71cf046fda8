"""What stands on standard error: logs that parse, and a progress bar on terminals alone."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from annolake.console import Console, LogFormat
from annolake.report import QueueReport

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


def test_a_terminal_shows_how_far_each_queue_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and rows; what could move the cursor is escaped, and the routine logs are left out."""
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    console = Console(stream, now=lambda: NOW)
    with console.progress() as progress:
        progress.started("q", "Support\x1b[2J", 120)
        progress.read("q", 60)
        progress.finished(QueueReport(queue_id="q", rows_seen=119))
        console.log.info("told")
    assert r"Support\x1b[2J" in stream.getvalue()
    assert "119/119" in stream.getvalue()
    assert "told" not in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "settings"), [(Terminal(), {"quiet": True}), (Terminal(), {"log_format": "json"}), (io.StringIO(), {})]
)
def test_elsewhere_nothing_is_drawn(stream: io.StringIO, settings: dict[str, Any]) -> None:
    """Nor when quiet, nor where each line has to parse."""
    with Console(stream, now=lambda: NOW, **settings).progress() as progress:
        progress.started("q", "Support", 120)
        progress.read("q", 60)
    assert stream.getvalue() == ""
