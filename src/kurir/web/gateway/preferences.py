"""What a client wants of a call besides the call: `Prefer` (RFC 7240), `Idempotency-Key`, `Kurir-Priority`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kurir.core.message import Priority
from kurir.drafting import priority as as_priority

LONGEST: Final = 3600.0  # seconds a call waits at most


@dataclass(frozen=True, slots=True)
class Preferences:
    """`wait`: seconds, None where nothing was said. `respond_async`: a placeholder is as good as the result."""

    wait: float | None = None
    respond_async: bool = False
    key: str | None = None
    priority: Priority = Priority.NORMAL

    def applied(self) -> bytes:
        """The value of `Preference-Applied`."""
        words = ["respond-async"] if self.respond_async else []
        return ", ".join([*words, *([f"wait={self.wait:g}"] if self.wait is not None else [])]).encode()


_NONE: Final = Preferences()


def read(headers: Iterable[tuple[bytes, bytes]]) -> Preferences:
    """The preferences in an ASGI request's headers. What is no preference we know is ignored, as the RFC asks; raises
    InvalidMessage for an unknown priority."""
    wait: float | None = None
    asynchronously = False
    key: str | None = None
    priority = Priority.NORMAL
    found = False
    for name, value in headers:
        if name == b"prefer":
            found = True
            for word in value.decode("latin-1").lower().replace(";", ",").split(","):
                token, _, given = word.strip().partition("=")
                if token.strip() == "respond-async":
                    asynchronously = True
                elif token.strip() == "wait" and wait is None:
                    wait = _seconds(given)
        elif name == b"idempotency-key":
            found = True
            key = value.decode("utf-8", "replace").strip().strip('"')
        elif name == b"kurir-priority":
            found = True
            priority = as_priority(value.decode("latin-1").strip())
    return Preferences(wait, asynchronously, key, priority) if found else _NONE


def _seconds(text: str) -> float | None:
    text = text.strip().strip('"')
    return min(LONGEST, float(text)) if text.isdecimal() and len(text) < 10 else None
