"""Every kind of message: what goes in, the Message that comes out, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kurir.simulator import World

from .helpers import GROUP, SUPERGROUP, TOKEN, Ask, result, why

URL = "https://example.org/file.jpg"

SENDS: list[tuple[str, dict[str, Any], str]] = [
    ("sendMessage", {"text": "x"}, "text"),
    ("sendPhoto", {"photo": URL}, "photo"),
    ("sendAudio", {"audio": URL}, "audio"),
    ("sendDocument", {"document": URL}, "document"),
    ("sendVideo", {"video": URL}, "video"),
    ("sendAnimation", {"animation": URL}, "animation"),
    ("sendVoice", {"voice": URL}, "voice"),
    ("sendVideoNote", {"video_note": URL}, "video_note"),
    ("sendSticker", {"sticker": URL}, "sticker"),
    ("sendPaidMedia", {"star_count": 1, "media": [{"type": "photo", "media": URL}]}, "paid_media"),
    ("sendLocation", {"latitude": 1.5, "longitude": 2}, "location"),
    ("sendVenue", {"latitude": 1, "longitude": 2, "title": "t", "address": "a"}, "venue"),
    ("sendContact", {"phone_number": "+1", "first_name": "A"}, "contact"),
    ("sendPoll", {"question": "?", "options": ["a", {"text": "b"}]}, "poll"),
    ("sendDice", {}, "dice"),
    ("sendGame", {"game_short_name": "g"}, "game"),
    ("sendInvoice", {"title": "t", "description": "d", "payload": "p", "currency": "XTR",
                     "prices": [{"label": "l", "amount": 3}]}, "invoice"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "field"), SENDS, ids=[send[0] for send in SENDS])
def test_each_kind_comes_back_as_a_message(ask: Ask, method: str, params: dict[str, Any], field: str) -> None:
    message = result(ask(method, chat_id=7, **params))
    assert message[field]
    assert message["chat"]["id"] == 7
    assert message["chat"]["type"] == "private"
    assert message["from"]["id"] == 123
    assert message["message_id"] == 1
    assert message["date"] == 1_700_000_000


@pytest.mark.parametrize(("method", "params", "field"), SENDS, ids=[send[0] for send in SENDS])
def test_each_kind_may_come_as_a_form_of_strings(ask: Ask, method: str, params: dict[str, Any], field: str) -> None:
    strings = {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in params.items()}
    assert result(ask(method.upper(), chat_id="7", **strings))[field]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("sendMessage", {"text": "x", "chat_id": ""}, "chat_id is empty"),
    ("sendMessage", {"text": "x", "chat_id": "@nobody"}, "chat not found"),
    ("sendMessage", {"text": "x", "chat_id": "abc"}, "chat not found"),
    ("sendPhoto", {}, "there is no photo in the request"),
    ("sendVideoNote", {}, "there is no video note in the request"),
    ("sendPhoto", {"photo": "no-such-id"}, "wrong file identifier/HTTP URL specified"),
    ("sendLocation", {}, "latitude is empty"),
    ("sendLocation", {"latitude": 1}, "longitude is empty"),
    ("sendVenue", {"latitude": 1, "longitude": 1}, 'parameter "title" is required'),
    ("sendContact", {"first_name": "A"}, 'parameter "phone_number" is required'),
    ("sendPoll", {"question": "?", "options": ["a"]}, "poll must have at least 2 option"),
    ("sendMediaGroup", {}, 'parameter "media" is required'),
    ("sendMediaGroup", {"media": []}, "there are no messages to send"),
    ("sendMediaGroup", {"media": [{"type": "photo", "media": URL}] * 11}, "too many messages to send as an album"),
    ("sendMediaGroup", {"media": [{"type": "photo", "media": URL}, {"type": "document", "media": URL}]},
     "document can't be mixed with other media types"),
    ("sendMediaGroup", {"media": [{"type": "animation", "media": URL}]},
     'can\'t parse InputMedia: type "animation" can\'t be used in sendMediaGroup'),
    ("sendMediaGroup", {"media": [{"type": "photo", "media": "attach://gone"}]},
     "can't parse InputMedia: media not found"),
    ("sendMessage", {"text": "x", "reply_markup": "{"}, "can't parse reply keyboard markup JSON object"),
    ("sendMessage", {"text": "x", "reply_markup": []}, "object expected as reply markup"),
    ("sendMessage", {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}},
     "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"),
    ("sendMessage", {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "x" * 65}]]}},
     "BUTTON_DATA_INVALID"),
    ("sendMessage", {"text": "x", "message_thread_id": 5}, "message thread not found"),
    ("sendMessage", {"text": "x", "reply_parameters": {"message_id": 99}}, "message to be replied not found"),
    ("sendMessage", {"text": "x", "reply_to_message_id": 99}, "message to be replied not found"),
    ("createForumTopic", {"name": "x"}, "the chat is not a forum"),
    ("forwardMessage", {"from_chat_id": 1, "message_id": 99}, "message to forward not found"),
    ("copyMessage", {"from_chat_id": 1, "message_id": 99}, "message to copy not found"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "params", "words"), REFUSED)
def test_what_telegram_refuses_is_refused_in_its_words(
    world: World, ask: Ask, method: str, params: dict[str, Any], words: str
) -> None:
    world.add_chat(1)
    assert why(ask(method, **{"chat_id": 1, **params})) == f"Bad Request: {words}"
    assert not world.messages()


def test_an_album_is_messages_that_share_an_id(ask: Ask) -> None:
    media = [{"type": "photo", "media": "attach://a", "caption": "one"}, {"type": "video", "media": "attach://b"}]
    messages = result(ask("sendMediaGroup", chat_id=1, media=media, files={"a": b"1", "b": b"2"}))
    assert [message["message_id"] for message in messages] == [1, 2]
    assert messages[0]["media_group_id"] == messages[1]["media_group_id"]
    assert messages[0]["caption"] == "one"


def test_a_single_item_is_sent_outside_any_album(ask: Ask) -> None:
    messages = result(ask("sendMediaGroup", chat_id=1, media=[{"type": "photo", "media": URL}]))
    assert "media_group_id" not in messages[0]


def test_a_reply_shows_what_it_replies_to(ask: Ask) -> None:
    ask("sendMessage", chat_id=1, text="first")
    message = result(ask("sendMessage", chat_id=1, text="x", reply_parameters='{"message_id": 1}'))
    assert message["reply_to_message"]["text"] == "first"


def test_a_missing_message_may_be_replied_to_when_asked(ask: Ask) -> None:
    given = {"message_id": 99, "allow_sending_without_reply": True}
    assert "reply_to_message" not in result(ask("sendMessage", chat_id=1, text="x", reply_parameters=given))


def test_forwards_and_copies_carry_the_content(ask: Ask) -> None:
    ask("sendMessage", chat_id=1, text="x")
    forwarded = result(ask("forwardMessage", chat_id=2, from_chat_id=1, message_id=1))
    assert (forwarded["text"], forwarded["forward_origin"]["type"]) == ("x", "user")
    assert result(ask("copyMessage", chat_id=2, from_chat_id=1, message_id=1)) == {"message_id": 3}
    many = result(ask("copyMessages", chat_id=2, from_chat_id=1, message_ids="[1, 98, 99]"))
    assert many == [{"message_id": 4}]


def test_a_topic_can_be_opened_written_to_and_closed(world: World, ask: Ask) -> None:
    world.add_chat(SUPERGROUP, "supergroup", forum=True)
    thread = result(ask("createForumTopic", chat_id=SUPERGROUP, name="t"))["message_thread_id"]
    message = result(ask("sendMessage", chat_id=SUPERGROUP, text="x", message_thread_id=thread))
    assert message["message_thread_id"] == thread
    ask("closeForumTopic", chat_id=SUPERGROUP, message_thread_id=thread)
    closed = ask("sendMessage", chat_id=SUPERGROUP, text="x", message_thread_id=thread)
    assert why(closed) == "Bad Request: TOPIC_CLOSED"


def test_a_channel_is_found_by_name_and_has_no_sender(world: World, ask: Ask) -> None:
    world.add_chat(-1_009, "channel", "News", username="News")
    message = result(ask("sendMessage", chat_id="@news", text="x"))
    assert message["sender_chat"]["id"] == -1_009
    assert "from" not in message


def test_open_doors_make_private_chats_groups_and_supergroups(ask: Ask) -> None:
    types = [result(ask("sendMessage", chat_id=one, text="x"))["chat"]["type"] for one in (1, GROUP, SUPERGROUP)]
    assert types == ["private", "group", "supergroup"]


def test_supergroups_count_messages_for_themselves(ask: Ask) -> None:
    ask("sendMessage", chat_id=1, text="x")
    assert result(ask("sendMessage", chat_id=GROUP, text="x"))["message_id"] == 2
    assert result(ask("sendMessage", chat_id=SUPERGROUP, text="x"))["message_id"] == 1


def test_an_unknown_method_is_not_found(ask: Ask) -> None:
    refused = ask("sendTelepathy", chat_id=1)
    assert refused.payload == {"ok": False, "error_code": 404, "description": "Not Found: method not found"}


@pytest.mark.parametrize(("token", "words"), [("9:no", "Unauthorized"), ("x", "Unauthorized: invalid token specified")])
def test_an_unknown_token_is_unauthorized(ask: Ask, token: str, words: str) -> None:
    assert ask("getMe", token=token).payload == {"ok": False, "error_code": 401, "description": words}


def test_a_revoked_token_is_unauthorized(world: World, ask: Ask) -> None:
    world.bots[TOKEN].revoked = True
    assert why(ask("getMe")) == "Unauthorized"


def test_old_messages_are_forgotten_beyond_the_history(world: World, ask: Ask) -> None:
    world._history = 3
    for number in range(5):
        ask("sendMessage", chat_id=1, text=str(number))
    assert [message.text for message in world.messages(1)] == ["2", "3", "4"]
