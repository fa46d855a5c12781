"""Stand-ins: a valid result for a call that has not been made yet, with placeholder ids (`core.placeholders`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from kurir.core.methods import METHODS, Kind, album_items, canonical
from kurir.core.placeholders import STEP, placeholder, wanted_items

_MESSAGE: Final = frozenset(
    name for name, kind in METHODS.items() if kind is Kind.SEND and name.startswith("send") and name != "sendGift"
) - {"sendMediaGroup"} | {"forwardMessage"}
_EDITED: Final = frozenset(
    {
        "editMessageText",
        "editMessageCaption",
        "editMessageMedia",
        "editMessageReplyMarkup",
        "editMessageLiveLocation",
        "stopMessageLiveLocation",
        "editMessageChecklist",
        "setGameScore",
    }
)
_OBJECTS: Final = (
    "editChatInviteLink",
    "editChatSubscriptionInviteLink",
    "revokeChatInviteLink",
    "stopPoll",
    "editStory",
)
_TRUE: Final = frozenset(name for name, kind in METHODS.items() if kind is Kind.SET) - _EDITED - set(_OBJECTS) | {
    "sendGift"
}
_ECHOED: Final = ("text", "caption")  # what clients most often look at


def standin(
    method: str, params: Mapping[str, Any], seq: int, now: float, bot: Mapping[str, Any] | None
) -> bytes | None:
    """The JSON of a placeholder result for message `seq`; None for a method whose result cannot be made up. `bot` is what
    getMe says, if it is known."""
    name = canonical(method)
    if name in _MESSAGE:
        return orjson.dumps(_message(params, placeholder(seq), now, bot))
    if name == "sendMediaGroup":
        items = album_items(name, params) or 0
        return orjson.dumps([_message(params, placeholder(seq, item), now, bot) for item in range(items)])
    if name == "copyMessage":
        return orjson.dumps({"message_id": placeholder(seq)})
    if name in ("copyMessages", "forwardMessages"):
        items = wanted_items(name, params) or 0
        if not 0 < items <= STEP:
            return None
        return orjson.dumps([{"message_id": placeholder(seq, item)} for item in range(items)])
    if name in _EDITED:
        id = _integer(params.get("message_id"))
        return orjson.dumps(_message(params, id, now, bot)) if id else b"true"
    return b"true" if name in _TRUE else None


def _message(params: Mapping[str, Any], id: int, now: float, bot: Mapping[str, Any] | None) -> dict[str, Any]:
    message: dict[str, Any] = {"message_id": id, "date": int(now), "chat": _chat(params.get("chat_id"))}
    if bot is not None and message["chat"]["type"] != "channel":
        message["from"] = {name: bot[name] for name in ("id", "is_bot", "first_name", "username") if name in bot}
    for field in _ECHOED:
        if isinstance(params.get(field), str):
            message[field] = params[field]
    return message


def _chat(chat: object) -> dict[str, Any]:
    """Of a public chat only Telegram knows the id: it is 0 here, and a call that comes back with a placeholder finds its
    chat by that."""
    id = _integer(chat)
    if id == 0:
        name = str(chat).lstrip("@")
        return {"id": 0, "type": "channel", "title": name, "username": name}
    if id > 0:
        return {"id": id, "type": "private", "first_name": ""}
    return {"id": id, "type": "supergroup" if id < -1_000_000_000_000 else "group", "title": ""}


def _integer(value: object) -> int:
    try:
        return int(str(value).strip())
    except ValueError:
        return 0
