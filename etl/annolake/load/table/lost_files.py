"""Files of a plain table that are gone: the counts name them, and no export took them out.

Owns how a loss is told from what a running export or a dead one leaves. A file goes in two ways. Another replaces it,
with a later generation, before the counts know that one; or it is withdrawn, and then the counts have gone first. So of
what is counted and not there, as much was replaced as there are later files that are not counted, at the most.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from annolake.errors import LakeError
from annolake.load.storage.files import Files, Location, MissingError, look_again
from annolake.load.table.counts import Counts, known_counts
from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import PartReader
from annolake.printable import counted

_LOOKS = 5
_WHAT_NOW = "restore them, or run a full export, which brings back what the service still has"


def lost_files(
    files: Files, counts: Location, paths: Callable[[], Sequence[Location]], *, file_format: FileFormat, read: Counts
) -> Iterator[str]:
    """Yield in a sentence that files are gone, where the `counts` name others than those that were `read`.

    `paths` lists the files of the queue that are there. Raises LakeError.
    """
    if known_counts(files, counts).keys() - read.keys():
        found = look_again(partial(_look, files, counts, paths, file_format))
        yield from [found] if found else []


def _look(
    files: Files, counts: Location, paths: Callable[[], Sequence[Location]], file_format: FileFormat
) -> str | None:
    """Look at one moment: where an export ended meanwhile, the counts have changed between the two looks at them."""
    for _ in range(_LOOKS):
        kept, there = known_counts(files, counts), paths()
        missing = [kept[name] for name in kept.keys() - {path.name for path in there}]
        later = [path for path in there if path.name not in kept and _is_later(files, path, file_format)]
        if kept == known_counts(files, counts):
            return _loss_in_words(missing, len(later))
    return None


def _is_later(files: Files, path: Location, file_format: FileFormat) -> bool:
    """Tell whether a file took the place of another; of one that cannot be read, that it may have."""
    try:
        with PartReader(files, path, file_format) as reader:
            return reader.part.footer.generation > 1
    except MissingError:
        raise
    except LakeError:
        return True


def _loss_in_words(missing: Collection[tuple[int, int]], replaced: int) -> str | None:
    """Say it, given the counts of what is missing: which of it was replaced is not known, so the least is said."""
    rows = sorted(rows for rows, _ in missing)[: max(0, len(missing) - replaced)]
    if not rows:
        return None
    lost = ("at least " if replaced else "") + counted(len(rows), "file")
    return (
        f"{lost} that it names, with {counted(sum(rows), 'row')}, {'is' if len(rows) == 1 else 'are'} gone: {_WHAT_NOW}"
    )
