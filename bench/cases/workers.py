"""Many workers, many bots, one server: how far that goes, and what stops it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from statistics import median

import uvloop

from bench.crew import crew
from bench.report import Figure
from bench.rounds import ratios, take_turns
from bench.servers import Database
from bench.servers import postgres as postgres_serving
from bench.servers import redis as redis_serving
from bench.usage import Usage, between, sample
from bench.world import BOT, Run, make_draft
from kurir.stores.urls import open_store

BOTS = range(BOT, BOT + 100)
WORKERS = (1, 2, 4, 10)
CHATS_A_BOT = 50
ROUNDS = 3


def workers(run: Run) -> list[Figure]:
    """Claim to settled, no sender, by the number of workers, on either server."""
    figures = []
    for serving in (postgres_serving, redis_serving):
        with serving(run.tmp, run.engines) as server:
            figures += _on(run, server)
    return figures


def _on(run: Run, server: Database) -> list[Figure]:
    per_bot = run.size(500, 160)
    usages: dict[int, list[Usage]] = {number: [] for number in WORKERS}

    def contestant(number: int) -> Callable[[], float]:
        def measure() -> float:
            rate, usage = _measure(run, server, number, per_bot)
            usages[number].append(usage)
            return rate

        return measure

    names = {number: f"{number} worker{'s' * (number > 1)}" for number in WORKERS}
    turns = take_turns(
        run.size(ROUNDS, 1),
        {names[number]: contestant(number) for number in WORKERS},
        lambda at: run.say(f"{server.name}: {at}"),
    )
    one = turns[names[1]]
    return [
        Figure(
            f"{server.name}: {names[number]} × {len(BOTS)} bots, claim to settled, no sender",
            median(rates),
            "/s",
            "" if number == 1 else names[1],
            None if number == 1 else median(one),
            None if number == 1 else ratios(rates, one),
            note=_told(server, rates, usages[number]),
            rounds=tuple(rates),
        )
        for number in WORKERS
        for rates in (turns[names[number]],)
    ]


def _told(server: Database, rates: Sequence[float], usages: Sequence[Usage]) -> str:
    """What was busy in the round of the median rate."""
    return usages[rates.index(sorted(rates)[len(rates) // 2])].told(server.kind == "redis")


def _measure(run: Run, server: Database, number: int, per_bot: int) -> tuple[float, Usage]:
    """Messages a second of so many workers, and what the machine was busy with meanwhile."""
    with server.fresh() as url:
        uvloop.run(_fill(url, per_bot))
        server.settle()
        with crew(url, BOTS, number) as ready:
            before = sample(server.cpu(), run.tmp)
            settled, cpu = ready.work()
            after = sample(server.cpu(), run.tmp)
    if (ended := ready.warmed + settled) != per_bot * len(BOTS):
        raise RuntimeError(f"{ended:,} of {per_bot * len(BOTS):,} messages were settled")
    return settled / (after.at - before.at), between(before, after, cpu)


async def _fill(url: str, per_bot: int) -> None:
    """So many messages for each bot, to its own chats."""
    rng = random.Random(4711)
    store = open_store(url)
    await store.open()
    try:
        for bot in BOTS:
            now = time.time()
            await store.submit([make_draft(i % CHATS_A_BOT, now, rng, bot=bot) for i in range(per_bot)], now)
    finally:
        await store.close()
