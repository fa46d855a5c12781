"""Libraries take Kurir's placeholders for Telegram's messages, and may go on to use them as such."""

from __future__ import annotations

from kurir.simulator.model import Message

from .bots.telling import CHATS
from .stories import Story


def sent(story: Story, chat: str, count: int = 1) -> list[Message]:
    return story.telegram.wait_for(count, CHATS[chat])


def test_a_text_is_a_message_to_the_library_before_telegram_has_it(hurried_story: Story) -> None:
    assert hurried_story.result("text")["id"] < 0
    assert [message.text for message in sent(hurried_story, "text")] == ["Hello, Wörld ✓"]


def test_an_album_is_a_list_of_messages_to_the_library(hurried_story: Story) -> None:
    ids = hurried_story.result("album")["ids"]
    assert len(set(ids)) == 2
    assert max(ids) < 0
    assert [message.text for message in sent(hurried_story, "album", 2)] == ["one", "two"]


def test_an_edit_of_a_placeholder_edits_the_message(hurried_story: Story) -> None:
    (message,) = sent(hurried_story, "edit")
    assert message.text == "after"


def test_a_deletion_of_a_placeholder_deletes_the_message(hurried_story: Story) -> None:
    assert hurried_story.result("delete") == {"deleted": True}
    assert [message.text for message in sent(hurried_story, "delete")] == ["to stay"]


def test_a_reply_and_an_answer_reach_the_user(hurried_story: Story) -> None:
    assert [message.text for message in sent(hurried_story, "menu", 2)] == ["Menu", "You said something"]
    assert hurried_story.result("press") == {"data": "pressed", "answered": True}
