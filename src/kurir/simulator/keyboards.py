"""reply_markup: what is accepted, and the words for what is not (`Client.cpp` get_reply_markup)."""

from __future__ import annotations

from typing import Any

from .errors import bad_request
from .markup import checked_link
from .model import Json
from .params import Params, document

DATA_LIMIT = 64  # bytes of callback_data
ACTIONS = (
    "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
)  # fmt: skip


def reply_markup(params: Params) -> Json | None:
    """The keyboard of a message; None where it has none. Raises ApiError (400)."""
    given = document(params, "reply_markup", "can't parse reply keyboard markup JSON object")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise bad_request("object expected as reply markup")
    rows = given.get("inline_keyboard")
    if rows is None:
        return given or None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
    for row in rows:
        for button in row:
            _check(button)
    return {"inline_keyboard": rows} if any(rows) else None


def _check(button: Any) -> None:
    wrong = "can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise bad_request(f"{wrong}InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request(f'{wrong}Can\'t find field "text"')
    if not any(name in button for name in ACTIONS):
        raise bad_request(f"{wrong}Text buttons are unallowed in the inline keyboard")
    if not 0 < len(str(button.get("callback_data", "x")).encode()) <= DATA_LIMIT:
        raise bad_request("BUTTON_DATA_INVALID")
    url = button.get("url")
    if url is not None and not checked_link(str(url)):
        raise bad_request(f"inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")
