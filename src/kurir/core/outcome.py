"""What came of one HTTP call: the raw `Answer`, and the `Outcome` it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer arrived. `payload` is the parsed JSON object, None where the body was none."""

    status: int
    payload: Mapping[str, Any] | None
    excerpt: str = ""  # first characters of a body that is not JSON
    retry_after: float | None = None  # the HTTP header, seconds


class Break(StrEnum):
    """How a call ended without an answer."""

    REFUSED = "connection refused"
    DNS = "name not resolved"
    UNREACHABLE = "network unreachable"
    CONNECT_TIMEOUT = "connect timeout"
    TLS = "TLS handshake failed"
    PROXY = "proxy failed"
    POOL = "no free connection"
    RESET = "connection reset"
    TIMEOUT = "read timeout"
    FILE = "file unreadable"


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer arrived. `sent` is True iff any byte of the request may have left this machine."""

    kind: Break
    sent: bool
    detail: str = ""  # never holds a token


Answer = Reply | NoReply


class Scope(StrEnum):
    """Whom a refusal concerns."""

    RECIPIENT = "recipient"  # for good: the chat is suppressed
    RIGHTS = "rights"  # this recipient, until rights change
    MESSAGE = "message"
    BOT = "bot"  # the bot stops; its messages wait


@dataclass(frozen=True, slots=True)
class Delivered:
    """Telegram has done it. `benign` holds its words where it said there was nothing left to do."""

    result: Any = True
    benign: str | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: wait `retry_after` seconds. News, not a failure; the scope is not told."""

    retry_after: float
    reason: str = "Too Many Requests"


@dataclass(frozen=True, slots=True)
class Moved:
    """The group became a supergroup: send to `chat` instead."""

    chat: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Telegram has said no, and will again."""

    scope: Scope
    reason: str
    code: int = 400


@dataclass(frozen=True, slots=True)
class Failed:
    """Not done, and safe to repeat. `link`: the network's doing, nothing of the request left."""

    reason: str
    link: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have arrived. `link`: the connection broke (and not: Telegram answered ambiguously)."""

    reason: str
    link: bool = False


Outcome = Delivered | Throttled | Moved | Refused | Failed | Unknown


def name_of(outcome: Outcome) -> str:
    """The outcome's word in records, logs and metrics: `delivered`, `throttled`, ..."""
    return type(outcome).__name__.lower()
