"""What a worker sent for is sent for by another when it dies, stops, or is told to stop."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Gather
from .fleet import OFF
from .stream import CHATS, streaming

BOTS = range(1001, 1021)
every_store = pytest.mark.parametrize("store_url", ["postgres", "redis", "sqlite"], indirect=True)


@every_store
async def test_all_bots_of_a_killed_worker_send_again_within_ten_seconds(gather: Gather) -> None:
    fleet = await gather(BOTS, OFF)
    killed, other = await fleet.add(), await fleet.add()
    await fleet.spread(10, 10)
    async with streaming(fleet) as stream:
        await asyncio.sleep(1.0)
        orphans = set(killed.bots)
        assert len(orphans) == 10
        rounds, at = stream.rounds, fleet.telegram.world.clock.now()
        await killed.kill()
        while not stream.first_after(rounds).keys() >= orphans:
            assert fleet.telegram.world.clock.now() - at < 10.0
            await asyncio.sleep(0.1)
    assert max(stream.first_after(rounds).values()) - at < 10.0
    assert other.bots == set(BOTS)
    await fleet.drained()
    report = fleet.telegram.report(stream.expected)
    assert not report.lost
    assert not report.reordered
    assert len(report.doubled) <= 10 * CHATS  # what was in flight: one a lane of the killed one at most


@every_store
async def test_a_worker_told_to_stop_hands_over_at_once_and_nothing_is_doubled(gather: Gather) -> None:
    fleet = await gather(BOTS, OFF)
    leaving, other = await fleet.add(), await fleet.add()
    await fleet.spread(10, 10)
    async with streaming(fleet) as stream:
        await asyncio.sleep(1.0)
        gone = set(leaving.bots)
        await leaving.terminate()
        await fleet.spread(20, within=3)
        rounds = stream.rounds
        while not stream.first_after(rounds).keys() >= gone:
            await asyncio.sleep(0.05)
    freed = {said.more["bot"]: said.at for said in leaving.heard("unleased") if said.more["bot"] in gone}
    taken = {said.more["bot"]: said.at for said in other.heard("leased") if said.more["bot"] in gone}
    assert freed.keys() == gone
    late = max(taken[bot] - freed[bot] for bot in gone)
    assert late < 1.5, f"{late:.2f} s"
    await fleet.drained()
    report = fleet.telegram.report(stream.expected)
    assert not report.lost
    assert not report.doubled
    assert not report.reordered
    assert not other.heard("recovered")
