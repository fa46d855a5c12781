"""When things leave: due, expired, retried, throttled, deleted (B3, C2, E17)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from kurir import Message, State
from kurir.core.outcome import Reply
from kurir.ports import Store
from kurir.simulator import ChatState, Kind, Limits, Rule, Verb

from .helpers import BOT, EPOCH, in_virtual_time, params, playing

BUSY = Rule(Kind.STATUS_JSON, chat=5, status=400, description="Bad Request: WORKER_BUSY_TOO_LONG_RETRY")


# ---------------------------------------------------------------- due


@in_virtual_time
async def test_nothing_leaves_before_it_is_due(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await kurir.send_text(5, "x", due_at=s.clock.now() + 100)
        await s.sleep(200)
        (at,) = s.wire.times()
        assert 100 <= at < 100.2


@pytest.mark.parametrize(
    "due_at",
    [timedelta(seconds=60), EPOCH + 60, datetime.fromtimestamp(EPOCH + 60, UTC), "2027-01-15T11:01:00+03:00"],
)
@in_virtual_time
async def test_a_due_time_may_be_written_in_four_ways(due_at: object) -> None:
    async with playing() as (kurir, s):
        await (await kurir.send_text(5, "x", due_at=due_at)).delivered(100)
        assert 60 <= s.wire.times()[0] < 60.2


@in_virtual_time
async def test_what_is_not_due_yet_is_overtaken(store: Store) -> None:
    async with playing(store) as (kurir, s):
        later = await kurir.send_text(5, "later", due_at=s.clock.now() + 10)
        await (await kurir.send_text(5, "now")).delivered(5)
        await later.delivered(20)
        assert s.texts(5) == ["now", "later"]


# ---------------------------------------------------------------- expiry


@in_virtual_time
async def test_nothing_is_sent_after_it_expired(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.outage(EPOCH, EPOCH + 100)
        receipt = await kurir.send_text(5, "stale", expires_at=s.clock.now() + 50)
        record = await receipt.ended(200)
        assert record.state is State.EXPIRED
        await s.sleep(300)
        assert s.texts(5) == []


@in_virtual_time
async def test_an_expired_message_ends_soon_though_nobody_could_send_it(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await kurir.store.steer(BOT, until=float("inf"), reason="by hand")
        receipt = await kurir.send_text(5, "stale", expires_at=s.clock.now() + 50)
        record = await receipt.ended(70)
        assert record.state is State.EXPIRED
        assert 50 <= s.clock.now() - EPOCH < 60


@in_virtual_time
async def test_what_expires_while_it_is_retried_is_not_sent_again(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(BUSY)
        receipt = await kurir.send_text(5, "x", expires_at=s.clock.now() + 10)
        assert (await receipt.ended(100)).state is State.EXPIRED
        assert max(s.wire.times()) < 10


@in_virtual_time
async def test_what_expires_behind_a_slow_chat_is_not_sent_late(store: Store) -> None:
    async with playing(store, pace="on") as (kurir, s):
        receipts = await kurir.submit(
            [Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}, expires_at=EPOCH + 10) for n in range(30)]
        )
        records = await asyncio.gather(*(r.ended(100) for r in receipts))
        assert {r.state for r in records} == {State.DELIVERED, State.EXPIRED}
        assert max(s.wire.times()) < 10
        assert len(s.texts(5)) >= 10


# ---------------------------------------------------------------- deleted later


@in_virtual_time
async def test_a_message_is_deleted_from_the_chat_later(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await (await kurir.send_text(5, "code 1234", delete_after=60)).delivered(10)
        await s.sleep(55)
        assert s.texts(5) == ["code 1234"]
        await s.sleep(10)
        assert s.texts(5) == []


@in_virtual_time
async def test_the_deletion_names_what_it_deletes(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "code", delete_after=60)
        result = await receipt.delivered(10)
        (deletion,) = (await kurir.find(metadata={"deletes": receipt.id})).items
        assert (deletion.method, deletion.state) == ("deleteMessage", State.WAITING)
        assert f'"message_id":{result["message_id"]}' in deletion.params.decode()
        await s.sleep(70)
        assert (await kurir.get(deletion.id)).state is State.DELIVERED


@in_virtual_time
async def test_an_album_is_deleted_whole_later(store: Store) -> None:
    async with playing(store) as (kurir, s):
        media = [{"type": "photo", "media": f"https://example.org/{n}.jpg"} for n in range(3)]
        await (await kurir.send_media_group(-1001234567890, media, delete_after=60)).delivered(10)
        assert len(s.world.messages(-1001234567890)) == 3
        await s.sleep(70)
        assert s.world.messages(-1001234567890) == []
        (deletion,) = [call for _, call in s.wire.sends() if call.method == "deleteMessages"]
        assert len(params(deletion)["message_ids"]) == 3


@in_virtual_time
async def test_what_was_deleted_by_hand_meanwhile_is_no_failure(store: Store) -> None:
    async with playing(store) as (kurir, s):
        receipt = await kurir.send_text(5, "code", delete_after=60)
        result = await receipt.delivered(10)
        await (await kurir.submit("deleteMessage", {"chat_id": 5, "message_id": result["message_id"]})).delivered(10)
        await s.sleep(70)
        (deletion,) = (await kurir.find(metadata={"deletes": receipt.id})).items
        assert deletion.state is State.DELIVERED


@in_virtual_time
async def test_the_deletion_follows_a_migrated_chat(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(-77, "group")
        await (await kurir.send_text(-77, "before")).delivered(10)
        s.world.migrate(-77, -1001112223334)
        await (await kurir.send_text(-77, "code", delete_after=60)).delivered(10)
        assert s.texts(-1001112223334) == ["code"]
        await s.sleep(70)
        assert s.texts(-1001112223334) == []


@in_virtual_time
async def test_a_method_that_names_no_chat_may_be_deleted_later_too() -> None:
    async with playing() as (kurir, s):
        sent = Message("sendHologram", {"user_id": 5}, delete_after=60)

        async def answer(call: object) -> Reply:
            result = {"message_id": 7, "chat": {"id": 5}}
            return Reply(200, {"ok": True, "result": result})

        s.wire.call = answer  # type: ignore[method-assign, assignment]
        await (await kurir.submit(sent)).delivered(10)


# ---------------------------------------------------------------- retried


@in_virtual_time
async def test_b3_the_times_of_five_attempts() -> None:
    async with playing() as (kurir, s):
        s.world.faults.add(BUSY)
        backoff = {"type": "exponential", "base": 2}
        record = await (await kurir.send_text(5, "x", max_attempts=5, backoff=backoff)).ended(100)
        assert record.state is State.DEAD
        assert record.reason == "gave up after 5 tries: Bad Request: WORKER_BUSY_TOO_LONG_RETRY"
        times = s.wire.times()
        gaps = [b - a for a, b in pairwise(times)]
        assert len(times) == 5
        for gap, wanted in zip(gaps, [2, 4, 8, 16], strict=True):
            assert wanted <= gap <= wanted * 1.1 + 0.05


@in_virtual_time
async def test_c5_the_quick_tries_are_followed_by_the_slow_queue() -> None:
    async with playing() as (kurir, s):
        s.world.faults.add(BUSY)
        record = await (await kurir.send_text(5, "x", max_attempts=8)).ended(3600)
        assert (record.state, record.tries) == (State.DEAD, 8)
        gaps = [b - a for a, b in pairwise(s.wire.times())]
        for gap, wanted in zip(gaps, [1, 2, 4, 8, 16, 300, 600], strict=True):
            assert wanted <= gap <= wanted * 1.1 + 0.1


@in_virtual_time
async def test_max_attempts_of_one_tries_once(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(BUSY)
        record = await (await kurir.send_text(5, "x", max_attempts=1)).ended(100)
        assert record.state is State.DEAD
        assert len(s.wire.times()) == 1


@in_virtual_time
async def test_a_fixed_backoff_is_kept(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(BUSY)
        await (await kurir.send_text(5, "x", max_attempts=4, backoff={"type": "fixed", "base": 7})).ended(100)
        times = s.wire.times()
        assert [7 <= b - a <= 7.8 for a, b in pairwise(times)] == [True] * 3


@in_virtual_time
async def test_a_timeout_of_the_message_bounds_its_attempt(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await (await kurir.send_text(6, "the network is well")).delivered(10)
        s.world.faults.add(Rule(Kind.HANG, chat=5, times=1))
        receipt = await kurir.send_text(5, "x", timeout=3)
        await receipt.delivered(30)
        record = await kurir.get(receipt.id)
        assert record.attempts[0].outcome == "unknown"
        assert record.attempts[0].duration == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    "description", ["Bad Request: can't parse entities: x", "Forbidden: bot was blocked by the user"]
)
@in_virtual_time
async def test_b4_what_telegram_refuses_is_not_retried(description: str) -> None:
    async with playing() as (kurir, s):
        status = 403 if description.startswith("Forbidden") else 400
        s.world.faults.add(Rule(Kind.STATUS_JSON, chat=5, status=status, description=description))
        record = await (await kurir.send_text(5, "x")).ended(100)
        assert (record.state, record.reason) == (State.DEAD, description)
        assert len(s.wire.times()) == 1


# ---------------------------------------------------------------- throttled


@in_virtual_time
async def test_a_429_is_waited_out_exactly_and_costs_no_try(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=3, status=429, retry_after=40, description="Too Many Requests")
        )
        receipt = await kurir.send_text(5, "x", max_attempts=1)
        await receipt.delivered(300)
        times = s.wire.times()
        gaps = [b - a for a, b in pairwise(times)]
        assert len(gaps) == 3
        assert [40 <= gap <= 41.1 for gap in gaps] == [True] * 3, gaps
        assert (await receipt.record()).tries == 0


@in_virtual_time
async def test_a_throttled_chat_delays_nobody_else(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=1, status=429, retry_after=40, description="Too Many Requests")
        )
        await kurir.send_text(5, "x")
        await s.sleep(1)
        await (await kurir.send_text(6, "y")).delivered(1)


@in_virtual_time
async def test_a_429_is_waited_out_across_a_restart(store: Store) -> None:
    async with playing(store, courier=False) as (_, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, chat=5, times=1, status=429, retry_after=40, description="Too Many Requests")
        )
        first = s.kurir(store)
        await first.start()
        await first.send_text(5, "x")
        await s.sleep(1)
        await first._supervisor.stop(1)  # type: ignore[union-attr]
        second = s.kurir(store)
        await second.start()
        await s.sleep(100)
        times = s.wire.times()
        assert len(times) == 2
        assert 40 <= times[1] <= 41
        await second._supervisor.stop(1)  # type: ignore[union-attr]
        for kurir in (first, second):
            for task in kurir._tasks:
                task.cancel()


@in_virtual_time
async def test_c10_fifty_at_once_to_one_chat_arrive_in_order_without_a_429() -> None:
    async with playing(pace="on", limits=Limits(), latency=0.02) as (kurir, s):
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(50)])
        await asyncio.gather(*(r.delivered(300) for r in receipts))
        assert s.texts(5) == [f"m{n}" for n in range(50)]
        assert s.world.journal.count(Verb.THROTTLED) == 0
        assert s.clock.now() - EPOCH < 60


@in_virtual_time
async def test_a8_never_more_than_30_a_second_nor_a_burst_over_20() -> None:
    async with playing(pace="on", limits=Limits(), latency=0.02) as (kurir, s):
        receipts = await kurir.submit(
            [Message("sendMessage", {"chat_id": 1000 + n, "text": f"m{n}"}) for n in range(200)]
        )
        await asyncio.gather(*(r.delivered(300) for r in receipts))
        assert s.world.journal.peak(1.0) <= 30
        assert s.world.journal.peak(0.05) <= 20
        assert s.world.journal.count(Verb.THROTTLED) == 0


@in_virtual_time
async def test_an_outage_costs_no_try_and_drains_the_most_urgent_first(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.outage(EPOCH, EPOCH + 600)
        low = await kurir.send_text(5, "low", priority="low")
        high = await kurir.send_text(6, "critical", priority="critical")
        await asyncio.gather(low.delivered(4000), high.delivered(4000))
        assert [e.mark for e in s.world.journal.sent()] == ["critical", "low"]
        assert [(await r.record()).tries for r in (low, high)] == [0, 0]
        assert s.clock.now() - EPOCH < 612


@in_virtual_time
async def test_a_chat_that_is_closed_delays_nobody_else(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        for n in range(20):
            await kurir.send_text(5, f"m{n}")
        await (await kurir.send_text(6, "x")).delivered(1)
