"""The store's server dies and comes back: nothing accepted is lost, and at most what was in flight is sent twice."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kurir.simulator.server import SimulatorServer
from kurir.simulator.world import World
from tests.servers import Engine, Server, private

from .processes import Program
from .worker import TOKENS, expected

STUCK = 30.0  # seconds in which nothing arrives, though nothing bad happens any more


@pytest.fixture
def bots(world: World) -> World:
    for token in TOKENS:
        world.add_bot(token)
    return world


@asynccontextmanager
async def workers(server: str, telegram: str, folder: Path, total: int, rate: float) -> AsyncIterator[list[Program]]:
    """Two, each with its half of the messages."""
    programs = [
        Program(server, telegram, folder / f"log{n}", n, 2, total, rate, module="tests.crash.worker") for n in range(2)
    ]
    await asyncio.gather(*(program.start() for program in programs))
    try:
        yield programs
    finally:
        await asyncio.gather(*(program.kill() for program in programs))


async def ended(programs: list[Program], world: World) -> None:
    """They end by themselves. If nothing arrives any more, who is left is asked what it waits for."""
    waiting = [asyncio.ensure_future(program.wait()) for program in programs]
    arrived, since = -1, time.monotonic()
    while not all(task.done() for task in waiting):
        await asyncio.wait(waiting, timeout=1.0)
        if arrived != len(world.journal.sent()):
            arrived, since = len(world.journal.sent()), time.monotonic()
        if time.monotonic() - since > STUCK:
            for program in programs:
                program.signal(signal.SIGUSR1)
            await asyncio.sleep(1.0)
            pytest.fail(f"stuck after {arrived}: what the workers' tasks wait for stands in what they wrote to stderr")
    assert [task.result() for task in waiting] == [0, 0]


def accepted(folder: Path) -> list[int]:
    return [int(n) for log in sorted(folder.glob("log?")) for n in log.read_text().split()]


def check(world: World, numbers: list[int], disturbances: int) -> None:
    """`disturbances`: each may double one message a lane."""
    report = world.journal.report(expected(numbers))
    extra = Counter(chat for chat, _ in report.doubled)
    print(
        f"{len(numbers)} messages, {disturbances} disturbances: lost {len(report.lost)}, doubled {extra.total()}",
        end=" ",
    )
    print(f"(most in one chat: {max(extra.values(), default=0)}), out of order {len(report.reordered)}")
    assert not report.lost
    assert not report.reordered
    assert not report.strangers
    assert max(extra.values(), default=0) <= disturbances


async def _killed(server: Server, down: float) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(down)
    await asyncio.to_thread(server.start)


async def test_twenty_kills_of_the_server_lose_nothing(bots: World, engine: Engine, tmp_path: Path) -> None:
    total, rng = 5000, random.Random(20)
    with private(engine) as server:
        async with (
            SimulatorServer(bots) as telegram,
            workers(server.url, telegram.url, tmp_path, total, 100) as programs,
        ):
            for _ in range(20):
                await asyncio.sleep(rng.uniform(0.1, 1.2))
                await _killed(server, rng.uniform(0.0, 0.5))
            await ended(programs, bots)
    assert sorted(accepted(tmp_path)) == list(range(total))
    check(bots, accepted(tmp_path), 20)


async def test_kills_of_the_server_and_of_workers_lose_nothing(bots: World, engine: Engine, tmp_path: Path) -> None:
    total, kills, rng = 1000, 6, random.Random(8)
    with private(engine) as server:
        async with (
            SimulatorServer(bots) as telegram,
            workers(server.url, telegram.url, tmp_path, total, 100) as programs,
        ):
            for _ in range(kills):
                await asyncio.sleep(rng.uniform(0.1, 1.0))
                victim = rng.choice(programs)
                await asyncio.gather(victim.kill(), _killed(server, rng.uniform(0.0, 0.5)))
                await victim.start()
            await ended(programs, bots)
    assert sorted(accepted(tmp_path)) == list(range(total))
    check(bots, accepted(tmp_path), kills)


async def test_an_orderly_restart_of_the_server_while_submitting_doubles_nothing(
    bots: World, engine: Engine, tmp_path: Path
) -> None:
    total = 600
    with private(engine) as server:
        async with (
            SimulatorServer(bots) as telegram,
            workers(server.url, telegram.url, tmp_path, total, 100) as programs,
        ):
            for _ in range(2):
                await asyncio.sleep(0.7)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.7)
                await asyncio.to_thread(server.start)
            await ended(programs, bots)
    assert sorted(accepted(tmp_path)) == list(range(total))
    check(bots, accepted(tmp_path), 0)
