"""The store's master dies and sentinels choose another: with `wait_replicas` nothing accepted is lost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from kurir.simulator.server import SimulatorServer
from kurir.simulator.world import World
from tests.sentinels import family
from tests.servers import RedisServer

from .test_server_kills import accepted, check, ended, workers
from .worker import TOKENS

GOES_ON = 10.0  # seconds from the promotion until messages arrive again, at most


def cut_off(master: RedisServer) -> None:
    """From its replicas: they are sent away, and nobody new is let in. Who is connected notices nothing."""
    with master.client() as client:
        client.config_set("requirepass", "nobody-knows")
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")


async def test_a_failover_loses_nothing_and_work_goes_on_by_itself(world: World, tmp_path: Path) -> None:
    """Two replicas, so that the new master has one while the old one is dead. What that did in its last half second they
    never heard of."""
    for token in TOKENS:
        world.add_bot(token)
    total = 400
    with family(replicas=2, appendfsync="always", folder=Path(tempfile.gettempdir())) as servers:
        async with (
            SimulatorServer(world) as telegram,
            workers(f"{servers.url}?wait_replicas=1", telegram.url, tmp_path, total, 100) as programs,
        ):
            await asyncio.sleep(1.0)
            cut_off(servers.master)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(servers.master.kill)
            await asyncio.to_thread(servers.promoted)
            before, since = len(world.journal.sent()), time.monotonic()
            while len(world.journal.sent()) < before + 10:
                assert time.monotonic() - since < GOES_ON
                await asyncio.sleep(0.02)
            print(f"went on {time.monotonic() - since:.1f} s after the promotion")
            await ended(programs, world)
    assert sorted(accepted(tmp_path)) == list(range(total))
    check(world, accepted(tmp_path), 1)
