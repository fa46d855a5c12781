"""`Message`: what a caller hands over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

from .core.errors import InvalidMessage
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


def gathered(
    what: Message | str | Sequence[Message], params: Mapping[str, Any] | None, treatment: Mapping[str, Any]
) -> tuple[list[Message], bool]:
    """The messages of a `submit`, and whether they came as a list. Raises InvalidMessage."""
    if isinstance(what, str):
        return [_message(what, {} if params is None else params, treatment)], False
    if treatment or params is not None:
        raise InvalidMessage("params", "go with a method's name", "Put them into the Message.")
    if isinstance(what, Message):
        return [what], False
    if not isinstance(what, Sequence):
        raise InvalidMessage(
            "message", f"is a {type(what).__name__}", "Give a Message, a list of them, or a method and parameters."
        )
    return list(cast("Sequence[Message]", what)), True


def _message(method: str, params: Mapping[str, Any], treatment: Mapping[str, Any]) -> Message:
    try:
        return Message(method, params, **treatment)
    except TypeError:
        known = {f.name for f in fields(Message)}
        wrong = sorted(set(treatment) - known)[0]
        raise InvalidMessage(wrong, "is unknown", "Bot API parameters go into params.") from None
