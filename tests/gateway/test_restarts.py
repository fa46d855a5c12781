"""One delivery for one wish, whatever happened to the client, the store or Kurir between a call and its repetition; two for
two wishes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kurir.ports import Purge
from kurir.simulator.harness import Telegram

from .helpers import Door, opened, until

CHAT = 7


async def test_a_client_that_leaves_while_the_store_is_slow_is_not_doubled(door: Door) -> None:
    real, may_go = door.kurir.store.submit, asyncio.Event()

    async def slow(*batch: Any) -> Any:
        await may_go.wait()
        return await real(*batch)

    door.kurir.store.submit = slow  # type: ignore[method-assign]
    for _ in range(3):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await door.send(CHAT, "once")
    may_go.set()
    assert (await door.send(CHAT, "once")).result["text"] == "once"
    assert door.telegram.texts(CHAT) == ["once"]


async def test_who_was_told_of_a_stop_joins_after_it(telegram: Telegram, tmp_path: Path) -> None:
    async with opened(telegram, tmp_path) as door:
        telegram.fail("slow", seconds=4.5, times=1, chat=CHAT)
        client = asyncio.ensure_future(door.send(CHAT, "once"))
        await until(lambda: door.accepted == 1)
        await asyncio.sleep(0.1)
        await door.doors.close()
        told = await client
        assert told.status == 503
        assert told.message in told.refusal[1]
        await door.kurir.close(3)
    assert telegram.texts(CHAT) == ["once"]  # delivered when its client had gone
    async with opened(telegram, tmp_path) as door:
        again = await door.send(CHAT, "once")
        assert again.message == told.message
    assert telegram.texts(CHAT) == ["once"]


async def test_who_got_a_stand_in_has_its_answer(telegram: Telegram, tmp_path: Path) -> None:
    telegram.outage(60)
    async with opened(telegram, tmp_path) as door:
        first = await door.send(CHAT, "pong", prefer="respond-async")
    async with opened(telegram, tmp_path) as door:
        second = await door.send(CHAT, "pong", prefer="respond-async")
    assert first.result["message_id"] != second.result["message_id"]


async def test_a_repeat_of_what_was_purged_is_a_new_message(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.3, times=1, chat=CHAT)
    await door.leave(door.send(CHAT, "hello"))
    await door.texts(1, CHAT)

    async def purged() -> bool:
        return await door.kurir.change_all(Purge()) == 1

    await until(purged)
    for count in (2, 3):
        assert (await door.send(CHAT, "hello")).status == 200
        assert len(door.telegram.texts(CHAT)) == count


async def test_a_keyed_call_leaves_nothing_for_others_to_join(door: Door) -> None:
    door.telegram.fail("slow", seconds=0.3, times=1, chat=CHAT)
    keyed = {"Idempotency-Key": "order-1"}
    await door.leave(door.send(CHAT, "hello", headers=keyed))
    assert (await door.send(CHAT, "hello", headers=keyed)).status == 200
    assert (await door.send(CHAT, "hello")).status == 200
    assert door.telegram.texts(CHAT) == ["hello", "hello"]


async def test_what_waits_for_one_message_leaves_in_order_however_late_that_is(door: Door) -> None:
    """Those that came last must not be the first to look again."""
    root = await door.kurir.submit("sendMessage", {"chat_id": CHAT, "text": "root"}, due_at=timedelta(seconds=6))
    id = -10 * root.accepted.seq
    for count in range(6):
        await door.kurir.submit(
            "sendMessage", {"chat_id": CHAT, "text": str(count), "reply_parameters": {"message_id": id}}
        )
        await asyncio.sleep(0.5)
    assert await door.texts(7, CHAT, within=15) == ["root", *"012345"]


async def test_messages_that_refer_to_themselves_or_each_other_do_not_wait_for_ever(door: Door) -> None:
    refer = [
        {"chat_id": chat, "text": "x", "reply_parameters": {"message_id": id}}
        for chat, id in ((7, -10), (8, -30), (9, -20))
    ]
    receipts = [await door.kurir.submit("sendMessage", params) for params in refer]
    for receipt in receipts:
        record = await receipt.ended(5)
        assert (record.reason or "").startswith("refers to ")


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_a_slash_too_many_in_the_base_url_is_forgiven(door: Door, verb: str) -> None:
    url = door.at("getMe").replace("/bot", "//bot")
    assert (await door.ask("getMe", verb=verb, url=url)).result["is_bot"] is True
