"""Message ids: unique, short, and sorting by time."""

from __future__ import annotations

import base64


def make_id(now: float, bits: int) -> str:
    """24 characters: 48 bits of milliseconds since 1970, then 72 random `bits`, in lower-case base32hex, whose order is
    the order of the numbers (RFC 4648, section 7)."""
    number = (int(now * 1000) << 72) | bits
    return base64.b32hexencode(number.to_bytes(15, "big")).decode("ascii").lower()


RANDOM_BITS = 72
