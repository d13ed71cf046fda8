"""Days and moments as the numbers that the lake's arrays hold."""

from datetime import date, datetime, timedelta

import numpy as np

NO_DAY = int(np.iinfo(np.int32).min)
"""The day of a row without added_at."""
ALL_DAYS = 0
"""The one partition of a table that has none: `queues`."""
NO_TIME = int(np.iinfo(np.int64).min)


_EPOCH = date(1970, 1, 1)
_ZERO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def date_of(day: int) -> date:
    """Return the date of a day that is not `NO_DAY`."""
    return _EPOCH + timedelta(days=day)


def day_from(when: date) -> int:
    """Return the day of a date."""
    return (when - _EPOCH).days


def microseconds(when: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (when - _ZERO) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """Return the time so many microseconds since 1970, in UTC."""
    return _ZERO + timedelta(microseconds=microseconds)
