"""What is stored is answered with Telegram's own answer, however the client asks."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import aiohttp
import orjson
import pytest

from kurir.core.message import State
from kurir.simulator.harness import Telegram

from .helpers import Door

CHAT = 7
PICTURE = bytes(range(256)) * 20


def form(fields: dict[str, Any], **files: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData({name: str(value) for name, value in fields.items()}, default_to_multipart=True)
    for name, content in files.items():
        data.add_field(name, BytesIO(content), filename=f"{name}.bin", content_type="application/octet-stream")
    return data


HELLO = {"chat_id": CHAT, "text": "Hellö, 👋 & more"}
SPELLINGS = {
    "json": {"json": HELLO},
    "json, chat as text": {"json": {**HELLO, "chat_id": str(CHAT)}},
    "form": {"data": HELLO},
    "multipart": {"data": form(HELLO)},
    "query": {"params": HELLO},
    "GET": {"params": HELLO, "verb": "GET"},
    "form and query": {"params": {"chat_id": CHAT}, "data": {"text": HELLO["text"], "chat_id": "8"}},
}


async def test_a_send_in_any_encoding_is_stored_and_answered_with_telegrams_message(door: Door) -> None:
    for number, (spelling, http) in enumerate(SPELLINGS.items(), 1):
        answer = await door.ask("sendMessage", **http)
        messages = door.telegram.sent(CHAT)
        assert (spelling, len(messages)) == (spelling, number)
        assert answer.result["message_id"] == messages[-1].id
        assert answer.result["text"] == messages[-1].text == HELLO["text"]
        assert answer.result["chat"]["id"] == CHAT
        record = (await door.records())[-1]
        assert (record.id, record.state) == (answer.message, State.DELIVERED)
        assert orjson.loads(record.result or b"") == answer.result


async def test_methods_are_taken_in_any_case(door: Door) -> None:
    for method in ("sendmessage", "SENDMESSAGE", "SendMessage", "sEnDmEsSaGe"):
        assert (await door.ask(method, HELLO)).result["text"] == HELLO["text"]
    assert {record.method for record in await door.records()} == {"sendMessage"}


async def test_a_method_may_stand_among_the_parameters(door: Door) -> None:
    answer = await door.ask("", {"method": "sendMessage", **HELLO})
    assert answer.result["text"] == HELLO["text"]


async def test_numbers_and_flags_may_be_text_and_text_may_be_a_number(door: Door) -> None:
    answer = await door.ask("sendMessage", {"chat_id": str(CHAT), "text": 42, "protect_content": "true"})
    assert answer.result["text"] == "42"
    assert answer.result["has_protected_content"] is True
    place = await door.ask("sendLocation", data={"chat_id": str(CHAT), "latitude": "52.5", "longitude": "13.4"})
    assert place.result["location"]["latitude"] == pytest.approx(52.5)


async def test_objects_may_be_json_text_or_json(door: Door) -> None:
    markup = {"inline_keyboard": [[{"text": "Press", "callback_data": "x"}]]}
    as_text = await door.ask("sendMessage", data={**HELLO, "reply_markup": orjson.dumps(markup).decode()})
    as_json = await door.ask("sendMessage", {**HELLO, "reply_markup": markup})
    assert as_text.result["reply_markup"] == as_json.result["reply_markup"] == markup


async def test_a_photo_in_its_own_field_and_an_album_by_attach_arrive(door: Door) -> None:
    photo = await door.ask("sendPhoto", data=form({"chat_id": CHAT, "caption": "one"}, photo=PICTURE))
    assert photo.result["photo"]
    media = orjson.dumps([{"type": "photo", "media": f"attach://{name}", "caption": name} for name in "ab"]).decode()
    album = await door.ask("sendMediaGroup", data=form({"chat_id": CHAT, "media": media}, a=PICTURE, b=PICTURE[::-1]))
    assert [item["caption"] for item in album.result] == ["a", "b"]
    assert door.telegram.texts(CHAT) == ["one", "a", "b"]


async def test_what_sets_something_is_stored_and_answered_too(door: Door) -> None:
    sent = (await door.send(CHAT, "before")).result["message_id"]
    edited = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": str(sent), "text": "after"})
    assert (edited.result["message_id"], edited.result["text"]) == (sent, "after")
    assert (await door.ask("pinChatMessage", params={"chat_id": CHAT, "message_id": sent}, verb="GET")).result is True
    assert (await door.ask("deleteMessage", data={"chat_id": CHAT, "message_id": sent})).result is True
    records = await door.records()
    assert [record.method for record in records] == [
        "sendMessage", "editMessageText", "pinChatMessage", "deleteMessage",
    ]  # fmt: skip
    assert {record.state for record in records} == {State.DELIVERED}


async def test_what_concerns_no_chat_is_stored_and_answered_too(door: Door) -> None:
    commands = [{"command": "start", "description": "Begin"}]
    assert (await door.ask("setMyCommands", {"commands": commands})).result is True
    assert (await door.ask("getMyCommands")).result == commands


# ---------------------------------------------------------------- refusals


async def test_a_refusal_of_the_text_reaches_the_client_as_telegram_worded_it(door: Door) -> None:
    answer = await door.send(CHAT, "<b>never closed", parse_mode="HTML")
    assert answer.status == 400
    assert answer.body["description"].startswith("Bad Request: can't parse entities")
    (call,) = door.telegram.calls("sendMessage")
    assert answer.body["description"] == call.why


async def test_a_chat_that_is_not_there_is_refused_in_telegrams_words(door: Door) -> None:
    door.telegram.chats(CHAT)
    assert (await door.send(99, "hi")).refusal == (400, "Bad Request: chat not found")


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (400, "Bad Request: message is too long"),
        (403, "Forbidden: bot was kicked from the supergroup chat"),
        (404, "Not Found"),
        (413, "Request Entity Too Large"),
    ],
)
async def test_a_refusal_keeps_its_code_and_its_words(door: Door, code: int, description: str) -> None:
    door.telegram.fail("status_json", status=code, description=description, method="sendMessage", times=1)
    if code == 404:  # of a known method: the bot is stopped, and the message lives on
        answer = await door.send(CHAT, "hi", prefer="wait=1")
        assert answer.status == 504
        return
    assert (await door.send(CHAT, "hi")).refusal == (code, description)


async def test_what_was_not_modified_or_is_not_there_is_refused_as_telegram_refuses_it(door: Door) -> None:
    sent = (await door.send(CHAT, "same")).result["message_id"]
    same = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": sent, "text": "same"})
    assert same.status == 400
    assert same.body["description"].startswith("Bad Request: message is not modified")
    gone = await door.ask("deleteMessage", {"chat_id": CHAT, "message_id": 999})
    assert gone.refusal == (400, "Bad Request: message to delete not found")


async def test_a_repeated_edit_whose_first_answer_was_lost_is_no_refusal(door: Door) -> None:
    sent = (await door.send(CHAT, "before")).result["message_id"]
    door.telegram.fail("reset_after", method="editMessageText", times=1)
    edited = await door.ask("editMessageText", {"chat_id": CHAT, "message_id": sent, "text": "after"})
    assert edited.status == 200
    assert door.telegram.texts(CHAT) == ["after"]


async def test_what_cannot_be_a_call_is_refused_in_telegrams_words_and_not_stored(door: Door) -> None:
    for params, words in (
        ({"chat_id": CHAT}, "Bad Request: message text is empty"),
        ({"chat_id": CHAT, "text": ""}, "Bad Request: message text is empty"),
        ({"text": "hi"}, "Bad Request: chat_id is empty"),
    ):
        assert (await door.ask("sendMessage", params)).refusal == (400, words)
    assert not await door.records()
    assert not door.telegram.calls()


async def test_an_album_of_one_is_refused_and_not_stored(door: Door) -> None:
    media = [{"type": "photo", "media": "https://example.org/a.jpg"}]
    answer = await door.ask("sendMediaGroup", {"chat_id": CHAT, "media": media})
    assert answer.status == 400
    assert answer.body["description"].startswith("Bad Request: ")
    assert not await door.records()


async def test_a_photo_that_is_too_large_is_refused_with_413_and_nothing_is_kept(door: Door) -> None:
    large = b"x" * (10 * 1024 * 1024 + 1)
    answer = await door.ask("sendPhoto", data=form({"chat_id": CHAT}, photo=large))
    assert answer.status == 413
    assert answer.body["description"].startswith("Request Entity Too Large")
    assert not await door.records()


async def test_a_flood_wait_is_waited_for_and_not_shown(door: Door) -> None:
    door.telegram.fail(
        "status_json", status=429, description="Too Many Requests: retry after 1", retry_after=1, times=1
    )
    assert (await door.send(CHAT, "hi")).status == 200
    assert door.telegram.texts(CHAT) == ["hi"]


# ---------------------------------------------------------------- chats that are closed


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("blocked", "Forbidden: bot was blocked by the user"),
        ("deactivated", "Forbidden: user is deactivated"),
    ],
)
async def test_a_closed_chat_is_refused_in_telegrams_stored_words_without_a_call(
    door: Door, telegram: Telegram, state: str, words: str
) -> None:
    telegram.close_chat(CHAT, state)
    assert (await door.send(CHAT, "first")).refusal == (403, words)
    assert (await door.send(CHAT, "second")).refusal == (403, words)
    assert (await door.send(CHAT, "third", prefer="respond-async")).refusal == (403, words)
    assert len(telegram.calls("sendMessage")) == 1


async def test_a_user_who_writes_again_is_written_to_again(door: Door, telegram: Telegram) -> None:
    telegram.close_chat(CHAT, "blocked")
    await door.send(CHAT, "first")
    telegram.close_chat(CHAT, "open")
    telegram.do(lambda world: world.bots[telegram.token].updates.clear())
    assert (await door.send(CHAT, "second")).status == 403
    telegram.say(CHAT, "here I am again")
    updates = (await door.ask("getUpdates", {"timeout": 0})).result
    assert updates[0]["message"]["text"] == "here I am again"
    assert (await door.send(CHAT, "third")).result["text"] == "third"


async def test_a_user_who_unblocks_the_bot_is_written_to_again(door: Door, telegram: Telegram) -> None:
    telegram.close_chat(CHAT, "blocked")
    await door.send(CHAT, "first")
    telegram.close_chat(CHAT, "open")
    member = {"status": "member", "user": {"id": 123456, "is_bot": True, "first_name": "Bot"}}
    chat, user = {"id": CHAT, "type": "private"}, {"id": CHAT, "is_bot": False, "first_name": "User"}
    telegram.inject({"my_chat_member": {"chat": chat, "from": user, "date": 1, "new_chat_member": member}})
    await door.ask("getUpdates", {"timeout": 0})
    assert (await door.send(CHAT, "second")).status == 200


async def test_another_users_update_opens_nobody_elses_chat(door: Door, telegram: Telegram) -> None:
    telegram.close_chat(CHAT, "blocked")
    await door.send(CHAT, "first")
    telegram.say(8, "hello")
    await door.ask("getUpdates", {"timeout": 0})
    assert (await door.send(CHAT, "second")).status == 403
