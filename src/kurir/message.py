"""`Message`: what a caller hands over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .core.message import OnUnknown, Ordering, Priority
from .core.times import Time
from .telegram.files import InputFile


@dataclass(frozen=True, slots=True)
class Message:
    """One Bot API call to deliver, and how to treat it.

    `method` and `params` are the Bot API's own (https://core.telegram.org/bots/api). Where a parameter is a file, give a
    `Path`, `bytes`, an open binary file or an `InputFile`; a string is a `file_id` or URL, as everywhere. Or name the files
    in `parts`, as a multipart request to the Bot API does.
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    bot: str | int | None = None  # its name in the settings, or its id; None when there is one
    priority: Priority | str = Priority.NORMAL
    idempotency_key: str | None = None  # to 255 characters; the same key and body again is the same message
    due_at: Time | None = None  # not before
    expires_at: Time | None = None  # not after
    delete_after: float | None = None  # seconds after delivery the message is deleted from the chat
    ordering: Ordering | str = Ordering.FIFO
    on_unknown: OnUnknown | str | None = None  # None: hold what costs money, resend all else
    max_attempts: int | None = None
    backoff: Sequence[float] | Mapping[str, Any] | None = None  # seconds, or {"type": "exponential", "base": 1}
    timeout: float | None = None  # seconds, one attempt
    metadata: Mapping[str, Any] | None = None  # found again by key: order id, user id, ...
    force: bool = False  # lift a suppression of the chat
    parts: Mapping[str, InputFile] | None = None  # files that params name as `attach://<name>`, or that are a parameter
