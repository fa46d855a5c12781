"""From the body of a POST to `Message`s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from kurir.core.errors import InvalidMessage, TooLarge
from kurir.message import Message
from kurir.outbox import MAX_BATCH

from .asked import json_type
from .problems import unknown_field

FIELDS = frozenset(f.name for f in fields(Message)) - {"parts"}
MAX_HEADER_KEY = 255  # characters of an Idempotency-Key


def message(body: Any, where: str = "") -> Message:
    """A message of its JSON. `where`: its place in a batch (`messages[3].`). Raises InvalidMessage."""
    if type(body) is not dict:
        raise InvalidMessage(
            where[:-1] or "body", f"is {json_type(body)}", "Send an object with `method` and `params`."
        )
    if None in body.values():
        _check_names(body, where)
        body = {name: value for name, value in body.items() if value is not None}
    try:
        made = Message(**body)
    except TypeError:
        _check_names(body, where)
        raise InvalidMessage(f"{where}method", "is missing", "Name a Bot API method: sendMessage.") from None
    if made.parts is not None:
        _check_names(body, where)
    if made.force.__class__ is not bool:
        raise InvalidMessage(f"{where}force", f"is {json_type(made.force)}", "Give true or false.")
    if made.metadata is not None and type(made.metadata) is not dict:
        raise InvalidMessage(f"{where}metadata", f"is {json_type(made.metadata)}", 'Give pairs: {"order": "42"}.')
    if made.bot is not None and (isinstance(made.bot, bool) or not isinstance(made.bot, str | int)):
        raise InvalidMessage(f"{where}bot", f"is {json_type(made.bot)}", "Give its name, or its id.")
    return made


def _check_names(body: dict[str, Any], where: str) -> None:
    for name in body:
        if name not in FIELDS:
            raise unknown_field(name, FIELDS, where)


def messages(body: Sequence[Any]) -> list[Message]:
    """The messages of a batch. Raises InvalidMessage naming the first that is wrong, TooLarge."""
    if len(body) > MAX_BATCH:
        raise TooLarge("messages", f"are {len(body):,}", f"Hand over at most {MAX_BATCH:,} at once.")
    return [message(one, f"messages[{index}].") for index, one in enumerate(body)]


def header_key(value: bytes | None) -> str | None:
    """The `Idempotency-Key` header, with or without quotes (draft-ietf-httpapi-idempotency-key-header). Raises
    InvalidMessage."""
    if value is None:
        return None
    try:
        text = value.decode("utf8").strip()
    except UnicodeDecodeError:
        text = value.decode("latin-1").strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not 0 < len(text) <= MAX_HEADER_KEY:
        raise InvalidMessage("Idempotency-Key", "is no text of 1 to 255 characters", "Use an id of yours: order-42.")
    return text


def keyed(one: Message, key: str) -> Message:
    """The message with the header's key. Raises InvalidMessage where it has another one."""
    if one.idempotency_key is None:
        return replace(one, idempotency_key=key)
    if one.idempotency_key != key:
        raise InvalidMessage("idempotency_key", "is not the header's", "Give it in one place, or the same in both.")
    return one


def keyed_batch(batch: list[Message], key: str) -> list[Message]:
    """Each message without a key gets the header's and its place: the same list again is the same messages. Raises
    InvalidMessage for a header that has no room for that."""
    last = f"/{len(batch) - 1}"
    if len(key) + len(last) > MAX_HEADER_KEY:
        most = MAX_HEADER_KEY - len(last)
        raise InvalidMessage("Idempotency-Key", f"is longer than {most} characters", "A list needs room for places.")
    return [
        one if one.idempotency_key is not None else replace(one, idempotency_key=f"{key}/{index}")
        for index, one in enumerate(batch)
    ]
