"""What decoding makes of the service's answers, the same for each endpoint: rows that fit the contract, and rejects."""

from typing import Any

import msgspec
from msgspec.structs import replace


class DecodedRow(msgspec.Struct, gc=False):
    """A row that fits the contract: its typed values, and the text of the fields that the contract does not name.

    `number` is that of its row in the index of its queue, once it was met. `archived`: from the archived list.
    `run_found`: None where an item names no run. `unavailable` has the columns that the answers could not tell: their
    stored values stay. `item_hash`: over the item's own fields, None over the runs endpoint.
    """

    key: bytes
    row: Any
    hash: bytes
    unmapped: bytes | None
    archived: bool
    item_type: str = "RUN"
    run_found: bool | None = True
    unavailable: frozenset[str] = frozenset()
    number: int = -1
    item_hash: bytes | None = None


class Reject(msgspec.Struct, frozen=True):
    """A row that does not fit the contract: where and why, and its text without anything secret.

    `queue_run_id` is None where not even that could be read; `key` then stands for the text.
    """

    key: bytes
    queue_run_id: str | None
    path: str
    reason: str
    text: str


class RowBatch(msgspec.Struct):
    """Rows in reading order, and the rejects among them; `size` of the answers in bytes.

    `kept` are the typed values of items whose runs were not asked for: their rows stay as the lake has them. `left_out`
    are the numbers of rows that were erased from the lake.
    """

    size: int = 0
    rows: list[DecodedRow] = msgspec.field(default_factory=list)
    rejects: list[Reject] = msgspec.field(default_factory=list)
    kept: list[Any] = msgspec.field(default_factory=list)
    left_out: list[int] = msgspec.field(default_factory=list)

    def latest(self) -> "RowBatch":
        """Return the same with the last version alone of each row: one that moves can be on a page twice."""
        last = {each.key: each for each in self.rows}
        return self if len(last) == len(self.rows) else replace(self, rows=list(last.values()))


class Page(RowBatch):
    """One answer of a list: `keys` has the key of each of its elements in order, rejects included."""

    keys: list[bytes] = msgspec.field(default_factory=list)

    def append(self, other: "Page") -> None:
        """Add the rows of a page that follows."""
        self.size += other.size
        self.keys += other.keys
        self.rows += other.rows
        self.rejects += other.rejects
