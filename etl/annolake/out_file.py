"""A file that a command writes for its user: it has its name when it is whole, and takes no other file's place.

Owns the temporary name beside it, and what is said where it cannot be written.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from annolake.errors import ConfigError, LakeError

_FORCE = "name another file, or give --force to replace it"


def require_free(path: Path, *, force: bool, lake: Path | str, advice: str = _FORCE) -> None:
    """Raise ConfigError where a file cannot have that name: another has it (unless `force`), or it is in the lake.

    `advice` says what to do about the other one.
    """
    place = path.resolve()
    if isinstance(lake, Path) and place.is_relative_to(lake.resolve()):
        raise ConfigError(f"{path} is in the lake, where readers would take it for a part of it: name a file elsewhere")
    if path.exists() and not path.is_file():  # what /dev/stdout names need not have a place
        raise ConfigError(f"{path} is not a file: name one")
    if place.exists() and not force:
        raise ConfigError(f"{path} is there already: {advice}")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Give a file to write; it is flushed and gets its name when the block ends well, and is gone otherwise.

    Where another file got that name meanwhile, that is replaced with `force`, else ConfigError is raised. Raises
    LakeError where the disk fails.
    """
    place = path.resolve()
    aside = place.parent / f".{place.name[:100]}.{secrets.token_hex(8)}.tmp"
    try:
        with aside.open("xb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        if force:
            aside.replace(place)
        else:
            _named(aside, place, path)
    except OSError as error:
        raise LakeError(f"cannot write {path}: {error.strerror}; make room or name another file, then run again") from (
            None
        )
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def _named(aside: Path, place: Path, path: Path) -> None:
    try:
        place.hardlink_to(aside)  # unlike a rename it takes nobody's place
    except FileExistsError:
        raise ConfigError(f"{path} is there by now: name another file") from None
    except OSError:  # a file system without links
        if place.exists():
            raise ConfigError(f"{path} is there by now: name another file") from None
        aside.replace(place)
