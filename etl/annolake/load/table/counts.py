"""How many rows each file of a queue has, in one small file, so that they are counted without opening any.

Owns `_annolake/counts/<queue id>.json` (docs/lake.md#counts). Parts are immutable and named by their content, so an
entry can be superfluous and never outdated. Whoever meets a part without one reads its footer. Before a part is
withdrawn the counts go: what they name is there, or was replaced, or is lost (`lost_files`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated

import msgspec

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location, MissingError
from annolake.load.storage.scratch import Workspace
from annolake.load.table.part_file import Part

_WRITTEN_ANEW = "the next export of the queue writes it anew"

_Number = Annotated[int, msgspec.Meta(ge=0)]

Counts = Mapping[str, tuple[int, int]]
"""By the name of a part: its rows, and how many of them have removed_at."""


def counts_of(parts: Iterable[Part]) -> Counts:
    """Return the counts of some parts."""
    return {part.path.name: (part.rows, part.removed) for part in parts}


def read_counts(files: Files, path: Location) -> Counts:
    """Return the counts that are kept; none where there is no file. Raises LakeError where it can't be read."""
    try:
        counts = _decoded(files.read(path))
    except MissingError:
        return {}
    if counts is None:
        raise LakeError(f"cannot read {path}: these are not the counts of parts; the next export writes it anew")
    return counts


def known_counts(files: Files, path: Location) -> Counts:
    """Return the same; none where it can't be read either: every count is in a footer too."""
    with suppress(LakeError):
        return read_counts(files, path)
    return {}


def all_counts(files: Files, folder: Location) -> dict[str, tuple[int, int]]:
    """Return the counts of all queues, those that can be read."""
    paths = [folder / name for name in files.names(folder) if name.endswith(".json")]
    return {part: count for path in paths for part, count in known_counts(files, path).items()}


def wrong_counts(files: Files, path: Location, counts: Counts) -> Iterator[str]:
    """Yield where the counts that are kept are not those of the footers."""
    try:
        kept = read_counts(files, path)
    except LakeError as exc:
        yield str(exc)
        return
    for name, (rows, removed) in counts.items():
        if kept.get(name, (rows, removed)) != (rows, removed):
            yield f"it is wrong about {name}, which has {rows} rows, {removed} of them removed; {_WRITTEN_ANEW}"


def keep_counts(files: Files, path: Location, counts: Counts, workspace: Workspace) -> None:
    """Write the counts, by way of the workspace, where others are kept.

    What can't be written is left: the rows are published, and no count is wrong for it.
    """
    with suppress(LakeError):
        if counts != known_counts(files, path):
            content = msgspec.json.encode(dict(sorted(counts.items()))) + b"\n"
            workspace.put(files, path, content, flush=False)


def _decoded(text: bytes) -> Counts | None:
    try:
        counts = msgspec.json.decode(text, type=dict[str, tuple[_Number, _Number]])
    except (msgspec.DecodeError, RecursionError):
        return None
    return counts if all(removed <= rows for rows, removed in counts.values()) else None
