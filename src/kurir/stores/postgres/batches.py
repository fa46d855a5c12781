"""Group commit: what several callers hand over at about the same time is one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kurir.core.errors import KeyHeld, KurirError, StoreAway, StoreFull

J = TypeVar("J")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Job(Generic[J, R]):
    work: J
    size: int
    lanes: frozenset[Hashable]
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batches(Generic[J, R]):
    """Jobs go out in the order in which they came, as many together as fit, up to `abreast` batches at a time; no two
    batches under way touch the same lane, so what a process submits to a chat keeps its order. A job is carried out even if
    its caller is cancelled. One that is refused takes nobody along: then each goes alone."""

    def __init__(self, carry_out: Callable[[Sequence[J]], Awaitable[Sequence[R]]], most: int, abreast: int = 2) -> None:
        self._carry_out = carry_out
        self._most = most
        self._abreast = abreast
        self._waiting: deque[_Job[J, R]] = deque()
        self._busy: set[Hashable] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, work: J, size: int, lanes: frozenset[Hashable]) -> R:
        job: _Job[J, R] = _Job(work, size, lanes)
        self._waiting.append(job)
        self._start()
        return await job.answer

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < self._abreast:
            batch = self._take()
            if not batch:
                return
            task = asyncio.get_running_loop().create_task(self._go(batch))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _take(self) -> list[_Job[J, R]]:
        """The next jobs; none if the first of them has to wait for what is under way."""
        batch: list[_Job[J, R]] = []
        size = 0
        while self._waiting:
            job = self._waiting[0]
            if (batch and size + job.size > self._most) or not self._busy.isdisjoint(job.lanes):
                break
            batch.append(self._waiting.popleft())
            size += job.size
        for job in batch:
            self._busy |= job.lanes
        return batch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._start()

    async def _go(self, batch: list[_Job[J, R]]) -> None:
        try:
            await self._answer(batch)
        finally:
            for job in batch:
                self._busy -= job.lanes
                if not job.answer.done():
                    job.answer.cancel()

    async def _answer(self, batch: list[_Job[J, R]]) -> None:
        try:
            answers = await self._carry_out([job.work for job in batch])
        except KurirError as error:
            if len(batch) == 1 or _of_all(error):
                _refuse(batch, error)
                return
            for job in batch:
                await self._answer([job])
        except Exception as error:
            _refuse(batch, error)
        else:
            for job, answer in zip(batch, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)

    async def close(self) -> None:
        """Wait until all that was handed over is done."""
        while self._under_way:
            await asyncio.wait(self._under_way)


def _of_all(error: KurirError) -> bool:
    """Each of them would be answered so."""
    return isinstance(error, StoreAway | StoreFull) and not isinstance(error, KeyHeld)


def _refuse(batch: Sequence[_Job[J, R]], error: Exception) -> None:
    for job in batch:
        if not job.answer.done():
            job.answer.set_exception(error)
