"""The merge of one partition: what its file holds, and what arrives for it, into a new file that nobody sees yet.

Publishes nothing, and looks things up alone: several can be under way at once.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

import msgspec
import pyarrow as pa

from annolake.errors import LakeError
from annolake.load.merge.blocks import Blocks
from annolake.load.merge.decide import Counts, Decision, decide, merged
from annolake.load.merge.index import Index
from annolake.load.merge.inputs import arriving_side, nothing_stored, stored_side, stored_values
from annolake.load.merge.spill import Spill
from annolake.load.table.part_file import Part, PartReader
from annolake.load.table.partitions import Partitions


class Merged(msgspec.Struct, frozen=True):
    """What becomes of a partition by its merge: `part` is its new file, None where no row is left.

    With `changed` false it stays as it is.
    """

    counts: Counts
    part: Part | None
    changed: bool = True

    @property
    def size(self) -> int:
        """The new file's size in bytes."""
        return self.part.size if self.part else 0


class PartitionMerge:
    """Merges partitions of one queue's table; `now` is stamped on the rows that are new or changed."""

    def __init__(self, partitions: Partitions, index: Index, spill: Spill, *, now: datetime) -> None:
        self._partitions, self._index, self._spill, self._now = partitions, index, spill, now
        self._format = partitions.file_format

    def is_outdated(self, part: Part | None) -> bool:
        """Tell whether a file has a schema version that may not stay."""
        if part is None or self._partitions.mixes_versions:
            return False
        return part.footer.schema_version != self._format.version

    def merged(self, day: int, ahead: set[int], *, remove_gone: bool) -> tuple[Merged, bool]:
        """Merge one partition into a file that nobody sees yet.

        The second value tells whether rows were kept that are to leave for a day still `ahead`.
        """
        part = self._partitions.parts.get(day)
        with ExitStack() as closing:
            stored, held = nothing_stored(self._format), False
            blocks = Blocks([], _no_block)
            if part:
                reader = closing.enter_context(PartReader(self._partitions.files, part.path, self._format))
                stored, held = stored_side(self._index, reader, self._format, day, ahead=ahead, remove_gone=remove_gone)
                blocks = Blocks(reader.row_groups, reader.row_group, row_bytes=reader.row_bytes)
            arrivals = list(self._spill.arrivals(day))
            decision = decide(stored, [arriving_side(self._index, arrival, self._format, day) for arrival in arrivals])
            if part and not decision.forward:
                raise LakeError(f"cannot trust {part.path}: its rows are not sorted; move it away, then run again")
            if not decision.changed and not self.is_outdated(part):
                return Merged(Counts(), None, changed=False), held
            new = self._built(day, decision, [blocks, *(arrival.rows for arrival in arrivals)])
        return Merged(decision.counts, new), held

    def _built(self, day: int, decision: Decision, inputs: Sequence[Blocks]) -> Part | None:
        """Write a partition's new file; there is none where no row is left."""
        if not len(decision):
            return None
        unavailable_sets = self._spill.unavailable_sets
        preserved = stored_values(
            self._partitions,
            self._index,
            preserved_numbers=decision.preserved_numbers,
            columns=sorted({name for known in unavailable_sets for name in known}),
        )
        rows = merged(
            decision,
            inputs,
            preserved=preserved,
            unavailable_sets=unavailable_sets,
            now=self._now,
            schema=self._format.schema,
        )
        return self._partitions.build(day, rows)


def _no_block(_: int) -> pa.Table:
    raise LookupError("there is no stored file")
