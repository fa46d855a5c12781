"""Bots spread over workers evenly, and move when workers come and go."""

from __future__ import annotations

import asyncio

import pytest

from .conftest import Gather
from .fleet import OFF

BOTS = range(1001, 1021)
every_store = pytest.mark.parametrize("store_url", ["postgres", "redis", "sqlite"], indirect=True)


@every_store
async def test_twenty_bots_spread_evenly_while_workers_come_and_go(gather: Gather) -> None:
    fleet = await gather(BOTS, OFF)
    first = await fleet.add()
    await fleet.spread(20, within=5)
    second = await fleet.add()
    await fleet.spread(10, 10, within=8)
    third = await fleet.add()
    await fleet.spread(7, 7, 6, within=8)
    heard = [len(worker.said) for worker in fleet.workers]
    await asyncio.sleep(3.0)  # a round of each: nothing moves without need
    assert [len(worker.said) for worker in fleet.workers] == heard
    await second.terminate()
    await fleet.spread(10, 10, within=5)
    await third.terminate()
    await fleet.spread(20, within=5)
    assert len(first.bots) == 20
    for worker in fleet.workers:
        assert not worker.heard("crashed")
        assert not worker.heard("trouble")
        assert not worker.heard("recovered")  # nothing was in doubt
