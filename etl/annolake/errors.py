"""What can go wrong, grouped by what the operator does next; exit codes as in docs/cli.md#exit-codes.

    AnnolakeError
    ├── ConfigError          2    fix the command line, the environment or the config
    ├── ServiceError         4    RefusedError, NotFoundError, GoneError, TooLargeError, UnavailableError
    ├── LakeError            5    the lake could not be read, written or trusted
    ├── LockedError          6    another export holds the queue's lock
    └── InterruptedExport    130 or 143

A message is one plain sentence: what, where, what to do next. It never holds a key, a header, a body or a row's
content. Any other exception is a bug (1). Code 3 is no error: the report says what is missing.
"""


class AnnolakeError(Exception):
    """Base of every error a user can meet; `exit_code` is that of the process."""

    exit_code: int = 1


class ConfigError(AnnolakeError):
    """The command line, the environment or the config file is wrong."""

    exit_code = 2


class ServiceError(AnnolakeError):
    """The service refused a request or did not answer.

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
    """The service understood and refused (401, 403, 422, a redirect elsewhere): repeating the request is no use.

    `numbers` are those in the refusal's body, perhaps a cap; nothing else is taken out of a body.
    """

    numbers: tuple[int, ...] = ()


class NotFoundError(ServiceError):
    """404: what was asked for does not exist, or not for this key."""


class GoneError(ServiceError):
    """410: the endpoint was retired."""


class TooLargeError(ServiceError):
    """An answer was larger than source.max_response_mb: fewer rows may fit."""


class UnavailableError(ServiceError):
    """Every attempt failed: no connection, 429, 5xx, or an answer that could not be read."""


class LakeError(AnnolakeError):
    """The lake could not be read, written or trusted."""

    exit_code = 5


class LockedError(AnnolakeError):
    """Another export holds the lock of this queue."""

    exit_code = 6


class InterruptedExport(AnnolakeError):  # noqa: N818 - not an error of anything, the operator asked for it
    """SIGINT or SIGTERM arrived."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}: what was published stays; run again")
        self.exit_code = 128 + signal_number  # 130 and 143, by the shell's convention
