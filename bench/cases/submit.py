"""The way in: what durable acceptance costs."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import uvloop

from bench.floors import BareTable, GroupCommit, Row, row
from bench.report import Figure, Target
from bench.rounds import compared, take_turns
from bench.world import CHATS, Run, batches, make_kurir, params
from kurir import Kurir, Message

SUBMITTERS = 100
BATCH = 500
WARM_UP = 50  # messages before the clock starts


def one(run: Run) -> list[Figure]:
    """One submitter who awaits each message."""
    count = run.size(1500, 300)
    measured = take_turns(
        run.rounds,
        {
            "Kurir": lambda: _kurir(run, lambda kurir: in_turn(kurir, count), count),
            "bare commit": lambda: _bare_one(run, count),
            "bare writer thread": lambda: _bare_group(run, count, 1),
        },
        run.say,
    )
    target = Target("ratio", 0.7, about="about 1,000/s")
    return [
        compared("submit one by one", "/s", measured, "Kurir", "bare commit", target),
        compared("  the same, beside one that does not block its loop", "/s", measured, "Kurir", "bare writer thread"),
    ]


def hundred(run: Run) -> list[Figure]:
    """A hundred submitters at once, each awaiting its own."""
    count = run.size(20_000, 3_000)
    measured = take_turns(
        run.rounds,
        {
            "Kurir": lambda: _kurir(run, lambda kurir: at_once(kurir, count), count),
            "bare group commit": lambda: _bare_group(run, count, SUBMITTERS),
        },
        run.say,
    )
    target = Target("ratio", 0.3, about="about 20,000/s")
    return [compared(f"submit, {SUBMITTERS} at once", "/s", measured, "Kurir", "bare group commit", target)]


def batch(run: Run) -> list[Figure]:
    """Batches, one after the other."""
    count = run.size(40_000, 5_000)
    messages = list(batches(count, BATCH))
    rows = [[row(number) for number in range(start, start + BATCH)] for start in range(0, count, BATCH)]
    measured = take_turns(
        run.rounds,
        {
            "Kurir": lambda: _kurir(run, lambda kurir: in_batches(kurir, messages), count),
            "bare executemany": lambda: _bare_batches(run, rows, count),
        },
        run.say,
    )
    return [
        compared(f"submit, batches of {BATCH}", "/s", measured, "Kurir", "bare executemany", Target("value", 40_000))
    ]


# ---------------------------------------------------------------- Kurir


def _kurir(run: Run, work: Callable[[Kurir], Awaitable[None]], count: int) -> float:
    """Messages a second that `work` hands over to a fresh SQLite store."""
    with run.folder() as folder:
        return uvloop.run(handed_over(make_kurir(folder / "kurir.db"), work, count))


async def handed_over(kurir: Kurir, work: Callable[[Kurir], Awaitable[None]], count: int) -> float:
    """Messages a second that `work` hands over."""
    async with kurir:
        for chat in range(WARM_UP):
            await kurir.submit("sendMessage", params(chat))
        gc.collect()
        gc.freeze()  # what was made beforehand is not to be looked through again and again
        began = time.perf_counter()
        await work(kurir)
        return count / (time.perf_counter() - began)


async def in_turn(kurir: Kurir, count: int) -> None:
    for i in range(count):
        await kurir.submit("sendMessage", params(i % CHATS))


async def at_once(kurir: Kurir, count: int) -> None:
    async def submit(chat: int) -> None:
        await kurir.submit("sendMessage", params(chat % CHATS))

    await _share(count, SUBMITTERS, submit)


async def in_batches(kurir: Kurir, all_: Sequence[Sequence[Message]]) -> None:
    for messages in all_:
        await kurir.submit(messages)


async def _share(count: int, tasks: int, step: Callable[[int], Awaitable[None]]) -> None:
    """`count` steps, shared by `tasks`."""
    numbers: Iterator[int] = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await step(number)

    await asyncio.gather(*(work() for _ in range(tasks)))


# ---------------------------------------------------------------- floors


def _bare_one(run: Run, count: int) -> float:
    with run.folder() as folder:
        table = BareTable(folder / "bare.db")
        for number in range(WARM_UP):
            table.commit_one(row(number))
        began = time.perf_counter()
        for number in range(count):
            table.commit_one(row(number))
        spent = time.perf_counter() - began
        table.close()
    return count / spent


def _bare_group(run: Run, count: int, submitters: int) -> float:
    async def measure(table: BareTable) -> float:
        writer = GroupCommit(table)
        began = time.perf_counter()
        await _share(count, submitters, lambda number: writer.insert(row(number)))
        spent = time.perf_counter() - began
        writer.close()
        return count / spent

    with run.folder() as folder:
        table = BareTable(folder / "bare.db")
        rate = uvloop.run(measure(table))
        table.close()
    return rate


def _bare_batches(run: Run, all_: Sequence[Sequence[Row]], count: int) -> float:
    with run.folder() as folder:
        table = BareTable(folder / "bare.db")
        began = time.perf_counter()
        for rows in all_:
            table.commit(rows)
        spent = time.perf_counter() - began
        table.close()
    return count / spent
