"""How long a client waits, and what it gets when that is over: an error that names the message, or a stand-in."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import orjson

from kurir import Settings
from kurir.core.message import State
from kurir.settings import make_bot
from kurir.simulator.harness import Telegram

from .helpers import Answered, Door, opened, until

CHAT = 7


def assert_late(answer: Answered) -> None:
    """It was told that its message lives on, and which one that is."""
    code, words = answer.refusal
    assert code == 504
    assert words.startswith("Gateway Timeout: ")
    assert answer.message in words
    assert "will still be delivered" in words


async def test_a_wait_ends_with_504_and_the_message_is_delivered_later(door: Door) -> None:
    door.telegram.fail("slow", seconds=1.3, method="sendMessage", times=1)
    began = time.monotonic()
    answer = await door.send(CHAT, "slow", prefer="wait=1")
    assert 0.9 < time.monotonic() - began < 1.25
    assert_late(answer)
    assert answer.headers["Preference-Applied"] == "wait=1"
    await until(lambda: _delivered(door, answer.message))
    assert door.telegram.texts(CHAT) == ["slow"]


async def _delivered(door: Door, id: str) -> bool:
    return (await door.kurir.get(id)).state is State.DELIVERED


async def test_an_answer_that_comes_in_time_is_given_whatever_the_wait(door: Door) -> None:
    answer = await door.send(CHAT, "quick", prefer="wait=60")
    assert answer.result["message_id"] > 0
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.headers["Kurir-Message"]


async def test_a_wait_of_nothing_is_told_at_once_that_it_comes_later(door: Door) -> None:
    assert_late(await door.send(CHAT, "later", prefer="wait=0"))
    assert await door.texts(1, CHAT) == ["later"]


async def test_the_wait_is_set_for_all_bots(telegram: Telegram, tmp_path: Path) -> None:
    telegram.fail("slow", seconds=0.5, method="sendMessage")
    async with opened(telegram, tmp_path, gateway_wait=0.2) as door:
        answer = await door.send(CHAT, "slow")
        assert_late(answer)
        assert "0.2 s" in answer.refusal[1]
        assert "Preference-Applied" not in answer.headers
        assert (await door.send(CHAT, "slow", prefer="wait=5")).status == 200


async def test_the_wait_is_set_for_one_bot(telegram: Telegram, tmp_path: Path) -> None:
    telegram.fail("slow", seconds=0.5, method="sendMessage")
    bot = make_bot("shop", telegram.token, entry={"wait": 0.1})
    async with opened(telegram, tmp_path, settings=Settings(bots=(bot,))) as door:
        answer = await door.send(CHAT, "slow")
        assert_late(answer)
        assert "0.1 s" in answer.refusal[1]


async def test_a_bot_that_is_set_so_gets_a_stand_in_when_the_wait_is_over(telegram: Telegram, tmp_path: Path) -> None:
    bot = make_bot("shop", telegram.token, entry={"wait": 0.2, "respond_async": True})
    async with opened(telegram, tmp_path, settings=Settings(bots=(bot,))) as door:
        assert (await door.send(CHAT, "quick")).result["message_id"] > 0
        telegram.fail("slow", seconds=0.5, method="sendMessage", times=1)
        assert (await door.send(CHAT, "slow")).result["message_id"] < 0
        assert await door.texts(2, CHAT) == ["quick", "slow"]


# ---------------------------------------------------------------- respond-async


async def test_respond_async_answers_at_once_with_a_stand_in(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.5, method="sendMessage", times=1)
    await door.ask("getMe")
    began = time.monotonic()
    answer = await door.send(CHAT, "later", prefer="respond-async")
    assert time.monotonic() - began < 0.4
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert (await door.kurir.get(answer.message)).state is not State.DELIVERED
    message = answer.result
    assert message["message_id"] < 0
    assert message["chat"] == {"id": CHAT, "type": "private", "first_name": ""}
    assert abs(message["date"] - time.time()) < 5
    assert message["text"] == "later"
    assert message["from"]["id"] == 123456
    assert await door.texts(1, CHAT) == ["later"]


async def test_respond_async_with_a_wait_answers_with_the_message_if_it_comes(door: Door) -> None:
    answer = await door.send(CHAT, "quick", prefer="respond-async, wait=5")
    assert answer.result["message_id"] > 0
    assert answer.headers["Preference-Applied"] == "respond-async, wait=5"


async def test_respond_async_with_a_wait_answers_with_a_stand_in_if_it_does_not(door: Door) -> None:
    door.telegram.fail("slow", seconds=1.5, method="sendMessage", times=1)
    began = time.monotonic()
    answer = await door.send(CHAT, "slow", prefer="respond-async; wait=1")
    assert 0.9 < time.monotonic() - began < 1.4
    assert answer.result["message_id"] < 0


async def test_a_refusal_within_the_wait_is_told_although_a_stand_in_would_do(door: Door) -> None:
    answer = await door.send(CHAT, "<b>", parse_mode="HTML", prefer="respond-async, wait=5")
    assert answer.status == 400


async def test_preferences_that_are_none_are_passed_over(door: Door) -> None:
    for words in ("", "nonsense", "wait", "wait=", "wait=soon", "wait=-1", "handling=lenient", ",,;=,"):
        assert (await door.send(CHAT, "hi", prefer=words)).result["message_id"] > 0


PHOTO = "https://example.org/a.jpg"
MEDIA = [{"type": "photo", "media": PHOTO}, {"type": "photo", "media": PHOTO}]
MESSAGES = {
    "sendMessage": {"text": "hi"},
    "sendPhoto": {"photo": PHOTO, "caption": "hi"},
    "sendLocation": {"latitude": 1, "longitude": 2},
    "sendDice": {},
    "forwardMessage": {"from_chat_id": 8, "message_id": 1},
}


CHATS = {CHAT: "private", -5: "group", -1001234567890: "supergroup", "@news": "channel"}


async def test_the_stand_in_for_a_message_is_a_message(door: Door) -> None:
    door.telegram.do(lambda world: world.add_chat(-1007777777777, "channel", "News", username="news"))
    for (chat, kind), method in itertools.product(CHATS.items(), MESSAGES):
        answer = await door.ask(method, {"chat_id": chat, **MESSAGES[method]}, prefer="respond-async")
        message = answer.result
        assert message["message_id"] < 0
        assert isinstance(message["date"], int)
        assert message["chat"]["type"] == kind
        assert message["chat"]["id"] == (chat if isinstance(chat, int) else 0)


async def test_the_stand_in_for_an_album_is_a_list_of_messages(door: Door) -> None:
    for media in (MEDIA, orjson.dumps(MEDIA).decode()):
        answer = await door.ask("sendMediaGroup", {"chat_id": CHAT, "media": media}, prefer="respond-async")
        ids = [message["message_id"] for message in answer.result]
        assert len(set(ids)) == 2
        assert max(ids) < 0
        assert all(message["chat"]["id"] == CHAT for message in answer.result)


async def test_the_stand_in_for_a_copy_is_a_message_id(door: Door) -> None:
    source = (await door.send(8, "source")).result["message_id"]
    copy = {"chat_id": CHAT, "from_chat_id": 8, "message_id": source}
    answer = await door.ask("copyMessage", copy, prefer="respond-async")
    assert set(answer.result) == {"message_id"}
    assert answer.result["message_id"] < 0


async def test_the_stand_in_for_several_copies_is_a_list_of_message_ids(door: Door) -> None:
    copies = {"chat_id": CHAT, "from_chat_id": 8, "message_ids": [1, 2, 3]}
    for method in ("copyMessages", "forwardMessages"):
        answer = await door.ask(method, copies, prefer="respond-async")
        assert len({item["message_id"] for item in answer.result}) == 3
        assert all(set(item) == {"message_id"} and item["message_id"] < 0 for item in answer.result)


async def test_the_stand_in_for_an_edit_is_the_message_it_edits(door: Door) -> None:
    sent = (await door.send(CHAT, "before")).result["message_id"]
    edit = {"chat_id": CHAT, "message_id": sent, "text": "after"}
    edited = (await door.ask("editMessageText", edit, prefer="respond-async")).result
    assert (edited["message_id"], edited["chat"]["id"], edited["text"]) == (sent, CHAT, "after")
    inline = {"inline_message_id": "abc", "text": "after"}
    assert (await door.ask("editMessageText", inline, prefer="respond-async")).result is True


DONE: dict[str, dict[str, Any]] = {
    "deleteMessage": {"message_id": 1},
    "deleteMessages": {"message_ids": [1, 2]},
    "pinChatMessage": {"message_id": 1},
    "setMessageReaction": {"message_id": 1, "reaction": []},
    "banChatMember": {"user_id": 5},
    "setChatTitle": {"title": "News"},
}


async def test_the_stand_in_for_what_is_done_is_true(door: Door) -> None:
    for method, params in DONE.items():
        assert (await door.ask(method, {"chat_id": CHAT, **params}, prefer="respond-async")).result is True


async def test_what_has_no_stand_in_is_waited_for(door: Door) -> None:
    door.telegram.do(lambda world: world.add_chat(-1005, "supergroup", "Forum", forum=True))
    door.telegram.fail("slow", seconds=0.3, method="createForumTopic", times=1)
    answer = await door.ask("createForumTopic", {"chat_id": -1005, "name": "News"}, prefer="respond-async")
    assert answer.result["message_thread_id"] > 0


async def test_what_has_no_stand_in_and_does_not_come_in_time_is_late(door: Door) -> None:
    door.telegram.do(lambda world: world.add_chat(-1005, "supergroup", "Forum", forum=True))
    door.telegram.fail("slow", seconds=1.5, method="createForumTopic", times=1)
    topic = {"chat_id": -1005, "name": "News"}
    assert_late(await door.ask("createForumTopic", topic, prefer="respond-async, wait=1"))


# ---------------------------------------------------------------- streams of edits


async def test_a_stream_of_edits_goes_out_in_few_calls_and_all_clients_get_the_last_answer(door: Door) -> None:
    sent = (await door.send(CHAT, "0")).result["message_id"]
    door.telegram.fail(
        "status_json",
        status=429,
        description="Too Many Requests: retry after 1",
        retry_after=1,
        method="editMessageText",
        times=1,
    )
    edits = []
    for number in range(1, 21):
        edit = {"chat_id": CHAT, "message_id": sent, "text": f"word {number}"}
        edits.append(asyncio.ensure_future(door.ask("editMessageText", edit)))
        await asyncio.sleep(0.01)
    answers = await asyncio.gather(*edits)
    assert [answer.status for answer in answers] == [200] * 20
    assert {answer.result["text"] for answer in answers} == {"word 20"}
    assert door.telegram.texts(CHAT) == ["word 20"]
    calls = [call for call in door.telegram.calls("editMessageText") if call.status == 200]
    assert len(calls) <= 2


async def test_where_nothing_can_stand_in_the_bots_own_wait_counts(telegram: Telegram, tmp_path: Path) -> None:
    bot = make_bot("shop", telegram.token, entry={"wait": 0.2, "respond_async": True})
    telegram.outage(60)
    async with opened(telegram, tmp_path, settings=Settings(bots=(bot,))) as door:
        async with asyncio.timeout(5):
            for prefer in (None, "respond-async"):
                assert_late(
                    await door.ask("createChatInviteLink", {"chat_id": -100, "name": str(prefer)}, prefer=prefer)
                )
