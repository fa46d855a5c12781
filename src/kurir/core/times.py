"""How users write times, and what is refused."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from .errors import InvalidMessage

Time = datetime | timedelta | float | int | str
LATEST = 32503680000.0  # Unix seconds: the year 3000; beyond it a time is surely in milliseconds


def unix(field: str, value: Time, now: float) -> float:
    """`value` in Unix seconds. Taken: an aware datetime, a timedelta from now, Unix seconds, RFC 3339 text with a zone.

    Raises InvalidMessage naming `field` for a naive time, one out of range, or anything else."""
    seconds = _seconds(field, value, now)
    if not math.isfinite(seconds) or not 0 <= seconds < LATEST:
        raise InvalidMessage(field, f"{value!r} is out of range", "Give Unix seconds (not milliseconds) or RFC 3339.")
    return seconds


def _seconds(field: str, value: Time, now: float) -> float:
    if isinstance(value, bool):
        raise InvalidMessage(field, "is a boolean", "Give a time: RFC 3339 with a zone, or Unix seconds.")
    if isinstance(value, int | float):
        return float(value) if value < LATEST else math.inf  # a huge int is no float
    if isinstance(value, timedelta):
        return now + value.total_seconds()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.upper())  # RFC 3339 allows t and z
        except ValueError:
            raise InvalidMessage(
                field,
                f"{value!r} is not a time",
                "Write it as 2026-12-31T18:00:00+03:00, or in Unix seconds.",
            ) from None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidMessage(
                field,
                f"{value.isoformat()} has no time zone",
                "Add one: datetime.now(timezone.utc), or +03:00.",
            )
        return value.timestamp()
    raise InvalidMessage(field, f"is a {type(value).__name__}", "Give a time: RFC 3339 with a zone, or Unix seconds.")
