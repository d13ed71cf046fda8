"""Standard output and standard error, which never decide what a command does.

Owns the process's descriptors 0 to 2. What cannot be passed on, because its reader went away or the disk is full, is
lost and noted; nothing is raised, in no thread and not when Python ends either. Whether a loss matters is for the
command to say.
"""

import io
import os
import select
import sys
from typing import Any, TextIO

import msgspec

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Drain(io.RawIOBase):
    """The raw end of a stream: it takes all that is written, and notes in `error` why it could not pass it on."""

    def __init__(self, descriptor: int) -> None:
        self.error: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Tell what the text layer asks first."""
        return True

    def fileno(self) -> int:
        """Return the descriptor: a progress bar asks it for the terminal's width."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether a person looks on."""
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Pass everything on, or as much as the other end takes."""
        rest = memoryview(data)
        size = rest.nbytes
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # a pipe that another program has made non-blocking, and that is full
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = self.error or error
                break
        return size


class Streams(msgspec.Struct):
    """Where a command's result goes, and where everything else does; `answered`: with `--json`, its line is out."""

    out: TextIO
    err: TextIO
    answered: bool = False

    def answer(self, line: str) -> None:
        """Print the one line of JSON that a command ends with, if that is not done yet."""
        if not self.answered:
            self.answered = True
            print(line, file=self.out)

    def pass_on(self, data: bytes) -> None:
        """Write bytes of a result that is no text of ours."""
        buffer = getattr(self.out, "buffer", None)
        if buffer is None:  # a program that calls the command took its place
            self.out.write(data.decode(errors="backslashreplace"))
            return
        self.out.flush()
        buffer.write(data)
        buffer.flush()

    @property
    def is_gone(self) -> bool:
        """Tell whether a part of the result was lost, so that there is no use in more of it."""
        return self._error is not None

    @property
    def _error(self) -> OSError | None:
        drain = getattr(getattr(self.out, "buffer", None), "raw", None)
        return drain.error if isinstance(drain, Drain) else None

    @property
    def lost(self) -> str | None:
        """Why a part of the result could not be written, None where nothing was lost, or where the reader has gone."""
        error = self._error
        return None if error is None or isinstance(error, BrokenPipeError) else error.strerror


def settle_streams() -> Streams:
    """Return the process's streams, which from now on are sys.stdout and sys.stderr too."""
    _open_missing()
    sys.stdout = _settled(sys.stdout, sys.__stdout__, _STDOUT)
    sys.stderr = _settled(sys.stderr, sys.__stderr__, _STDERR)
    return Streams(sys.stdout, sys.stderr)


def _open_missing() -> None:
    """Have descriptors that were closed lead nowhere: else the next file that is opened would be standard output."""
    for descriptor in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one


def _settled(stream: TextIO | None, at_start: TextIO | None, descriptor: int) -> TextIO:
    if stream is not None and stream is not at_start:
        return stream  # a program that calls the command has put its own there
    encoding = stream.encoding if stream else "utf-8"
    drain = io.BufferedWriter(Drain(descriptor))
    # a character that the terminal's encoding lacks is escaped: it is no reason to stop either
    return io.TextIOWrapper(drain, encoding, errors="backslashreplace", line_buffering=True)
