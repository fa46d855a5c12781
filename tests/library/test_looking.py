"""Looking and steering: get, find, stats, retry, cancel, dead letters, change_all (A1, A6, B6, B7, B8, B14, C7)."""

from __future__ import annotations

import asyncio

import pytest

from kurir import Cancel, Expire, InvalidMessage, Message, NotFound, Priority, Purge, Requeue, State, WrongState
from kurir.ports import Store
from kurir.simulator import ChatState, Kind, Rule
from kurir.stores.sqlite import SqliteStore

from .helpers import BOT, EPOCH, in_virtual_time, playing, stage

BLOCKED = "Forbidden: bot was blocked by the user"


# ---------------------------------------------------------------- get


@in_virtual_time
async def test_get_shows_every_attempt(store: Store) -> None:
    async with playing(store, latency=0.5) as (kurir, s):
        s.world.faults.add(Rule(Kind.STATUS_JSON, times=1, status=429, retry_after=3, description="Too Many Requests"))
        receipt = await kurir.send_text(5, "x")
        await receipt.delivered(20)
        record = await kurir.get(receipt.id)
        assert [(a.number, a.outcome, a.status) for a in record.attempts] == [
            (1, "throttled", 429),
            (2, "delivered", 200),
        ]
        assert record.attempts[0].error == "Too Many Requests"
        assert record.attempts[0].duration == pytest.approx(0.5)
        assert record.state is State.DELIVERED
        assert record.ended_at is not None
        assert EPOCH < record.ended_at <= s.clock.now()


@in_virtual_time
async def test_get_of_an_unknown_id_is_not_found(store: Store) -> None:
    async with playing(store) as (kurir, _):
        with pytest.raises(NotFound, match="nobody"):
            await kurir.get("nobody")


@in_virtual_time
async def test_what_is_on_its_way_is_sending(store: Store) -> None:
    async with playing(store, latency=10) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        await s.sleep(2)
        assert (await receipt.record()).state is State.SENDING


# ---------------------------------------------------------------- find


@in_virtual_time
async def test_find_by_metadata_key_chat_method_state_priority_and_time(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        a = await kurir.send_text(5, "a", metadata={"order": 42, "user": "anna"}, idempotency_key="k-a")
        await s.sleep(10)
        b = await kurir.send_location(6, 1.0, 2.0, metadata={"order": 43, "user": "anna"}, priority="high")
        await kurir.cancel(b.id)

        async def found(**conditions: object) -> list[str]:
            return [record.id for record in (await kurir.find(**conditions)).items]

        assert await found(metadata={"order": 42}) == [a.id]
        assert await found(metadata={"user": "anna"}) == [b.id, a.id]
        assert await found(metadata={"user": "anna", "order": "43"}) == [b.id]
        assert await found(key="k-a") == [a.id]
        assert await found(chat=5) == [a.id]
        assert await found(chat="6") == [b.id]
        assert await found(method="sendLocation") == [b.id]
        assert await found(states=[State.WAITING]) == [a.id]
        assert await found(states=["cancelled"]) == [b.id]
        assert await found(priority=Priority.HIGH) == [b.id]
        assert await found(since=EPOCH + 5) == [b.id]
        assert await found(until=EPOCH + 5) == [a.id]
        assert await found(bot=BOT) == [b.id, a.id]
        assert await found(bot=1) == []
        assert await found(metadata={"order": 44}) == []


@in_virtual_time
async def test_metadata_is_found_as_it_was_given(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        receipt = await kurir.send_text(5, "a", metadata={"paid": True})
        assert [r.id for r in (await kurir.find(metadata={"paid": True})).items] == [receipt.id]


@in_virtual_time
async def test_one_state_may_be_given_as_a_word(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        receipt = await kurir.send_text(5, "a")
        assert [r.id for r in (await kurir.find(states="waiting")).items] == [receipt.id]


@in_virtual_time
async def test_a_chat_is_found_by_its_name_in_any_case(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        receipt = await kurir.send_text("@News", "a")
        assert [r.id for r in (await kurir.find(chat="@NEWS")).items] == [receipt.id]


@in_virtual_time
async def test_find_goes_page_by_page(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": str(n)}) for n in range(7)])
        ids: list[str] = []
        cursor: str | None = None
        pages = 0
        while pages == 0 or cursor:
            page = await kurir.find(limit=3, cursor=cursor)
            ids += [record.id for record in page.items]
            cursor, pages = page.next, pages + 1
        assert pages == 3
        assert ids == [r.id for r in receipts][::-1]


@pytest.mark.parametrize("conditions", [{"colour": "red"}, {"state": "dead"}, {"cursor": "x y"}])
@in_virtual_time
async def test_an_unknown_condition_is_refused(conditions: dict[str, str]) -> None:
    async with playing(courier=False) as (kurir, _):
        with pytest.raises(InvalidMessage) as caught:
            await kurir.find(**conditions)
        assert caught.value.remedy


@pytest.mark.parametrize("states", ["lost", ["lost"], 5])
@in_virtual_time
async def test_an_unknown_state_is_refused_by_our_own_error(states: object) -> None:
    async with playing(courier=False) as (kurir, _):
        with pytest.raises(InvalidMessage) as caught:
            await kurir.find(states=states)
        assert caught.value.field == "states"


# ---------------------------------------------------------------- stats


@in_virtual_time
async def test_stats_count_every_state(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        s.world.add_chat(9)
        s.world.set_state(9, ChatState.BLOCKED)
        done = [await kurir.send_text(5, "a"), await kurir.send_text(9, "dies")]
        expired = await kurir.send_text(6, "expires", due_at=s.clock.now() + 50, expires_at=s.clock.now() + 51)
        cancelled = await kurir.send_text(6, "cancelled", due_at=s.clock.now() + 1000)
        waiting = await kurir.send_text(7, "waits", due_at=s.clock.now() + 1000)
        await kurir.cancel(cancelled.id)
        await kurir.store.steer(BOT, chat="6", until=s.clock.now() + 500)
        async with s.kurir(store):
            await asyncio.gather(*(r.ended(100) for r in done), expired.ended(100))
            stats = await kurir.stats()
            assert (await waiting.record()).state is State.WAITING
        (bot,), (day,) = stats.bots, stats.days
        assert (bot.delivered, bot.dead, bot.expired, bot.cancelled, bot.waiting) == (1, 1, 1, 1, 1)
        assert (day.delivered, day.dead, day.expired, day.cancelled) == (1, 1, 1, 1)


# ---------------------------------------------------------------- dead letters


@in_virtual_time
async def test_a_dead_letter_is_listed_with_its_reason(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        receipt = await kurir.send_text(5, "x", metadata={"order": 42})
        await receipt.ended(10)
        (record,) = (await kurir.dead(metadata={"order": 42})).items
        assert (record.id, record.reason) == (receipt.id, BLOCKED)


@in_virtual_time
async def test_a_dead_letter_is_retried(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.NO_RIGHTS)
        receipt = await kurir.send_text(5, "x")
        assert (await receipt.ended(10)).state is State.DEAD
        s.world.set_state(5, ChatState.OPEN)
        await kurir.retry(receipt.id)
        await receipt.delivered(10)
        record = await kurir.get(receipt.id)
        assert [a.outcome for a in record.attempts] == ["refused", "delivered"]
        assert s.texts(5) == ["x"]


@in_virtual_time
async def test_all_dead_letters_of_an_order_are_retried_at_once(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.NO_RIGHTS)
        receipts = [await kurir.send_text(5, f"m{n}", metadata={"order": n % 2}) for n in range(6)]
        await asyncio.gather(*(r.ended(30) for r in receipts))
        s.world.set_state(5, ChatState.OPEN)
        assert await kurir.change_all(Requeue(), metadata={"order": 0}) == 3
        await asyncio.gather(*(r.delivered(30) for r in receipts[::2]))
        assert s.texts(5) == ["m0", "m2", "m4"]


@in_virtual_time
async def test_dead_letters_are_cleared(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.NO_RIGHTS)
        dead = await kurir.send_text(5, "x")
        good = await kurir.send_text(6, "x")
        await dead.ended(10)
        await good.ended(10)
        assert await kurir.change_all(Purge(), states=[State.DEAD]) == 1
        assert (await kurir.dead()).items == ()
        assert [r.id for r in (await kurir.find()).items] == [good.id]


@in_virtual_time
async def test_change_all_goes_beyond_one_page(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        for _n in range(3):
            await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": "x"})] * 100)
        assert await kurir.change_all(Cancel(), chat=5) == 300
        assert await kurir.change_all(Expire(), chat=5) == 0


async def test_change_all_ends_where_what_it_retries_dies_again() -> None:
    async with playing(SqliteStore("kurir.db")) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.NO_RIGHTS)
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(30)])
        await asyncio.gather(*(r.ended(10) for r in receipts))
        assert await asyncio.wait_for(kurir.change_all(Requeue(), states=["dead"], limit=1), 2) == 30


# ---------------------------------------------------------------- cancel


@in_virtual_time
async def test_a_cancelled_message_is_never_sent(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "x", due_at=s.clock.now() + 10)
        await kurir.cancel(receipt.id)
        await s.sleep(60)
        assert s.texts(5) == []
        assert (await receipt.record()).state is State.CANCELLED


@in_virtual_time
async def test_a_cancelled_message_can_be_sent_after_all(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "x", due_at=s.clock.now() + 10)
        await kurir.cancel(receipt.id)
        await kurir.retry(receipt.id)
        await receipt.delivered(5)
        assert s.texts(5) == ["x"]


@in_virtual_time
async def test_cancelling_the_head_lets_the_next_go(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        first, second = await kurir.send_text(5, "a"), await kurir.send_text(5, "b")
        await kurir.cancel(first.id)
        async with s.kurir(store):
            await second.delivered(10)
        assert s.texts(5) == ["b"]


# ---------------------------------------------------------------- what does not go


@in_virtual_time
async def test_a_delivered_message_can_be_neither_cancelled_nor_retried(store: Store) -> None:
    async with playing(store) as (kurir, _):
        receipt = await kurir.send_text(5, "x")
        await receipt.delivered(10)
        for step in (kurir.cancel, kurir.retry):
            with pytest.raises(WrongState, match="delivered") as caught:
                await step(receipt.id)
            assert caught.value.remedy


@in_virtual_time
async def test_a_waiting_message_is_not_retried(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, _):
        receipt = await kurir.send_text(5, "x")
        with pytest.raises(WrongState, match="waiting"):
            await kurir.retry(receipt.id)


@in_virtual_time
async def test_what_is_being_sent_is_not_cancelled(store: Store) -> None:
    async with playing(store, latency=10) as (kurir, s):
        receipt = await kurir.send_text(5, "x")
        await s.sleep(2)
        with pytest.raises(WrongState, match="sending"):
            await kurir.cancel(receipt.id)
        await receipt.delivered(20)


@in_virtual_time
async def test_an_unknown_id_is_not_found(store: Store) -> None:
    async with playing(store) as (kurir, _):
        for step in (kurir.cancel, kurir.retry, kurir.get):
            with pytest.raises(NotFound):
                await step("nobody")


async def test_steering_through_another_process_reaches_the_courier() -> None:
    s = stage()
    async with s.kurir(store="sqlite:///kurir.db"), s.kurir(store="sqlite:///kurir.db", courier=False) as office:
        receipt = await office.send_text(5, "x", due_at=s.clock.now() + 60)
        await office.cancel(receipt.id)
        await office.retry(receipt.id)
        await receipt.delivered(5)
    s.world.close()
