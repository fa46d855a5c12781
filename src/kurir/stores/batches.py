"""Group commit: what several callers hand over at about the same time is carried out together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kurir.core.errors import OF_ALL, KeyHeld, StoreAway
from kurir.core.message import Draft

J = TypeVar("J")
R = TypeVar("R")

LOOK = 64  # jobs that have to wait for their lanes, and that a batch looks past for others, at most


@dataclass(slots=True, eq=False)
class _Job(Generic[J, R]):
    work: J
    size: int
    lanes: frozenset[Hashable]
    keys: frozenset[Hashable]
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def touches(self) -> frozenset[Hashable]:
        return self.lanes | self.keys


class Batches(Generic[J, R]):
    """Jobs go out many together, up to `abreast` batches at a time that share the jobs there are, so that one is prepared
    while the server works on another. Jobs of a lane, and those with the same key, go in the order in which they came: no
    two batches under way touch the same one. A job is carried out even if its caller is cancelled.

    `carry_out` answers for each job of a batch; an exception is that job's alone. One that it raises because of what is in
    the batch takes nobody along: then each job goes by itself. KeyHeld takes its time, so those without a key go first.
    `most`: messages in a batch, unless one job has more.
    """

    def __init__(
        self, carry_out: Callable[[Sequence[J]], Awaitable[Sequence[R | Exception]]], most: int, abreast: int = 2
    ) -> None:
        self._carry_out = carry_out
        self._most = most
        self._abreast = abreast
        self._waiting: deque[_Job[J, R]] = deque()
        self._busy: set[Hashable] = set()
        self._under_way: dict[asyncio.Task[None], list[_Job[J, R]]] = {}
        self._woken = False

    async def run(self, work: J, size: int, lanes: frozenset[Hashable], keys: frozenset[Hashable] = frozenset()) -> R:
        """The job's answer. `size`: how many messages it concerns; `lanes`: whose; `keys`: theirs."""
        job: _Job[J, R] = _Job(work, size, lanes, keys)
        self._waiting.append(job)
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._start)  # who hands over in the same moment comes along
        return await job.answer

    async def finish(self) -> None:
        """Wait until all that was handed over is done."""
        self._start()
        while self._under_way:
            await asyncio.wait(self._under_way)

    def abandon(self) -> None:
        """Nothing more is carried out; who waits is told so."""
        _refuse(self._waiting, _closed())
        self._waiting.clear()
        for task in self._under_way:
            task.cancel()

    # ---------------------------------------------------------------- batches

    def _start(self) -> None:
        self._woken = False
        while self._waiting and len(self._under_way) < self._abreast:
            batch = self._take()
            if not batch:
                return
            task = asyncio.get_running_loop().create_task(self._answer(batch))
            self._under_way[task] = batch
            task.add_done_callback(self._ended)

    def _take(self) -> list[_Job[J, R]]:
        """The next jobs, past some that have to wait for what is under way."""
        share = -(-(len(self._waiting) + sum(map(len, self._under_way.values()))) // self._abreast)
        batch: list[_Job[J, R]] = []
        passed: list[_Job[J, R]] = []
        held: set[Hashable] = set()
        size = 0
        while self._waiting and len(batch) < share and len(passed) < LOOK:
            job = self._waiting[0]
            if batch and size + job.size > self._most:
                break
            self._waiting.popleft()
            if self._busy.isdisjoint(job.touches) and held.isdisjoint(job.touches):
                batch.append(job)
                size += job.size
            else:
                passed.append(job)
                held |= job.touches
        self._waiting.extendleft(reversed(passed))
        for job in batch:
            self._busy |= job.touches
        return batch

    def _ended(self, task: asyncio.Task[None]) -> None:
        batch = self._under_way.pop(task)
        _refuse(batch, _closed())  # if it was cut off
        for job in batch:
            self._busy -= job.touches
        self._start()

    async def _answer(self, batch: list[_Job[J, R]]) -> None:
        try:
            answers = await self._carry_out([job.work for job in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, OF_ALL):
                _refuse(batch, error)
            elif isinstance(error, KeyHeld):
                await self._without_the_held(batch)
            else:
                for job in batch:
                    await self._answer([job])
        else:
            for job, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    _refuse([job], answer)
                elif not job.answer.done():
                    job.answer.set_result(answer)

    async def _without_the_held(self, batch: list[_Job[J, R]]) -> None:
        """Some have keys that are held: who has none, and no lane with who has, goes first. A held key is tried once."""
        lanes = frozenset().union(*(job.lanes for job in batch if job.keys))
        free = [job for job in batch if not job.keys and lanes.isdisjoint(job.lanes)]
        if free:
            await self._answer(free)
        held: dict[frozenset[Hashable], KeyHeld] = {}
        for job in (job for job in batch if job not in free):
            if job.keys in held:
                _refuse([job], held[job.keys])
                continue
            await self._answer([job])
            if isinstance(why := _failed(job), KeyHeld):
                held[job.keys] = why


def _failed(job: _Job[J, R]) -> BaseException | None:
    """Why it was refused."""
    return job.answer.exception() if job.answer.done() and not job.answer.cancelled() else None


def _closed() -> StoreAway:
    return StoreAway("the store is closed", "Open Kurir again, and try again.")


def touched(drafts: Sequence[Draft]) -> tuple[frozenset[Hashable], frozenset[Hashable]]:
    """The lanes and the keys of a submit."""
    lanes = frozenset((draft.bot, draft.chat) for draft in drafts)
    return lanes, frozenset(("key", draft.bot, draft.key) for draft in drafts if draft.key is not None)


def _refuse(jobs: Iterable[_Job[J, R]], error: Exception) -> None:
    for job in jobs:
        if not job.answer.done():
            job.answer.set_exception(error)
