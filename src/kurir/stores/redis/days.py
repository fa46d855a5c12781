"""The day, in UTC, on which messages end."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86400, UTC).strftime("%Y-%m-%d")


def day_of(now: float) -> str:
    """YYYY-MM-DD of a time in Unix seconds."""
    return _day(int(now // 86400))
