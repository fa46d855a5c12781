"""What crash tests share: a simulated Telegram in this process, on the real clock."""

from __future__ import annotations

import random
import time

import pytest

from kurir.simulator.faults import Faults, Kind, Rule
from kurir.simulator.limits import Limits
from kurir.simulator.world import World

from .programs import TOKEN


class WallClock:
    def now(self) -> float:
        return time.time()


@pytest.fixture
def world() -> World:
    """No limits; each call takes 20 ms, so that a kill finds some in flight."""
    faults = Faults(rng=random.Random(1))
    faults.add(Rule(Kind.SLOW, seconds=0.02))
    world = World(WallClock(), seed=1, limits=Limits.none(), faults=faults, open_doors=True)
    world.add_bot(TOKEN)
    return world
