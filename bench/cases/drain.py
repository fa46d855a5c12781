"""The way out: from claim to settled, without a network and with one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import aiohttp
import orjson
import uvloop

from bench.crew import delivered
from bench.queues import PEERS
from bench.report import Figure, Target
from bench.rounds import Spent, compared, take_turns
from bench.upstream import upstream
from bench.world import (
    BOT,
    CHATS,
    CONCURRENCY,
    TOKEN,
    Ends,
    NoSender,
    Run,
    copied,
    make_kurir,
    params,
    stocked,
)
from kurir import Kurir
from kurir.ports import Transport
from kurir.stores.sqlite import SqliteStore

PATIENCE = 600.0  # seconds until what does not end is given up
PYTHON = PEERS / ".venv" / "bin" / "python"


def settle(run: Run) -> list[Figure]:
    """The whole courier with a sender that does nothing; beside it the store's two steps in a plain loop."""
    count = run.size(20_000, 3_000)
    stock = stocked(run, count, CHATS)
    measured = take_turns(
        run.rounds,
        {
            "Kurir": lambda: count / _drain(run, stock, count, transport=NoSender()).wall,
            "claim + settle in a loop": lambda: count / _store_alone(run, stock, count),
        },
        run.say,
    )
    target = Target("value", 8_000)
    return [compared("claim to settled, no sender", "/s", measured, "Kurir", "claim + settle in a loop", target)]


def http(run: Run) -> list[Figure]:
    """The whole courier over HTTP on loopback; beside it aiohttp alone, and the libraries bots are written with."""
    count = run.size(10_000, 2_000)
    stock = stocked(run, count, CHATS)
    wall: dict[str, list[float]] = {}

    with upstream() as server:

        def kept(name: str, sent: int, spent: Spent) -> float:
            wall.setdefault(name, []).append(sent / spent.wall)
            return sent / spent.cpu

        contestants = {
            "Kurir": lambda: kept("Kurir", count, _drain(run, stock, count, url=server.url)),
            "bare aiohttp": lambda: kept("bare aiohttp", count, uvloop.run(_bare_aiohttp(server.url, count))),
        }
        missing = ""
        if PYTHON.exists():
            contestants["aiogram"] = lambda: kept("aiogram", count // 4, _peer("aiogram", server.url, count // 4))
            contestants["PTB"] = lambda: kept("PTB", count // 20, _peer("ptb", server.url, count // 20))
        else:
            missing = "aiogram, PTB: not installed (python -m bench --install-peers)"
        measured = take_turns(3, contestants, run.say)
    return _drain_figures(measured, wall, missing)


def _drain_figures(measured: dict[str, list[float]], wall: dict[str, list[float]], missing: str) -> list[Figure]:
    target = Target("value", 3_000)
    return [
        compared("drain over HTTP, per second of CPU", "/s", measured, "Kurir", "bare aiohttp", target, missing),
        *(
            compared(f"  the same, {peer} beside it", "/s", measured, "Kurir", peer)
            for peer in ("aiogram", "PTB")
            if peer in measured
        ),
        compared("drain over HTTP, wall clock", "/s", wall, "Kurir", "bare aiohttp", note=_others(wall)),
    ]


def _others(wall: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {median(wall[name]):,.0f}/s" for name in ("aiogram", "PTB") if name in wall)


# ---------------------------------------------------------------- contestants


def _drain(
    run: Run, stock: Path, count: int, *, url: str = "http://127.0.0.1:9", transport: Transport | None = None
) -> Spent:
    """A fresh start until all that waits is settled durably."""

    with run.folder() as folder:
        path = copied(stock, folder)

        def make(ends: Ends) -> Kurir:
            return make_kurir(path, courier=True, url=url, transport=transport, listeners=(ends,))

        return uvloop.run(until_settled(make, count))


async def until_settled(make: Callable[[Ends], Kurir], count: int) -> Spent:
    """What it takes the Kurir that is made around a listener to settle `count` messages, its start and its end included."""
    ends = Ends(count)
    with Spent() as spent:
        async with make(ends):
            await asyncio.wait_for(ends.reached(), PATIENCE)
    return spent


def _store_alone(run: Run, stock: Path, count: int) -> float:
    """Seconds for the same claims and settles, a hundred at a time, with nothing between them."""

    async def measure(path: Path) -> float:
        store = SqliteStore(path)
        await store.open()
        began = now = time.time()
        (lease,) = await store.lease("bench", [BOT], now + 3600, now)
        settled = 0
        while settled < count:
            claimed = await store.claim(lease, time.time(), CONCURRENCY)
            settled += sum(await store.settle([delivered(claim) for claim in claimed.claims], time.time()))
        spent = time.time() - began
        await store.close()
        return spent

    with run.folder() as folder:
        return uvloop.run(measure(copied(stock, folder)))


async def _bare_aiohttp(url: str, count: int) -> Spent:
    """The same calls with nothing around them: the pool, a request, the parsed answer."""
    numbers = iter(range(count))
    target = f"{url}/bot{TOKEN}/sendMessage"
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for number in numbers:
                body = orjson.dumps(params(number % CHATS))
                headers = {"Content-Type": "application/json"}
                async with session.post(target, data=body, headers=headers) as response:
                    assert orjson.loads(await response.read())["ok"]

        with Spent() as spent:
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return spent


def _peer(name: str, url: str, count: int) -> Spent:
    """A library sends the same, in a process and an environment of its own."""
    command: Sequence[str] = (str(PYTHON), str(PEERS / f"{name}_send.py"), url, TOKEN, str(count), str(CONCURRENCY))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise RuntimeError(f"the peer {name} failed")
    told = json.loads(done.stdout)
    return Spent(told["wall"], told["cpu"])
