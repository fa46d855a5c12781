"""Bot libraries as they are, changed only in their base URL, do through Kurir what they do with Telegram itself."""

from __future__ import annotations

import hashlib

from .bots.telling import CHATS, LONG
from .stories import Story

WORDS = 'can\'t parse entities: Unsupported start tag "wrong" at byte offset 0'


def test_a_text_arrives_and_comes_back_as_telegram_made_it(story: Story) -> None:
    (message,) = story.telegram.sent(CHATS["text"])
    assert story.result("text") == {"id": message.id, "text": "Hello, Wörld ✓"}
    assert [one["type"] for one in message.json["entities"]] == ["bold"]


def test_a_text_of_the_greatest_length_arrives(story: Story) -> None:
    assert "error" not in story.lines["long"]
    assert story.telegram.texts(CHATS["long"]) == [LONG]


def test_a_photo_is_uploaded(story: Story) -> None:
    (message,) = story.telegram.sent(CHATS["photo"])
    shown = story.result("photo")
    assert (shown["id"], message.text) == (message.id, "a picture")
    assert message.json["photo"][-1]["file_id"] == shown["file"]
    assert message.json["photo"][-1]["file_size"] == story.pictures[0].stat().st_size


def test_an_album_is_uploaded_in_its_order(story: Story) -> None:
    messages = story.telegram.sent(CHATS["album"])
    assert [message.id for message in messages] == story.result("album")["ids"]
    assert story.telegram.texts(CHATS["album"]) == [path.stem for path in story.pictures]
    sizes = [message.json["photo"][-1]["file_size"] for message in messages]
    assert sizes == [path.stat().st_size for path in story.pictures]


def test_a_file_is_downloaded_byte_for_byte(story: Story) -> None:
    assert story.result("download") == {"sha256": hashlib.sha256(story.pictures[0].read_bytes()).hexdigest()}


def test_an_edit_changes_the_message(story: Story) -> None:
    (message,) = story.telegram.sent(CHATS["edit"])
    assert story.result("edit") == {"id": message.id, "text": "after"}
    assert message.text == "after"


def test_a_deletion_deletes(story: Story) -> None:
    assert story.result("delete") == {"deleted": True}
    assert story.telegram.texts(CHATS["delete"]) == ["to stay"]


def test_a_message_reaches_the_bot_by_long_polling(story: Story) -> None:
    assert story.result("message") == {"text": "something"}
    assert story.telegram.texts(CHATS["menu"]) == ["Menu", "You said something"]


def test_a_pressed_button_is_answered(story: Story) -> None:
    assert story.result("press") == {"data": "pressed", "answered": True}
    assert len(story.telegram.calls("answerCallbackQuery")) == 1


def test_a_bad_request_is_the_librarys_own_error_in_telegrams_words(story: Story) -> None:
    error = story.error("refused")
    assert error["class"] == story.library.bad_request
    assert WORDS.lower() in error["words"].lower()
    assert error.get("code", 400) == 400


def test_a_blocked_chat_is_the_librarys_own_error_also_when_nobody_asks_telegram_any_more(story: Story) -> None:
    for step in ("blocked", "blocked again"):
        error = story.error(step)
        assert error["class"] == story.library.forbidden
        assert "bot was blocked by the user" in error["words"]
        assert error.get("code", 403) == 403


def test_a_flood_wait_is_the_librarys_own_error_with_the_time_to_wait(story: Story) -> None:
    error = story.error("flood")
    assert error["class"] == story.library.flood
    assert error["retry_after"] == 2
    assert error.get("code", 429) == 429
