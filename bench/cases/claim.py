"""What a claim costs when much waits, and when much may not be sent now."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import uvloop

from bench.report import Figure, Target
from bench.rounds import ratios
from bench.world import BOT, Run, copied, fill, stocked
from kurir import State
from kurir.core.message import Claim
from kurir.ports import Lease, Settlement, Store
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore

AT_ONCE = 100  # claims in one step
HOUR = 3600.0
PER_CHAT = 10  # messages waiting in each chat of the backlogs
TARGET_BACKLOG = Target("ratio", 1.2, most=True)
TARGET_LANES = Target("ratio", 1.5, most=True)

Prepare = Callable[[Run, Path], Awaitable[Store]]


def claim(run: Run) -> list[Figure]:
    """A large backlog beside a small one, claimed from in turn."""
    many, few = run.size(1_000_000, 50_000), run.size(10_000, 5_000)
    in_memory = many // 5
    steps = run.size(150, 60)
    stocks = {count: stocked(run, count, count // PER_CHAT) for count in (many, few)}

    def on_disk(count: int) -> Prepare:
        return lambda _, folder: _open_copy(stocks[count], folder)

    run.say("claiming on SQLite")
    disk = both(run, on_disk(many), on_disk(few), steps)
    run.say(f"claiming in memory, {in_memory:,} waiting")
    memory = both(run, _in_memory(in_memory), _in_memory(few), steps)
    return [
        claim_figure(f"claim at {many:,} waiting", f"at {few:,}", disk, TARGET_BACKLOG, "SQLite"),
        claim_figure(f"claim at {in_memory:,} waiting", f"at {few:,}", memory, TARGET_BACKLOG, "memory"),
    ]


def lanes(run: Run) -> list[Figure]:
    """Many lanes of which few may send, beside as few lanes that all may."""
    many, few = run.size(100_000, 10_000), run.size(1_000, 500)
    steps = run.size(150, 60)

    def stores(make: Callable[[Path], Store], count: int, ready: int) -> Prepare:
        async def prepare(run: Run, folder: Path) -> Store:
            store = make(folder / "kurir.db")
            await store.open()
            run.say(f"{count:,} lanes, of which {ready:,} may send")
            await fill(store, count, count)
            await _cool_down(store, count - ready)
            return store

        return prepare

    figures = []
    for name, make in (("SQLite", SqliteStore), ("memory", lambda _: MemoryStore())):
        measured = both(run, stores(make, many, few), stores(make, few, few), steps)
        blocked = round(100 * (1 - few / many))
        title = f"claim from {many:,} lanes, {blocked} % not ready"
        figures.append(claim_figure(title, f"{few:,}, all ready", measured, TARGET_LANES, name))
    return figures


def claim_figure(
    name: str, beside: str, measured: tuple[list[float], list[float]], target: Target, store: str
) -> Figure:
    """Microseconds a message."""
    much, little = measured
    note = f"{store}; µs a message, {AT_ONCE} in one claim"
    return Figure(name, median(much), "µs", beside, median(little), ratios(much, little), target, note, tuple(much))


# ---------------------------------------------------------------- measuring


def both(run: Run, much: Prepare, little: Prepare, steps: int) -> tuple[list[float], list[float]]:
    """Microseconds a claimed message in the one store and in the other, step by step in turn; each entry is a round's
    median."""

    async def measure(one: Path, two: Path) -> tuple[list[float], list[float]]:
        stores = (await much(run, one), await little(run, two))
        now = time.time()
        leases = [(await store.lease("bench", [BOT], now + HOUR, now))[0] for store in stores]
        medians: tuple[list[float], list[float]] = ([], [])
        for _ in range(run.rounds):
            costs: tuple[list[float], list[float]] = ([], [])
            for _ in range(steps // run.rounds):
                for store, lease, cost in zip(stores, leases, costs, strict=True):
                    cost.append(await claim_once(store, lease))
            for all_, cost in zip(medians, costs, strict=True):
                all_.append(median(cost))
        for store in stores:
            await store.close()
        return medians

    with run.folder() as one, run.folder() as two:
        return uvloop.run(measure(one, two))


async def claim_once(store: Store, lease: Lease) -> float:
    """Microseconds a message of one claim; what was claimed goes back to the end of the queue, unmeasured."""
    now = time.time()
    began = time.perf_counter()
    claimed = await store.claim(lease, now, AT_ONCE)
    spent = time.perf_counter() - began
    assert len(claimed.claims) == AT_ONCE
    await store.settle([_back(claim) for claim in claimed.claims], time.time())
    return spent / AT_ONCE * 1e6


def _back(claim: Claim, chat_at: float = 0.0) -> Settlement:
    return Settlement(claim, State.WAITING, chat_at=chat_at)


async def _cool_down(store: Store, lanes: int) -> None:
    """So many lanes may not send for an hour, as after a send to each."""
    now = time.time()
    (lease,) = await store.lease("before", [BOT], now + HOUR, now)
    while lanes > 0:
        claimed = await store.claim(lease, time.time(), min(1000, lanes))
        await store.settle([_back(claim, now + HOUR) for claim in claimed.claims], time.time())
        lanes -= len(claimed.claims)
    await store.lease("before", [BOT], 0.0, time.time())


async def _open_copy(stock: Path, folder: Path) -> Store:
    store = SqliteStore(copied(stock, folder))
    await store.open()
    return store


def _in_memory(count: int) -> Prepare:
    async def prepare(_: Run, __: Path) -> Store:
        store = MemoryStore()
        await fill(store, count, count // PER_CHAT)
        return store

    return prepare
