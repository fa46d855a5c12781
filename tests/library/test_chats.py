"""Chats that close, move, and bots that are refused."""

from __future__ import annotations

import asyncio
import math

import pytest

from kurir import Message, Settings, State, Undelivered
from kurir.core.events import Paused
from kurir.ports import Store
from kurir.settings import make_bot
from kurir.simulator import ChatState

from .helpers import BOT, NEWS_TOKEN, TOKEN, in_virtual_time, params, playing, stage

BLOCKED = "Forbidden: bot was blocked by the user"
OLD, NEW = -77, -1001112223334


# ---------------------------------------------------------------- suppression


@in_virtual_time
async def test_after_blocked_nothing_more_goes_to_the_chat(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        first = await kurir.send_text(5, "a")
        assert (await first.ended(10)).reason == BLOCKED
        second = await kurir.send_text(5, "b")
        assert second.state is State.DEAD
        with pytest.raises(Undelivered, match=f"suppressed: {BLOCKED}"):
            await second.delivered(10)
        assert len(s.wire.sends()) == 1


@in_virtual_time
async def test_what_waits_behind_a_blocked_message_ends_with_it(store: Store) -> None:
    async with playing(store, latency=1) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(5)])
        records = await asyncio.gather(*(r.ended(60) for r in receipts))
        assert [r.reason for r in records] == [BLOCKED] + [f"suppressed: {BLOCKED}"] * 4
        assert len(s.wire.sends()) == 1


@in_virtual_time
async def test_force_lifts_the_suppression(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        await (await kurir.send_text(5, "a")).ended(10)
        s.world.set_state(5, ChatState.OPEN)
        await (await kurir.send_text(5, "b", force=True)).delivered(10)
        await (await kurir.send_text(5, "c")).delivered(10)
        assert s.texts(5) == ["b", "c"]


@in_virtual_time
async def test_force_to_a_chat_still_closed_suppresses_it_anew(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        await (await kurir.send_text(5, "a")).ended(10)
        assert (await (await kurir.send_text(5, "b", force=True)).ended(10)).reason == BLOCKED
        assert (await kurir.send_text(5, "c")).state is State.DEAD


@in_virtual_time
async def test_missing_rights_suppress_nobody(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(-1009, "supergroup")
        s.world.set_state(-1009, ChatState.NO_RIGHTS)
        await (await kurir.send_text(-1009, "a")).ended(10)
        s.world.set_state(-1009, ChatState.OPEN)
        await (await kurir.send_text(-1009, "b")).delivered(10)


@pytest.mark.parametrize(
    "state",
    [ChatState.DEACTIVATED, ChatState.NEVER_STARTED, ChatState.KICKED, ChatState.LEFT, ChatState.DELETED],
)
@in_virtual_time
async def test_every_way_to_be_out_of_reach_suppresses(state: ChatState) -> None:
    async with playing() as (kurir, s):
        chat = 5 if state in (ChatState.DEACTIVATED, ChatState.NEVER_STARTED) else -1009
        s.world.add_chat(chat, "private" if chat > 0 else "supergroup")
        s.world.set_state(chat, state)
        assert (await (await kurir.send_text(chat, "a")).ended(10)).state is State.DEAD
        assert (await kurir.send_text(chat, "b")).state is State.DEAD


@in_virtual_time
async def test_a_suppression_is_lifted_after_thirty_days() -> None:
    async with playing() as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        await (await kurir.send_text(5, "a")).ended(10)
        s.world.set_state(5, ChatState.OPEN)
        await kurir._supervisor.stop(1)  # type: ignore[union-attr]
        for task in kurir._tasks:
            task.cancel()
        kurir._tasks.clear()
        await s.sleep(31 * 86400)
        async with s.kurir(kurir.store) as later:
            await s.sleep(700)
            assert (await later.send_text(5, "b")).state is State.WAITING


# ---------------------------------------------------------------- migration


@in_virtual_time
async def test_waiting_messages_follow_a_group_that_became_a_supergroup(store: Store) -> None:
    async with playing(store, latency=0.1) as (kurir, s):
        s.world.add_chat(OLD, "group")
        s.world.migrate(OLD, NEW)
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": OLD, "text": f"m{n}"}) for n in range(5)])
        results = await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert s.texts(NEW) == [f"m{n}" for n in range(5)]
        assert {r["chat"]["id"] for r in results} == {NEW}
        assert [params(call)["chat_id"] for _, call in s.wire.sends()] == [OLD] + [NEW] * 5
        assert {(await r.record()).chat for r in receipts} == {str(NEW)}


@in_virtual_time
async def test_the_move_costs_no_try(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(OLD, "group")
        s.world.migrate(OLD, NEW)
        receipt = await kurir.send_text(OLD, "x", max_attempts=1)
        await receipt.delivered(60)
        record = await kurir.get(receipt.id)
        assert [a.outcome for a in record.attempts] == ["moved", "delivered"]
        assert record.tries == 0


@in_virtual_time
async def test_later_messages_to_the_old_id_follow(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(OLD, "group")
        s.world.migrate(OLD, NEW)
        await (await kurir.send_text(OLD, "a")).delivered(10)
        await (await kurir.send_text(OLD, "b")).delivered(10)
        await (await kurir.send_text(NEW, "c")).delivered(10)
        assert s.texts(NEW) == ["a", "b", "c"]
        assert [params(call)["chat_id"] for _, call in s.wire.sends()] == [OLD, NEW, NEW, NEW]


@in_virtual_time
async def test_a_moved_chat_is_found_by_both_ids(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(OLD, "group")
        s.world.migrate(OLD, NEW)
        receipt = await kurir.send_text(OLD, "a")
        await receipt.delivered(10)
        for chat in (OLD, NEW):
            assert [r.id for r in (await kurir.find(chat=chat)).items] == [receipt.id]


# ---------------------------------------------------------------- a bot that is refused


@in_virtual_time
async def test_a_revoked_token_stops_the_bot_keeps_its_messages_and_resumes(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.bots[TOKEN].revoked = True
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": c, "text": "x"}) for c in range(5, 15)])
        await s.sleep(120)
        (bot,) = (await kurir.stats()).bots
        assert (bot.waiting, bot.dead) == (10, 0)
        assert math.isinf(bot.paused_until)
        assert "Unauthorized" in (bot.paused_why or "")
        assert len(s.wire.sends()) <= 10
        sends_so_far = len(s.wire.sends())
        await s.sleep(600)
        assert len(s.wire.sends()) == sends_so_far
        s.world.bots[TOKEN].revoked = False
        await asyncio.gather(*(r.delivered(60) for r in receipts))
        assert {(await r.record()).tries for r in receipts} == {0}
        whole = [e.until for e in s.heard if isinstance(e, Paused) and e.chat is None]
        assert whole[0] == math.inf
        assert whole[-1] == 0
        assert (await kurir.stats()).bots[0].paused_until == 0


@in_virtual_time
async def test_a_revoked_token_is_still_known_after_a_restart(store: Store) -> None:
    async with playing(store, courier=False) as (_, s):
        s.world.bots[TOKEN].revoked = True
        first = s.kurir(store)
        await first.start()
        receipt = await first.send_text(5, "x")
        await s.sleep(5)
        await first._supervisor.stop(1)  # type: ignore[union-attr]
        sends = len(s.wire.sends())
        second = s.kurir(store)
        await second.start()
        await s.sleep(100)
        assert len(s.wire.sends()) == sends
        s.world.bots[TOKEN].revoked = False
        await receipt.delivered(60)
        await second._supervisor.stop(1)  # type: ignore[union-attr]
        for kurir in (first, second):
            for task in kurir._tasks:
                task.cancel()


@in_virtual_time
async def test_a_bot_stopped_by_hand_is_not_resumed_by_us(store: Store) -> None:
    async with playing(store) as (kurir, s):
        await kurir.store.steer(BOT, until=math.inf, reason="by hand")
        await kurir.send_text(5, "x")
        await s.sleep(600)
        assert s.texts(5) == []
        await kurir.store.steer(BOT, until=0)
        await s.sleep(5)
        assert s.texts(5) == ["x"]


@in_virtual_time
async def test_one_revoked_bot_does_not_stop_another(store: Store) -> None:
    settings = Settings(bots=(make_bot("shop", TOKEN), make_bot("news", NEWS_TOKEN)))
    s = stage()
    s.world.add_bot(NEWS_TOKEN)
    s.world.bots[TOKEN].revoked = True
    async with s.kurir(store, settings=settings) as kurir:
        await kurir.send_text(5, "a", bot="shop")
        await s.sleep(5)
        await (await kurir.send_text(5, "b", bot="news")).delivered(5)
    s.world.close()
