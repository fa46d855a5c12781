"""A message's mark: what makes it recognisable, so that copies and losses can be counted.

A test gives every message a mark of its own and hands the expected ones to `Journal.report`. The mark is, of
what the call has, the first of: text, caption, an album's first caption, title (venue, invoice), question,
phone number, "lat,lon", the game's name, what is forwarded or copied, a gift's text, a topic's name, and for
what has none of these (stickers, dice, video notes) the `callback_data` of the first inline button. Dice
without a button have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from .params import Params

Marker = Callable[[str, Params], str | None]

PLAIN = ("text", "caption", "title", "question", "phone_number", "game_short_name", "name")


def mark_of(method: str, params: Params) -> str | None:
    """The default: see the head of this file. `method` in the Bot API's spelling; markup is not parsed."""
    for name in PLAIN:
        value = params.get(name)
        if value:
            return str(value)
    if "media" in params:
        caption = _caption(params["media"])
        if caption:
            return caption
    if "latitude" in params:
        return f"{params['latitude']},{params.get('longitude')}"
    if "from_chat_id" in params:
        ids = params.get("message_id") or params.get("message_ids")
        return f"{params['from_chat_id']}:{ids if not isinstance(ids, list) else orjson.dumps(ids).decode()}"
    return _button(params.get("reply_markup"))


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _caption(media: Any) -> str | None:
    media = _loaded(media)
    items = [media] if isinstance(media, dict) else media
    if not isinstance(items, list):
        return None
    captions = (item.get("caption") for item in items if isinstance(item, dict))
    return next((str(caption) for caption in captions if caption), None)


def _button(markup: Any) -> str | None:
    markup = _loaded(markup)
    try:
        return str(markup["inline_keyboard"][0][0]["callback_data"])
    except (TypeError, KeyError, IndexError):
        return None
