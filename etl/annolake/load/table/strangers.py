"""What lies in a table's folders beside annolake's files: what readers pass over, and what makes them fail."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location
from annolake.load.table.part_file import NAME_END, NAME_START
from annolake.load.table.partitions import Remark

_PART = re.compile(f"{NAME_START}[0-9a-f]+{re.escape(NAME_END)}")
PASSED_OVER = "it is none of annolake's, and passed over"


def is_part(name: str) -> bool:
    """Tell whether a file is named as annolake's are."""
    return bool(_PART.fullmatch(name))


def is_passed_over(files: Files, path: Location) -> bool:
    """Tell whether it is of what other tools leave and readers pass over: `.DS_Store`, `_SUCCESS`, an empty folder."""
    name = path.name
    if name.endswith("_$folder$") or (name.startswith((".", "_")) and not name.endswith(NAME_END)):
        return True
    try:
        files.size(path)
    except LakeError:  # no file, then: a folder, or what can't be read
        with suppress(LakeError):
            return not files.names(path)
    return False


def part_names(files: Files, folder: Location) -> list[str]:
    """Return the names of the files in a partition folder. Raises `LakeError` where something else is there."""
    found = files.names(folder)
    for name in found:
        if not is_part(name) and not is_passed_over(files, folder / name):
            raise LakeError(f"cannot trust {folder / name}: only part-*.parquet belongs there; move it away")
    return [name for name in found if is_part(name)]


def others(files: Files, folder: Location, start: str, *, fits: Callable[[str], bool]) -> Iterator[Remark]:
    """Yield what a folder has that does not fit: harmless where readers pass it over."""
    for name in files.names(folder):
        if not fits(name):
            harmless = is_passed_over(files, folder / name)
            yield Remark(
                folder / name, PASSED_OVER if harmless else f"only {start}... belongs there; move it away", harmless
            )


def strangers(files: Files, folder: Location) -> Iterator[Remark]:
    """Yield what a folder has that is not annolake's, where readers go by a log and pass all of it over."""
    yield from (Remark(folder / name, PASSED_OVER, harmless=True) for name in files.names(folder) if not is_part(name))


def passed_over(files: Files, folder: Location) -> Iterator[Remark]:
    """Yield what a folder has that is no file of annolake's and that readers pass over."""
    for name in files.names(folder):
        if not is_part(name) and is_passed_over(files, folder / name):
            yield Remark(folder / name, PASSED_OVER, harmless=True)
