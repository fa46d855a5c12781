"""Time that moves only when told: what `kurir.ports.Clock` asks for, for tests of one's own."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class ManualClock:
    """`now()` in Unix seconds; `advance` moves it and wakes sleepers in order, letting each run before the
    next."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def set(self, now: float) -> None:
        """Jump to a moment without waking anybody (for code that never sleeps)."""
        self._now = now

    async def advance(self, seconds: float) -> None:
        """Move time on by `seconds`."""
        await self._settle()
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now = until

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):  # enough turns of the loop for what a wake-up sets off
            await asyncio.sleep(0)
