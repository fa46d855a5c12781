"""Redis, every write flushed: beside other queues, with much waiting, and the memory of what waits."""

from __future__ import annotations

import asyncio

import uvloop

from bench import bare
from bench.queues import ON_REDIS
from bench.report import Figure, Target
from bench.servers import Redis
from bench.servers import redis as serving
from bench.world import BODY, Run, fill
from kurir.stores.urls import open_store

from .servers import PER_CHAT, Contest, claims

TARGET_MEMORY = Target("value", 1_000, most=True)


def redis(run: Run) -> list[Figure]:
    """All figures of the store on Redis."""
    with serving(run.tmp, run.engines) as server:
        contest = Contest(run, server, ON_REDIS, 1.5, ("bare XADD", bare.added))
        return [*contest.figures(), claims(run, server), *_memory(run, server)]


def _memory(run: Run, server: Redis) -> list[Figure]:
    """Bytes that a waiting message takes, beside a key that holds as much."""
    count = run.size(100_000, 10_000)
    run.say(f"memory of {count:,} waiting on {server.name}")
    with server.fresh() as url:
        before = server.memory()
        asyncio.run(bare.fill_keys(url, count))
        key = (server.memory() - before) / count
    figures = []
    for per_chat, how in ((PER_CHAT, f"{PER_CHAT} a chat"), (1, "one a chat")):
        with server.fresh() as url:
            each = uvloop.run(_waiting(server, url, count, count // per_chat)) / count
        figures.append(
            Figure(
                f"{server.name}: memory of a waiting message of {len(BODY)} bytes, {how}",
                each,
                "bytes",
                "a bare key",
                key,
                each / key,
                TARGET_MEMORY,
                f"used_memory, {count:,} waiting",
            )
        )
    return figures


async def _waiting(server: Redis, url: str, count: int, chats: int) -> int:
    """Bytes that so many messages take."""
    store = open_store(url)
    await store.open()
    try:
        before = server.memory()
        await fill(store, count, chats)
        return server.memory() - before
    finally:
        await store.close()
