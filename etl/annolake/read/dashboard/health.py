"""What the page says of the exports themselves: how the last ones ended, and what is not in the lake."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from annolake.read.dashboard import words
from annolake.read.dashboard.parts import Section, Tile, as_table

Ended = Literal["good", "bad", "running"]

_ENDED = {"good": "good", "bad": "look at it", "running": "running"}
_LONGEST_REASON = 300
_MISSING = """\
A row that does not fit the tables is set aside with its reason; the command annolake rejects shows examples. A payload
is missing where the service had lost the run before it was exported."""


class QueueHealth(msgspec.Struct, frozen=True):
    """How exports of a queue went; `ended` is the last one's, `reasons` say why it was not good.

    `rows` (that the lake holds), `rejects` and `payloads_missing` are None where they are not known. `good_at` is when
    the last good export ended, None where there was none.
    """

    name: str
    ended: Ended
    reasons: Sequence[str]
    good_at: datetime | None
    rows: int | None
    rejects: int | None
    payloads_missing: int | None


class RejectKind(msgspec.Struct, frozen=True):
    """Rows that could not be taken, by table, place in the row and reason; `queues` are names."""

    table: str | None
    path: str | None
    reason: str
    rows: int
    queues: Sequence[str]


def exports(queues: Sequence[QueueHealth], wrong: Sequence[str], *, now: datetime) -> Section:
    """Return how the last exports ended; `wrong` are sentences that concern the whole lake."""
    note = "Good is an export that met all that it promises and published it. The command annolake status says more."
    bad = [queue for queue in queues if queue.ended == "bad"]
    good = [queue.good_at for queue in queues if queue.good_at]
    rows = [
        (
            _ENDED[queue.ended],
            queue.name,
            " ".join(words.short(reason.replace("`", ""), _LONGEST_REASON) for reason in queue.reasons) or words.NONE,
            words.moment(queue.good_at) if queue.good_at else "never",
            words.number(queue.rows),
        )
        for queue in sorted(queues, key=lambda queue: (queue.ended != "bad", queue.name))
    ]
    table = as_table(("last export", "queue", "why", "last good export", "rows"), rows, numbers=(4,))
    oldest = words.hours((now - min(good)).total_seconds() / 3600) if good else words.NONE
    if not queues:
        title, tile = "No queue has been exported into this lake yet", Tile("Exports", "none", "yet", "bad")
    elif bad:
        need = "needs a look: its last export was" if len(bad) == 1 else "need a look: their last exports were"
        title = f"{len(bad):,} of {words.counted(len(queues), 'queue')} {need} not good"
        tile = Tile("Exports", f"{len(bad):,} of {len(queues):,}", "not good", "bad")
    elif len(good) < len(queues):
        title, tile = "The first export is running", Tile("Exports", "running", "the first one")
    else:
        when = f"{oldest} ago" if len(queues) == 1 else f"within the last {oldest}"
        title = f"{_all(len(queues))} exported well {when}"
        tile = Tile("Exports", "all good", when, "good")
    if wrong:
        title, tile = "The lake needs a look", Tile("Exports", "failed", "see below", "bad")
        note = f"{words.short(wrong[0].replace('`', ''), _LONGEST_REASON)} {note}"
    return Section(
        "exports",
        title,
        note,
        table=table if queues else None,
        table_title="Exports by queue",
        tile=tile,
        opened=bool(bad),
        wide=True,
        has_tones=True,
    )


def _all(queues: int) -> str:
    return {1: "The queue was", 2: "Both queues were"}.get(queues, f"All {queues:,} queues were")


def missing(queues: Sequence[QueueHealth], kinds: Sequence[RejectKind]) -> Section:
    """Return what the lake could not take, or could not get."""
    rejected = sum(kind.rows for kind in kinds)
    lost = sum(queue.payloads_missing or 0 for queue in queues)
    rows = [
        (
            words.short(kind.reason.replace("`", ""), _LONGEST_REASON),
            _place(kind),
            words.short(", ".join(kind.queues), _LONGEST_REASON),
            words.number(kind.rows),
        )
        for kind in kinds
    ]
    rows += [
        ("the run was gone before its payload was exported", "runs", queue.name, words.number(queue.payloads_missing))
        for queue in queues
        if queue.payloads_missing
    ]
    said = []
    if rejected:
        were = "was" if rejected == 1 else "were"
        said.append(f"{words.counted(rejected, 'row')} {were} rejected for {words.counted(len(kinds), 'reason')}")
    if lost:
        said.append(f"{words.counted(lost, 'payload')} {'is' if lost == 1 else 'are'} missing")
    return Section(
        "missing",
        ", ".join(said) or "Nothing was rejected, nothing is missing",
        _MISSING,
        table=as_table(("what", "where", "queues", "rows"), rows, numbers=(3,)) if rows else None,
        table_title="Rejected and missing rows",
        wide=True,
    )


def _place(kind: RejectKind) -> str:
    return words.short(f"{kind.table or 'file'} {kind.path or ''}".strip(), _LONGEST_REASON)
