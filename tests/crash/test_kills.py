"""Promise 1 and 2 against SIGKILL: nothing accepted is lost, and a kill doubles at most one message a lane."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

from kurir.simulator.server import SimulatorServer
from kurir.simulator.world import World

from .processes import Program
from .programs import kurir, mark

CHATS = 100


async def _until_nothing_waits(store: Path, url: str, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds), kurir(store, url, courier=False) as k:
        while any(bot.waiting for bot in (await k.stats()).bots):
            await asyncio.sleep(0.1)


def _expected(total: int) -> dict[int, list[str]]:
    expected: dict[int, list[str]] = {}
    for n in range(total):
        chat, text = mark(n, CHATS)
        expected.setdefault(chat, []).append(text)
    return expected


def _check(world: World, total: int, kills: int) -> None:
    report = world.journal.report(_expected(total))
    extra = Counter(chat for chat, _ in report.doubled)
    print(f"{total} messages, {kills} kills: lost {len(report.lost)}, doubled {sum(extra.values())}", end=" ")
    print(f"(most in one chat: {max(extra.values(), default=0)}), out of order {len(report.reordered)}")
    assert not report.lost
    assert not report.reordered
    assert not report.strangers
    assert max(extra.values(), default=0) <= kills


async def test_fifty_kills_of_courier_and_submitter_lose_nothing(world: World, tmp_path: Path) -> None:
    total, store = 5000, tmp_path / "kurir.db"
    rng = random.Random(7)
    async with SimulatorServer(world) as server:
        courier = Program("courier", store, server.url)
        submitter = Program("submitter", store, server.url, tmp_path / "log", total, CHATS, 250, "no")
        await asyncio.gather(courier.start(), submitter.start())
        while courier.kills + submitter.kills < 50:
            await asyncio.sleep(rng.uniform(0.0, 0.8))
            victim = courier if submitter.ended or rng.random() < 0.6 else submitter
            await victim.kill()
            await victim.start()
        assert await submitter.wait() == 0
        await _until_nothing_waits(store, server.url)
        assert await courier.terminate() == 0
    _check(world, total, courier.kills)


async def test_kills_of_a_process_that_submits_and_sends_lose_nothing(world: World, tmp_path: Path) -> None:
    total, store = 1000, tmp_path / "kurir.db"
    rng = random.Random(11)
    async with SimulatorServer(world) as server:
        both = Program("submitter", store, server.url, tmp_path / "log", total, CHATS, 300, "own")
        await both.start()
        while both.kills < 10:
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            await both.kill()
            await both.start()
        assert await both.wait() == 0
    _check(world, total, both.kills)


async def test_a_killed_courier_is_replaced_at_once_by_a_new_one(world: World, tmp_path: Path) -> None:
    store = tmp_path / "kurir.db"
    async with SimulatorServer(world) as server:
        courier = Program("courier", store, server.url)
        await courier.start()
        await courier.kill()
        async with kurir(store, server.url, courier=False) as k:
            receipt = await k.send_text(1, "after the kill")
            await courier.start()
            started = time.monotonic()
            await receipt.delivered(timeout=6)  # the dead one's lease would run for 7 s more
            print(f"delivered {time.monotonic() - started:.2f} s after the start")
        assert await courier.terminate() == 0
