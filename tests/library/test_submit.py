"""Handing over: one, many, any method; all or none; keys; priorities; treatment."""

from __future__ import annotations

import asyncio

import pytest

from kurir import InvalidMessage, KeyConflict, Kurir, Message, Priority, Query, Settings, State, StoreAway
from kurir.ports import Store
from kurir.settings import Bot
from kurir.simulator import Kind, Rule

from .helpers import EPOCH, NEWS_TOKEN, TOKEN, in_virtual_time, params, playing, stage


def text(chat: int, words: str, **treatment: object) -> Message:
    return Message("sendMessage", {"chat_id": chat, "text": words}, **treatment)  # type: ignore[arg-type]


# ---------------------------------------------------------------- one, many, any


@in_virtual_time
async def test_one_message_arrives(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.submit(text(5, "hello"))
        await receipt.delivered(10)
        assert s.texts(5) == ["hello"]


@in_virtual_time
async def test_a_method_and_its_parameters_arrive(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.submit("sendDice", {"chat_id": 5}, priority="high")
        await receipt.delivered(10)
        assert [m.kind for m in s.world.messages(5)] == ["dice"]
        assert (await receipt.record()).priority is Priority.HIGH


@in_virtual_time
async def test_many_messages_arrive_in_order(store: Store) -> None:
    async with playing(store, latency=0.01) as (kurir, s):
        receipts = await kurir.submit([text(5, f"m{n}") for n in range(50)])
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert s.texts(5) == [f"m{n}" for n in range(50)]


@in_virtual_time
async def test_an_unknown_method_is_handed_to_telegram_as_it_is(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.submit("sendHologram", {"chat_id": 5, "depth": {"of": [3]}})
        record = await receipt.ended(10)
        assert record.state is State.DEAD
        assert "method not found" in (record.reason or "")
        assert params(s.wire.sends()[0][1]) == {"chat_id": 5, "depth": {"of": [3]}}


@in_virtual_time
async def test_parameters_leave_as_they_came(store: Store) -> None:
    given = {"chat_id": 5, "text": "Привет <b>ты</b>", "parse_mode": "HTML", "reply_markup": {"inline_keyboard": []}}
    async with playing(store) as (kurir, s):
        await (await kurir.submit("sendMessage", given)).delivered(10)
        assert params(s.wire.sends()[0][1]) == given


@in_virtual_time
async def test_nothing_handed_over_is_nothing() -> None:
    async with playing() as (kurir, _):
        assert await kurir.submit([]) == []


@in_virtual_time
async def test_an_unknown_treatment_is_refused_by_its_name() -> None:
    async with playing() as (kurir, _):
        with pytest.raises(InvalidMessage, match="params") as caught:
            await kurir.submit("sendMessage", {"chat_id": 5, "text": "x"}, prioriti="high")
        assert caught.value.field == "prioriti"


@in_virtual_time
async def test_treatment_beside_a_message_is_refused() -> None:
    async with playing() as (kurir, _):
        with pytest.raises(InvalidMessage):
            await kurir.submit(text(5, "x"), priority="high")  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [5, None, [5], ["sendMessage"]])
@in_virtual_time
async def test_what_is_no_message_is_refused(wrong: object) -> None:
    async with playing() as (kurir, _):
        with pytest.raises(InvalidMessage):
            await kurir.submit(wrong)  # type: ignore[call-overload]


# ---------------------------------------------------------------- all or none


@in_virtual_time
async def test_a_batch_with_a_bad_message_keeps_nothing(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        with pytest.raises(InvalidMessage) as caught:
            await kurir.submit([text(5, "a"), text(5, ""), text(5, "c")])
        assert caught.value.field == "messages[1].params.text"
        assert (await kurir.find()).items == ()


@in_virtual_time
async def test_a_batch_with_a_used_key_keeps_nothing(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        await kurir.submit(text(5, "first", idempotency_key="k"))
        with pytest.raises(KeyConflict):
            await kurir.submit([text(5, "a"), text(5, "other", idempotency_key="k")])
        assert len((await kurir.find()).items) == 1


# ---------------------------------------------------------------- keys


@in_virtual_time
async def test_the_same_key_and_body_is_the_same_message(store: Store) -> None:
    async with playing(store) as (kurir, s):
        first = await kurir.submit(text(5, "once", idempotency_key="order-1"))
        await first.delivered(10)
        again = await kurir.submit(text(5, "once", idempotency_key="order-1"))
        assert (again.id, again.duplicate, again.state) == (first.id, True, State.DELIVERED)
        assert s.texts(5) == ["once"]


@in_virtual_time
async def test_the_same_key_and_another_body_is_a_conflict(store: Store) -> None:
    async with playing(store) as (kurir, _):
        first = await kurir.submit(text(5, "once", idempotency_key="order-1"))
        with pytest.raises(KeyConflict) as caught:
            await kurir.submit(text(5, "twice", idempotency_key="order-1"))
        assert (caught.value.key, caught.value.id) == ("order-1", first.id)


@in_virtual_time
async def test_concurrent_submits_of_one_key_are_one_message(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipts = await asyncio.gather(*(kurir.submit(text(5, "once", idempotency_key="k")) for _ in range(20)))
        assert len({r.id for r in receipts}) == 1
        assert [r.duplicate for r in receipts].count(False) == 1
        await asyncio.gather(*(r.delivered(10) for r in receipts))
        assert s.texts(5) == ["once"]


async def test_concurrent_submits_of_one_key_through_two_kurirs_are_one_message() -> None:
    options = {"courier": False, "settings": Settings()}
    async with (
        Kurir("sqlite:///kurir.db", TOKEN, **options) as one,  # type: ignore[arg-type]
        Kurir("sqlite:///kurir.db", TOKEN, **options) as two,  # type: ignore[arg-type]
    ):
        receipts = await asyncio.gather(
            *(k.submit(text(5, "once", idempotency_key="k")) for k in (one, two) for _ in range(10))
        )
        assert len({r.id for r in receipts}) == 1
        assert len((await one.find()).items) == 1


@in_virtual_time
async def test_one_key_serves_each_bot_apart(store: Store) -> None:
    settings = Settings(bots=(Bot("shop", TOKEN), Bot("news", NEWS_TOKEN)))
    s = stage()
    s.world.add_bot(NEWS_TOKEN)
    async with s.kurir(store, settings=settings) as kurir:
        one = await kurir.submit(text(5, "a", idempotency_key="k", bot="shop"))
        two = await kurir.submit(text(5, "b", idempotency_key="k", bot="news"))
        await one.delivered(10)
        await two.delivered(10)
        assert not two.duplicate
        assert [m.bot.token for m in s.world.messages(5)] == [TOKEN, NEWS_TOKEN]
    s.world.close()


# ---------------------------------------------------------------- order


@in_virtual_time
async def test_the_most_urgent_leaves_first(store: Store) -> None:
    async with playing(store, pace="on", latency=0.01) as (kurir, s):
        urgencies = ["low", "normal", "high", "critical"]
        receipts = await kurir.submit([text(5, urgency, priority=urgency) for urgency in urgencies])
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert s.texts(5) == urgencies[::-1]


@in_virtual_time
async def test_strict_ordering_waits_through_the_slow_schedule(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await (await kurir.submit(text(6, "the network is well"))).delivered(10)
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=1, status=400, description="WORKER_BUSY_TOO_LONG_RETRY")
        )
        receipts = await kurir.submit([text(5, "first", ordering="strict", backoff=[300]), text(5, "second")])
        await asyncio.gather(*(r.delivered(1000) for r in receipts))
        assert s.texts(5) == ["first", "second"]
        assert s.clock.now() - EPOCH > 299


@in_virtual_time
async def test_fifo_ordering_is_overtaken_on_the_slow_schedule(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=1, status=400, description="WORKER_BUSY_TOO_LONG_RETRY")
        )
        receipts = await kurir.submit([text(5, "first", backoff=[300]), text(5, "second")])
        await receipts[1].delivered(10)
        await receipts[0].delivered(1000)
        assert s.texts(5) == ["second", "first"]


@in_virtual_time
async def test_a_message_on_its_quick_schedule_keeps_its_place(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=3, status=400, description="WORKER_BUSY_TOO_LONG_RETRY")
        )
        receipts = await kurir.submit([text(5, "first"), text(5, "second")])
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert s.texts(5) == ["first", "second"]


# ---------------------------------------------------------------- before and after its life


async def test_before_it_is_open_it_says_so() -> None:
    kurir = Kurir("sqlite:///kurir.db", TOKEN, courier=False, settings=Settings())
    with pytest.raises(StoreAway, match="async with"):
        await kurir.send_text(5, "too early")


async def test_after_it_is_closed_it_says_so() -> None:
    async with Kurir("sqlite:///kurir.db", TOKEN, courier=False, settings=Settings()) as kurir:
        await kurir.send_text(5, "in time")
    with pytest.raises(StoreAway, match="async with"):
        await kurir.send_text(5, "too late")


@in_virtual_time
async def test_nothing_of_a_refused_message_is_kept(store: Store) -> None:
    async with playing(store) as (kurir, s):
        for wrong in ({}, {"chat_id": 5}, {"chat_id": None, "text": "x"}):
            with pytest.raises(InvalidMessage):
                await kurir.submit("sendMessage", wrong)
        assert (await kurir.store.find(Query())).items == ()
        assert s.wire.sends() == []
