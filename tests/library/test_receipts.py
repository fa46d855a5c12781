"""Receipts: wait for an end, wherever it comes about."""

from __future__ import annotations

import asyncio

import pytest

from kurir import DeliveryTimeout, Kurir, NotFound, Purge, State, StoreAway, Undelivered
from kurir.ports import Store
from kurir.simulator import ChatState

from .helpers import in_virtual_time, playing, stage


@in_virtual_time
async def test_delivered_is_telegrams_result(store: Store) -> None:
    async with playing(store) as (kurir, _):
        result = await (await kurir.send_text(5, "hello")).delivered(10)
        assert result["text"] == "hello"
        assert result["chat"]["id"] == 5
        assert isinstance(result["message_id"], int)


@in_virtual_time
async def test_a_result_that_is_no_object_comes_as_it_is(store: Store) -> None:
    async with playing(store) as (kurir, _):
        sent = await (await kurir.send_text(5, "hello")).delivered(10)
        pin = {"chat_id": 5, "message_id": sent["message_id"]}
        assert await (await kurir.submit("pinChatMessage", pin)).delivered(10) is True


@in_virtual_time
async def test_what_died_is_undelivered_with_its_record(store: Store) -> None:
    async with playing(store) as (kurir, _):
        receipt = await kurir.send_text(5, "<b>open", parse_mode="HTML")
        with pytest.raises(Undelivered, match="can't parse entities") as caught:
            await receipt.delivered(10)
        assert caught.value.record.id == receipt.id
        assert caught.value.record.state is State.DEAD
        assert receipt.id in caught.value.remedy


@in_virtual_time
async def test_what_was_cancelled_is_undelivered(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "later", due_at=s.clock.now() + 60)
        waiting = asyncio.create_task(receipt.delivered())
        await s.sleep(1)
        await kurir.cancel(receipt.id)
        with pytest.raises(Undelivered, match="cancelled"):
            await waiting


@in_virtual_time
async def test_ended_answers_the_record_in_whatever_state(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        assert (await (await kurir.send_text(5, "x")).ended(10)).state is State.DEAD


@in_virtual_time
async def test_a_wait_that_is_too_short_says_that_the_message_lives_on(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "later", due_at=s.clock.now() + 60)
        with pytest.raises(DeliveryTimeout, match="lives on") as caught:
            await receipt.delivered(5)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.id == receipt.id
        assert 4.9 < s.clock.now() - (await receipt.record()).accepted_at < 5.1
        await receipt.delivered(100)
        assert s.texts(5) == ["later"]


@in_virtual_time
async def test_a_wait_of_zero_seconds_only_looks(store: Store) -> None:
    async with playing(store) as (kurir, _):
        receipt = await kurir.send_text(5, "x")
        await receipt.delivered(10)
        assert (await receipt.delivered(0))["text"] == "x"


@in_virtual_time
async def test_many_may_wait_for_one_message(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "x", due_at=s.clock.now() + 3)
        results = await asyncio.gather(*(receipt.delivered(10) for _ in range(20)))
        assert {r["text"] for r in results} == {"x"}


@in_virtual_time
async def test_an_abandoned_wait_leaves_nothing_behind(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "x", due_at=s.clock.now() + 3)
        waiting = asyncio.create_task(receipt.delivered())
        await s.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert kurir._waiting._waiters == {}
        await receipt.delivered(10)


@in_virtual_time
async def test_an_edit_that_gave_way_ends_as_the_newer_one(store: Store) -> None:
    async with playing(store) as (kurir, s):
        sent = await (await kurir.send_text(5, "draft")).delivered(10)
        which = {"chat_id": 5, "message_id": sent["message_id"]}
        later = s.clock.now() + 5
        await kurir.store.steer(123456, chat="5", until=later)
        edits = [await kurir.submit("editMessageText", {**which, "text": f"v{n}"}) for n in range(4)]
        results = await asyncio.gather(*(edit.delivered(30) for edit in edits))
        assert {r["text"] for r in results} == {"v3"}
        assert s.texts(5) == ["v3"]
        assert [(await edit.record()).state for edit in edits] == [State.CANCELLED] * 3 + [State.DELIVERED]
        assert len([call for _, call in s.wire.sends() if call.method == "editMessageText"]) == 1


@in_virtual_time
async def test_a_receipt_hears_of_the_end_that_another_kurir_brings_about(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        waiting = asyncio.create_task(receipt.delivered(60))
        await s.sleep(3)
        assert not waiting.done()
        async with s.kurir(store):
            assert (await waiting)["text"] == "x"


async def test_a_receipt_hears_of_the_end_through_the_file() -> None:
    s = stage()
    async with s.kurir(courier=False, store="sqlite:///kurir.db") as here, s.kurir(store="sqlite:///kurir.db") as there:
        assert isinstance(there, Kurir)
        receipts = [await here.send_text(chat, "x") for chat in range(5, 10)]
        results = await asyncio.gather(*(r.delivered(10) for r in receipts))
        assert [r["chat"]["id"] for r in results] == [5, 6, 7, 8, 9]
    s.world.close()


@in_virtual_time
async def test_a_wait_for_what_was_purged_ends(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        await kurir.cancel(receipt.id)
        await kurir.change_all(Purge(), ids=(receipt.id,))
        with pytest.raises(NotFound):
            await receipt.delivered(10)
        assert s.clock.now() > 0


@in_virtual_time
async def test_a_wait_ends_when_the_message_is_purged_meanwhile(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        waiting = asyncio.create_task(receipt.ended(30))
        await s.sleep(1)
        other = s.kurir(store, courier=False)
        await other.cancel(receipt.id)
        await other.change_all(Purge(), ids=(receipt.id,))
        with pytest.raises((NotFound, DeliveryTimeout)):
            await waiting


@in_virtual_time
async def test_a_wait_ends_when_kurir_is_closed(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        waiting = asyncio.create_task(receipt.delivered())
        await s.sleep(1)
        await kurir.close()
        with pytest.raises(StoreAway, match="closed"):
            await asyncio.wait_for(waiting, 5)
