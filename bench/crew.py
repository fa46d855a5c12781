"""Workers that claim and settle and send nothing, each a process of its own with its share of the bots."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from multiprocessing.connection import Connection

import uvloop

from kurir import State
from kurir.core.message import Attempt, Claim
from kurir.ports import Lease, Settlement, Store
from kurir.stores.urls import open_store

from .rounds import Spent
from .world import RESULT

HOUR = 3600.0
AT_ONCE = 20  # messages in one claim
WARM_UP = 100  # messages of each bot: what a server plans and caches for each connection is there
PATIENCE = 300.0  # seconds


class Crew:
    """Workers that hold their leases and wait for the word. `warmed`: messages that they settled to warm up, connections
    and plans included."""

    def __init__(self, pipes: Sequence[Connection], warmed: int) -> None:
        self._pipes = pipes
        self.warmed = warmed

    def work(self) -> tuple[int, float]:
        """Claim and settle all that waits: how many, and the CPU seconds of all workers."""
        for pipe in self._pipes:
            pipe.send("go")
        told = [_heard(pipe) for pipe in self._pipes]
        return sum(settled for settled, _ in told), sum(cpu for _, cpu in told)


@contextmanager
def crew(url: str, bots: Sequence[int], workers: int) -> Iterator[Crew]:
    """So many workers, the bots dealt out to them in turn, ready to begin."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    for number in range(workers):
        mine, theirs = context.Pipe()
        share = tuple(bots[number::workers])
        processes.append(context.Process(target=_process, args=(theirs, url, f"worker-{number}", share), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(mine)
    try:
        yield Crew(pipes, sum(_heard(pipe)[0] for pipe in pipes))
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            process.terminate()


def _heard(pipe: Connection) -> tuple[int, float]:
    if not pipe.poll(PATIENCE):
        raise RuntimeError("a worker does not come to an end")
    told: tuple[int, float] = pipe.recv()
    return told


# ---------------------------------------------------------------- in those processes


def _process(pipe: Connection, url: str, holder: str, bots: Sequence[int]) -> None:
    uvloop.run(_work(pipe, url, holder, bots))


async def _work(pipe: Connection, url: str, holder: str, bots: Sequence[int]) -> None:
    store = open_store(url)
    await store.open()
    try:
        now = time.time()
        leases = await store.lease(holder, bots, now + HOUR, now)
        assert len(leases) == len(bots)
        pipe.send((await _all(store, leases, WARM_UP), 0.0))
        pipe.recv()
        with Spent() as spent:
            settled = await _all(store, leases)
        pipe.send((settled, spent.cpu))
    finally:
        await store.close()


async def _all(store: Store, leases: Sequence[Lease], most: float = inf) -> int:
    """What waits for the bots, at once; how many, and no more than `most` of each."""
    return sum(await asyncio.gather(*(_bot(store, lease, most) for lease in leases)))


async def _bot(store: Store, lease: Lease, most: float) -> int:
    settled = 0
    while settled < most:
        claims = (await store.claim(lease, time.time(), int(min(AT_ONCE, most - settled)))).claims
        if not claims:
            break
        settled += sum(await store.settle([delivered(claim) for claim in claims], time.time()))
    return settled


def delivered(claim: Claim) -> Settlement:
    """It was sent, at the first attempt."""
    return Settlement(claim, State.DELIVERED, Attempt(1, time.time(), 0.001, "delivered", 200), result=RESULT)
