"""A worker that stood still (SIGSTOP, a suspended machine) for longer than its lease, and then goes on."""

from __future__ import annotations

import asyncio
import signal
import time

from kurir.core.message import State
from kurir.ports import Query
from kurir.simulator.faults import Kind
from tests.soak import sized

from .conftest import Gather
from .fleet import OFF, Fleet, until
from .relay import relaying
from .stream import streaming

BOTS = range(1001, 1005)
STOPPED = sized(8.5, 30.0)  # seconds: longer than a lease


async def in_flight(fleet: Fleet, bots: set[int]) -> tuple[str, ...]:
    pages = [await fleet.hand_over.store.find(Query(bot=bot, states=(State.SENDING,))) for bot in bots]
    return tuple(record.id for page in pages for record in page.items)


async def results(fleet: Fleet, ids: tuple[str, ...]) -> dict[str, tuple[State, bytes | None, int]]:
    page = await fleet.hand_over.store.find(Query(ids=ids, with_attempts=True))
    return {record.id: (record.state, record.result, len(record.attempts)) for record in page.items}


async def test_a_worker_that_was_stopped_sends_no_more_than_it_had_in_flight_and_overwrites_nothing(
    gather: Gather,
) -> None:
    fleet = await gather(BOTS, OFF)
    fleet.telegram.fail(Kind.SLOW, seconds=0.7)  # so that there is always something in flight
    async with relaying(fleet.telegram.url) as relay:
        stopped = await fleet.add(telegram_url=relay.url)
        await fleet.add()
        await fleet.spread(2, 2)
        async with streaming(fleet) as stream:
            await asyncio.sleep(2.0)
            stopped.tell(signal.SIGSTOP)
            began = time.time()
            its = set(stopped.bots)
            await asyncio.sleep(0.2)  # what it wrote last is through
            flying = await in_flight(fleet, its)
            assert flying
            await until(lambda: stream.first_after(stream.rounds - 4).keys() >= its, "the other one sends", 10)
            await asyncio.sleep(max(0.0, STOPPED - (time.time() - began)))
            before = await results(fleet, flying)
            assert {state for state, _, _ in before.values()} == {State.DELIVERED}
            woken = time.time()
            stopped.tell(signal.SIGCONT)
            await until(lambda: any(said.at > woken for said in stopped.heard("leased")), "it gets its share again")
        again = min(said.at for said in stopped.heard("leased") if said.at > woken)
        assert relay.between(woken, again) <= len(flying)
        assert await results(fleet, flying) == before
        fenced = {said.more["id"] for said in stopped.heard("fenced")}
        assert fenced <= set(flying)  # those it came to tell of before it knew that others hold its bots
        stats = await fleet.hand_over.stats()
        assert len(fenced) <= sum(bot.fenced for bot in stats.bots) <= len(flying)
        await fleet.drained()
        report = fleet.telegram.report(stream.expected)
        assert not report.lost
        assert not report.reordered
        assert len(report.doubled) <= len(flying)
        assert not stopped.heard("crashed")
