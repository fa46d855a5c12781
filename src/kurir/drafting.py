"""From a caller's `Message` to a `Draft`: everything that cannot be a call is refused here, with the field and a remedy.

What only Telegram can judge (the length of a text after parsing, entities, rights) is let through.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from .core.errors import InvalidMessage, TooLarge
from .core.message import DEFAULT_OPTIONS, Draft, FileRef, OnUnknown, Options, Ordering, Priority
from .core.methods import Kind, album_items, canonical, coalesces, costs_money, kind_of, known, lane_of, target_of
from .core.policy import exponential, fixed
from .core.times import unix
from .message import Message

MAX_PARAMS = 1 << 20  # bytes of JSON; the official server takes 1 MiB of parameters (tdlib/telegram-bot-api)
MAX_KEY = 255
MAX_METHOD = 64  # characters; the longest known name has 33
MAX_METADATA = 50  # pairs
MAX_METADATA_VALUE = 500  # characters
MAX_ATTEMPTS = 1000
MAX_TIMEOUT = 3600.0  # seconds
MAX_DELAY = 30 * 86400.0  # seconds
MAX_DELETE_AFTER = 48 * 3600.0  # seconds: bots may delete a message for 48 hours (Bot API, deleteMessage)
JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME  # Telegram's dates are Unix seconds, not text
BLANKS = frozenset(" \t\r\n")

E_ = TypeVar("E_", bound=Enum)

TEXTS = (
    "text",
    "caption",
    "parse_mode",
    "question",
    "title",
    "address",
    "phone_number",
    "first_name",
    "emoji",
)
_NUMBERS = ("latitude", "longitude")
_TO_A_CHAT = (
    "send",
    "forward",
    "copy",
    "edit",
    "deleteMessage",
    "pin",
    "unpin",
    "stop",
    "setMessageReaction",
    "setChat",
)


def draft(
    message: Message, params: Mapping[str, Any], body: bytes, files: tuple[FileRef, ...], bot: int, id: str, now: float
) -> Draft:
    """`params` are the message's with files replaced by `attach://...`, `body` is their JSON. Raises InvalidMessage."""
    method = check_method(message.method)
    if len(body) > MAX_PARAMS:
        raise TooLarge("params", f"are {len(body):,} bytes; Telegram takes {MAX_PARAMS:,}", "Send less.")
    _check_params(method, params)
    chat = _storable(lane_of(method, params))
    is_set = kind_of(method) is Kind.SET
    target = target_of(method, params) if is_set else None
    due_at = unix("due_at", message.due_at, now) if message.due_at is not None else 0.0
    expires_at = None
    if message.expires_at is not None:
        expires_at = unix("expires_at", message.expires_at, now)
        if expires_at <= now:
            raise InvalidMessage("expires_at", "is in the past", "Give a later time, or none.")
        if expires_at <= due_at:
            raise InvalidMessage("expires_at", "is not after due_at", "Let it expire after it is due.")
    key = _key(message.idempotency_key)
    return Draft(
        id=id,
        bot=bot,
        chat=chat,
        method=method,
        params=body,
        accepted_at=now,
        priority=message.priority if type(message.priority) is Priority else priority(message.priority),
        files=files,
        due_at=due_at,
        expires_at=expires_at,
        key=key,
        digest=_digest(method, params, files) if key else None,
        target=None if target is None else _storable(target),
        coalesce=is_set and not due_at and coalesces(method),
        metadata=_metadata(message.metadata) if message.metadata else None,
        options=_options(message, method, params),
        force=bool(message.force),
    )


def check_method(method: object) -> str:
    """The Bot API's spelling of a method that can be handed over. Raises InvalidMessage."""
    if not isinstance(method, str) or not method:
        raise InvalidMessage("method", "is missing", "Name a Bot API method, for example sendMessage.")
    name, refusal = _examined(method[: MAX_METHOD + 1])
    if refusal is not None:
        raise InvalidMessage("method", *refusal)
    return name


def deliverable(method: str) -> bool:
    """Can the method be handed over, to be stored and delivered? What cannot is asked of Telegram directly."""
    return bool(method) and _examined(method[: MAX_METHOD + 1])[1] is None


@lru_cache(maxsize=1024)
def _examined(method: str) -> tuple[str, tuple[str, str] | None]:
    """The method's spelling, and what is wrong with handing it over, with the remedy."""
    if not (method.isascii() and method.isalnum()) or len(method) > MAX_METHOD:
        return method, (f"{method!r} is no method name", "Use letters and digits only.")
    name = canonical(method)
    if name in ("getUpdates", "setWebhook", "deleteWebhook", "logOut", "close") or (
        known(name) and name.startswith("get")
    ):
        return name, (f"{name} asks or sets up; there is nothing to deliver", "Call Telegram itself.")
    if kind_of(name) is Kind.NOW:
        return name, (f"{name} is worth something now or never", "Call Telegram itself.")
    return name, None


def encode(params: Mapping[str, Any]) -> bytes:
    """The parameters as JSON. Raises InvalidMessage."""
    try:
        return orjson.dumps(params, option=JSON)
    except (TypeError, ValueError) as error:
        raise InvalidMessage(_culprit(params), str(error), "Use JSON values; files as Path or bytes.") from None


def plain(params: Mapping[str, Any]) -> bytes | None:
    """The parameters as JSON, or None where they hold something else: files, or a mistake."""
    try:  # an InputFile is a dataclass
        return orjson.dumps(params, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
    except (TypeError, ValueError):
        return None


def _culprit(params: Mapping[str, Any]) -> str:
    """The first parameter that is no JSON."""
    for name, value in params.items():
        try:
            orjson.dumps({name: value}, option=JSON)
        except (TypeError, ValueError):
            return f"params.{name}"
    return "params"


def _check_params(method: str, params: Mapping[str, Any]) -> None:
    chat = params.get("chat_id")
    if chat is None:
        if method.startswith(_TO_A_CHAT) and not lane_of(method, params):
            raise InvalidMessage("params.chat_id", "is missing", "Say which chat: a number, or @channelname.")
    elif isinstance(chat, bool) or not isinstance(chat, int | str):
        raise InvalidMessage("params.chat_id", f"is a {type(chat).__name__}", "Give a number, or @channelname.")
    elif isinstance(chat, str) and (not chat.strip() or not BLANKS.isdisjoint(chat.strip())):
        raise InvalidMessage("params.chat_id", f"{chat!r} is no chat", "Give a number, or @channelname.")
    for name, value in params.items():
        if name in TEXTS and value is not None and not isinstance(value, str):
            _wrong(name, value, "a string")
        if name in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float | str)):
            _wrong(name, value, "a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidMessage(f"params.{name}", f"is {value}, which JSON cannot say", "Give a finite number.")
    items = album_items(method, params) if "media" in params or method == "sendMediaGroup" else None
    if items is not None and not 2 <= items <= 10:
        raise InvalidMessage(
            "params.media",
            f"has {items} items; an album has 2 to 10",
            "Send it in several albums, or one by one.",
        )
    if method == "sendMessage" and not params.get("text"):
        raise InvalidMessage("params.text", "is empty", "Say something.")


def _wrong(name: str, value: object, wanted: str) -> None:
    raise InvalidMessage(f"params.{name}", f"is a {type(value).__name__}", f"Give {wanted}.")


# ---------------------------------------------------------------- treatment


def priority(value: Priority | str | int) -> Priority:
    """A priority by value, or by name in any case."""
    if isinstance(value, Priority):
        return value
    if isinstance(value, str) and value.upper() in Priority.__members__:
        return Priority[value.upper()]
    raise InvalidMessage("priority", f"{value!r} is none", "Use critical, high, normal or low.")


def _one_of(field: str, kind: type[E_], value: object) -> E_:
    try:
        return kind(value)
    except ValueError:
        choices = " or ".join(str(member.value) for member in kind)
        raise InvalidMessage(field, f"{value!r} is unknown", f"Use {choices}.") from None


def _number(field: str, value: object, least: float, most: float, whole: bool = False) -> float:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise InvalidMessage(field, f"is a {type(value).__name__}", f"Give a {'whole ' if whole else ''}number.")
    if not least <= value <= most:
        raise InvalidMessage(field, "is out of range", f"Give {least:g} to {most:g}.")
    return float(value)


def _options(message: Message, method: str, params: Mapping[str, Any]) -> Options:
    on_unknown = None
    if message.on_unknown is not None:
        on_unknown = _one_of("on_unknown", OnUnknown, message.on_unknown)
    elif costs_money(method, params):
        on_unknown = OnUnknown.HOLD
    m = message
    if (
        on_unknown is None
        and m.ordering is Ordering.FIFO
        and m.max_attempts is None
        and m.backoff is None
        and m.timeout is None
        and m.delete_after is None
    ):
        return DEFAULT_OPTIONS
    most = None if m.max_attempts is None else int(_number("max_attempts", m.max_attempts, 1, MAX_ATTEMPTS, True))
    timeout = None if m.timeout is None else _number("timeout", m.timeout, 0.001, MAX_TIMEOUT)
    after = None if m.delete_after is None else _number("delete_after", m.delete_after, 0, MAX_DELETE_AFTER)
    ordering = _one_of("ordering", Ordering, m.ordering)
    return Options(most, _backoff(m.backoff, most), timeout, after, ordering, on_unknown)


def _backoff(value: object, attempts: int | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        shapes: dict[str, Callable[[float, int], tuple[float, ...]]] = {"exponential": exponential, "fixed": fixed}
        shape = shapes.get(str(value.get("type")))
        if shape is None or set(value) - {"type", "base"}:
            raise InvalidMessage("backoff", f"{dict(value)!r} is unknown", 'Use {"type": "exponential", "base": 1}.')
        base = _number("backoff.base", value.get("base", 1), 0, MAX_DELAY)
        value = shape(base, attempts or 5)
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > MAX_ATTEMPTS:
        raise InvalidMessage("backoff", "is no list of delays", "Give seconds: [1, 2, 4, 8, 16].")
    return tuple(_number(f"backoff[{i}]", delay, 0, MAX_DELAY) for i, delay in enumerate(value))


def _key(key: object) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not _is_storable(key):
        raise InvalidMessage("idempotency_key", "is no text of 1 to 255 characters", "Use an id of yours: order-42.")
    return key


def _metadata(metadata: object) -> dict[str, str] | None:
    if not metadata:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidMessage("metadata", f"is a {type(metadata).__name__}", 'Give pairs: {"order": "42"}.')
    if len(metadata) > MAX_METADATA:
        raise InvalidMessage("metadata", f"has {len(metadata)} pairs", f"Keep to {MAX_METADATA}.")
    pairs: dict[str, str] = {}
    for name, value in metadata.items():
        if not isinstance(name, str) or not name or len(name) > 64 or not isinstance(value, str | int | float):
            raise InvalidMessage(f"metadata.{name}", "is no text or number under a short name", 'As {"order": 42}.')
        text = metadata_text(value)
        if not _is_storable(name + text):
            what = "holds half a character, or a NUL"
            raise InvalidMessage(f"metadata.{_storable(name)}", what, "Give text that UTF-8 can express, without NUL.")
        if len(text) > MAX_METADATA_VALUE:
            raise InvalidMessage(f"metadata.{name}", f"has {len(text)} characters", f"Keep to {MAX_METADATA_VALUE}.")
        pairs[name] = text
    return pairs


def metadata_text(value: object) -> str:
    """A value of metadata as it is kept, and looked for."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_storable(text: str) -> bool:
    """No lone surrogates, which no store could keep, and no NUL, which PostgreSQL does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _storable(name: str) -> str:
    """The name without NUL; Telegram knows no chat of either name."""
    return name.replace("\0", "\ufffd")


def _digest(method: str, params: Mapping[str, Any], files: tuple[FileRef, ...]) -> bytes:
    """What makes two bodies the same: method, parameters in any order, and the files' contents."""
    body = orjson.dumps(
        [method, params, [[f.field, f.sha256] for f in files]],
        option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
    )
    return hashlib.sha256(body).digest()[:16]
