"""Edits, deletions, pins, reactions, polls."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.simulator import ManualClock, Verb, World

from .helpers import Ask, result, why

SAME = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
KEYS = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}


@pytest.fixture
def sent(ask: Ask) -> int:
    """The id of a text in chat 1."""
    return int(result(ask("sendMessage", chat_id=1, text="x", reply_markup=KEYS))["message_id"])


def test_an_edit_changes_the_message_and_is_dated(world: World, ask: Ask, sent: int, clock: ManualClock) -> None:
    clock.set(clock.now() + 5)
    message = result(ask("editMessageText", chat_id=1, message_id=str(sent), text="<b>y</b>", parse_mode="HTML"))
    assert (message["text"], message["entities"][0]["type"]) == ("y", "bold")
    assert message["edit_date"] == message["date"] + 5
    assert "reply_markup" not in message


def test_an_edit_to_the_same_is_refused(ask: Ask, sent: int) -> None:
    assert why(ask("editMessageText", chat_id=1, message_id=sent, text="x", reply_markup=KEYS)) == SAME


def test_taking_the_keyboard_away_dates_nothing(ask: Ask, sent: int) -> None:
    message = result(ask("editMessageReplyMarkup", chat_id=1, message_id=sent))
    assert "edit_date" not in message
    assert why(ask("editMessageReplyMarkup", chat_id=1, message_id=sent)) == SAME


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("editMessageText", {}, "message text is empty"),
    ("editMessageText", {"text": "y", "chat_id": None}, "message identifier is not specified"),
    ("editMessageText", {"text": "y", "message_id": 99}, "message to edit not found"),
    ("editMessageText", {"text": "y", "message_id": 1, "chat_id": None}, "chat_id is empty"),
    ("editMessageCaption", {"caption": "y", "message_id": 1}, "there is no caption in the message to edit"),
    ("editMessageLiveLocation", {"latitude": 1, "longitude": 1, "message_id": 1}, "message can't be edited"),
    ("stopPoll", {"message_id": 99}, "message with poll to stop not found"),
    ("stopPoll", {"message_id": 1}, "message is not a poll"),
    ("deleteMessage", {"message_id": 99}, "message to delete not found"),
    ("deleteMessages", {}, "message identifiers are not specified"),
    ("deleteMessages", {"message_ids": list(range(1, 102))}, "too many message identifiers specified"),
    ("deleteMessages", {"message_ids": [0]}, "invalid message identifier specified"),
    ("pinChatMessage", {"message_id": 99}, "message to pin not found"),
    ("unpinChatMessage", {"message_id": 99}, "message to unpin not found"),
    ("setMessageReaction", {"message_id": 99}, "message to react not found"),
    ("sendChatAction", {"action": "dancing"}, "wrong parameter action in request"),
    ("answerCallbackQuery", {"callback_query_id": "1"},
     "query is too old and response timeout expired or query ID is invalid"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "words"), REFUSED)
def test_what_cannot_be_changed_is_refused_in_telegrams_words(
    ask: Ask, sent: int, method: str, params: dict[str, Any], words: str
) -> None:
    assert why(ask(method, **{"chat_id": 1, **params})) == f"Bad Request: {words}"


def test_a_users_message_cannot_be_edited(world: World, ask: Ask) -> None:
    update = world.say(1, "hello")
    message_id = update["message"]["message_id"]
    assert (
        why(ask("editMessageText", chat_id=1, message_id=message_id, text="y"))
        == "Bad Request: message can't be edited"
    )


def test_caption_and_media_can_be_edited(ask: Ask) -> None:
    message_id = result(ask("sendPhoto", chat_id=1, photo="https://example.org/1.jpg", caption="a"))["message_id"]
    assert result(ask("editMessageCaption", chat_id=1, message_id=message_id, caption="b"))["caption"] == "b"
    media = {"type": "document", "media": "attach://doc", "caption": "c"}
    edited = result(ask("editMessageMedia", chat_id=1, message_id=message_id, media=media, files={"doc": b"x"}))
    assert (edited["caption"], edited["document"]["file_name"]) == ("c", "doc.bin")
    assert "photo" not in edited


def test_a_live_location_moves_and_stops(ask: Ask) -> None:
    place = {"latitude": 1, "longitude": 1, "live_period": 60}
    message_id = result(ask("sendLocation", chat_id=1, **place))["message_id"]
    moved = result(ask("editMessageLiveLocation", chat_id=1, message_id=message_id, latitude=2, longitude=2))
    assert moved["location"]["latitude"] == 2
    stopped = result(ask("stopMessageLiveLocation", chat_id=1, message_id=message_id))
    assert "live_period" not in stopped["location"]


def test_a_poll_closes_once(ask: Ask) -> None:
    message_id = result(ask("sendPoll", chat_id=1, question="?", options='["a", "b"]'))["message_id"]
    assert result(ask("stopPoll", chat_id=1, message_id=message_id))["is_closed"] is True
    assert why(ask("stopPoll", chat_id=1, message_id=message_id)) == "Bad Request: poll has already been closed"


def test_deletions_remove_messages(world: World, ask: Ask, sent: int) -> None:
    assert result(ask("deleteMessage", chat_id=1, message_id=sent)) is True
    ask("sendMessage", chat_id=1, text="y")
    assert result(ask("deleteMessages", chat_id=1, message_ids=f"[{sent}, {sent + 1}, 77]")) is True
    assert world.messages(1) == []


def test_a_message_older_than_48_hours_cannot_be_deleted(ask: Ask, sent: int, clock: ManualClock) -> None:
    clock.set(clock.now() + 48 * 3600 + 1)
    words = "Bad Request: message can't be deleted for everyone"
    assert why(ask("deleteMessage", chat_id=1, message_id=sent)) == words


def test_pins_reactions_and_typing_are_done(ask: Ask, sent: int) -> None:
    assert result(ask("pinChatMessage", chat_id=1, message_id=sent)) is True
    assert result(ask("unpinChatMessage", chat_id=1)) is True
    assert result(ask("setMessageReaction", chat_id=1, message_id=sent, reaction='[{"type":"emoji","emoji":"👍"}]'))
    assert result(ask("sendChatAction", chat_id=1, action="typing")) is True


def test_an_edit_is_journaled_with_its_target(world: World, ask: Ask, sent: int) -> None:
    ask("editMessageText", chat_id=1, message_id=sent, text="y")
    entry = world.journal.entries[-1]
    assert (entry.verb, entry.target, entry.mark, entry.cost) == (Verb.EDITED, sent, "y", 1)
