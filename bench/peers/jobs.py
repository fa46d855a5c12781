"""What the scripts of the peer queues share: `<name>_queue.py URL MODE COUNT` prints {"rate": jobs a second}.

Modes: `one` enqueues COUNT no-op jobs one after the other, `hundred` a hundred at once, `bulk` 500 in one call; `drain`
enqueues them unmeasured, then measures one worker process from its start to the end of the last job.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

AT_ONCE = 100
BATCH = 500
WARM_UP = 50  # jobs before the clock starts
TEXT = "Your order is on its way. " * 13 + "Thank you!!"
Job = dict[str, Any]
Enqueue = Callable[[Job], Awaitable[object]]
EnqueueMany = Callable[[list[Job]], Awaitable[object]]


def job(number: int) -> Job:
    """What a job is given: 400 bytes of JSON."""
    return {"chat_id": 100_000_000 + number % 1000, "text": TEXT, "parse_mode": "HTML"}


class Countdown:
    """Counts the jobs that were done."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._ended = asyncio.Event()

    def done(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ended.set()

    async def ended(self) -> None:
        await self._ended.wait()


async def enqueued(mode: str, count: int, one: Enqueue, many: EnqueueMany | None = None) -> float:
    """Jobs a second."""
    for number in range(WARM_UP):
        await one(job(number))
    began = time.perf_counter()
    if mode == "one":
        for number in range(count):
            await one(job(number))
    elif mode == "hundred":
        await share(count, one)
    else:
        assert mode == "bulk", mode
        assert many is not None
        await in_bulk(count, many)
    return count / (time.perf_counter() - began)


async def share(count: int, one: Enqueue) -> None:
    """A hundred at once, each waiting for its own."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(job(number))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def in_bulk(count: int, many: EnqueueMany) -> None:
    for start in range(0, count, BATCH):
        await many([job(number) for number in range(start, min(start + BATCH, count))])


async def drained(count: int, countdown: Countdown, worker: Coroutine[Any, Any, object]) -> float:
    """Jobs a second of a worker that runs until it is cancelled."""
    began = time.perf_counter()
    task = asyncio.ensure_future(worker)
    waiting = asyncio.ensure_future(countdown.ended())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        task.result()  # why it ended too early
        raise RuntimeError("the worker ended before the jobs did")
    rate = count / (time.perf_counter() - began)
    task.cancel()
    await asyncio.wait((task,), timeout=5)
    return rate


def asked() -> tuple[str, str, int]:
    """URL, mode, count."""
    return sys.argv[1], sys.argv[2], int(sys.argv[3])


def tell(rate: float) -> None:
    print(json.dumps({"rate": rate}), flush=True)
