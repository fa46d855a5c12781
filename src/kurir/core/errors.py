"""Everything Kurir raises on purpose. Each says what happened, to what, and what to do now.

KurirError
├── InvalidMessage        a field of a message is wrong: `field`, `remedy`
│   ├── UnknownBot        no token is configured for that bot
│   └── TooLarge          it, or a file of it, is larger than can be taken
├── KeyConflict           an idempotency key is in use for another body
├── KeyHeld               an open transaction is about to have the idempotency key
├── NotFound              no message of that id
├── WrongState            the message's state does not allow that
├── InvalidSetting        a setting is wrong: `field`, `remedy`
├── StoreError            the store did not do it; nothing was changed
│   ├── StoreFull         no room on disk
│   ├── StoreAway         busy, unreachable or closed
│   └── SchemaMismatch    the store's schema is newer than this Kurir
├── Undelivered           awaited delivery ended otherwise: `record`
└── DeliveryTimeout       awaited delivery has not ended yet; the message lives on
"""

from __future__ import annotations

from .message import Record

LONGEST = 500  # characters of an error; what a caller gave is quoted no further


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class KurirError(Exception):
    """Base of all. `remedy` is one sentence: what to do now."""

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what = shortened(what)
        self.remedy = remedy
        super().__init__(f"{what}. {remedy}" if remedy else what)


class InvalidMessage(KurirError):
    """A message cannot be accepted. `field` names the offending field (`params.media`, `expires_at`, ...)."""

    def __init__(self, field: str, what: str, remedy: str) -> None:
        self.field = field = shortened(field, 200)
        super().__init__(f"{field}: {what}", remedy)


class UnknownBot(InvalidMessage):
    """No token is configured for the bot asked for."""


class TooLarge(InvalidMessage):
    """More bytes than can be taken."""


class KeyConflict(KurirError):
    """The idempotency key was used before with another body. `key`, `id` of the first message."""

    def __init__(self, key: str, id: str) -> None:
        self.key = key
        self.id = id
        super().__init__(
            f"idempotency_key {key!r} already belongs to message {id} with another body",
            "Send the same body again, or use a new key.",
        )


class KeyHeld(KurirError):
    """A transaction that has not ended yet is about to have the idempotency key; nothing of the call was kept."""


class NotFound(KurirError):
    """No message has that id."""


class WrongState(KurirError):
    """The message's state does not allow what was asked."""


class InvalidSetting(KurirError):
    """A setting is wrong. `field` names it as the user wrote it."""

    def __init__(self, field: str, what: str, remedy: str) -> None:
        self.field = field = shortened(field, 200)
        super().__init__(f"{field}: {what}", remedy)


class StoreError(KurirError):
    """The store did not do it; nothing of the call was kept."""


class StoreFull(StoreError):
    """No room on disk."""


class StoreAway(StoreError):
    """The store is busy, closed or unreachable."""


class SchemaMismatch(StoreError):
    """The store was written by a newer Kurir."""


OF_ALL = (StoreAway, StoreFull, SchemaMismatch)  # what any other message would be answered, too


class Undelivered(KurirError):
    """The message awaited ended dead, cancelled or expired. `record` tells why."""

    def __init__(self, record: Record) -> None:
        self.record = record
        super().__init__(
            f"message {record.id} is {record.state}: {record.reason or 'no reason recorded'}",
            f"See `kurir show {record.id}`; `kurir retry {record.id}` sends it again.",
        )


class DeliveryTimeout(KurirError, TimeoutError):
    """The message awaited is not delivered yet. It lives on; `id` names it."""

    def __init__(self, id: str, seconds: float) -> None:
        self.id = id
        super().__init__(f"message {id} is not delivered after {seconds:g} s", f"It lives on: see `kurir show {id}`.")
