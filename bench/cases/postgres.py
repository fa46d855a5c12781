"""PostgreSQL as it comes: beside other queues, with much waiting, under an old snapshot, and the disk of what waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

import asyncpg  # type: ignore[import-untyped]
import uvloop

from bench import bare
from bench.crew import delivered
from bench.queues import ON_POSTGRES
from bench.report import Figure, Target
from bench.rounds import ratios
from bench.servers import Postgres
from bench.servers import postgres as serving
from bench.world import BODY, BOT, Run, fill, make_draft
from kurir.ports import Lease, Store
from kurir.stores.urls import open_store

from .claim import AT_ONCE, HOUR
from .servers import PER_CHAT, Contest, claims, filled

CHURN_CHATS = 10_000  # that the churn goes through, and what waits in them before, during and after: one each
CHURN_STEP = 10  # messages in one submit, one claim, one settle: as many commits as a busy bot has
VERBS = ("submit", "claim", "settle")
TARGET_SNAPSHOT = Target("ratio", 2, most=True)


def postgres(run: Run) -> list[Figure]:
    """All figures of the store on PostgreSQL."""
    with serving(run.tmp, run.engines) as server:
        contest = Contest(run, server, ON_POSTGRES, 3, ("bare INSERT", bare.inserted))
        return [*contest.figures(), claims(run, server), *_old_snapshot(run, server), _disk(run, server)]


# ---------------------------------------------------------------- an old snapshot


@dataclass(slots=True)
class Bench:
    """An open store, and what each verb cost on it: microseconds a message, by step."""

    store: Store
    lease: Lease
    rng: random.Random = field(default_factory=lambda: random.Random(4711))
    accepted: int = 0

    async def cycle(self, size: int) -> tuple[float, float, float]:
        """Submit so many messages, claim as many, settle them as delivered: the microseconds a message of each verb."""
        now = time.time()
        drafts = [make_draft((self.accepted + i) % CHURN_CHATS, now, self.rng) for i in range(size)]
        self.accepted += size
        marks = [time.perf_counter()]
        await self.store.submit(drafts, now)
        marks.append(time.perf_counter())
        claimed = await self.store.claim(self.lease, time.time(), size)
        marks.append(time.perf_counter())
        settlements = [delivered(claim) for claim in claimed.claims]
        assert len(settlements) == size
        marks.append(time.perf_counter())
        assert all(await self.store.settle(settlements, time.time()))
        marks.append(time.perf_counter())
        return tuple(1e6 / size * (marks[i + 1] - marks[i]) for i in (0, 1, 3))  # type: ignore[return-value]


Costs = dict[str, list[float]]  # by verb, the medians of the rounds


def _old_snapshot(run: Run, server: Postgres) -> list[Figure]:
    """What the verbs cost after an hour of one bot's messages during which nothing could be vacuumed, beside a store in
    another database that had neither."""
    count = run.size(108_000, 5_000)

    async def measure(one: str, two: str) -> tuple[Costs, Costs, Costs]:
        async with AsyncExitStack() as stack:
            churned, calm = [await stack.enter_async_context(_opened(url)) for url in (one, two)]
            before, _ = await _in_turns(run, churned, calm)
            await stack.enter_async_context(_snapshot(one))
            run.say(f"{count:,} messages under an old snapshot")
            for _ in range(count // CHURN_STEP):
                await churned.cycle(CHURN_STEP)
            server.settle()
            run.say("claiming under an old snapshot")
            return before, *await _in_turns(run, churned, calm)

    with server.fresh() as one, server.fresh() as two:
        before, after, beside = uvloop.run(measure(one, two))
    return [
        Figure(
            f"{server.name}: {verb} after {count:,} messages under an old snapshot",
            median(after[verb]),
            "µs",
            "a store without",
            median(beside[verb]),
            ratios(after[verb], beside[verb]),
            TARGET_SNAPSHOT if verb == "claim" else None,
            f"a message, {AT_ONCE} at once; the same store before: {median(before[verb]):.1f} µs",
            tuple(after[verb]),
        )
        for verb in ("claim", "submit", "settle")
    ]


async def _in_turns(run: Run, one: Bench, two: Bench) -> tuple[Costs, Costs]:
    """The cycles of two stores in turn."""
    each = run.size(40, 10)
    results: tuple[Costs, Costs] = ({verb: [] for verb in VERBS}, {verb: [] for verb in VERBS})
    for _ in range(run.rounds):
        steps: tuple[list[tuple[float, ...]], list[tuple[float, ...]]] = ([], [])
        for _ in range(each):
            for bench, costs in zip((one, two), steps, strict=True):
                costs.append(await bench.cycle(AT_ONCE))
        for medians, costs in zip(results, steps, strict=True):
            for verb, values in zip(VERBS, zip(*costs, strict=True), strict=True):
                medians[verb].append(median(values))
    return results


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Bench]:
    """A store with a message waiting in each chat."""
    store = open_store(url)
    await store.open()
    try:
        await fill(store, CHURN_CHATS, CHURN_CHATS)
        now = time.time()
        (lease,) = await store.lease("bench", [BOT], now + HOUR, now)
        yield Bench(store, lease)
    finally:
        await store.close()


@asynccontextmanager
async def _snapshot(url: str) -> AsyncIterator[None]:
    """Somebody else's transaction that sees the database as it is now, for as long as it is open."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetch("SELECT count(*) FROM pg_class")
            yield
    finally:
        await connection.close()


# ---------------------------------------------------------------- the disk


def _disk(run: Run, server: Postgres) -> Figure:
    """Bytes of the files for a waiting message."""
    count = run.size(100_000, 10_000)
    run.say(f"disk of {count:,} waiting on {server.name}")
    ours = _grown(server, lambda url: uvloop.run(filled(url, count, count // PER_CHAT)))
    bare_row = _grown(server, lambda url: asyncio.run(bare.fill_table(url, count)))
    return Figure(
        f"{server.name}: disk for a waiting message of {len(BODY)} bytes",
        ours / count,
        "bytes",
        "a bare row",
        bare_row / count,
        ours / bare_row,
        note="growth of pg_database_size",
    )


def _grown(server: Postgres, work: Callable[[str], None]) -> int:
    """Bytes by which `work` makes an empty database grow."""
    with server.fresh() as url:
        before = server.size(url)
        work(url)
        return server.size(url) - before
