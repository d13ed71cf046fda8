"""Which rows of a queue an export reads: all of them, or those added after a watermark (`--new-only`).

Owns that decision, from what earlier exports proved (docs/guarantees.md#new-only). Pure: proofs in, plan out.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from annolake.extract.paging.sort_order import Order
from annolake.extract.paging.watermark import Watermark
from annolake.load.proofs import Proofs
from annolake.report import Mode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Plan(msgspec.Struct, frozen=True):
    """The mode of an export, why it is not the one asked for, and from where on each list is read.

    A list that is not in `watermarks` is read whole: in mode "new" because its order is not known to be of use.
    """

    mode: Mode
    reason: str | None = None
    watermarks: Mapping[str, Watermark] = msgspec.field(default_factory=dict)


FULL = Plan("full")


def plan_new_only(
    proofs: Proofs,
    *,
    endpoint: str,
    now: datetime,
    lookback_s: float,
    full_every_s: float,
    rows_in_lake: int,
    why_full: str | None = None,
) -> Plan:
    """Plan an export of new rows, or a full one with the reason where earlier exports do not allow that.

    The watermark is the smaller of the newest added_at that the last complete full export, and complete new-only ones
    since, met, and the time the last of them started; minus the look-back. So a row that was added while they ran, or
    by a clock that is behind, is read again rather than missed. A time later than now is no time to go by, and an
    export that began then no proof. `why_full` tells why a table beside the rows needs all of them.
    """
    full, new = proofs.until(now).full, proofs.until(now).new
    if full is None:
        return Plan("full", "no complete full export of this queue is recorded")
    if full.endpoint != endpoint:
        return Plan("full", f"the last complete full export was over another endpoint than {endpoint}")
    if not rows_in_lake and full.rows_seen:
        return Plan("full", "the lake holds no row of this queue any more")
    if now - full.started_at > timedelta(seconds=full_every_s):
        return Plan("full", "the last complete full export is older than sync.full_every_s")
    if why_full:
        return Plan("full", why_full)
    begun = max(full.started_at, new.started_at) if new else full.started_at
    newest = [at for at in (full.newest_added_at, new and new.newest_added_at) if at and at <= now]
    mark = min([begun, *([max(newest)] if newest else [])]) - timedelta(seconds=lookback_s)
    return _reading_from(full.orders, mark)


def _reading_from(orders: Mapping[str, str | None], mark: datetime) -> Plan:
    watermarks, unsorted = {}, []
    for name, recorded in orders.items():
        order = Order.parse(recorded) if recorded else None
        if order is None:
            unsorted.append(name)
        else:
            watermarks[name] = Watermark(order, (mark - _EPOCH) // timedelta(microseconds=1))
    return Plan("new", swept_because(unsorted), watermarks)


def swept_because(names: Iterable[str]) -> str | None:
    """Say which lists are read whole although only new rows are wanted; None where none is."""
    lists = " and ".join(sorted(names))
    return f"read whole, since it is not sorted by a time that tells new rows: {lists}" if lists else None
