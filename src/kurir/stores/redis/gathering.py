"""Calls that wait while one is on its way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kurir.core.errors import StoreAway

J = TypeVar("J")
MOST = 1000  # messages of one shared call, unless a single one has more


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[J]):
    job: J
    size: int
    answer: asyncio.Future[Any]


class Gathering(Generic[J]):
    """`send` carries out several jobs in one call and answers in their order; an exception stands in for the answer of a
    job that failed. A job is carried out even if its caller is cancelled."""

    def __init__(self, send: Callable[[list[J]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._waiting: deque[_Waiting[J]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def do(self, job: J, size: int) -> Any:
        """The job's answer; `size`: how many messages it concerns."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, size, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="kurir-redis-gathering")
        return await answer

    async def finish(self) -> None:
        """Wait until all is carried out."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """Nothing more is carried out; who waits is told so."""
        if self._task is not None:
            self._task.cancel()
        for waiting in self._waiting:
            if not waiting.answer.done():
                waiting.answer.set_exception(StoreAway("the store is closed", "Open Kurir again, and try again."))
        self._waiting.clear()

    async def _work(self) -> None:
        while self._waiting:
            shared = self._take()
            try:
                answers = await self._send([waiting.job for waiting in shared])
            except asyncio.CancelledError:
                answers = [StoreAway("the store is closed", "Open Kurir again, and try again.")] * len(shared)
            except Exception as error:
                answers = [error] * len(shared)
            for waiting, answer in zip(shared, answers, strict=True):
                if waiting.answer.done():
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)

    def _take(self) -> list[_Waiting[J]]:
        taken = [self._waiting.popleft()]
        room = MOST - taken[0].size
        while self._waiting and self._waiting[0].size <= room:
            taken.append(self._waiting.popleft())
            room -= taken[-1].size
        return taken
