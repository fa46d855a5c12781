"""How long until it leaves: from `submit` to the first byte at the other end of the wire."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import aiohttp
import orjson
import uvloop

from bench.floors import BareTable, row
from bench.report import Figure, Target
from bench.rounds import percentile, take_turns
from bench.upstream import Upstream, upstream
from bench.world import OFFSET, TOKEN, Heard, Run, copied, make_kurir, params, stocked
from kurir import Kurir, Priority

FIRST_CHAT = 50_000_000  # none that something else is sent to
DELAY = 0.005  # seconds the upstream takes under load
MS = 1000.0


def wire(run: Run) -> list[Figure]:
    """Nothing else to do: one message now and then; beside it two commits and a request in their plainest form."""
    count = run.size(500, 80)
    with upstream() as server, run.folder() as folder:
        run.say(f"{count} messages, one at a time")
        mine, floor = uvloop.run(_idle(server, folder, count))
    note = f"{count} messages, 5-20 ms apart"
    beside = "2 commits + 1 request"
    return [
        _latency("submit to wire, idle, p50", mine, 0.5, beside, floor, Target("value", 2, most=True), note),
        _latency("submit to wire, idle, p99", mine, 0.99, beside, floor, Target("value", 10, most=True), note),
    ]


def load(run: Run) -> list[Figure]:
    """What a message suffers from a backlog that is none of its business; beside it the same without a backlog."""
    one_chat, low = run.size(10_000, 2_000), run.size(100_000, 10_000)
    probes = run.size(40, 15)
    stocks: dict[str, Path | None] = {
        "no backlog": None,
        "one chat": stocked(run, one_chat, 1),
        "low": stocked(run, low, low // 10, Priority.LOW),
    }
    with upstream(DELAY) as server:
        seen: dict[str, list[float]] = {name: [] for name in stocks}

        def probed(name: str) -> Callable[[], float]:
            def probe() -> float:
                priority = Priority.CRITICAL if name == "low" else Priority.NORMAL
                taken = _under(run, server, stocks[name], probes, priority)
                seen[name] += taken
                return median(taken)

            return probe

        take_turns(3, {name: probed(name) for name in stocks}, run.say)
    return [
        _delayed(f"behind {one_chat:,} of another chat, worst", seen["one chat"], seen["no backlog"], 100),
        _delayed(f"critical behind {low:,} low ones, worst", seen["low"], seen["no backlog"], 250),
    ]


def _delayed(name: str, loaded: list[float], idle: list[float], most: float) -> Figure:
    note = f"p50 {median(loaded) * MS:.1f} ms, idle {median(idle) * MS:.1f} ms; {len(loaded)} messages"
    return _latency(name, loaded, 1.0, "no backlog, worst", idle, Target("value", most, most=True), note)


def _latency(
    name: str, mine: list[float], share: float, beside: str, floor: list[float], target: Target, note: str
) -> Figure:
    value, least = percentile(mine, share) * MS, percentile(floor, share) * MS
    return Figure(name, value, "ms", beside, least, value / least, target, note)


# ---------------------------------------------------------------- idle


async def _idle(server: Upstream, folder: Path, count: int) -> tuple[list[float], list[float]]:
    """Seconds from submit to wire: of Kurir's messages, and of the floor's."""
    rng = random.Random(4711)
    mine: dict[int, float] = {}
    floor: dict[int, float] = {}
    table = BareTable(folder / "bare.db")
    heard = Heard()
    made = make_kurir(folder / "kurir.db", courier=True, url=server.url, listeners=(heard,))
    async with made as kurir, aiohttp.ClientSession() as session:
        for _ in range(20):
            await _sent(kurir, heard, 0)
        for chat in range(FIRST_CHAT, FIRST_CHAT + count):
            mine[chat] = await _sent(kurir, heard, chat)
            await asyncio.sleep(rng.uniform(0.005, 0.02))
            floor[chat] = await _bare(table, session, server.url, -chat)
            await asyncio.sleep(rng.uniform(0.005, 0.02))
    table.close()
    arrivals = server.arrivals()
    return (
        [arrivals[OFFSET + chat] - began for chat, began in mine.items()],
        [arrivals[OFFSET - chat] - began for chat, began in floor.items()],
    )


async def _sent(kurir: Kurir, heard: Heard, chat: int, priority: Priority = Priority.NORMAL) -> float:
    """Hand over and see it through; answers when that began."""
    began = time.time()
    receipt = await kurir.submit("sendMessage", params(chat), priority=priority)
    await heard.end_of(receipt.id)
    return began


async def _bare(table: BareTable, session: aiohttp.ClientSession, url: str, chat: int) -> float:
    began = time.time()
    table.commit_one(row(chat))  # accepted
    table.commit_one(row(chat))  # claimed
    body = orjson.dumps(params(chat))
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/bot{TOKEN}/sendMessage", data=body, headers=headers) as response:
        await response.read()
    return began


# ---------------------------------------------------------------- under load


def _under(run: Run, server: Upstream, stock: Path | None, probes: int, priority: Priority) -> list[float]:
    """Seconds from submit to wire of messages to other chats while the stock is being sent."""

    async def measure(path: Path) -> dict[int, float]:
        began: dict[int, float] = {}
        heard = Heard()
        async with make_kurir(path, courier=True, url=server.url, listeners=(heard,)) as kurir:
            await asyncio.sleep(0.5)  # the backlog is flowing
            for probe in range(probes):
                began[FIRST_CHAT + probe] = await _sent(kurir, heard, FIRST_CHAT + probe, priority)
                await asyncio.sleep(0.02)
        return began

    with run.folder() as folder:
        path = copied(stock, folder) if stock else folder / "kurir.db"
        server.arrivals()
        began = uvloop.run(measure(path))
    arrivals = server.arrivals()
    return [arrivals[OFFSET + chat] - at for chat, at in began.items()]
