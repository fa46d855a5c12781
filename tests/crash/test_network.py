"""A bad network between Kurir and its store, at random: nothing is lost, and afterwards everything goes on by itself."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from kurir.simulator.server import SimulatorServer
from kurir.simulator.world import World
from tests.servers import Engine, private
from tests.soak import sized

from .proxy import Proxy, Trouble
from .test_server_kills import accepted, bots, check, ended, workers

__all__ = ["bots"]
SECONDS = sized(15.0, 300.0)
SEED = int(os.environ.get("KURIR_CHAOS_SEED", "1"))
TIMEOUT = 3  # seconds for a verb; shorter than some of the troubles
WELL_WITHIN = 30.0  # seconds after the last trouble until nothing waits any more


Said = pytest.CaptureFixture[str]


async def _survives(
    bots: World, engine: Engine, folder: Path, said: Said, seconds: float, kinds: tuple[Trouble, ...]
) -> None:
    with private(engine) as server, server.fresh() as url:
        async with (
            SimulatorServer(bots) as telegram,
            Proxy(server.port) as proxy,
            workers(f"{proxy.url(url)}&timeout={TIMEOUT}", telegram.url, folder, 1_000_000, 40) as programs,
        ):
            await proxy.chaos(random.Random(SEED), seconds, kinds)
            over, before = time.monotonic(), len(bots.journal.sent())
            print({kind.name.lower(): n for kind, n in proxy.count.items()}, f"{before} sent meanwhile;", end=" ")
            for program in programs:
                program.signal(signal.SIGTERM)
            await ended(programs, bots)
            took = time.monotonic() - over
            print(f"all done {took:.1f} s after the last trouble")
    assert accepted(folder)
    check(bots, accepted(folder), proxy.count.total())
    told = said.readouterr()
    print(told.out, told.err)
    assert "is started anew" not in told.err
    assert took < WELL_WITHIN


async def test_a_network_that_fails_at_random_loses_nothing_and_holds_nothing_back(
    bots: World, engine: Engine, tmp_path: Path, capfd: Said
) -> None:
    await _survives(bots, engine, tmp_path, capfd, SECONDS, tuple(Trouble))


async def test_connections_that_only_look_alive_are_given_up(
    bots: World, engine: Engine, tmp_path: Path, capfd: Said
) -> None:
    """Half-open ones, and those whose answers do not arrive: what they did counts once."""
    await _survives(bots, engine, tmp_path, capfd, 10.0, (Trouble.HALF_OPEN, Trouble.DEAF))
