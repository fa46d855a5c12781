"""Placeholders: message ids for messages that have not been sent yet.

A negative number that says which message, and which item of its result, is meant. It can stand wherever the Bot API takes
the id of a message; before the call leaves it is replaced by the real id, which Telegram told when it took the message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

STEP: Final = 10
"""Items that one message can have (an album has 10). 32 bits, which is what some client libraries keep of an id, hold
placeholders for 214 million messages."""

_FIELDS: Final = ("message_id", "message_ids", "reply_to_message_id", "reply_parameters")
_MARKS: Final = tuple(f'"{field}"'.encode() for field in _FIELDS)
_SIGNS: Final = (
    b":-",
    b'"-',
    b"[-",
    b",-",
    b" -",
    b"\\",
)  # what stands before a negative number, also inside JSON text


def placeholder(seq: int, item: int = 0) -> int:
    """The id to give for item `item` (from 0) of the message with the store's order number `seq` (from 1)."""
    if seq < 1 or not 0 <= item < STEP:
        raise ValueError(f"no placeholder for item {item} of message {seq}")
    return -(seq * STEP + item)


def meant(value: object) -> tuple[int, int] | None:
    """The (seq, item) that a message id stands for; None where it is no placeholder."""
    if isinstance(value, str):
        if not value.startswith("-") or not value[1:].isdecimal() or len(value) > 20:
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value > -STEP:
        return None
    return -value // STEP, -value % STEP


def may_mention(params: bytes) -> bool:
    """False when the JSON object surely holds no placeholder: a quick look at the text."""
    return any(mark in params for mark in _MARKS) and any(sign in params for sign in _SIGNS)


def mentioned(params: Mapping[str, Any]) -> set[int]:
    """The placeholders in a call's parameters."""
    found: set[int] = set()
    for field in _FIELDS:
        if field in params:
            _walk(field, params[field], found)
    return found


def replaced(params: Mapping[str, Any], real: Mapping[int, int | None]) -> dict[str, Any]:
    """The parameters with each placeholder in `real` replaced. None: there is no such message; of a list it is left out, a
    reply loses its reference, elsewhere it stays as it is."""
    changed = dict(params)
    for field in _FIELDS:
        if field not in params:
            continue
        value = unquoted(params[field])
        if field == "message_ids" and isinstance(value, list):
            ids = [_real(item, real) for item in value]
            changed[field] = [id for id in ids if id is not None]
        elif field == "reply_parameters" and isinstance(value, Mapping):
            id = _real(value.get("message_id"), real)
            if id is None:
                del changed[field]
            else:
                changed[field] = {**value, "message_id": id}
        elif field == "message_id":
            changed[field] = _real(value, real) or value
        elif (id := _real(value, real)) is None:
            del changed[field]
        else:
            changed[field] = id
    return changed


def wanted_items(method: str, params: Mapping[str, Any]) -> int | None:
    """How many messages a copy or a forward of several asks for; None for any other call."""
    if method not in ("copyMessages", "forwardMessages"):
        return None
    ids = unquoted(params.get("message_ids"))
    return len(ids) if isinstance(ids, list) else None


def _walk(field: str, value: Any, found: set[int]) -> None:
    value = unquoted(value)
    if field == "reply_parameters":
        value = value.get("message_id") if isinstance(value, Mapping) else None
    for item in value if isinstance(value, list) else [value]:
        if meant(item) is not None:
            found.add(int(item))


def unquoted(value: Any) -> Any:
    """Lists and objects may come as JSON text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _real(value: Any, real: Mapping[int, int | None]) -> Any:
    return real.get(int(value), value) if meant(value) is not None else value
