"""How many rows each file of a queue has, in one small file, so that they are counted without opening any.

Owns `_annolake/counts/<queue id>.json` (docs/lake.md#counts). Parts are immutable and named by their content, so an
entry can be superfluous and never outdated. Whoever meets a part without one reads its footer.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from annolake.errors import LakeError
from annolake.load.storage.local import MissingError, Store
from annolake.load.table.part_file import Part

_Number = Annotated[int, msgspec.Meta(ge=0)]

Counts = Mapping[str, tuple[int, int]]
"""By the name of a part: its rows, and how many of them have removed_at."""


def counts_of(parts: Iterable[Part]) -> Counts:
    """Return the counts of some parts."""
    return {part.path.name: (part.rows, part.removed) for part in parts}


def read_counts(store: Store, path: Path) -> Counts:
    """Return the counts that are kept; none where there is no file. Raises LakeError where it can't be read."""
    try:
        counts = _decoded(store.read(path))
    except MissingError:
        return {}
    if counts is None:
        raise LakeError(f"cannot read {path}: these are not the counts of parts; the next export writes it anew")
    return counts


def known_counts(store: Store, path: Path) -> Counts:
    """Return the same; none where it can't be read either: every count is in a footer too."""
    with suppress(LakeError):
        return read_counts(store, path)
    return {}


def all_counts(store: Store, folder: Path) -> dict[str, tuple[int, int]]:
    """Return the counts of all queues, those that can be read."""
    files = [folder / name for name in store.names(folder) if name.endswith(".json")]
    return {part: count for file in files for part, count in known_counts(store, file).items()}


def keep_counts(store: Store, path: Path, counts: Counts, *, aside: Path) -> None:
    """Write the counts, by way of the folder `aside`, where others are kept.

    What can't be written is left: the rows are published, and no count is wrong for it.
    """
    with suppress(LakeError):
        if counts != known_counts(store, path):
            store.write(aside / path.name, msgspec.json.encode(dict(sorted(counts.items()))) + b"\n")
            store.move(aside / path.name, path)


def _decoded(text: bytes) -> Counts | None:
    try:
        counts = msgspec.json.decode(text, type=dict[str, tuple[_Number, _Number]])
    except (msgspec.DecodeError, RecursionError):
        return None
    return counts if all(removed <= rows for rows, removed in counts.values()) else None
