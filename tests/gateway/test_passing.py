"""What is not stored: calls worth something now or never, and those that ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kurir.core.events import OutageBegan
from kurir.simulator.harness import Telegram

from .helpers import Door, opened, until

CHAT = 7


@pytest.fixture
async def away(telegram: Telegram, door: Door) -> AsyncIterator[Telegram]:
    """Out of reach, which the courier knows; before, Telegram said who the bot is."""
    await until(lambda: door.kurir.direct.me(123456) is not None)
    telegram.outage(60)
    await door.send(99, "finds out", prefer="respond-async")
    await until(lambda: any(isinstance(event, OutageBegan) for event in door.heard))
    yield telegram
    telegram.heal()


async def stored(door: Door) -> list[str]:
    return [record.method for record in await door.records()]


# ---------------------------------------------------------------- now or never


async def test_what_is_now_or_never_goes_straight_on_and_is_not_stored(door: Door) -> None:
    assert (await door.ask("sendChatAction", {"chat_id": CHAT, "action": "typing"})).result is True
    await door.send(CHAT, "menu", reply_markup={"inline_keyboard": [[{"text": "a", "callback_data": "x"}]]})
    (message,) = door.telegram.sent(CHAT)
    query = door.telegram.press(CHAT, message.id, "x")["callback_query"]["id"]
    assert (await door.ask("answercallbackquery", {"callback_query_id": query})).result is True
    assert await stored(door) == ["sendMessage"]
    assert len(door.telegram.calls("answerCallbackQuery")) == 1


async def test_its_refusal_is_telegrams(door: Door) -> None:
    wrong = await door.ask("sendChatAction", {"chat_id": CHAT, "action": "dancing"})
    assert wrong.refusal == (400, "Bad Request: wrong parameter action in request")
    old = await door.ask("answerCallbackQuery", data={"callback_query_id": "1"})
    assert old.status == 400
    assert old.refusal[1].startswith("Bad Request: query is too old")


async def test_it_overtakes_what_waits_in_its_chat(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.5, method="sendMessage", times=1)
    sending = asyncio.ensure_future(door.send(CHAT, "slow"))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    assert (await door.ask("sendChatAction", {"chat_id": CHAT, "action": "typing"})).result is True
    assert time.monotonic() - began < 0.3
    assert (await sending).status == 200


NOW: dict[str, dict[str, Any]] = {
    "sendChatAction": {"chat_id": CHAT, "action": "typing"},
    "answerCallbackQuery": {"callback_query_id": "1"},
    "sendMessageDraft": {"chat_id": CHAT, "draft_id": 1, "text": "so far"},
}


async def test_in_an_outage_it_is_refused_at_once_and_never_sent_later(away: Telegram, door: Door) -> None:
    for method, params in NOW.items():
        began = time.monotonic()
        answer = await door.ask(method, params)
        assert time.monotonic() - began < 0.5
        assert answer.status == 503
        assert answer.refusal[1].startswith("Service Unavailable: ")
        assert int(answer.headers["Retry-After"]) > 0
    away.heal()
    await door.texts(1, 99)
    assert (await door.ask("getMe")).status == 200
    assert [call.method for call in away.calls()] == await stored(door) == ["sendMessage"]


async def test_a_flood_wait_of_telegrams_reaches_who_is_now_or_never(door: Door) -> None:
    words = "Too Many Requests: retry after 7"
    door.telegram.fail("status_json", status=429, description=words, retry_after=7, method="sendChatAction")
    answer = await door.ask("sendChatAction", {"chat_id": CHAT, "action": "typing"})
    assert answer.refusal == (429, words)
    assert answer.body["parameters"] == {"retry_after": 7}
    assert answer.headers["Retry-After"] == "7"


# ---------------------------------------------------------------- asking


async def test_what_asks_passes_and_is_not_stored(door: Door) -> None:
    assert (await door.ask("getChat", {"chat_id": CHAT})).result["id"] == CHAT
    assert (await door.ask("GETCHATMEMBERCOUNT", params={"chat_id": CHAT}, verb="GET")).result == 2
    door.telegram.chats(8)
    assert (await door.ask("getChat", {"chat_id": 99})).refusal == (400, "Bad Request: chat not found")
    assert await stored(door) == []


async def test_webhooks_are_set_and_deleted_at_once(door: Door) -> None:
    assert (await door.ask("setWebhook", {"url": "https://example.org/hook"})).result is True
    assert (await door.ask("getWebhookInfo")).result["url"] == "https://example.org/hook"
    conflict = await door.ask("getUpdates")
    assert conflict.status == 409
    assert conflict.refusal[1].startswith("Conflict: ")
    deleted = await door.ask("deleteWebhook", {"drop_pending_updates": True})
    assert deleted.result is True
    assert deleted.body["description"] == "Webhook was deleted"
    assert await stored(door) == []


async def test_a_method_nobody_knows_passes_through_untouched(door: Door) -> None:
    answer = await door.ask("sudoMakeMeASandwich", {"chat_id": CHAT})
    assert answer.refusal == (404, "Not Found: method not found")
    assert await stored(door) == []


async def test_a_method_that_can_be_none_is_not_found(door: Door) -> None:
    for method in ("", "a b", "send-Message", "sendMessage/", "sendMessage/x", "%00", "x" * 100, "ü"):
        answer = await door.ask(method, {"chat_id": CHAT, "text": "hi"})
        assert (method, answer.status) == (method, 404)
        assert answer.refusal[1].startswith("Not Found")
    assert await stored(door) == []


async def test_who_the_bot_is_is_known_in_an_outage(door: Door, away: Telegram) -> None:
    began = time.monotonic()
    answer = await door.ask("getMe")
    assert answer.result["id"] == 123456
    assert time.monotonic() - began < 0.5


# ---------------------------------------------------------------- updates


async def test_a_long_poll_returns_as_soon_as_an_update_is_there(door: Door) -> None:
    began = time.monotonic()
    polling = asyncio.ensure_future(door.ask("getUpdates", {"timeout": 20}))
    await asyncio.sleep(0.2)
    assert not polling.done()
    door.telegram.say(CHAT, "hello")
    (update,) = (await polling).result
    assert update["message"]["text"] == "hello"
    assert time.monotonic() - began < 2
    offset = {"offset": update["update_id"] + 1, "timeout": 0}
    assert (await door.ask("getUpdates", data=offset)).result == []


async def test_a_long_poll_ends_empty_when_its_time_is_over(door: Door) -> None:
    assert (await door.ask("getUpdates", {"timeout": 1})).result == []


async def test_who_leaves_ends_the_poll_at_telegram_and_loses_no_update(door: Door) -> None:
    await door.leave(door.ask("getUpdates", {"timeout": 20}), stored=False)
    listeners = door.telegram.world.bots[door.telegram.token].listeners
    await until(lambda: not listeners)
    door.telegram.say(CHAT, "hello")
    (update,) = (await door.ask("getUpdates", {"timeout": 5})).result
    assert update["message"]["text"] == "hello"


async def test_a_second_poll_ends_the_first_as_telegram_does(door: Door) -> None:
    first = asyncio.ensure_future(door.ask("getUpdates", {"timeout": 20}))
    await asyncio.sleep(0.2)
    second = asyncio.ensure_future(door.ask("getUpdates", {"timeout": 1}))
    assert (await first).status == 409
    assert (await second).result == []


async def test_fifty_polls_and_waits_hold_up_nobody(door: Door) -> None:
    door.telegram.fail("hang", method="getChat")
    asking = [asyncio.ensure_future(door.ask("getChat", {"chat_id": number})) for number in range(50)]
    await asyncio.sleep(0.3)
    assert (await door.send(CHAT, "hi")).status == 200
    for client in asking:
        client.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_who_the_bot_is_survives_a_restart_in_an_outage(telegram: Telegram, tmp_path: Path) -> None:
    async with opened(telegram, tmp_path) as door:
        assert (await door.ask("getMe")).status == 200
        while not list(tmp_path.rglob(".bots")):
            await asyncio.sleep(0.01)
    telegram.outage(60)
    async with opened(telegram, tmp_path) as door:
        assert (await door.ask("getMe")).result["is_bot"] is True
