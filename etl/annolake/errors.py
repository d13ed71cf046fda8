"""What can go wrong, with its exit code, grouped by what the operator does next.

AnnolakeError
├── ConfigError            2    correct the command line, the environment or the config
├── ServiceError           4    the service refused or stayed away
│   ├── RefusedError            401, 403, 422, ...: asking again changes nothing
│   ├── NotFoundError, GoneError  404: no such queue, or not for this key; 410: the endpoint was retired
│   └── TooLargeError, UnavailableError  an answer above source.max_response_mb; every attempt was spent
├── LakeError              5    the lake could not be read, written or trusted
├── LockedError            6    another export holds the queue's lock
├── WorkerError            4    the cluster stayed away, or lost a worker
└── InterruptedExport      130 or 143
"""

import signal
from typing import Any

BY_PROGRAM = "raised by on_progress, which was handed to annolake.export"
"""The note on an exception that is the program's own."""

_ENDING = "shutdown"  # in what Python raises where a pool is given work, or a thread is to begin, and the program ends


class AnnolakeError(Exception):
    """Base of every error a user can meet; `exit_code` is the process's (docs/guarantees.md#exit-codes).

    A message is one plain sentence: what, where, what to do next. It never holds a key, a header, a body or a row's
    content; settings and arguments may be quoted. Any other exception is a bug.
    """

    exit_code: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as it is: what makes one need not take its arguments one by one."""
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[AnnolakeError], args: tuple[Any, ...], state: dict[str, Any]) -> AnnolakeError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigError(AnnolakeError):
    """The command line, the environment or the config file is wrong."""

    exit_code = 2


class ServiceError(AnnolakeError):
    """The service refused or stayed away.

    `status` is the last HTTP status (None when no answer came), `endpoint` the path asked for, without its
    query, and `attempts` how often it was asked.
    """

    exit_code = 4

    def __init__(self, message: str, *, status: int | None, endpoint: str, attempts: int) -> None:
        super().__init__(message)
        self.status = status
        self.endpoint = endpoint
        self.attempts = attempts


class RefusedError(ServiceError):
    """The service understood and said no (401, 403, 422, a redirect elsewhere): asking again is no use.

    `numbers` are those that the refusal's body names, a cap perhaps; nothing else is taken out of a body.
    """

    numbers: tuple[int, ...] = ()


class NotFoundError(ServiceError):
    """404: what was asked for does not exist, or not for this key."""


class GoneError(ServiceError):
    """410: the endpoint was retired."""


class TooLargeError(ServiceError):
    """An answer was larger than allowed: the caller asks for fewer rows where that is possible."""


class UnavailableError(ServiceError):
    """Every attempt failed: no connection, 429, 5xx, or an answer that could not be read."""


class LakeError(AnnolakeError):
    """The lake could not be read, written or trusted."""

    exit_code = 5


class LockedError(AnnolakeError):
    """Another export holds the lock of this queue; `holder` says which, where that is known."""

    exit_code = 6

    def __init__(self, message: str, holder: str | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class WorkerError(AnnolakeError):
    """A cluster, or another executor of queues, stayed away, or lost the worker that exported a queue."""

    exit_code = 4


class InterruptedExport(AnnolakeError):  # noqa: N818 - not an error of anything, the operator asked for it
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}: run it again; what was published stays")
        self.exit_code = 128 + signal_number  # 130 and 143, by the shell's convention


_INTERRUPTED = InterruptedExport(signal.SIGINT).exit_code


def outcome(error: BaseException) -> tuple[str, int]:
    """Return what a report says of an error: one sentence, and the exit code.

    Of a bug only its kind is named: its message may quote a row. What is no Exception ends a program, as
    KeyboardInterrupt does and what orchestrators raise for it.
    """
    if not isinstance(error, Exception) and not is_panic(error):
        number = error.args[0] if isinstance(error, KeyboardInterrupt) and error.args else None
        error = InterruptedExport(number if isinstance(number, int) else signal.SIGINT)
    if isinstance(error, AnnolakeError):
        return str(error), error.exit_code
    if by_program := _by_program(error):
        return by_program, _INTERRUPTED
    return f"a bug ({type(error).__name__}): report it with the traceback", AnnolakeError.exit_code


def is_panic(error: BaseException) -> bool:
    """Tell whether a library in Rust ended a call, as deltalake can: a bug, though no Exception of Python's."""
    return type(error).__name__ == "PanicException"


def _by_program(error: BaseException) -> str | None:
    """Return how the program that called for the export ended it, None where it did not."""
    if BY_PROGRAM in getattr(error, "__notes__", ()):
        return f"on_progress raised {type(error).__name__}, which ended the export: mend it, and run it again"
    if isinstance(error, RuntimeError) and _ENDING in str(error):
        return "the program ended before its export did: have it wait for that, and run it again"
    return None
