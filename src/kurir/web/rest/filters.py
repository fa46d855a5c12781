"""Which messages: the same filters in a query string and in the body of a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kurir.core.errors import InvalidMessage, UnknownBot
from kurir.core.message import State
from kurir.core.methods import canonical, chat_name
from kurir.core.times import unix
from kurir.drafting import metadata_text
from kurir.drafting import priority as as_priority
from kurir.outbox import Bots

from .asked import an_object, json_type
from .describe import TEXT, TIME, Json, parameter
from .problems import unknown_field

NAMES = ("ids", "state", "chat_id", "bot", "method", "priority", "since", "until", "key", "metadata", "reason")
PAGING = ("limit", "cursor", "oldest_first")
STATES = [state.value for state in State]
MOST_LIMIT = 1000
MOST_IDS = 1000
LATEST_ID = (1 << 63) - 1  # what a store keeps as a number
METADATA = "metadata."

Conditions = dict[str, Any]  # keywords of `Kurir.find` and `Kurir.change_all`


def from_query(pairs: Iterable[tuple[str, str]], bots: Bots, now: float, *, states: bool = True) -> Conditions:
    """Of a query string. Raises InvalidMessage naming the parameter."""
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name.startswith(METADATA) and len(name) > len(METADATA):
            given.setdefault("metadata", {})[name.removeprefix(METADATA)] = value
        elif name in ("state", "ids"):
            given.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in given:
            raise InvalidMessage(name, "is given twice", "Give it once.")
        else:
            given[name] = value
    known = _known(states)
    for name in given:
        if name not in known and name not in PAGING:
            raise unknown_field(name, (*(n for n in known if n != "metadata"), *PAGING, "metadata.NAME"))
    if isinstance(given.get("metadata"), str):
        raise InvalidMessage("metadata", "is to be named", "Write metadata.order=42.")
    for name in ("since", "until"):
        if name in given:
            given[name] = _moment(given[name])
    conditions = _paging(given)
    conditions.update(_conditions({n: v for n, v in given.items() if n not in PAGING}, bots, now))
    return conditions


def from_body(body: Any, bots: Bots, now: float, *, states: bool = True) -> Conditions:
    """Of a JSON body. Raises InvalidMessage naming the field."""
    given = an_object(body)
    known = _known(states)
    for name in given:
        if name not in known:
            raise unknown_field(name, known)
    if isinstance(given.get("state"), str):
        given = {**given, "state": [given["state"]]}
    return _conditions(given, bots, now)


def _known(states: bool) -> tuple[str, ...]:
    return NAMES if states else tuple(name for name in NAMES if name != "state")


def _moment(text: str) -> float | str:
    """Digits are Unix seconds; a `+` that became a blank on its way is one again."""
    try:
        return float(text)
    except ValueError:
        return text.replace(" ", "+")


def _paging(given: Mapping[str, Any]) -> Conditions:
    found: Conditions = {"limit": limit(given.get("limit")), "oldest_first": flag("oldest_first", given)}
    if "cursor" in given:
        found["cursor"] = given["cursor"]
    return found


def limit(text: str | None) -> int:
    """1 to 1,000; 100 where nothing is said. Raises InvalidMessage."""
    if text is None:
        return 100
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= MOST_LIMIT or len(text) > 6:
        raise InvalidMessage("limit", f"{text[:20]!r} is no number from 1 to 1,000", "Page on with `cursor`.")
    return int(text)


def flag(name: str, given: Mapping[str, Any]) -> bool:
    """`true` or `false`; false where nothing is said. Raises InvalidMessage."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidMessage(name, f"{value[:20]!r} is neither true nor false", "Write true or false.")
    return bool(value == "true")


def _conditions(given: Mapping[str, Any], bots: Bots, now: float) -> Conditions:
    found: Conditions = {}
    for name, value in given.items():
        if name == "state":
            found["states"] = _states(value)
        elif name == "ids":
            found["ids"] = _ids(value)
        elif name == "chat_id":
            found["chat"] = chat(value)
        elif name == "bot":
            found["bot"] = any_bot(value, bots)
        elif name == "method":
            found["method"] = canonical(_text(name, value))
        elif name == "priority":
            found["priority"] = as_priority(_text(name, value))
        elif name in ("since", "until"):
            found[name] = unix(name, value, now)
        elif name == "metadata":
            found["metadata"] = _metadata(value)
        else:
            found[name] = _text(name, value)
    return found


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidMessage(name, f"is {json_type(value)}", "Give text.")
    return value


def _states(value: Any) -> tuple[State, ...]:
    if not isinstance(value, list) or not value:
        raise InvalidMessage("state", "is no list of states", f"Known: {', '.join(STATES)}.")
    for one in value:
        if one not in STATES:
            raise InvalidMessage("state", f"{str(one)[:40]!r} is none", f"Known: {', '.join(STATES)}.")
    return tuple(State(one) for one in value)


def _ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_IDS or not all(isinstance(id, str) for id in value):
        raise InvalidMessage("ids", "are no list of 1 to 1,000 ids", 'As ["06h060tokkq2870ueg2gff83"].')
    return tuple(value)


def chat(value: Any) -> str:
    """A lane's name. Raises InvalidMessage."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidMessage("chat_id", f"is {json_type(value)}", "Give a number, or @channelname.")
    return chat_name(value)


def any_bot(value: Any, bots: Bots) -> int:
    """A bot of the settings by name or id, or of the store by its id. Raises InvalidMessage."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidMessage("bot", f"is {json_type(value)}", "Give its name, or its id.")
    try:
        return bots.resolve(value)
    except UnknownBot:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LATEST_ID:
            return int(text)
        raise


def _metadata(value: Any) -> dict[str, str]:
    pairs = an_object(value, "metadata")
    for name, one in pairs.items():
        if not isinstance(one, str | int | float):
            raise InvalidMessage(f"metadata.{name[:64]}", f"is {json_type(one)}", "Give text or a number.")
    return {name: metadata_text(one) for name, one in pairs.items()}


def single(pairs: Iterable[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    """Parameters that are given once at most. Raises InvalidMessage naming one that is unknown, or there twice."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown_field(name, known)
        if name in given:
            raise InvalidMessage(name, "is given twice", "Give it once.")
        given[name] = value
    return given


# ---------------------------------------------------------------- described

_CHAT: Json = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
_PRIORITY: Json = {"type": "string", "enum": ["critical", "high", "normal", "low"]}
_ORDER: Json = {"type": "boolean", "default": False}


def filter_schema(states: bool = True) -> Json:
    """The body of a change by filter."""
    properties: Json = {
        "ids": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MOST_IDS},
        "state": {
            "anyOf": [
                {"type": "string", "enum": STATES},
                {"type": "array", "items": {"type": "string", "enum": STATES}, "minItems": 1},
            ]
        },
        "chat_id": _CHAT,
        "bot": _CHAT,
        "method": TEXT,
        "priority": _PRIORITY,
        "since": {**TIME, "description": "Accepted at that time or later."},
        "until": {**TIME, "description": "Accepted before."},
        "key": {**TEXT, "description": "The idempotency key."},
        "metadata": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "reason": {**TEXT, "description": "What its reason begins with."},
    }
    if not states:
        del properties["state"]
    return {"type": "object", "properties": properties, "additionalProperties": False}


def filter_parameters(states: bool = True) -> list[Json]:
    """The same in a query string."""
    many: Json = {"type": "array", "items": TEXT}
    found = [
        parameter(
            "state", "Repeat it, or write several with commas.", {**many, "items": {"type": "string", "enum": STATES}}
        ),
        parameter("ids", "These messages, with commas.", {**many, "minItems": 1, "maxItems": MOST_IDS}),
        parameter("chat_id", "The chat: a number, or @channelname.", TEXT),
        parameter("bot", "The bot's name in the settings, or its id.", TEXT),
        parameter("method", "The Bot API's method.", TEXT),
        parameter("priority", "How urgent.", _PRIORITY),
        parameter("since", "Accepted at that time or later: RFC 3339 with a zone, or Unix seconds.", TEXT),
        parameter("until", "Accepted before.", TEXT),
        parameter("key", "The idempotency key.", TEXT),
        parameter("reason", "What its reason begins with.", TEXT),
        parameter("metadata.NAME", "With this metadata; put the name in place of NAME: `metadata.order=42`.", TEXT),
        parameter("oldest_first", "In order of acceptance; else the newest come first.", _ORDER),
    ]
    return found if states else found[1:]
