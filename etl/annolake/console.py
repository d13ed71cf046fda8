"""What a person or an orchestrator sees on standard error: messages, logs and the progress of an export.

Owns which of them are shown, and in which form. Never what is said, and never standard output, which belongs to a
command's result.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from importlib import import_module
from threading import Lock
from types import MappingProxyType
from typing import Any, TextIO

from annolake.clock import Clock
from annolake.observers.lines import ProgressLines
from annolake.observers.protocols import SILENCE, Log, Progress
from annolake.printable import printable_lines
from annolake.settings import LogFormat

# Terminals whose cursor cannot be moved.
_DUMB = frozenset({"dumb", "unknown"})

_SHOW_CURSOR = "\x1b[?25h"


class Console:
    """Messages and logs of one command on `stream`.

    On a terminal a progress bar stands for the routine logs; elsewhere, and where the variable TERM says that the
    terminal is dumb, they are written as key=value or, with `log_format` json, as one JSON object a line. Then messages
    are logs too, so that every line parses. `quiet` leaves warnings and errors. `environ` has NO_COLOR and TERM.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        now: Callable[[], datetime],
        quiet: bool = False,
        log_format: LogFormat = "text",
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._stream, self._environ = stream, environ
        self._as_json = log_format == "json"
        self._quiet = quiet
        self._lock = Lock()
        self._above: Callable[[str], None] | None = None  # where a bar is drawn, what writes above it
        self._is_drawn_on = stream.isatty() and environ.get("TERM", "").lower() not in _DUMB and not self._as_json
        routine = not quiet and not self._is_drawn_on
        self.log: Log = _Log(self._write, now, as_json=self._as_json, routine=routine)

    def say(self, message: str) -> None:
        """Tell a person how it went; nothing when quiet."""
        if self._as_json:
            self.log.info("message", text=message)
        elif not self._quiet:
            self._write(message)

    def complain(self, message: str, **facts: Any) -> None:
        """Tell a person what went wrong: never left out. `facts` go into a log of JSON alone."""
        if self._as_json:
            self.log.error("message", text=message, **facts)
        else:
            self._write(f"annolake: {message}")

    def progress(self, clock: Clock | None = None) -> AbstractContextManager[Progress]:
        """Return what shows progress: a bar on a terminal, elsewhere a line of the log every 30 seconds."""
        monotonic = (clock or Clock()).monotonic
        if self._quiet:
            return nullcontext(SILENCE)
        return self._bar(monotonic) if self._is_drawn_on else nullcontext(ProgressLines(self.log, monotonic))

    def give_back(self) -> None:
        """Show the terminal's cursor again, where the process ends at once and a bar was drawn."""
        if self._above:
            self._stream.write(_SHOW_CURSOR)
            self._stream.flush()

    @contextmanager
    def _bar(self, monotonic: Callable[[], float]) -> Iterator[Progress]:
        # Drawing is imported where it is done: 40 ms of every other start.
        drawing = import_module("annolake.observers.bar").ProgressBar
        with drawing(self._stream, monotonic, no_color=bool(self._environ.get("NO_COLOR"))) as bar:
            self._above = bar.print_above
            try:
                yield bar
            finally:
                self._above = None

    def _write(self, line: str) -> None:
        if self._above:
            self._above(line)
            return
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()


class _Log:
    """A log whose lines are written by `write`: key=value (logfmt), or an object of JSON; `routine` events, or not."""

    def __init__(
        self, write: Callable[[str], None], now: Callable[[], datetime], *, as_json: bool, routine: bool
    ) -> None:
        self._write, self._now = write, now
        self._line = _json_line if as_json else _text_line
        self._routine = routine

    def debug(self, event: str, **facts: Any) -> None:
        """Do nothing: no command shows developers more."""

    def info(self, event: str, **facts: Any) -> None:
        """Log a routine event, where those are shown."""
        if self._routine:
            self._log("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log what someone may want to look at."""
        self._log("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log what must be looked at."""
        self._log("error", event, facts)

    def _log(self, level: str, event: str, facts: Mapping[str, Any]) -> None:
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(self._line(stamp, level, event, facts))


def _json_line(stamp: str, level: str, event: str, facts: Mapping[str, Any]) -> str:
    return json.dumps({**facts, "event": event, "level": level, "timestamp": stamp}, default=repr)


def _text_line(stamp: str, level: str, event: str, facts: Mapping[str, Any]) -> str:
    told = {"timestamp": stamp, "level": level, "event": event, **facts}
    return " ".join(_pair(name, fact) for name, fact in told.items())


def _pair(name: str, fact: object) -> str:
    """Return a fact as logfmt has it: quoted where a reader would take it for several."""
    if fact is True:
        return name
    text = "" if fact is None else "false" if fact is False else str(fact)
    text = printable_lines(text) if isinstance(fact, str) else text
    quoted = any(sign in text for sign in ' ="')
    text = (text.replace("\\", "\\\\") if quoted else text).replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{text}"' if quoted else f"{name}={text}"
