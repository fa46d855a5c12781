"""Processes that share one store: who sends for which bot, and what a store that is away for a while does to that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kurir import Kurir, Settings
from kurir.core.errors import StoreAway
from kurir.core.events import Fenced, Leased, Unleased
from kurir.ports import Clock, Lease, Roll, Settlement, Store
from kurir.services.courier import LEASE_MARGIN
from kurir.services.jumps import Jumps
from kurir.services.supervisor import LEASE_SECONDS, RENEW_EVERY
from kurir.settings import make_bot
from kurir.stores.clock import ServerClock
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore

from .helpers import BOT, Stage, in_virtual_time, playing, stage, until

BOTS = tuple(make_bot(f"bot{n}", f"{1000 + n}:a-token-of-one-of-many-bots") for n in range(12))
MANY = Settings(bots=BOTS)


class Cable(MemoryStore):
    """A store that one process reaches over a cable which can be pulled."""

    def __init__(self, shared: MemoryStore) -> None:
        self.__dict__.update(shared.__dict__)  # the same facts
        self.pulled = False

    def _check(self) -> None:
        if self.pulled:
            raise StoreAway("the cable is pulled", "Plug it in.")

    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        self._check()
        return await super().lease(holder, bots, until, now)

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        self._check()
        return await super().attend(holder, bots, until, now)

    async def claim(self, *given: Any) -> Any:
        self._check()
        return await super().claim(*given)

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        self._check()
        return await super().settle(settlements, now)


class Watch:
    """A process' idea of the store's time, which somebody may set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead = 0.0  # seconds

    def now(self) -> float:
        return self._clock.now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


async def two_with_watches(s: Stage) -> tuple[Kurir, Watch, Cable, Kurir, Watch]:
    """The first one sends; each has a clock of its own."""
    shared, clock = MemoryStore(), s.clock
    cable, watches = Cable(shared), (Watch(clock), Watch(clock))
    kurirs = []
    for store, watch in zip((cable, Cable(shared)), watches, strict=True):
        s.clock = watch
        kurirs.append(s.kurir(store))
        await kurirs[-1].start()
        await clock.sleep(3)
    s.clock = clock
    assert BOT in kurirs[0].couriers
    return kurirs[0], watches[0], cable, kurirs[1], watches[1]


def again(store: Store) -> Store:
    """The same facts for another process."""
    return SqliteStore(store.path, inline=True) if isinstance(store, SqliteStore) else store


def a_crowd(s: Stage, store: Store, n: int) -> list[Kurir]:
    for bot in BOTS:
        s.world.add_bot(bot.token)
    return [s.kurir(again(store), settings=MANY) for _ in range(n)]


@in_virtual_time
async def test_one_alone_sends_for_all_at_once(store: Store) -> None:
    s = stage()
    [alone] = a_crowd(s, store, 1)
    async with alone:
        await s.sleep(0.1)
        assert len(alone.couriers) == 12
    s.world.close()


@in_virtual_time
async def test_those_who_come_get_their_share_and_those_who_stay_get_it_back(store: Store) -> None:
    s = stage()
    one, two, three = a_crowd(s, store, 3)
    await one.start()
    await s.sleep(1)
    await two.start()
    await three.start()
    await until(lambda: [len(k.couriers) for k in (one, two, three)] == [4, 4, 4], s.clock, within=3 * RENEW_EVERY)
    heard = len(s.heard)
    await s.sleep(60)
    assert len(s.heard) == heard, "bots move though nobody came or went"
    await two.close()
    await until(lambda: len(one.couriers) + len(three.couriers) == 12, s.clock, within=RENEW_EVERY)
    await until(lambda: len(one.couriers) == len(three.couriers), s.clock, within=3 * RENEW_EVERY)
    await three.close()
    await until(lambda: len(one.couriers) == 12, s.clock, within=RENEW_EVERY)
    await one.close()
    s.world.close()


@in_virtual_time
async def test_a_bot_moves_only_when_its_calls_are_answered_and_settled(store: Store) -> None:
    s = stage(latency=3.0)
    one, two = a_crowd(s, store, 2)
    async with one:
        receipts = [await one.submit("sendMessage", {"chat_id": 5, "text": "x"}, bot=bot.name) for bot in BOTS]
        await s.sleep(1)
        async with two:
            await until(lambda: len(one.couriers) == len(two.couriers) == 6, s.clock, within=10)
            await asyncio.gather(*(receipt.delivered(30) for receipt in receipts))
    assert len(s.wire.sends()) == 12, "nothing was in doubt"
    assert not [event for event in s.heard if isinstance(event, Fenced)]
    s.world.close()


@in_virtual_time
async def test_a_store_that_is_away_for_some_seconds_costs_no_lease_and_stops_nobody() -> None:
    store = Cable(MemoryStore())
    async with playing(store) as (kurir, s):
        await s.sleep(1)
        store.pulled = True
        await s.sleep(LEASE_SECONDS - RENEW_EVERY - LEASE_MARGIN - 0.5)
        store.pulled = False
        await (await kurir.send_text(5, "x")).delivered(1)
        await s.sleep(30)
        assert len([event for event in s.heard if isinstance(event, Leased | Unleased)]) == 1


@in_virtual_time
async def test_a_store_whose_clock_is_set_forward_takes_no_bot_from_a_process_that_has_not_heard_of_it_yet() -> None:
    s = stage(latency=1.0)
    one, slow, _, two, quick = await two_with_watches(s)
    for n in range(20):
        await two.send_text(n, "x")
    quick.ahead = 60.0
    await s.sleep(RENEW_EVERY)
    assert BOT not in two.couriers
    slow.ahead = 60.0
    await s.sleep(30)
    assert BOT in one.couriers
    assert [event.token for event in s.heard if isinstance(event, Leased)] == [1]
    assert len(s.wire.sends()) == 20
    await one.close()
    await two.close()


@in_virtual_time
async def test_a_process_that_died_when_the_clock_was_set_forward_is_replaced_when_its_lease_is_over_by_its_own_count() -> (
    None
):
    s = stage()
    _, _, cable, two, quick = await two_with_watches(s)
    cable.pulled = True
    at = s.clock.now()
    quick.ahead = 3600.0
    await until(lambda: BOT in two.couriers, s.clock, within=LEASE_SECONDS + 2.5)
    assert s.clock.now() - at >= LEASE_SECONDS
    quick.ahead = 0.0  # and back: nothing is held up by that
    await s.sleep(5)
    assert BOT in two.couriers


@pytest.mark.parametrize("latency", [0.0, 2.5])
@in_virtual_time
async def test_who_cannot_renew_its_lease_sends_nothing_after_it_and_another_does(latency: float) -> None:
    shared = MemoryStore()
    cut, whole = Cable(shared), Cable(shared)
    s = stage(latency=latency)
    one, two = s.kurir(cut), s.kurir(whole)
    await one.start()
    await two.start()
    await s.sleep(1)
    assert BOT in one.couriers
    for n in range(20):
        await two.send_text(n, "x")
    await s.sleep(0.1)
    cut.pulled = True
    at = s.clock.now()
    for n in range(20):
        await two.send_text(100 + n, "x")
    await until(lambda: BOT in two.couriers, s.clock, within=LEASE_SECONDS + 1)
    taken = s.clock.now()
    assert taken - at <= LEASE_SECONDS + 0.3
    cut.pulled = False
    await s.sleep(30)
    assert [event.token for event in s.heard if isinstance(event, Leased)] == [1, 2]
    assert all(not bot.waiting for bot in (await two.stats()).bots)
    assert len(s.wire.sends()) == 40 + (20 if latency else 0), "only what was in flight is sent again"
    await two.close()
    await one.close()
    s.world.close()


@in_virtual_time
async def test_a_worker_that_is_gone_is_taken_over_exactly_when_its_lease_ends() -> None:
    store = MemoryStore()
    async with playing(store, courier=False) as (kurir, s):
        now = s.clock.now()
        await store.lease("gone", [BOT], now + LEASE_SECONDS, now)
        await store.attend("gone", [BOT], now + LEASE_SECONDS + 0.2, now)
        async with s.kurir(store):
            await (await kurir.send_text(5, "x")).delivered(LEASE_SECONDS + 0.5)


@in_virtual_time
async def test_a_worker_told_to_stop_keeps_its_lease_as_long_as_calls_are_out_and_no_longer(store: Store) -> None:
    s = stage(latency=7.5)
    one, two = s.kurir(again(store)), s.kurir(again(store))
    await one.start()
    receipt = await one.send_text(5, "slow")
    await s.sleep(0.5)
    await two.start()
    await one.close()
    assert len(s.wire.sends()) == 1
    at = s.clock.now()
    await until(lambda: BOT in two.couriers, s.clock, within=1.5)
    assert s.clock.now() - at <= 1.1
    assert (await two.get(receipt.id)).state == "delivered"
    await s.sleep(20)
    assert len(s.wire.sends()) == 1, "it was not sent again"
    await two.close()
    s.world.close()


def test_a_slow_first_answer_is_not_taken_for_a_clock_that_was_set() -> None:
    ticks = [3.0]
    clock = ServerClock(ticks=lambda: ticks[0])
    clock.learn(1_000_000.0, 0.0, 3.0)  # it took 3 s on its way back
    jumps = Jumps(clock, lambda: ticks[0])
    assert not jumps.forward()
    ticks[0] = 5.0
    clock.learn(1_000_005.0, 4.99, 5.0)
    assert not jumps.forward()
    ticks[0] = 7.0
    clock.learn(1_000_009.0, 6.99, 7.0)
    assert jumps.forward(), "the server's clock was set forward by 2 s"
    assert not jumps.forward()
