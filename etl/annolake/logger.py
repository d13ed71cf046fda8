"""Log lines on a stream: key=value, or one JSON object a line.

Owns how a log line is written. A library for it, with all that such a library can do, took 70 ms of every start.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock
from typing import Any, TextIO

from annolake.printable import printable_lines

_FIRST = ("timestamp", "level", "event")


class Logger:
    """Writes events with their facts, for any number of threads; routine ones (info) only when `routine`."""

    def __init__(self, stream: TextIO, now: Callable[[], datetime], *, as_json: bool, routine: bool) -> None:
        self._stream = stream
        self._now = now
        self._render = _json_line if as_json else _key_values
        self._routine = routine
        self._lock = Lock()

    def debug(self, event: str, **facts: Any) -> None:
        """Leave out what only a developer wants to see."""

    def info(self, event: str, **facts: Any) -> None:
        """Log a routine event."""
        if self._routine:
            self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log what someone may want to look at."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log what must be looked at."""
        self._write("error", event, facts)

    def _write(self, level: str, event: str, facts: Mapping[str, Any]) -> None:
        timestamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = self._render({**facts, "event": event, "level": level, "timestamp": timestamp})
        with self._lock:
            print(line, file=self._stream, flush=True)


def _json_line(facts: Mapping[str, Any]) -> str:
    """Return facts as one JSON object; what JSON cannot hold is shown as Python does."""
    return json.dumps(facts, default=repr)


def _key_values(facts: Mapping[str, Any]) -> str:
    """Return facts as logfmt: time, level and event first; a true one is its name alone."""
    names = [*_FIRST, *(name for name in facts if name not in _FIRST)]
    return " ".join(_key_value(name, facts[name]) for name in names)


def _key_value(name: str, fact: Any) -> str:
    if fact is True:
        return name
    if fact is None or fact is False:
        return f"{name}={'' if fact is None else 'false'}"
    text = printable_lines(fact) if isinstance(fact, str) else str(fact)
    quoted = any(character in text for character in ' ="')
    if quoted:
        text = text.replace("\\", "\\\\")
    text = text.replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{text}"' if quoted else f"{name}={text}"
