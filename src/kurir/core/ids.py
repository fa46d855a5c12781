"""Message ids: unique, short, and sorting by time."""

from __future__ import annotations

from functools import lru_cache

_DIGITS = "0123456789abcdefghijklmnopqrstuv"  # base32hex (RFC 4648, section 7): its order is the numbers' order
_PAIRS = tuple(a + b for a in _DIGITS for b in _DIGITS)
RANDOM_BITS = 70


@lru_cache(maxsize=4)
def _milliseconds(number: int) -> str:
    return "".join(_PAIRS[number >> shift & 1023] for shift in (40, 30, 20, 10, 0))


def make_id(now: float, bits: int) -> str:
    """24 characters in lower-case base32hex: milliseconds since 1970 (50 bits), then 70 random `bits`."""
    p = _PAIRS
    return (
        f"{_milliseconds(int(now * 1000))}{p[bits >> 60]}{p[bits >> 50 & 1023]}{p[bits >> 40 & 1023]}"
        f"{p[bits >> 30 & 1023]}{p[bits >> 20 & 1023]}{p[bits >> 10 & 1023]}{p[bits & 1023]}"
    )
