"""What the log of a Delta table says of a file's columns: their bounds and how many values are null.

Owns which columns have statistics there, and that bounds hold although they are rounded to milliseconds.
"""

import json
from datetime import UTC, datetime, timedelta

from annolake.load.table.file_format import FileFormat
from annolake.load.table.part_file import REMOVED_AT, PartReader

_EXPORTED_AT = "exported_at"
_MILLISECOND = timedelta(milliseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC) - _MILLISECOND


def statistics_columns(file_format: FileFormat) -> list[str]:
    """Return the columns that have statistics in the log: times that readers ask by. Ids are spread over all files."""
    wanted = (file_format.time, _EXPORTED_AT, REMOVED_AT)
    return [name for name in wanted if name in file_format.schema.names]


def statistics_of(reader: PartReader, file_format: FileFormat) -> str:
    """Return the statistics of an open file, as JSON for its entry in the log, from its footer alone."""
    minima: dict[str, str] = {}
    maxima: dict[str, str] = {}
    nulls: dict[str, int] = {}
    for name in statistics_columns(file_format):
        groups = reader.statistics(name)
        if any(each is None or not each.has_null_count for each in groups):
            continue
        nulls[name] = sum(each.null_count for each in groups)
        full = [each for each, rows in zip(groups, reader.row_groups, strict=True) if each.null_count < rows]
        if full and all(each.has_min_max for each in full):
            minima[name] = _text(min(each.min for each in full))
            maxima[name] = _text(_up(max(each.max for each in full)))
    if REMOVED_AT in file_format.schema.names:
        nulls[REMOVED_AT] = reader.part.rows - reader.part.removed
    found = {"numRecords": reader.part.rows, "minValues": minima, "maxValues": maxima, "nullCount": nulls}
    return json.dumps(found)


def _up(when: datetime) -> datetime:
    """Return the next whole millisecond, the last there is at the end of time."""
    over = timedelta(microseconds=when.microsecond % 1000)
    return when - over + _MILLISECOND if over and when < _LAST else when


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
