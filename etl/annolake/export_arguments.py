"""What a program asks an export for beside its settings: checked where it is given, before anything is touched."""

from typing import get_args

from annolake.errors import ConfigError
from annolake.report import Mode


def check_mode(mode: object) -> None:
    """Raise ConfigError where a mode is none."""
    if mode not in get_args(Mode):
        raise ConfigError(f'mode: expected "full" or "new", got {mode!r}')


def check_at_once(at_once: object) -> None:
    """Raise ConfigError where that is no number of queues, `True` included."""
    if not isinstance(at_once, int) or isinstance(at_once, bool) or at_once < 1:
        raise ConfigError(f"at_once: expected a number of queues from 1 on, got {at_once!r}")
